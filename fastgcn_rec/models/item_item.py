"""What models share that score a user by the row of his items: a function of it, most often linear, made without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.arguments import check_count
from ..core.graph import Graph
from ..core.tensors import check_range
from ..ranking.lists import SCORED_AT_ONCE, by_rows, joined
from ..ranking.protocols import RowScorer, Scorer
from .base import Recommender
from .saved import configured

Tensor = torch.Tensor
State = Mapping[str, Tensor]
_CHECKED_AT_ONCE = 1024  # rows


class ItemItem(Recommender):
    """A model s_u = r_u W with r_u the user's row of R and W [n_items, n_items], whether W is ever formed or not.

    It is made when it is constructed, without training, and takes new users as they are: their row through the same W. A user without
    items, whose row says nothing, gets the share of the users with items who have item i as his score of it. A subclass gives ``_make``, what is computed
    once and stays float32, ``_check``, which of a file it takes for that, and ``score_rows``.

    A constructor ends with ``self._keep(state)``: ``state``, what ``state_dict`` of an equal model holds, comes from :meth:`Recommender.load`
    and spares the making.

    Examples
    --------
    >>> class Together(ItemItem):
    ...     def __init__(self, data, *, state=None):
    ...         super().__init__(data)
    ...         self._keep(state)
    ...     def _make(self):
    ...         r = torch.from_numpy(self.graph.to("cpu").to_scipy().toarray())
    ...         return {"counts": (r.T @ r).to(self.graph.device)}
    ...     def config(self):
    ...         return {}
    ...     def score_rows(self, edges):
    ...         return torch.from_numpy(edges.to("cpu").to_scipy().toarray()) @ self.counts
    >>> Together(Graph.from_edges([0, 0, 1], [0, 1, 0])).recommend([1], k=1)[0].tolist()
    [[1]]
    >>> del Recommender.registry["Together"]
    """

    @torch.no_grad()
    def _keep(self, state: State | None) -> None:
        if state is not None:
            self._check(state)
        for name, tensor in (self._make() if state is None else state).items():
            self.register_buffer(name, tensor)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Recommender:
        """Moves to devices; the numbers keep the dtype that they were made in, whatever ``double()`` and the like ask for."""
        return super()._apply(in_own_dtype(fn), recurse)

    def _make(self) -> State:
        """The tensors that ``score_rows`` needs, on the graph's device."""
        raise NotImplementedError

    def score_rows(self, edges: Graph) -> Tensor:
        """Scores float32 [b, n_items] of users with these edges, a Graph [b, n_items]."""
        raise NotImplementedError

    def _check(self, state: State) -> None:
        """ValueError unless ``_make`` could have returned this; it comes from a file."""

    @classmethod
    def restored(cls, graph: Graph, config: dict[str, Any], state: dict[str, Tensor]) -> Recommender:
        return configured(cls, graph, config, state=state)

    def scorer(self) -> Scorer:
        return lambda ids: self._scored(self.graph.select_users(ids))

    def row_scorer(self) -> RowScorer:
        return self._scored

    @torch.no_grad()
    def _scored(self, edges: Graph) -> Tensor:
        scores, bare = self.score_rows(edges), edges.user_degree == 0
        if bool(bare.any()):
            known = int((self.graph.user_degree > 0).sum())
            scores[bare] = (self.graph.item_degree / max(known, 1)).to(scores)
        return scores

    def forward(self, edge_label_index: Tensor) -> Tensor:
        """Scores of pairs of nodes int64 [2, n], users first, items from n_users on."""
        return pair_scores(self, self._pairs(edge_label_index))

    def similar_items(
        self, items: Any, k: int = 20, among: Any = None, exclude: Any = None
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The k items that score highest for a user who has this item alone, itself left out: (raw ids [n, k], scores [n, k]), padded as
        :meth:`recommend` does. ``among`` and ``exclude`` as for :meth:`Ranker.similar_items`."""
        return neighbours_by_rows(self, self.score_rows, items, k, among, exclude)

    def similar_users(
        self, users: Any, k: int = 20, among: Any = None, exclude: Any = None
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        raise NotImplementedError(f"{type(self).__name__} scores by items and has no vectors of users to compare")

    def get_embedding(self) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} scores by items and has no vectors; use scorer()")


def in_own_dtype(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """What ``fn``, which a module applies to its tensors, does but to their dtype."""

    def kept(t: Tensor) -> Tensor:
        example = fn(t.new_empty(0))
        return fn(t) if example.dtype == t.dtype else t.to(example.device)

    return kept


def check_finite(who: str, made: State, options: Mapping[str, Any]) -> None:
    """ValueError where an option, or a weight of the graph, was so large or so small that what is made of it is beyond float32."""
    for tensor in made.values():
        if tensor.is_floating_point() and not all(
            bool(part.isfinite().all()) for part in tensor.split(_CHECKED_AT_ONCE)
        ):
            told = ", ".join(f"{name}={value}" for name, value in options.items())
            raise ValueError(
                f"{who}: what it scores by is beyond float32 with {told}; take smaller numbers, and weights of edges nearer to 1"
            )


@torch.no_grad()
def pair_scores(model: Recommender, pairs: Tensor) -> Tensor:
    """Scores of pairs of nodes int64 [2, n], by ``scorer``, of some users at a time."""
    users, place = pairs[0].unique(return_inverse=True)
    items, score = pairs[1] - model.n_users, model.scorer()
    check_range(f"{type(model).__name__}.forward", "edge_label_index, less n_users", items, model.n_items)
    result = torch.empty(len(items), device=items.device)
    for first in range(0, len(users), SCORED_AT_ONCE):
        own = torch.nonzero((place >= first) & (place < first + SCORED_AT_ONCE)).flatten()
        scores = score(users[first : first + SCORED_AT_ONCE])
        result[own] = scores[place[own] - first, items[own]]
    return result


@torch.no_grad()
def neighbours_by_rows(
    model: Recommender, score: RowScorer, items: Any, k: int, among: Any, exclude: Any
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """:meth:`ItemItem.similar_items` of whatever scores rows."""
    k, rows = check_count(k, "similar_items: k", 1), model.item_rows(items)
    graph = model.graph
    weight = None if graph.weight is None else np.ones(len(rows), np.float32)
    single = Graph.from_edges(np.arange(len(rows)), rows, len(rows), model.n_items, weight, device=graph.device)
    wanted = model.neighbour_filter("items", torch.from_numpy(rows), among, exclude)
    ids, scores = joined(by_rows(score, single, k, exclude_seen=False, wanted=wanted))
    return model.raw_items(ids), scores.cpu().numpy()
