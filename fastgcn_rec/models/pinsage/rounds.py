"""The rounds in which PinSAGE trains, and arrays of ids and edges."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ...core.graph import Graph
from ...losses import Objective
from ...ops.random_walk import random_walk
from .layers import Neighborhoods
from .window import Events

Tensor = torch.Tensor


class Round(NamedTuple):
    """What the batches of a round of training see: the graph without the pairs to be predicted, and the walks in it."""

    key: tuple[int, Objective]
    of: Graph
    graph: Graph
    near: Neighborhoods
    events: Events | None

    def history(self, users: Tensor, items: Tensor, width: int, seed: int, step: int) -> Tensor:
        """``width`` items for each pair to be predicted from, int64 [n * width], -1 where there is none."""
        if self.events is not None:
            return self.events.draw(users, items, width, seed, step)
        walks = random_walk(self.graph, users.repeat_interleave(width), 1, mixed(seed, step))
        return torch.where(walks[:, 1] >= 0, walks[:, 1] - self.graph.n_users, -1)

    def sizes(self, users: Tensor, items: Tensor) -> Tensor:
        """How many items :meth:`history` draws from for each pair, or their weight, [n]."""
        return self.graph.degrees()[0][users] if self.events is None else self.events.near(users, items)[1]


def distinct(items: Tensor) -> Tensor:
    """Sorted, without -1."""
    return items[items >= 0].unique()


def places(items: Tensor, ids: Tensor) -> Tensor:
    """Where ids stand in sorted items; -1 stays -1."""
    return torch.where(ids >= 0, torch.searchsorted(items, ids), ids)


def mixed(seed: int, number: int) -> int:
    """A seed of its own for every number."""
    return (seed * 0x9E3779B97F4A7C15 + number) % 2**63
