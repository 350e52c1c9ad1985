"""Neighbourhoods of items and of users, found by what they have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from ..algorithms.nearest_rows import (
    COSINES,
    DAMPED,
    PRODUCT,
    SIMILARITIES,
    Likeness,
    Similarity,
    SimilarRows,
    nearest_rows,
)
from ..core.arguments import check_count, check_numbers
from ..core.graph import Graph
from ..core.ids import ids_at
from ..data import Dataset
from ..ranking.lists import SCORED_AT_ONCE, by_scores, joined
from .item_item import ItemItem, State
from .space import Tunable
from .sparse_items import SparseItems

Tensor = torch.Tensor
_PAIRS = 1 << 26  # of users compared at once
_BM25 = ("similarity", ("bm25",))
_SPACE = (
    Tunable("neighbours", 20, 1000, log=True),
    Tunable("similarity", choices=SIMILARITIES),
    Tunable("shrinkage", choices=(0.0, 3.0, 10.0, 30.0, 100.0, 300.0), when=("similarity", DAMPED)),
    Tunable("asymmetry", 0.0, 1.0, when=("similarity", COSINES)),
    Tunable("k1", 0.1, 100.0, log=True, when=_BM25),
    Tunable("b", 0.0, 1.0, when=_BM25),
)


def _checked(who: str, kind: Any, **numbers: Any) -> Similarity:
    if kind not in SIMILARITIES:
        raise ValueError(f"{who}: similarity must be one of {SIMILARITIES}, got {kind!r}")
    shrinkage, k1, b, asymmetry = check_numbers(who, **numbers)
    if not 0 <= shrinkage < math.inf:
        raise ValueError(f"{who}: shrinkage must be >= 0 and finite, got {shrinkage}")
    if shrinkage > 0 and kind not in DAMPED:
        raise ValueError(f"{who}: shrinkage must be 0 for similarity={kind!r}, got {shrinkage}; it is for {DAMPED}")
    if not (0 <= k1 < math.inf and 0 <= b <= 1):
        raise ValueError(f"{who}: k1 must be >= 0 and finite, b in [0, 1], got {k1} and {b}")
    if not 0 <= asymmetry <= 1:
        raise ValueError(f"{who}: asymmetry must lie in [0, 1], got {asymmetry}")
    if asymmetry != 0.5 and kind not in COSINES:
        raise ValueError(f"{who}: asymmetry must be 0.5 for similarity={kind!r}, got {asymmetry}; it is for {COSINES}")
    return Similarity(kind, shrinkage, k1, b, asymmetry)


class Neighbours(ItemItem):
    """What :class:`ItemKNN` and :class:`UserKNN` share: how many rows of R are neighbours, and what makes them alike."""

    def __init__(
        self,
        data: Dataset | Graph,
        neighbours: int = 100,
        similarity: str = "cosine",
        shrinkage: float = 0.0,
        k1: float = 1.2,
        b: float = 0.75,
        asymmetry: float = 0.5,
        *,
        state: State | None = None,
    ) -> None:
        super().__init__(data)
        name = type(self).__name__
        self.neighbours = check_count(neighbours, f"{name}: neighbours", 1)
        self.compared = _checked(name, similarity, shrinkage=shrinkage, k1=k1, b=b, asymmetry=asymmetry)
        self._keep(state)

    def config(self) -> dict[str, Any]:
        """The options that matter."""
        of = self.compared
        own: dict[str, Any] = {"neighbours": self.neighbours, "similarity": of.kind, "shrinkage": of.shrinkage}
        own |= {"k1": of.k1, "b": of.b} if of.kind == "bm25" else {}
        return own | ({"asymmetry": of.asymmetry} if of.asymmetry != 0.5 else {})


class ItemKNN(Neighbours, SparseItems):
    """Item-based nearest neighbours (Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms").

    W_ij = sim(i, j) for the ``neighbours`` most similar i of each j, those above 0, with x_i the item's column of R:

    - cosine: <x_i, x_j> / (|x_i|^2a |x_j|^2(1-a) + shrinkage), a = ``asymmetry`` (Aiolli 2013, "Efficient top-N recommendation for very large scale binary
      rated datasets"): 1/2 is the cosine; the more, the less popular j are held back
    - jaccard: n_ij / (n_i + n_j - n_ij + shrinkage), n_ij = number of users who have both; weights do not enter
    - tfidf: the same of columns whose value of user u is sqrt(R_ui) idf_u, idf_u = log n_items - log(1 + number of u's items)
    - bm25: the inner product of columns whose value of user u is R_ui (k1 + 1) / (k1 (1 - b + b l_i) + R_ui) idf_u, l_i = the column's sum over
      the mean one; this and tfidf as the library implicit has them
    - sapling: B_ij / sum_h |B_hj| over all items h, with B the Sapling similarity (Albora et al. 2023, "Sapling Similarity: a performing and
      interpretable memory-based tool for recommendation", eq. 3): how much purer the users who have j, and those who have not, are in having i than all users
      are, by Gini's impurity; below 0 where they have fewer in common than by chance. With N users

      B_ij = sign(n_ij N / (n_i n_j) - 1) (1 - (n_ij (1 - n_ij / n_j) + (n_i - n_ij) (1 - (n_i - n_ij) / (N - n_j))) / (n_i (1 - n_i / N)))

    ``shrinkage`` damps what few users say (Bell and Koren 2007, "Improved neighborhood-based collaborative filtering"; in this form Dacrema et al.
    2019, "Are we really making much progress?").

    Similarities are computed in float64, ties go as in :func:`fastgcn_rec.topk`; the same bits for any number of threads.

    Parameters
    ----------
    data : Dataset or Graph
    neighbours : int >= 1
    similarity : "cosine", "jaccard", "tfidf", "bm25" or "sapling"
    shrinkage : float >= 0, for the first three
    k1, b : float >= 0 and float in [0, 1], of bm25
    asymmetry : float in [0, 1], of cosine and tfidf
    state : what a file holds of an equal model
        Given by :meth:`Recommender.load`, to spare the making.

    Raises
    ------
    TypeError : an option of another kind. ValueError : one that cannot work, with what is allowed.

    Examples
    --------
    >>> model = ItemKNN(Graph.from_edges([0, 0, 1, 1, 2], [0, 1, 0, 1, 2]), neighbours=1)
    >>> model.matrix().toarray().round(3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    tuning_space = _SPACE

    def _columns(self) -> sp.csr_array:
        by_item = self.graph.to("cpu").to_scipy().T.tocsr()
        return SimilarRows(by_item, self.compared, turned=True).best(by_item, self.neighbours, first=0)


class UserKNN(Neighbours):
    """User-based nearest neighbours (Resnick et al. 1994, "GroupLens: an open architecture for collaborative filtering of netnews").

    s_u = sum_v sim(u, v) r_v over the ``neighbours`` users v of R who are most similar to the row r_u, those above 0. A user of R is one of his own
    neighbours, so that a new user with his items gets his list; it changes the scores of his own items alone.

    The similarities are those of :class:`ItemKNN` with users in the place of items, x_u = r_u; "sapling" is the user form, B_uv / sum_w |B_uw|. A new user is weighed
    by the items' idf and the mean sum of the users of R.

    Nothing but R is kept: neighbours are looked for when they are asked for, in float64, in as many steps as the user's items have users; scores are float32. It
    runs on the CPU, wherever the graph is, with the same bits for any number of threads.

    Parameters and errors are those of :class:`ItemKNN`.

    Examples
    --------
    >>> model = UserKNN(Graph.from_edges([0, 0, 1, 1, 1, 2], [0, 1, 0, 1, 2, 3]), neighbours=2)
    >>> model.recommend([0], k=1)[0].tolist()
    [[2]]
    >>> model.similar_users([0], k=1)[0].tolist()
    [[1]]
    """

    tuning_space = _SPACE

    def _make(self) -> State:
        return {}

    def _check(self, state: State) -> None:
        if state:
            raise ValueError(f"it must hold no arrays of its own, got {', '.join(sorted(state))}")

    def _users(self) -> SimilarRows:
        made: SimilarRows = self.graph.cached(
            ("UserKNN", self.compared), lambda: SimilarRows(self.graph.to("cpu").to_scipy(), self.compared)
        )
        return made

    def score_rows(self, edges: Graph) -> Tensor:
        near = self._users().best(edges.to_scipy(), self.neighbours).astype(np.float32)
        return torch.from_numpy((near @ self.graph.to_scipy()).toarray()).to(edges.device)

    def similar_users(
        self, users: Any, k: int = 20, among: Any = None, exclude: Any = None
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The k users that are most similar to each, itself left out: (raw ids [n, k], similarities [n, k]), padded as
        :meth:`recommend` does; 0 for whoever has nothing in common. ``among`` and ``exclude`` as for :meth:`Ranker.similar_items`."""
        k, rows = check_count(k, "similar_users: k", 1), torch.from_numpy(self.user_rows(users))
        wanted, n = self.neighbour_filter("users", rows, among, exclude), self.n_users

        def alike(block: Tensor) -> Tensor:
            edges = self.graph.select_users(rows.to(block.device)[block])
            return torch.from_numpy(self._users().best(edges.to_scipy(), n).astype(np.float32).toarray())

        none = Graph.from_edges([], [], len(rows), n, device=self.graph.device)
        at_once = max(1, min(SCORED_AT_ONCE, _PAIRS // max(n, 1)))
        ids, found = joined(by_scores(alike, none, torch.arange(len(rows)), k, False, at_once, wanted))
        return ids_at(self.user_ids, ids.cpu().numpy()), found.cpu().numpy()


class RP3beta(SparseItems):
    """Three-step random walks with a penalty on popular items (Paudel et al. 2017, "Updatable, accurate, diverse, and scalable recommendations
    for interactive applications", section 4).

    W_ij = sum_u (R_ui / d_i)^alpha (R_uj / d_u)^alpha / d_j^beta, i != j: from item i to its users and on to their items, with the transition
    probabilities raised to ``alpha`` (Cooper et al. 2014) and the score of item j divided by d_j^beta. The walk's first step, from the user to his items, is alike
    for all of them without weights. Of each column the ``neighbours`` largest values are kept, as in Dacrema et al. 2019.

    In float64; ties go as in :func:`fastgcn_rec.topk`; the same bits for any number of threads.

    Parameters
    ----------
    data : Dataset or Graph
    neighbours : int >= 1
    alpha : float > 0
    beta : float >= 0
    state : what a file holds of an equal model
        Given by :meth:`Recommender.load`, to spare the making.

    Raises
    ------
    TypeError : an option of another kind. ValueError : one that cannot work, with what is allowed.

    Examples
    --------
    >>> model = RP3beta(Graph.from_edges([0, 0, 1], [0, 1, 1]), neighbours=2, beta=0.0)
    >>> model.matrix().toarray().tolist()  # from item 1 half the walks come to a user who has both
    [[0.0, 0.5], [0.25, 0.0]]
    """

    tuning_space = (
        Tunable("neighbours", 20, 1000, log=True),
        Tunable("alpha", 0.2, 2.0),
        Tunable("beta", 0.0, 1.0),
    )

    def __init__(
        self,
        data: Dataset | Graph,
        neighbours: int = 100,
        alpha: float = 1.0,
        beta: float = 0.6,
        *,
        state: State | None = None,
    ) -> None:
        super().__init__(data)
        self.neighbours = check_count(neighbours, "RP3beta: neighbours", 1)
        self.alpha, self.beta = check_numbers("RP3beta", alpha=alpha, beta=beta)
        if not 0 < self.alpha < math.inf or not 0 <= self.beta < math.inf:
            raise ValueError(f"RP3beta: alpha must be > 0, beta >= 0, both finite, got {alpha} and {beta}")
        self._keep(state)

    def config(self) -> dict[str, Any]:
        return {"neighbours": self.neighbours, "alpha": self.alpha, "beta": self.beta}

    def _columns(self) -> sp.csr_array:
        r = self.graph.to("cpu").to_scipy().astype(np.float64)
        by_item = r.T.tocsr()
        of_users, of_items = (np.asarray(m.sum(1), np.float64).ravel() for m in (r, by_item))
        # [j, i]: sum_u (R_uj / d_u)^alpha (R_ui / d_i)^alpha
        to_items = (by_item @ _inverse(of_users)).power(self.alpha)
        from_items = (r @ _inverse(of_items)).power(self.alpha)
        penalty = np.where(of_items > 0, np.maximum(of_items, 1e-30) ** -self.beta, 0)
        return nearest_rows(to_items, from_items, Likeness(PRODUCT, penalty, penalty), self.neighbours, first=0)


def _inverse(degree: np.ndarray) -> sp.dia_array:
    inverse = np.divide(1.0, degree, out=np.zeros_like(degree), where=degree > 0)
    return sp.dia_array((inverse[None], [0]), shape=(len(degree), len(degree)))
