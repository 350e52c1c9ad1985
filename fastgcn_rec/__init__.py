"""Fast, reproducible graph recommender systems: C++/CUDA kernels under a thin PyTorch layer."""

from importlib.machinery import PathFinder as _PathFinder

if _PathFinder.find_spec("fastgcn_rec._C", __path__) is None:
    raise ImportError(
        f"fastgcn_rec._C, the compiled module, is not in {__path__[0]} (for this Python). Is that the source folder? It hides an installed fastgcn_rec "
        "from a Python that starts beside it: start it in another folder, or build here with pip install -e ."
    )

from ._native import build_info as _build_info
from .correct_and_smooth import correct_and_smooth
from .evaluate import evaluate
from .export import write_recommendations, write_vectors
from .features import Features, guess_columns
from .fold_in import FoldIn
from .graph import Graph
from .index import Index, Indexed
from .models import EASE, MF, NGCF, GraphFilter, ItemKNN, LightGCN, PinSAGE, Popularity, Recommender, RP3beta
from .ops import (
    Adam,
    TrainStep,
    adam_step,
    binary_loss,
    bpr_loss,
    dense,
    half_hop,
    l2_loss,
    max_margin_loss,
    neighbor_pool,
    outer_sum,
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
from .train import fit
from .train_config import TrainConfig
from .two_stage import TwoStage

__version__: str = _build_info()["version"]

__all__ = [
    "EASE",
    "MF",
    "NGCF",
    "Adam",
    "FoldIn",
    "Features",
    "Graph",
    "GraphFilter",
    "Index",
    "Indexed",
    "ItemKNN",
    "LightGCN",
    "PinSAGE",
    "Popularity",
    "PprRanks",
    "RP3beta",
    "Recommender",
    "TrainConfig",
    "TrainStep",
    "TwoStage",
    "adam_step",
    "binary_loss",
    "bpr_loss",
    "correct_and_smooth",
    "dense",
    "evaluate",
    "fit",
    "guess_columns",
    "half_hop",
    "l2_loss",
    "max_margin_loss",
    "neighbor_pool",
    "outer_sum",
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
    "write_vectors",
]
