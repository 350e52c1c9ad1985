"""Lists of many users, a block by each rank at a time, which rank 0 gets in their order."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.world import World
from .filters import Filter
from .ranker import Ranker
from .shared import SharedVectors
from .user_blocks import Blocks

Tensor = torch.Tensor
Made = tuple[Tensor, NDArray[np.int64], NDArray[np.float32]]
Places = Callable[[Ranker, Tensor, Filter], tuple[Tensor, NDArray[np.float32]]]


class Rounds:
    """(users [b], ids [b, width], scores [b, width]) of each block, in order, on rank 0; the other ranks make their blocks of them, and get none.

    A round begins with what became of the one before, so that an error on any rank, of writing too, ends all of them, by :meth:`written`.
    """

    def __init__(self, world: World, model: Ranker, blocks: Blocks, width: int, places: Places) -> None:
        self.world, self.model, self.blocks, self.width, self.places = world, model, blocks, width, places
        self._told = False  # whether an error that comes now comes on all ranks

    def written(self, write: Callable[[], Any]) -> None:
        """Calls ``write``, which takes all blocks, on rank 0, while the others make theirs; whatever fails fails on all."""
        try:
            if self.world.first:
                write()
            else:
                collections.deque(self, maxlen=0)
        except BaseException:
            if self._told:
                raise
            with self.world.together():
                raise
        with self.world.together():
            pass

    def __iter__(self) -> Iterator[Made]:
        blocks, shared = iter(self.blocks), None
        while True:
            self._told = True
            with self.world.together():
                pass
            some = list(itertools.islice(blocks, self.world.size))
            if self.model.columns is not None and self.model.ranks_by_vectors and shared is None:
                shared = SharedVectors(self.model)
            made = self._made(some, shared) if some else []
            self._told = False
            if not some:
                return
            yield from made

    def _made(self, some: list[tuple[Tensor, Filter]], shared: SharedVectors | None) -> list[Made]:
        """The lists of a block by each of the first ranks."""
        world = self.world
        none = some[0][0][:0]
        users = [rows for rows, _ in some] + [none] * (world.size - len(some))
        ranker = self.model if shared is None else shared.ranker(users)
        ids, scores = none.new_empty((0, self.width)), np.empty((0, self.width), np.float32)
        with world.together():
            if world.rank < len(some):
                ids, scores = self.places(ranker, *some[world.rank])
        all_ids = self._to_first(ids.cpu(), users)
        all_scores = self._to_first(torch.from_numpy(scores), users)
        return [
            (rows, places.numpy(), values.numpy())
            for rows, places, values in zip(users[: len(some)], all_ids, all_scores, strict=False)
        ]

    def _to_first(self, own: Tensor, users: list[Tensor]) -> list[Tensor]:
        """Every rank's [b, width], a row for each of its users, on rank 0."""
        if self.world.size == 1:
            return [own]
        parts = [own] + [own[:0]] * (self.world.size - 1)
        found = self.world.exchange(parts, [(len(rows) * self.world.first, self.width) for rows in users])
        return found if self.world.first else []
