"""The loss of one batch of any model, from its vectors."""

from __future__ import annotations

import torch

from ..losses import Objective, item_bias, loss_of
from ..models import Recommender
from ..negatives import Negatives
from ..ops.l2_loss import l2_loss
from ..ops.pair_loss import masked

Tensor = torch.Tensor


def batch_loss(
    model: Recommender, objective: Objective, users: Tensor, pos: Tensor, neg: Tensor, mask: Tensor | None = None
) -> Tensor:
    """A scalar, ridge penalty included; ids are internal: users and pos int64 [B], neg and mask as :class:`fastgcn_rec.negatives.Negatives`."""
    batch = vectors_of(model, users, pos, neg)
    bias = item_bias(objective, model.graph)
    loss = loss_of(objective, *batch[:4], Negatives(batch[4], mask), None if bias is None else bias[pos])
    if objective.reg:
        nodes = [users, pos + model.n_users]
        if objective.loss != "softmax":
            neg = masked("fit", neg, mask, len(users))[0]
            nodes.append(torch.where(neg >= 0, neg + model.n_users, neg).flatten())
        loss = loss + objective.reg / len(users) * l2_loss(model.ego_embedding(), torch.cat(nodes), model.columns)
    return loss


def vectors_of(
    model: Recommender, users: Tensor, pos: Tensor, neg: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(user table, item table, users, pos, neg): vectors, and where the batch finds its own in them. -1 stays -1."""
    items = torch.cat([pos, neg.flatten()])
    z = model.get_embedding_at(torch.cat([users, items.clamp(min=0) + model.n_users]))
    if z is None:
        of_users, of_items, users, items = model.pair_vectors(users, items)
        return of_users, of_items, users, items[: len(pos)], items[len(pos) :].view_as(neg)
    at = torch.arange(len(items), device=items.device)
    own, others = at[: len(pos)], at[len(pos) :].view_as(neg)
    return *z.split([len(users), len(items)]), own, own, torch.where(neg >= 0, others, neg)
