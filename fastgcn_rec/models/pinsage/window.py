"""Pairs within a window of time: which of a user's items are near another in time."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import numpy as np
import torch

from ...core.graph import Graph
from ...core.ids import pair_keys
from ...data import Dataset
from ...data.edges import joined
from ...ops.uniform_rows import uniform_rows
from .draws import WINDOWS

Tensor = torch.Tensor


OFF = {"window": None, "trend": 0.0}  # the options that need times, and what they are without


class PairTimes(NamedTuple):
    """When pairs occurred: ``keys`` = user * n_items + item, int64 [E], ascending; ``time`` int64 or float64 [E]; ``asks``: the option
    that needs them."""

    keys: Tensor
    time: Tensor
    n_items: int
    asks: str = "window"

    @staticmethod
    def of(data: Dataset, asks: str = "window") -> PairTimes:
        """The training edges', and the validation part's, on which a refit trains too."""
        edges, n_users, n_items = joined([data.train, data.valid]), data.n_users, data.n_items
        if edges.time is None:
            raise ValueError(f"PinSAGE: {asks} needs times, but {data.name} has none; leave {asks} at {OFF[asks]}")
        keys = pair_keys(edges.users, edges.items, n_users, n_items)
        order = np.lexsort((edges.time, keys))
        time = edges.time.astype(np.int64 if edges.time.dtype.kind in "iu" else np.float64)
        return PairTimes(torch.from_numpy(keys[order]), torch.from_numpy(time[order]), n_items, asks)

    def to(self, device: torch.device) -> PairTimes:
        return PairTimes(self.keys.to(device), self.time.to(device), self.n_items, self.asks)

    def at(self, users: Tensor, items: Tensor) -> Tensor:
        """The times of pairs [n]; ValueError where there is none."""
        wanted = users * self.n_items + items
        found = torch.searchsorted(self.keys, wanted)
        if len(self.keys) == 0 or not bool((self.keys[found.clamp(max=len(self.keys) - 1)] == wanted).all()):
            raise ValueError(
                f"PinSAGE: {self.asks} needs the times of all pairs of the graph, and the Dataset that use_times() had lacks some; "
                "train on the Dataset that the model was made from"
            )
        return self.time[found]

    def digest(self) -> str:
        parts = (t.cpu().numpy().tobytes() for t in (self.keys, self.time))
        return f"times {hashlib.sha256(b''.join(parts)).hexdigest()[:16]}"

    def reach(self, window: float) -> int | float:
        """The window as exactly as times are kept, at most what all of them span."""
        span = (self.time.max() - self.time.min()).item() if len(self.time) else 0
        return min(window, span) if self.time.is_floating_point() else math.floor(min(window, span))


class Events:
    """The edges of a graph in the order of (user, time), to draw from those within a window.

    A key is user * (T + 1) + the rank of its time among the graph's T different ones, so that one search finds a window's end.
    """

    @classmethod
    def of(cls, graph: Graph, times: PairTimes | None, window: float) -> Events:
        if times is None:
            raise ValueError(
                f"PinSAGE: training with window={window} needs times, which neither files nor with_items keep; call use_times(dataset)"
            )
        return cls(graph, times.to(graph.device), window)

    def __init__(self, graph: Graph, times: PairTimes, window: float) -> None:
        self.times, self.reach = times, times.reach(window)
        users, items = graph.edges()
        self.moments, rank = times.at(users, items).unique(return_inverse=True)
        self.keys, order = (users * (len(self.moments) + 1) + rank).sort(stable=True)
        self.items = torch.cat([items[order], items.new_full((1,), -1)])

    def near(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """(first, count) int64 [n] each: where the events of the user within the window of each pair stand."""
        time, first = self.times.at(users, items), users * (len(self.moments) + 1)
        begin = first + torch.searchsorted(self.moments, time - self.reach)
        end = first + torch.searchsorted(self.moments, time + self.reach, right=True)
        start = torch.searchsorted(self.keys, begin)
        return start, torch.searchsorted(self.keys, end) - start

    def draw(self, users: Tensor, items: Tensor, width: int, seed: int, step: int) -> Tensor:
        """``width`` items of each pair's window with replacement, int64 [n * width], -1 where there is none; row r of a step is the same
        whatever stands in the others."""
        start, count = (part[:, None] for part in self.near(users, items))
        u = uniform_rows(torch.arange(len(users), device=users.device), width, seed=seed, step=step, place=WINDOWS)
        at = start + (u.double() * count).long()
        return self.items[at].where(count > 0, -1).flatten()
