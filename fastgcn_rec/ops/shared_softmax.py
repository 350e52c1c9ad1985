"""The in-batch softmax of a step whose columns several ranks share out, on the CPU: no score is computed twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch

from ..core.columns import Columns
from ..core.together import exchange_together

Tensor = torch.Tensor
_PAD = 16  # keeps a column of scores off a single cache set where a batch is a power of two


def shared_softmax(
    columns: Columns,
    batch: int,
    dtype: torch.dtype,
    of_users: Callable[..., None],
    of_items: Callable[..., None],
) -> tuple[Tensor, Tensor]:
    """This rank's columns of the gradients of all rows of the batch: [batch, width] of the users, and of the items.

    Each rank answers for a stretch of the batch: it makes its users' scores of all items, sends each rank those of its items, and adds up what all
    users give its own. ``of_users`` and ``of_items`` run softmax_users and softmax_items of csrc/include/fgr/softmax_loss.h on what they are given.
    """
    world = columns.world
    bounds = [batch * rank // world.size for rank in range(world.size + 1)]
    stretches = list(itertools.pairwise(bounds))
    first, last = stretches[world.rank]
    n = last - first

    def new(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype)

    at = {"first_row": first, "last_row": last}
    scores, factor, row_loss = new(n, batch + _PAD), new(n), new(n, dtype=torch.float64)
    user_grad, item_grad = new(n, columns.dim), new(n, columns.dim)
    of_users(**at, scores=scores, ld=batch + _PAD, factor=factor, row_loss=row_loss, grad=user_grad)

    def sent(rank: int, rows: int) -> int:
        return 0 if rank == world.rank else rows  # what a rank has for itself it keeps

    parts = [(scores[:, a : a + sent(q, b - a)], factor, row_loss) for q, (a, b) in enumerate(stretches)]
    shapes = [((sent(q, b - a), n), (b - a,), (b - a,)) for q, (a, b) in enumerate(stretches)]
    of_all, factors, losses = zip(*exchange_together(world, parts, shapes), strict=True)
    theirs = new(batch, n + _PAD)
    for rank, (a, b) in enumerate(stretches):
        theirs[a:b, :n] = scores[:, a:b] if rank == world.rank else of_all[rank]
    everyone = {"factor": torch.cat(factors), "row_loss": torch.cat(losses)}
    of_items(**at, scores=theirs, ld=n + _PAD, grad=item_grad, **everyone)

    pieces = [(user_grad[:, a:b], item_grad[:, a:b]) for a, b in itertools.pairwise(columns.bounds)]
    found = exchange_together(world, pieces, [((b - a, columns.width),) * 2 for a, b in stretches])
    user_rows, item_rows = zip(*found, strict=True)
    return torch.cat(user_rows), torch.cat(item_rows)
