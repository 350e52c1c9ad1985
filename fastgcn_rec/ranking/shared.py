"""A model whose vectors ranks share out by columns, as what ranks the users of one rank: all items' vectors, and those of its users alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from ..core.graph import Graph
from ..core.world import World, as_world
from .filters import Filter
from .lists import SCORED_AT_ONCE, by_vectors
from .protocols import Lists, Scored
from .ranker import Ranker

Tensor = torch.Tensor


def world_of(ranker: Ranker, given: World | None, who: str) -> World:
    """The ranks that share users out: those that are ``given``, or that share the model's columns out."""
    world = as_world(given, who)
    if ranker.columns is None:
        return world
    if given is not None and given.group is not ranker.columns.world.group:
        raise ValueError(
            f"{who}: world has {world.size} ranks, and others, {ranker.columns.world.size}, share the {type(ranker).__name__} out; leave world out, or pass "
            "model.columns.world"
        )
    return ranker.columns.world


class SharedVectors:
    """The vectors of a model whose columns ranks share out: of all items on every rank, of users those that are asked for. Its methods are collective."""

    def __init__(self, model: Ranker) -> None:
        assert model.columns is not None
        self.model, self.columns = model, model.columns
        self._users, items = model.own_vectors()
        self.items = self.columns.table(items)

    def ranker(self, users: Sequence[Tensor]) -> Ranker:
        """Of the internal user ids int64 [n] of each rank, what ranks those of this one, and nobody else."""
        bounds = [0, *itertools.accumulate(map(len, users))]
        rows = self.columns.rows(self._users[torch.cat(list(users))], bounds)
        own, guessed = users[self.columns.world.rank], self.model.guessed
        guessed = None if guessed is None else guessed[own]
        return _OfUsers(self.model, own, self.model.scored(rows, self.items, guessed))


class _OfUsers(Ranker):
    """Ranks some users of a model, whose vectors it has in their order."""

    def __init__(self, model: Ranker, users: Tensor, vectors: Scored) -> None:
        self.graph, self.similarity = model.graph, model.similarity
        self.user_ids, self.item_ids, self.has_raw_ids = model.user_ids, model.item_ids, model.has_raw_ids
        self._vectors = vectors
        self._users, self._order = users.sort()

    def ranked(self, seen: Graph | None, users: Tensor, k: int, batch_users: int = SCORED_AT_ONCE) -> Lists:
        return self.filtered(seen, users, k, Filter(self.n_items))

    def filtered(self, seen: Graph | None, users: Tensor, k: int, wanted: Filter) -> Lists:
        rows = self._order[torch.searchsorted(self._users, users.to(self._users.device))]
        return by_vectors(self._vectors, seen, users, k, wanted, rows)
