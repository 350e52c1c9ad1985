"""The loss that a TrainConfig names, of one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .graph import Graph
from .negatives import Negatives
from .ops import binary_loss, bpr_loss, max_margin_loss, softmax_loss
from .ops.pair_loss import masked

if TYPE_CHECKING:
    from .train_config import TrainConfig

Tensor = torch.Tensor


def loss_of(
    config: TrainConfig,
    user_emb: Tensor,
    item_emb: Tensor,
    users: Tensor,
    pos: Tensor,
    negatives: Negatives,
    bias: Tensor | None = None,
) -> Tensor:
    """A scalar, without the ridge; ids are rows of the two tables. The softmax takes no negatives, but the positives' ``item_bias``."""
    if config.loss == "softmax":
        options = config.temperature, config.negative_weight, bias
        result: Tensor = softmax_loss(user_emb, item_emb, users, pos, *options)
        return result
    neg, mask = masked("fit", *negatives, len(users))
    if config.loss == "max_margin":
        result = max_margin_loss(user_emb, item_emb, users, pos, neg, config.margin, mask)
    else:
        result = (bpr_loss if config.loss == "bpr" else binary_loss)(user_emb, item_emb, users, pos, neg, mask)
    return result


def item_bias(config: TrainConfig, graph: Graph) -> Tensor | None:
    """-logq * log q of every item, float64 [n_items], q the probability that ``config.sampler`` draws it as a positive; None for logq = 0."""
    if config.logq == 0:
        return None
    key = f"item_bias of {config.sampler}"
    if key not in graph.kept:
        degree = graph.item_degree.double()
        if config.sampler == "user":  # q_i = 1 / (users with edges) * sum over i's users of 1 / their degree
            share = 1 / torch.repeat_interleave(graph.user_degree.double(), graph.user_degree)
            degree = torch.zeros_like(degree).index_add_(0, graph.indices.long(), share)
        graph.kept[key] = -(degree.clamp(min=degree[degree > 0].min()) / degree.sum()).log()
    bias: Tensor = graph.kept[key]
    return config.logq * bias
