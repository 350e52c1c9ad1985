"""The loss of a batch of pairs (query, item)."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from ...losses import Objective, item_bias, loss_of
from ...negatives import Negatives
from ...ops.l2_loss import l2_loss
from ...ops.neighbor_pool import neighbor_pool
from ...ops.uniform_rows import uniform_rows
from .draws import COLD_ITEMS
from .network import Network, places
from .rounds import Round

Tensor = torch.Tensor


def loss_of_batch(
    network: Network, now: Round, objective: Objective, t: int, users: Tensor, pos: Tensor, negatives: Negatives
) -> Tensor:
    """Batch t of the round ``now``; :meth:`PinSAGE.batch_loss` has the formula."""
    n, width = len(users), network.options["history"]
    seen = now.history(users, pos, width, objective.seed, t)
    f: Tensor | None = None
    if network.user_side is not None:
        cold_share = network.options["cold_user_share"]
        f, sizes = network.user_side.in_batch(users, now.sizes(users, pos), cold_share, objective.seed, t)
        seen = torch.where(sizes.repeat_interleave(width) > 0, seen, -1)
    chosen = torch.cat([pos, negatives.ids.flatten()])
    new = torch.zeros_like(chosen, dtype=torch.bool)
    if network.options["cold_share"]:
        u = uniform_rows(chosen.clamp(min=0), 1, seed=objective.seed, step=t, place=COLD_ITEMS)
        new = (u[:, 0] < network.options["cold_share"]) & (chosen >= 0)
    items, as_new = distinct(torch.cat([seen, chosen[~new]])), distinct(chosen[new])
    z = network.embed(items, now.near)
    if len(as_new):
        z = torch.cat([z, network.embed_as_new(as_new)])

    share = z.new_full((n, width), 1 / width)
    queries = neighbor_pool(z, places(items, seen).view(n, width), share)
    queries = normalize(queries if f is None else sizes[:, None] * queries + f, dim=1)
    at = torch.where(new, len(items) + places(as_new, chosen), places(items, chosen))
    rows = torch.arange(n, device=z.device)
    bias = item_bias(objective, now.of)
    negatives = Negatives(at[n:].view_as(negatives.ids), negatives.mask)
    loss = loss_of(objective, queries, z, rows, at[:n], negatives, None if bias is None else bias[pos])
    if objective.reg:
        inputs = network.inputs(items)
        if len(as_new):
            inputs = torch.cat([inputs, network.inputs(as_new, as_new=True)])
        for h in (inputs,) if f is None else (inputs, f):
            loss = loss + objective.reg / n * l2_loss(h, torch.arange(len(h), device=z.device))
    return loss


def distinct(items: Tensor) -> Tensor:
    """Sorted, without -1."""
    return items[items >= 0].unique()
