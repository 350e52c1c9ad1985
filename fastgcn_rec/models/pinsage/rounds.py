"""The rounds of steps whose pairs are hidden from what predicts them."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ...core.graph import Graph
from ...data import Dataset
from ...losses import Objective
from ...ops.random_walk import random_walk
from ...ops.sample import sample_batch
from .draws import mixed
from .layers import Neighborhoods
from .walks import Walks
from .window import Events, PairTimes

Tensor = torch.Tensor


class Round(NamedTuple):
    """What the batches of a round see: the graph without the pairs to be predicted, and the walks in it; ``of`` is the graph with them."""

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


class Rounds:
    """The rounds of the objective's stream of pairs, of which the last is kept: each of as many steps as have ``share`` of the edges as pairs."""

    def __init__(self, share: float, window: float | None, walks: Walks) -> None:
        self.share, self.window, self.walks = share, window, walks
        self.times: PairTimes | None = None
        self.now: Round | None = None

    def use_times(self, data: Dataset, asks: str = "window") -> None:
        """``asks``: the option that needs them."""
        self.times, self.now = PairTimes.of(data, asks), None

    def at(self, graph: Graph, objective: Objective, t: int) -> Round:
        """The round of step t of a training on ``graph``."""
        size = objective.batch_size
        steps = max(1, int(self.share * graph.n_edges / size))
        number, now = t // steps, self.now
        if now is None or now.key != (number, objective) or now.of is not graph:
            first = number * steps * size
            users, pos, _ = sample_batch(
                graph, steps * size, 0, seed=objective.seed, offset=first, by=objective.sampler
            )
            rest = graph.without_edges(users, pos)
            near = self.walks.neighborhoods(rest, mixed(objective.seed, number))
            now = self.now = Round((number, objective), graph, rest, near, self.events(rest))
        return now

    def events(self, graph: Graph) -> Events | None:
        """The graph's edges by their times, where there is a window."""
        return None if self.window is None else Events.of(graph, self.times, self.window)

    def digest(self) -> str:
        """Of the times that are used; empty: none."""
        return "" if self.times is None or self.window is None else self.times.digest()
