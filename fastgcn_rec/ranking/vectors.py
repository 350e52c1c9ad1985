"""A pair of matrices, of users and of items, as something that ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.graph import Graph
from ..data import Dataset
from ..ops.retrieve import SIMILARITIES
from .matrices import as_matrix, distinct_ids
from .protocols import Fold
from .ranker import Ranker
from .ridge import ridge

Tensor = torch.Tensor


class Vectors(Ranker):
    """Vectors of users and items, wherever they come from, which recommend and are evaluated, indexed, exported and folded into as a model's are.

    A score is the inner product of a user's row and an item's, or the cosine. Rows stand as they are: nothing is guessed for nodes without an edge.

    Parameters
    ----------
    users, items : numbers [n_users, dim], [n_items, dim]
        Tensors, NumPy's arrays, anything with ``__array__`` or ``__dlpack__``; kept as float32 (not copied if they are), on the graph's device.
    graph : Graph or Dataset, optional
        The edges that users have, which recommendations leave out; a Dataset (its training edges) brings its raw ids too. Without one pass
        ``exclude_seen=False``, or ``exclude`` to :func:`fastgcn_rec.evaluate`.
    user_ids, item_ids : raw ids [n_users], [n_items], distinct; default: the Dataset's, or 0, 1, ...
    similarity : "dot" or "cosine"

    Raises
    ------
    ValueError : shapes that do not fit each other or the graph, a value that is not finite, ids that are too few, too many or repeated.
    TypeError : no real numbers; a graph of another kind.

    Examples
    --------
    >>> users, items = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    >>> ranker = Vectors(users, items, Graph.from_edges([0, 1], [0, 1], 2, 3), user_ids=["ann", "bob"], item_ids=["tea", "milk", "cake"])
    >>> ranker.recommend(["ann"], k=2)[0].tolist()
    [['cake', 'milk']]
    >>> ranker.recommend_new([["milk"]], k=1)[0].tolist()  # a user with milk alone
    [['cake']]
    """

    def __init__(
        self,
        users: Any,
        items: Any,
        graph: Graph | Dataset | None = None,
        *,
        user_ids: Any = None,
        item_ids: Any = None,
        similarity: str = "dot",
    ) -> None:
        if similarity not in SIMILARITIES:
            raise ValueError(f"Vectors: similarity must be one of {SIMILARITIES}, got {similarity!r}")
        of_users = as_matrix(users, "Vectors", "users")
        of_items = as_matrix(items, "Vectors", "items")
        if of_users.shape[1] != of_items.shape[1]:
            raise ValueError(
                f"Vectors: users and items must have as many columns, got {list(of_users.shape)} and {list(of_items.shape)}"
            )
        n_users, n_items = len(of_users), len(of_items)
        if isinstance(graph, Dataset):
            user_ids = graph.user_ids if user_ids is None else user_ids
            item_ids = graph.item_ids if item_ids is None else item_ids
            graph = graph.graph()
        if graph is not None and not isinstance(graph, Graph):
            raise TypeError(
                f"Vectors: graph must be a Graph or a Dataset, got {type(graph).__name__}; Graph(matrix) and Graph.from_edges(users, items) make a Graph"
            )
        if graph is not None and (graph.n_users, graph.n_items) != (n_users, n_items):
            raise ValueError(
                f"Vectors: users and items must have a row for each of the {graph.n_users} users and {graph.n_items} items of the graph, got "
                f"{list(of_users.shape)} and {list(of_items.shape)}; users are the first matrix, items the second"
            )
        device = of_users.device if graph is None else graph.device
        self.graph, self.similarity = graph, similarity
        self._users, self._items = of_users.to(device), of_items.to(device)
        self.given_ids = {"user_ids": user_ids, "item_ids": item_ids}
        self.has_raw_ids = user_ids is not None and item_ids is not None
        self.user_ids = _ids(user_ids, n_users, "user")
        self.item_ids = _ids(item_ids, n_items, "item")

    def node_vectors(self) -> tuple[Tensor, Tensor]:
        return self._users, self._items

    @torch.no_grad()
    def folding(self, reg: float = 0.3, unobserved: float = 0.02) -> Fold:
        """New nodes' vectors by ridge least squares against those of the other side: :meth:`fastgcn_rec.MF.folding`."""
        return ridge("Vectors", *self.scoring_vectors(), torch.float32, reg, unobserved)


def _ids(given: Any, n: int, what: str) -> NDArray[Any]:
    return np.arange(n) if given is None else distinct_ids(given, n, "Vectors", f"{what}_ids", what)
