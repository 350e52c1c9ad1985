"""The ops, one file each: checks, registration with torch, and the public function."""

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
