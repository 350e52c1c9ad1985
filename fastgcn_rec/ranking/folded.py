"""Folding in: vectors and recommendations for users and items that nothing was trained on, without training."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, overload

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from ..core.arguments import check_count, check_flag
from ..core.frames import FrameKind, check_frame_kind, to_frame
from ..core.graph import Graph, Side
from ..core.ids import pair_keys
from ..ops.dense import dense
from .asked import Asked, flattened, in_plain, lists_in
from .guesses import typical_user, with_guesses
from .lists import best_of, by_rows, columns_of, joined, padded
from .protocols import TakesNew

Tensor = torch.Tensor


class Folded:
    """What :class:`fastgcn_rec.FoldIn` is made of, for what has the protocols."""

    @torch.no_grad()
    def __init__(self, model: TakesNew, *, calibrate: bool = False, **options: Any) -> None:
        self.model = model
        self._score = model.row_scorer()
        if self._score is not None:
            if calibrate or options:
                given = ", ".join(["calibrate"] * calibrate + list(options))
                raise TypeError(
                    f"FoldIn: {type(model).__name__} scores by a user's items and takes no options, got {given}"
                )
            return
        self._fold = model.folding(**options)
        users, items = model.node_vectors()
        self._items, self._typical = (
            model.as_answers(items).contiguous(),
            typical_user(users, model.graph, model.as_scored),
        )
        self._scale = {"users": 1.0, "items": 1.0}
        if calibrate:
            if model.graph is None:
                raise ValueError(
                    f"FoldIn: calibrate=True compares vectors of nodes with what their edges fold to, and this {type(model).__name__} has no "
                    "graph; give it one, or leave calibrate at False"
                )
            edges = model.graph.to_scipy()
            self._scale["users"] = self._fit_scale("users", model.graph, edges, users)
            self._scale["items"] = self._fit_scale("items", model.graph, edges.T.tocsr(), items)

    def users(self, user_items: Any) -> Tensor:
        """Vectors [n, dim] of new users; see :meth:`Recommender.fold_in_users`."""
        return self._vectors(self._edges(user_items, "items"), "users")

    def items(self, item_users: Any) -> Tensor:
        """Vectors [n, dim] of new items; see :meth:`Recommender.fold_in_items`."""
        return self._vectors(self._edges(item_users, "users"), "items")

    @overload
    def recommend(
        self,
        user_items: Any,
        k: int = ...,
        exclude_seen: bool = ...,
        items: Any = ...,
        exclude: Any = ...,
        as_frame: Literal[False] = ...,
    ) -> tuple[NDArray[Any], NDArray[np.float32]]: ...

    @overload
    def recommend(
        self,
        user_items: Any,
        k: int = ...,
        exclude_seen: bool = ...,
        items: Any = ...,
        exclude: Any = ...,
        *,
        as_frame: FrameKind | Literal[False],
    ) -> Any: ...

    @torch.no_grad()
    def recommend(
        self,
        user_items: Any,
        k: int = 20,
        exclude_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        as_frame: FrameKind | Literal[False] = False,
    ) -> Any:
        """The k best items of each new user; see :meth:`Recommender.recommend_new`."""
        who, k = "recommend_new", check_count(k, "recommend_new: k", 1)
        if as_frame is not False:
            check_frame_kind(as_frame, f"{who}: as_frame")
        exclude_seen = check_flag(exclude_seen, f"{who}: exclude_seen")
        model, edges = self.model, self._edges(user_items, "items")
        n, width = edges.n_users, max(1, min(k, edges.n_items))
        wanted = Asked(who, n, model.item_ids, partial(model.rows_of, "items")).filter(items, exclude)
        if self._score is not None:
            ids, best = joined(by_rows(self._score, edges, width, exclude_seen, wanted))
        else:
            vectors = self._queries(edges)
            lists = wanted.leaving_out(edges if exclude_seen else None)
            ids, best = best_of(vectors, self._items, width, lists, slice(0, n))
        scores = best.cpu().numpy()
        if as_frame is False:
            ids, scores = padded(ids, scores, k)
            return model.raw_items(ids), scores
        return to_frame(columns_of(np.arange(n), model.item_ids, ids, scores), as_frame)

    @torch.no_grad()
    def scores(self, edges: Graph) -> Tensor:
        """Scores float32 [n, n_items] of new users by their edges, a Graph [n, n_items]."""
        if self._score is not None:
            return self._score(edges)
        return dense(self._queries(edges), self._items)

    def _queries(self, edges: Graph) -> Tensor:
        return self.model.as_queries(self._vectors(edges, "users").float(), edges.user_degree == 0)

    @torch.no_grad()
    def _vectors(self, edges: Graph, side: Side) -> Tensor:
        if self._score is not None:
            raise NotImplementedError(
                f"{type(self.model).__name__} scores by a user's items and has no vectors to fold in; use recommend_new()"
            )
        vectors = self._fold(edges, side) * self._scale[side]
        if side == "items":
            return vectors
        return with_guesses(vectors, edges.user_degree == 0, self._typical.to(vectors))

    def _fit_scale(self, side: Side, graph: Graph, edges: Any, trained: Tensor) -> float:
        """<Z, F> / <F, F> of the nodes that calibrate."""
        degree = np.diff(edges.indptr)
        nodes = np.argsort(-degree, kind="stable")[: int((degree > 0).sum())]
        nodes = nodes[:: max(1, -(-len(nodes) // 1024))]
        folded = self._fold(Graph(edges[nodes], weighted=graph.weight is not None).to(graph.device), side)
        own = trained[torch.from_numpy(nodes).to(graph.device)]
        z, f = (t.double().cpu().numpy() for t in (own, folded))  # torch would share out the sum among its threads
        norm = float(np.square(f).sum())
        return float((z * f).sum()) / norm if norm else 1.0

    def _edges(self, given: Any, others: Side) -> Graph:
        edges = edges_of_new(self.model, given, others)
        return edges if self._score is not None else edges.to(self._items.device)


def edges_of_new(model: TakesNew, given: Any, others: Side) -> Graph:
    """The new nodes' edges as a graph: a row for each of them, columns as the model numbers the other side."""
    name = "user_items" if others == "items" else "item_users"
    n_others = len(model.item_ids if others == "items" else model.user_ids)
    weighted = model.graph is not None and model.graph.weight is not None
    device = torch.device("cpu") if model.graph is None else model.graph.device
    if sp.issparse(given):
        if given.ndim != 2 or given.shape[1] != n_others:
            raise ValueError(
                f"{name} must have shape [n, n_{others}] = [n, {n_others}], columns in the order of model.{others[:-1]}_ids, "
                f"got {list(given.shape)}"
            )
        return Graph(given, weighted=weighted).to(device)
    plain = in_plain(given, name)
    rows = plain if isinstance(plain, list) and not plain else lists_in(plain, name)
    if rows is None:
        raise TypeError(
            f"{name} must be a SciPy sparse matrix [n, n_{others}] or n lists of raw ids, one for each new {name[:4]}, got "
            f"{given!r:.80}; for a single one pass [[id, id, ...]]"
        )
    new, flat = flattened(rows, name)
    columns = model.rows_of(others, flat, name)
    weight = None
    if weighted:
        # Graph adds up the weights of a repeated pair, and a list says no more than that there is one
        _, first = np.unique(pair_keys(new, columns, len(rows), n_others), return_index=True)
        new, columns, weight = new[first], columns[first], np.ones(len(first), np.float32)
    return Graph.from_edges(new, columns, len(rows), n_others, weight, device=device)
