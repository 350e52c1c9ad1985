"""What ranking asks of whatever is ranked. Nothing here or in this room knows a model: what has these methods is one, whoever wrote it.

Users and items have internal ids, 0, 1, ... each; U users, I items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

import torch
from numpy.typing import NDArray

from ..core.graph import Graph, Side

Tensor = torch.Tensor

Ids: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
"""The raw ids (of users [U], of items [I]), int64 or an object array of str."""

Scored: TypeAlias = tuple[Tensor, Tensor, str]
"""(users [U, dim], items [I, dim], "dot" or "cosine"): how a user's row and an item's make a score."""

Scorer: TypeAlias = Callable[[Tensor], Tensor]
"""Internal user ids int64 [b] -> scores [b, I]."""

RowScorer: TypeAlias = Callable[[Graph], Tensor]
"""The edges of b users, who need not be known, as a Graph [b, I] -> scores [b, I]."""

Fold: TypeAlias = Callable[[Graph, Side], Tensor]
"""(edges of n new nodes as a Graph [n, nodes of the other side], which side the new ones are on) -> vectors [n, dim]."""

Lists: TypeAlias = Iterator[tuple[Tensor, Tensor, Tensor]]
"""Block by block: (internal user ids int64 [b], internal item ids int64 [b, k], scores [b, k]), best first, -1 and -inf behind the last."""


class KnowsIds(Protocol):
    """Knows its raw ids, and the edges between users and items, if there are any to know."""

    @property
    def user_ids(self) -> NDArray[Any]: ...  # [U]

    @property
    def item_ids(self) -> NDArray[Any]: ...  # [I]

    @property
    def ids(self) -> Ids | None: ...  # None: the above only count

    @property
    def graph(self) -> Graph | None: ...


class HasVectors(Protocol):
    """Scores by vectors."""

    def vectors(self) -> Scored | None: ...  # None: it does not, after all


class ScoresUsers(Protocol):
    """Scores the items for its own users."""

    def scorer(self) -> Scorer: ...


class ScoresRows(Protocol):
    """Scores the items by a user's items alone."""

    def row_scorer(self) -> RowScorer | None: ...  # None: it does not, after all


class RanksItself(Protocol):
    """Makes the lists itself: the k best items of ``users`` int64 [n], those left out that they have an edge to in ``seen`` (None: none)."""

    def ranked(self, seen: Graph | None, users: Tensor, k: int) -> Lists: ...


class Folds(Protocol):
    """Has a rule for the vectors of new nodes; what it needs beside them is computed when it is asked for."""

    @property
    def folding(self) -> Callable[..., Fold]: ...  # (**options) -> Fold


class TakesNew(KnowsIds, ScoresRows, Folds, Protocol):
    """What new users and items can be folded into: by ``row_scorer``, or by ``folding`` against the vectors."""

    def node_vectors(self) -> tuple[Tensor, Tensor]: ...  # (users [U, dim], items [I, dim]), float32

    def as_scored(self, vectors: Tensor) -> Tensor: ...  # rows as they enter a score

    def as_queries(
        self, users: Tensor, guessed: Tensor | None
    ) -> Tensor: ...  # users' rows, whose inner products with items' are the scores

    def as_answers(self, items: Tensor) -> Tensor: ...  # all items' rows

    def rows_of(self, side: Side, raw_ids: NDArray[Any], name: str) -> NDArray[Any]: ...  # internal ids

    def raw_items(self, ids: Tensor) -> NDArray[Any]: ...
