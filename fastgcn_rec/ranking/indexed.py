"""A model whose items are found through an index."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.graph import Graph
from .filters import Filter
from .index import Index, Kind
from .lists import by_vectors
from .protocols import Fold, Folds, Lists
from .rank import as_ranker
from .ranker import Ranker

Tensor = torch.Tensor
_SEARCHED_AT_ONCE = 4096  # users
_EXACT_BELOW = 2  # one item in so many: an index would have to find twice as many as are wanted


class Indexed(Ranker):
    """A model whose items are found through an :class:`Index`; stands where a model is ranked: ``recommend``, ``evaluate``, ``TwoStage``.

    Vectors are the model's when this is made; they do not follow it. What the index does not find is missing in lists. Neighbours
    (``similar_items``) and new users (``recommend_new``, by the model's ``folding``) are looked for among all vectors.

    Parameters
    ----------
    model : Recommender with vectors, such as MF, LightGCN, or anything with vectors that :func:`fastgcn_rec.ranking.as_ranker` takes
    kind, options : of :meth:`Index.build`

    Attributes
    ----------
    model, graph ; index : Index of the items

    Raises
    ------
    TypeError : a model that does not score by vectors. Those of :meth:`Index.build`.

    Examples
    --------
    >>> from fastgcn_rec import MF
    >>> model = MF(Graph.from_edges([0, 0, 1], [0, 1, 1]), 4)
    >>> indexed = Indexed(model)  # kind="faiss" for an approximate index
    >>> bool((indexed.recommend([0, 1], k=1)[0] == model.recommend([0, 1], k=1)[0]).all())
    True
    """

    def __init__(self, model: Any, kind: Kind = "exact", **options: Any) -> None:
        self.model = model = as_ranker(model, who="Indexed")
        if model.vectors() is None:
            raise TypeError(
                f"Indexed: {type(model).__name__} does not score by vectors, so that no index can hold them"
            )
        self._vectors, self._bias = model.scoring_vectors(), model.item_bias()
        self.index = Index.build(self._vectors[1], kind, ids=model.item_ids, **options)
        self._queries = self._vectors[0].cpu().numpy()
        self.graph, self.similarity = model.graph, model.similarity
        self.user_ids, self.item_ids, self.has_raw_ids = model.user_ids, model.item_ids, model.has_raw_ids

    def node_vectors(self) -> tuple[Tensor, Tensor]:
        """As they enter a score, without what is the items' alone."""
        if self._bias is None:
            return self._vectors
        users, items = self._vectors
        return users[:, :-1], items[:, :-1]

    def item_bias(self) -> Tensor | None:
        return self._bias

    def scoring_vectors(self) -> tuple[Tensor, Tensor]:
        return self._vectors

    def folding(self, **options: Any) -> Fold:
        """The model's."""
        model: Folds = self.model
        return model.folding(**options)

    def recall(self, users: Any, k: int = 20, exclude_seen: bool = True) -> float:
        """:meth:`Index.recall` for these users: the share of their exact k best that :meth:`recommend` finds."""
        rows = self.user_rows(users)
        return self.index.recall(self._queries[rows], k, _own(self.graph_for("recall"), rows) if exclude_seen else None)

    def ranked(self, seen: Graph | None, users: Tensor, k: int, batch_users: int = _SEARCHED_AT_ONCE) -> Lists:
        """(users [b], internal item ids [b, k], scores [b, k]), block by block, for :func:`fastgcn_rec.evaluate`."""
        return self.filtered(seen, users, k, Filter(self.n_items))

    def filtered(self, seen: Graph | None, users: Tensor, k: int, wanted: Filter) -> Lists:
        """:meth:`ranked` among what is ``wanted``: users' own items, and few ones, are ranked exactly, without the index."""
        few = wanted.within is not None and _EXACT_BELOW * len(wanted.within) < self.n_items
        if wanted.only is not None or few:
            yield from by_vectors((*self._vectors, "dot"), seen, users, k, wanted)
            return
        lists = wanted.leaving_out(seen, users)
        for part in lists.parts(len(users), _SEARCHED_AT_ONCE):
            block, left = users[part], lists.left_out(part)
            ids, scores = self.index.positions(
                self._queries[block.cpu().numpy()], k, None if left is None else left.to("cpu").to_scipy(), lists.within
            )
            yield block, torch.from_numpy(ids).to(block.device), torch.from_numpy(scores).to(block.device)


def _own(graph: Graph, rows: NDArray[np.int64]) -> Any:
    return graph.to("cpu").to_scipy()[rows]
