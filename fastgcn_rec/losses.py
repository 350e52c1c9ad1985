"""The loss that a TrainConfig names, of one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .negatives import Negatives
from .ops import binary_loss, bpr_loss, max_margin_loss, softmax_loss
from .ops.pair_loss import masked

if TYPE_CHECKING:
    from .train import TrainConfig

Tensor = torch.Tensor


def loss_of(
    config: TrainConfig, user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, negatives: Negatives
) -> Tensor:
    """A scalar, without the ridge; ids are rows of the two tables, and the softmax takes no negatives."""
    if config.loss == "softmax":
        result: Tensor = softmax_loss(user_emb, item_emb, users, pos, config.temperature)
        return result
    neg, mask = masked("fit", *negatives, len(users))
    if config.loss == "max_margin":
        result = max_margin_loss(user_emb, item_emb, users, pos, neg, config.margin, mask)
    else:
        result = (bpr_loss if config.loss == "bpr" else binary_loss)(user_emb, item_emb, users, pos, neg, mask)
    return result
