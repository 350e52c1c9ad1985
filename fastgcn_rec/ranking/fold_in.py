"""Folding in: vectors and recommendations for users and items that a model was not trained on, without training."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from ..core.arguments import check_count
from ..core.graph import Graph
from ..core.ids import as_ids, codes_of, pair_keys, sorted_index
from ..ops.half_hop import Side as Side
from ..ops.retrieve import retrieve
from ..ops.topk import topk

Tensor = torch.Tensor
_SCORED_AT_ONCE = 512  # new users, with a score for every item each
Fold = Callable[[Graph, Side], Tensor]
"""(edges of n new nodes as a Graph [n, nodes of the other side], which side the new ones are on) -> vectors [n, dim]."""


class FoldIn:
    """A trained model, frozen to serve users and items that it has not seen.

    What does not depend on them is computed once, when this is made: a later training of the model is not seen. Then a new user costs
    O(edges * dim) and the scoring of the items. :meth:`Recommender.fold_in_users` and :meth:`Recommender.recommend_new` make one for each call.

    Parameters
    ----------
    model : Recommender
    calibrate : bool
        Multiply new vectors by one number a side, the c that minimises |Z - c F|^2 for the trained vectors Z of up to 1,024 of the graph's own nodes,
        evenly spaced by degree, and the vectors F that folding in gives them. Rankings of one user do not depend on it, but whether new items
        get among the old ones does (docs/retrieval.md).
    options : of the model's ``folding``; see :meth:`MF.folding` and :meth:`LightGCN.folding` for the formulas

    Examples
    --------
    >>> from fastgcn_rec import LightGCN
    >>> model = LightGCN(Graph.from_edges([0, 0, 1, 1], [0, 1, 1, 2]), embedding_dim=8)
    >>> fold = FoldIn(model)
    >>> fold.users([[0, 1], [2]]).shape
    torch.Size([2, 8])
    >>> fold.recommend([[0, 1]], k=1)[0].tolist()
    [[2]]
    """

    @torch.no_grad()
    def __init__(self, model: Any, *, calibrate: bool = False, **options: Any) -> None:
        self.model = model
        self._index = {"users": sorted_index(model.user_ids), "items": sorted_index(model.item_ids)}
        self._score = model.row_scorer()
        if self._score is not None:
            if calibrate or options:
                given = ", ".join(["calibrate"] * calibrate + list(options))
                raise TypeError(
                    f"FoldIn: {type(model).__name__} scores by a user's items and takes no options, got {given}"
                )
            return
        self._fold = model.folding(**options)
        users, items = model._vectors()
        self._items, self._typical = model.as_scored(items).contiguous(), model.typical_user(users)
        self._scale = {"users": 1.0, "items": 1.0}
        if calibrate:
            edges, trained = model.graph.to_scipy(), model.get_embedding().split([model.n_users, model.n_items])
            self._scale["users"] = self._fit_scale("users", edges, trained[0])
            self._scale["items"] = self._fit_scale("items", edges.T.tocsr(), trained[1])

    def users(self, user_items: Any) -> Tensor:
        """Vectors [n, dim] of new users; see :meth:`Recommender.fold_in_users`."""
        return self._vectors(self._edges(user_items, "items"), "users")

    def items(self, item_users: Any) -> Tensor:
        """Vectors [n, dim] of new items; see :meth:`Recommender.fold_in_items`."""
        return self._vectors(self._edges(item_users, "users"), "items")

    @torch.no_grad()
    def recommend(
        self, user_items: Any, k: int = 20, exclude_seen: bool = True
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The k best items of each new user; see :meth:`Recommender.recommend_new`."""
        k = check_count(k, "recommend_new: k", 1)
        edges = self._edges(user_items, "items")
        if self._score is not None:
            ids, scores = self._rank(self._score, edges, k, exclude_seen)
            return self.model.raw_items(ids), scores.cpu().numpy()
        vectors = self.model.as_scored(self._vectors(edges, "users").float())
        ids, scores = retrieve(vectors, self._items, k, edges if exclude_seen else None)
        return self.model.raw_items(ids), scores.cpu().numpy()

    def _rank(
        self, score: Callable[[Graph], Tensor], edges: Graph, k: int, exclude_seen: bool
    ) -> tuple[Tensor, Tensor]:
        lists = []
        for block in torch.arange(edges.n_users, device=edges.device).split(_SCORED_AT_ONCE):
            rows = edges.select_users(block)
            lists.append(topk(edges, score(rows), k, block if exclude_seen else None))
        return torch.cat([ids for ids, _ in lists]), torch.cat([scores for _, scores in lists])

    @torch.no_grad()
    def _vectors(self, edges: Graph, side: Side) -> Tensor:
        if self._score is not None:
            raise NotImplementedError(
                f"{type(self.model).__name__} scores by a user's items and has no vectors to fold in; use recommend_new()"
            )
        vectors = self._fold(edges, side) * self._scale[side]
        if side == "items":
            return vectors
        return self.model.with_guesses(vectors, edges.user_degree == 0, self._typical.to(vectors))

    def _fit_scale(self, side: Side, edges: Any, trained: Tensor) -> float:
        """<Z, F> / <F, F> of the nodes that calibrate."""
        degree = np.diff(edges.indptr)
        nodes = np.argsort(-degree, kind="stable")[: int((degree > 0).sum())]
        nodes = nodes[:: max(1, -(-len(nodes) // 1024))]
        graph = self.model.graph
        folded = self._fold(Graph(edges[nodes], weighted=graph.weight is not None).to(graph.device), side)
        own = trained[torch.from_numpy(nodes).to(graph.device)]
        z, f = (t.double().cpu().numpy() for t in (own, folded))  # torch would share out the sum among its threads
        norm = float(np.square(f).sum())
        return float((z * f).sum()) / norm if norm else 1.0

    def _edges(self, given: Any, others: Side) -> Graph:
        return edges_of_new(self.model, given, others, self._index[others])


def edges_of_new(
    model: Any, given: Any, others: Side, index: tuple[NDArray[np.int64], NDArray[Any]] | None = None
) -> Graph:
    """The new nodes' edges as a graph: a row for each of them, columns as the model numbers the other side, whose ids ``index`` sorts."""
    name = "user_items" if others == "items" else "item_users"
    order, ordered = index or sorted_index(getattr(model, f"{others[:-1]}_ids"))
    graph = model.graph
    if sp.issparse(given):
        if given.ndim != 2 or given.shape[1] != ordered.size:
            raise ValueError(
                f"{name} must have shape [n, n_{others}] = [n, {ordered.size}], columns in the order of model.{others[:-1]}_ids, "
                f"got {list(given.shape)}"
            )
        return Graph(given, weighted=graph.weight is not None).to(graph.device)
    rows = list(given) if hasattr(given, "__iter__") and not isinstance(given, str) else None
    if rows is None or any(isinstance(row, str) or not hasattr(row, "__len__") for row in rows):
        raise TypeError(
            f"{name} must be a SciPy sparse matrix [n, n_{others}] or n lists of raw ids, one for each new {name[:4]}, got "
            f"{given!r:.80}; for a single one pass [[id, id, ...]]"
        )
    flat = as_ids(list(itertools.chain.from_iterable(rows)), name)
    columns = order[codes_of(flat, ordered, name, f"{others} of the model")]
    new = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    weight = None
    if graph.weight is not None:
        # Graph adds up the weights of a repeated pair, and a list says no more than that there is one
        _, first = np.unique(pair_keys(new, columns, len(rows), ordered.size), return_index=True)
        new, columns, weight = new[first], columns[first], np.ones(len(first), np.float32)
    return Graph.from_edges(new, columns, len(rows), ordered.size, weight).to(graph.device)
