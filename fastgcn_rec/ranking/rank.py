"""Whatever ranks, as a Ranker: the one place that says what may stand where a model is taken."""

from __future__ import annotations

from typing import Any

import torch

from ..core.graph import Graph
from ..data import Dataset
from .lists import SCORED_AT_ONCE, checked
from .matrices import distinct_ids
from .protocols import Lists, RanksItself, Scorer
from .ranker import Ranker
from .vectors import Vectors

Tensor = torch.Tensor


def as_ranker(model: Any, graph: Graph | Dataset | None = None, who: str = "as_ranker") -> Ranker:
    """What :func:`fastgcn_rec.evaluate`, :class:`fastgcn_rec.Indexed` and all that take a model make of one.

    Parameters
    ----------
    model : one of these, told apart by what it has
        - a :class:`Ranker`, such as a model of this package or :class:`fastgcn_rec.Vectors`: itself
        - an object with ``ranked()``, ``vectors()`` or ``scorer()`` (``ranking/protocols.py``)
        - a pair (users, items) of matrices [n_users, dim], [n_items, dim], whose inner products are the scores
        - ``user_factors`` and ``item_factors``, as implicit's factorizations have (a BPR's bias is a column of these)
        - ``get_embedding(edge_index)``, as ``torch_geometric.nn.LightGCN`` has, of a graph whose users come first; needs ``graph``
        - a callable from internal user ids int64 [b] to scores [b, n_items], a tensor or a NumPy array; needs ``graph``
    graph : Graph or Dataset, optional
        The edges that users have; a Dataset brings its raw ids too. A model with a graph of its own keeps that.
    who : what is named in errors

    Raises
    ------
    TypeError : none of these. ValueError : it needs a graph; shapes that do not fit; not fitted yet.

    Examples
    --------
    >>> import numpy as np
    >>> ranker = as_ranker((np.eye(2), np.array([[3.0, 0.0], [0.0, 2.0]])), Graph.from_edges([0], [1], 2, 2))
    >>> ranker.recommend([0, 1], k=1)[0].tolist()
    [[0], [1]]
    """
    if isinstance(model, Ranker):
        return _with_graph(model, graph) if isinstance(model, Vectors) and model.graph is None else model
    if isinstance(model, type):
        raise TypeError(f"{who}: model must be an object, got the class {model.__name__}; make one of it")
    graph = own_graph(model) or graph
    ids = {side: getattr(model, side, None) for side in ("user_ids", "item_ids")}
    if _can(model, "ranked"):
        return ListsOf(model, graph, who, **ids)
    vectors = model.vectors() if _can(model, "vectors") else None
    if vectors is not None:
        if not isinstance(vectors, (tuple, list)) or len(vectors) != 3:
            got = f"a {type(vectors).__name__}" + (f" of {len(vectors)}" if isinstance(vectors, (tuple, list)) else "")
            raise TypeError(
                f"{who}: {type(model).__name__}.vectors() must return (users, items, similarity) or None, got {got}"
            )
        users, items, similarity = vectors
        return Vectors(users, items, graph, similarity=similarity, **ids)
    if _can(model, "scorer"):
        score = model.scorer()
        if not callable(score):
            raise TypeError(
                f"{who}: {type(model).__name__}.scorer() must return a function from user ids to scores, got {type(score).__name__}"
            )
        return Scores(score, graph, who, **ids)
    if isinstance(model, (tuple, list)):
        if len(model) != 2:
            raise TypeError(f"{who}: of matrices a model is the pair (users, items), got {len(model)} of them")
        users, items = model
        return Vectors(users, items, graph)
    if hasattr(model, "user_factors") and hasattr(model, "item_factors"):
        return Vectors(_factors(model, "user", who), _factors(model, "item", who), graph)
    if _can(model, "get_embedding") and hasattr(model, "num_nodes"):
        users, items = _embedded(model, graph, who)
        return Vectors(users, items, graph)
    if callable(model):
        return Scores(model, graph, who)
    raise TypeError(
        f"{who}: model must be a model of fastgcn_rec, a pair (users, items) of matrices, an object with user_factors and item_factors (implicit's), "
        f"with get_embedding(edge_index) (torch_geometric's LightGCN) or with scorer(), or a function from user ids to scores, got {type(model).__name__}"
    )


def ranked(
    model: Any, graph: Graph, users: Tensor, k: int, exclude_seen: bool = True, batch_users: int = SCORED_AT_ONCE
) -> Lists:
    """(users [b], ids [b, k], scores [b, k]), block by block, for internal user ids int64 [n].

    ``model`` is anything that :func:`as_ranker` takes. What has vectors is ranked by :func:`fastgcn_rec.retrieve`, any other by its scores,
    ``batch_users`` rows of them at a time, or as its own ``ranked(seen, users, k)`` says. Items
    that a user has in ``graph`` are left out, unless ``exclude_seen`` is False. Errors of :func:`as_ranker`.

    Examples
    --------
    >>> graph, users = Graph.from_edges([0], [0], n_items=4), torch.tensor([0])
    >>> [ids.tolist() for _, ids, _ in ranked(lambda users: torch.tensor([[9.0, 2.0, 3.0, 4.0]]), graph, users, 2)]
    [[[3, 2]]]
    """
    return as_ranker(model, graph, "ranked").ranked(graph if exclude_seen else None, users, k, batch_users)


def own_graph(model: Any) -> Graph | Dataset | None:
    """The edges that a model knows itself, whatever else it calls ``graph``."""
    own = getattr(model, "graph", None)
    return own if isinstance(own, (Graph, Dataset)) else None


def _can(model: Any, name: str) -> bool:
    return callable(getattr(model, name, None))


def _with_graph(model: Vectors, graph: Graph | Dataset | None) -> Vectors:
    if graph is None:
        return model
    users, items = model.node_vectors()
    return Vectors(users, items, graph, similarity=model.similarity, **model.given_ids)


def _factors(model: Any, side: str, who: str) -> Any:
    factors = getattr(model, f"{side}_factors")
    if factors is None:
        raise ValueError(f"{who}: {type(model).__name__}.{side}_factors is None; fit it first")
    return factors.to_numpy() if hasattr(factors, "to_numpy") else factors  # implicit's, on a GPU


@torch.no_grad()
def _embedded(model: Any, graph: Graph | Dataset | None, who: str) -> tuple[Tensor, Tensor]:
    """What a model of nodes makes of the edges, in both directions as torch_geometric has them, with the graph's weights if it has any."""
    data = _data_for(model, graph, who)
    edges = data.graph() if isinstance(data, Dataset) else data
    if model.num_nodes != edges.n_nodes:
        raise ValueError(
            f"{who}: {type(model).__name__} has {model.num_nodes} nodes, and the graph {edges.n_users} users and {edges.n_items} items, which makes "
            f"{edges.n_nodes}; pass the graph that it was trained on"
        )
    device = (
        next((p.device for p in model.parameters()), edges.device) if hasattr(model, "parameters") else edges.device
    )
    users, items = (t.to(device) for t in edges.edges())
    both = torch.stack([torch.cat([users, items + edges.n_users]), torch.cat([items + edges.n_users, users])])
    weight = () if edges.weight is None else (edges.weight.to(device).repeat(2),)
    of_users, of_items = model.get_embedding(both, *weight).split([edges.n_users, edges.n_items])
    return of_users, of_items


def _data_for(model: Any, graph: Graph | Dataset | None, who: str) -> Graph | Dataset:
    if graph is None:
        raise ValueError(
            f"{who}: {getattr(model, '__name__', type(model).__name__)} is ranked with a graph, and there is none; pass "
            "fastgcn_rec.ranking.as_ranker(model, graph)"
        )
    return graph


class _OfGraph(Ranker):
    """A ranker of a graph's users and items."""

    similarity = "dot"

    def __init__(
        self, model: Any, graph: Graph | Dataset | None, who: str, user_ids: Any = None, item_ids: Any = None
    ) -> None:
        self._know(_data_for(model, graph, who))
        if user_ids is not None:
            self.user_ids = distinct_ids(user_ids, self.n_users, who, "user_ids", "user")
        if item_ids is not None:
            self.item_ids = distinct_ids(item_ids, self.n_items, who, "item_ids", "item")
        self.has_raw_ids = self.has_raw_ids or (user_ids is not None and item_ids is not None)
        self.model = model


class Scores(_OfGraph):
    """A function that scores."""

    def scorer(self) -> Scorer:
        score: Scorer = self.model
        return score


class ListsOf(_OfGraph):
    """An object that ranks itself."""

    def ranked(self, seen: Graph | None, users: Tensor, k: int, batch_users: int = SCORED_AT_ONCE) -> Lists:
        model: RanksItself = self.model
        return checked(model.ranked(seen, users, k), users, k, self.n_items, f"{type(model).__name__}.ranked")
