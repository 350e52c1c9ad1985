"""Fast, reproducible graph recommender systems: C++/CUDA kernels under a thin PyTorch layer."""

from ._native import build_info as _build_info
from .evaluate import evaluate
from .export import write_recommendations
from .fold_in import FoldIn
from .graph import Graph
from .index import Index
from .models import MF, NGCF, LightGCN, Popularity, Recommender
from .ops import (
    Adam,
    TrainStep,
    adam_step,
    binary_loss,
    bpr_loss,
    l2_loss,
    max_margin_loss,
    ppr,
    ppr_push,
    propagate,
    random_walk,
    random_walk_neighbors,
    retrieve,
    sample_batch,
    sample_listed,
    sample_negatives,
    select_negatives,
    softmax_loss,
    topk,
    uniform_rows,
    unseen_mask,
)
from .pagerank import PprRanks, ppr_rank_band, ppr_topk
from .train import TrainConfig, fit
from .two_stage import TwoStage

__version__: str = _build_info()["version"]

__all__ = [
    "MF",
    "NGCF",
    "Adam",
    "FoldIn",
    "Graph",
    "Index",
    "LightGCN",
    "Popularity",
    "PprRanks",
    "Recommender",
    "TrainConfig",
    "TrainStep",
    "TwoStage",
    "adam_step",
    "binary_loss",
    "bpr_loss",
    "evaluate",
    "fit",
    "l2_loss",
    "max_margin_loss",
    "ppr",
    "ppr_push",
    "ppr_rank_band",
    "ppr_topk",
    "propagate",
    "random_walk",
    "random_walk_neighbors",
    "retrieve",
    "sample_batch",
    "sample_listed",
    "sample_negatives",
    "select_negatives",
    "softmax_loss",
    "topk",
    "uniform_rows",
    "unseen_mask",
    "write_recommendations",
]
