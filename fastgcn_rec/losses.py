"""The loss that a TrainConfig names, of one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ._elementwise import in_pieces, power
from .graph import Graph, row_of_each_edge
from .negatives import Negatives
from .ops import binary_loss, bpr_loss, max_margin_loss, outer_sum, softmax_loss
from .ops.pair_loss import masked
from .ops.scatter_rows import scatter_rows_op

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
            share = power(graph.user_degree.double(), -1.0)[:, None]
            of_edge = row_of_each_edge(graph.user_degree)
            degree = scatter_rows_op(
                graph.indices.long(), None, share, of_edge, None, graph.n_items, torch.float64
            ).flatten()
        law = degree.clamp(min=degree[degree > 0].min()) / outer_sum(degree[:, None], degree[:, None])[1]
        graph.kept[key] = -in_pieces(torch.log, law)
    bias: Tensor = graph.kept[key]
    return config.logq * bias
