"""What is to be found, by what ranks, and what is left out of its lists."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from ..core.graph import Graph
from ..core.grown import with_edges
from ..data import Dataset, Edges
from ..data.dataset import Part
from .rank import as_ranker, own_graph
from .ranker import Ranker
from .same_data import check_same_data, check_same_ids


def known_edges(model: Any, test: Any, exclude: Graph | None, part: Part) -> Graph:
    """The edges that count as seen: those that are given, the model's own, or the training ones of a Dataset."""
    whole = test if isinstance(test, Dataset) else None
    if whole is None and part != "test":
        raise ValueError(
            f"evaluate: part={part!r} is of a Dataset, got {type(test).__name__}; pass the Dataset, or leave part out"
        )
    known = exclude
    if exclude is None:
        own = own_graph(model) or whole
        known = own.graph() if isinstance(own, Dataset) else own
        if known is None:
            raise ValueError("evaluate: pass exclude=Graph(...), the edges that count as seen; a plain scorer has none")
    if not isinstance(known, Graph):
        raise TypeError(
            f"evaluate: exclude must be a Graph, got {type(exclude).__name__}; dataset.graph(), Graph(matrix) and Graph.from_edges make one"
        )
    return known


def of_part(data: Dataset, name: Part, known: Graph) -> tuple[Edges, Graph]:
    """The edges of this part, and what is left out when it is to be found; ``known``: the model's edges, or the training ones."""
    edges = data.part(name)
    if name == "train":
        return edges, Graph.from_edges([], [], known.n_users, known.n_items, device=known.device)
    valid = [torch.from_numpy(side).long().to(known.device) for side in (data.valid.users, data.valid.items)]
    if not len(data.valid):
        return edges, known
    return edges, with_edges(known, *valid) if name == "test" else known.without_edges(*valid)


def ranker_for(model: Any, test: Any, exclude: Graph) -> Ranker:
    """The model as a ranker, of the data set that it is to be evaluated on."""
    knows_edges = own_graph(model) is not None
    if isinstance(test, Dataset) and not knows_edges:
        _check_sizes(exclude, test, test.name)
    ranker = as_ranker(model, exclude, "evaluate")
    if isinstance(test, Dataset) and knows_edges:
        check_same_data("evaluate", ranker, test, part=True)
    _check_sizes(exclude, ranker, "the model")
    return ranker


def _check_sizes(exclude: Graph, of: Dataset | Ranker, name: str) -> None:
    if (of.n_users, of.n_items) != (exclude.n_users, exclude.n_items):
        raise ValueError(
            f"evaluate: exclude must be [n_users, n_items] = [{of.n_users}, {of.n_items}] as {name} is, got "
            f"[{exclude.n_users}, {exclude.n_items}]"
        )


def relevant_edges(ranker: Ranker, test: Any, exclude: Graph) -> Graph:
    """The edges to be found."""
    if isinstance(test, Edges):
        check_same_ids("evaluate", ranker, test.ids, "test")
        test = _graph_of(test, exclude)
    elif sp.issparse(test):
        test = Graph(test)
    elif not isinstance(test, Graph):
        raise TypeError(
            "evaluate: test must be Edges (such as dataset.test), a Dataset, a Graph or a SciPy sparse matrix [n_users, n_items], got "
            f"{type(test).__name__}; for arrays of internal ids write Edges(users, items)"
        )
    if (test.n_users, test.n_items) != (exclude.n_users, exclude.n_items):
        raise ValueError(
            f"evaluate: test must be [n_users, n_items] = [{exclude.n_users}, {exclude.n_items}] as exclude is, got "
            f"[{test.n_users}, {test.n_items}]"
        )
    return test.to(exclude.device)


_KEPT_MOST = 1 << 24  # edges, which are compared with those that came before


class _Made(NamedTuple):
    """A graph, and the edges that it was made of, copied."""

    graph: Graph
    users: NDArray[np.int32]
    items: NDArray[np.int32]


_MADE: WeakKeyDictionary[Edges, _Made] = WeakKeyDictionary()


def _graph_of(edges: Edges, like: Graph) -> Graph:
    """These edges between as many users and items, where ``like`` lies. Kept as long as the edges, for who trains evaluates by the same ones after every
    epoch, and on a GPU making the graph takes about as long as ranking; of edges that were written to it is made anew."""
    made = _MADE.get(edges)
    if made is not None:
        of = made.graph
        fits = (of.n_users, of.n_items, of.device) == (like.n_users, like.n_items, like.device)
        if fits and np.array_equal(made.users, edges.users) and np.array_equal(made.items, edges.items):
            return of
    with torch.inference_mode(False):
        graph = Graph.from_edges(edges.users, edges.items, like.n_users, like.n_items, device=like.device)
    if len(edges) <= _KEPT_MOST:
        _MADE[edges] = _Made(graph, edges.users.copy(), edges.items.copy())
    return graph
