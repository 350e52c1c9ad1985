"""The ops, one file each: checks, registration with torch, and the public function.

Dtypes of all of them: what an op takes as float32, float64 or bfloat16 may be float16 too, as ``torch.autocast`` makes it. It is computed in
float32, which has every float16, and rounded once: where a result has the dtype of an input it is float16 again, and so are gradients; the
losses are float32. What ranks (:func:`retrieve`, :func:`topk`) takes bfloat16 and float16 as the float32 that they stand for, and its scores
are float32. What an op updates in place (:func:`adam_step`, :class:`TrainStep`) is float32 or float64, as sums of small steps must be. Two tables of an op
have one dtype; under autocast the wider one of theirs.
"""

from .adam_step import Adam, adam_step
from .dense import dense, outer_sum
from .half_hop import half_hop
from .l2_loss import l2_loss
from .neighbor_pool import neighbor_pool
from .pair_loss import binary_loss, bpr_loss, max_margin_loss
from .ppr import Ppr, ppr
from .ppr_push import PprPush, ppr_push
from .propagate import propagate
from .random_walk import random_walk, random_walk_neighbors
from .retrieve import TopK, retrieve
from .sample import sample_batch, sample_listed, sample_negatives, unseen_mask
from .select_negatives import select_negatives
from .softmax_loss import softmax_loss
from .topk import topk
from .train_step import TrainStep
from .uniform_rows import uniform_rows

__all__ = [
    "Adam",
    "Ppr",
    "PprPush",
    "TopK",
    "TrainStep",
    "adam_step",
    "binary_loss",
    "bpr_loss",
    "dense",
    "half_hop",
    "l2_loss",
    "max_margin_loss",
    "neighbor_pool",
    "outer_sum",
    "ppr",
    "ppr_push",
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
]
