"""Fast, reproducible graph recommender systems: C++/CUDA kernels under a thin PyTorch layer."""

from ._native import build_info as _build_info
from .graph import Graph
from .ops import (
    Adam,
    adam_step,
    binary_loss,
    bpr_loss,
    l2_loss,
    propagate,
    sample_batch,
    sample_negatives,
    softmax_loss,
    topk,
)

__version__: str = _build_info()["version"]

__all__ = [
    "Adam",
    "Graph",
    "adam_step",
    "binary_loss",
    "bpr_loss",
    "l2_loss",
    "propagate",
    "sample_batch",
    "sample_negatives",
    "softmax_loss",
    "topk",
]
