"""Item-based neighbourhoods: each item's most similar ones, kept as a sparse matrix."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from ..core.arguments import check_count, check_number, check_numbers
from ..core.graph import Graph
from ..data import Dataset
from ..ops.topk import best_columns
from ..system.contents import check_arrays, check_csr
from .item_item import ItemItem, State

Tensor = torch.Tensor
SIMILARITIES = ("cosine", "jaccard")
_BLOCK_BYTES = 1 << 27  # of a dense block of similarities


class Neighbours(ItemItem):
    """s_u = r_u W with a sparse W: column j holds what ``neighbours`` items give to item j, the largest values of that column.

    Made by sparse products in blocks of items, in float64; ties go as in :func:`fastgcn_rec.topk`. W and the scores are float32; scoring runs on the
    CPU, wherever the graph is.
    """

    neighbours: int

    @abstractmethod
    def _towards(self, rows: slice, r: sp.csr_array, by_item: sp.csr_array) -> np.ndarray:
        """Dense [rows, n_items], float64: what each item (a column) gives to the items ``rows``, 0 for none. r: R, by_item: its transpose."""

    def _make(self) -> State:
        r = self.graph.to("cpu").to_scipy().astype(np.float64)
        by_item, kept = r.T.tocsr(), min(self.neighbours, max(self.n_items - 1, 1))
        step = max(1, _BLOCK_BYTES // (8 * max(self.n_items, 1)))
        indptr, indices, values = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
        any_graph = Graph.from_edges([], [], 0, self.n_items)
        for first in range(0, self.n_items, step):
            rows = slice(first, min(first + step, self.n_items))
            block = self._towards(rows, r, by_item)
            block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = 0
            block[block <= 0] = np.nan  # which ranks nowhere
            ids, found = (t.numpy() for t in best_columns(any_graph, torch.from_numpy(block), kept))
            real = ids >= 0
            indptr.append(real.sum(1).cumsum() + indptr[-1][-1])
            indices.append(ids[real].astype(np.int32))
            values.append(found[real].astype(np.float32))
        columns = (np.concatenate(values), np.concatenate(indices), np.concatenate(indptr))
        w = sp.csr_array(columns, shape=(self.n_items, self.n_items)).T.tocsr()
        w.sort_indices()
        arrays = {"indptr": w.indptr.astype(np.int64), "indices": w.indices.astype(np.int32)}
        arrays["values"] = w.data.astype(np.float32)
        return {name: torch.from_numpy(a).to(self.graph.device) for name, a in arrays.items()}

    def _check(self, state: State) -> None:
        n = self.n_items
        check_arrays(
            state, {"indptr": ("int64", (n + 1,)), "indices": ("int32", ("e",)), "values": ("float32", ("e",))}
        )
        check_csr("matrix's", state["indptr"].numpy(), state["indices"].numpy(), n)

    def matrix(self) -> sp.csr_array:
        """W [n_items, n_items], float32."""
        state = {name: t.cpu().numpy() for name, t in self.named_buffers()}
        return sp.csr_array((state["values"], state["indices"], state["indptr"]), shape=(self.n_items, self.n_items))

    def score_rows(self, edges: Graph) -> Tensor:
        return torch.from_numpy((edges.to_scipy() @ self.matrix()).toarray()).to(edges.device)


class ItemKNN(Neighbours):
    """Item-based nearest neighbours (Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms").

    W_ij = sim(i, j) for the ``neighbours`` most similar i of each j, with x_i the item's column of R:

    - cosine: <x_i, x_j> / (|x_i| |x_j| + shrinkage)
    - jaccard: n_ij / (n_i + n_j - n_ij + shrinkage), n_ij = number of users who have both; weights do not enter

    ``shrinkage`` damps what few users say (Bell and Koren 2007, "Improved neighborhood-based collaborative filtering"; in this form Dacrema et al.
    2019, "Are we really making much progress?").

    Parameters
    ----------
    data : Dataset or Graph
    neighbours : int >= 1
    similarity : "cosine" or "jaccard"
    shrinkage : float >= 0
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

    def __init__(
        self,
        data: Dataset | Graph,
        neighbours: int = 100,
        similarity: str = "cosine",
        shrinkage: float = 0.0,
        *,
        state: State | None = None,
    ) -> None:
        super().__init__(data)
        if similarity not in SIMILARITIES:
            raise ValueError(f"ItemKNN: similarity must be one of {SIMILARITIES}, got {similarity!r}")
        self.neighbours, self.kind = check_count(neighbours, "ItemKNN: neighbours", 1), similarity
        self.shrinkage = check_number(shrinkage, "ItemKNN: shrinkage")
        if not 0 <= self.shrinkage < math.inf:
            raise ValueError(f"ItemKNN: shrinkage must be >= 0 and finite, got {shrinkage}")
        self._keep(state)

    def config(self) -> dict[str, Any]:
        return {"neighbours": self.neighbours, "similarity": self.kind, "shrinkage": self.shrinkage}

    def _towards(self, rows: slice, r: sp.csr_array, by_item: sp.csr_array) -> np.ndarray:
        if self.kind == "jaccard":
            r, by_item = r.sign(), by_item.sign()
        size = np.asarray(by_item.power(2).sum(1), np.float64).ravel()
        common = (by_item[rows] @ r).toarray()
        if self.kind == "cosine":
            norm = np.sqrt(size)
            whole = norm[rows, None] * norm + self.shrinkage
        else:
            whole = size[rows, None] + size - common + self.shrinkage
        return np.divide(common, whole, out=np.zeros_like(common), where=common > 0)


class RP3beta(Neighbours):
    """Three-step random walks with a penalty on popular items (Paudel et al. 2017, "Updatable, accurate, diverse, and scalable recommendations
    for interactive applications", section 4).

    W_ij = sum_u (R_ui / d_i)^alpha (R_uj / d_u)^alpha / d_j^beta, i != j: from item i to its users and on to their items, with the transition
    probabilities raised to ``alpha`` (Cooper et al. 2014) and the score of item j divided by d_j^beta. The walk's first step, from the user to his items, is alike
    for all of them without weights. Of each column the ``neighbours`` largest values are kept, as in Dacrema et al. 2019.

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

    def _towards(self, rows: slice, r: sp.csr_array, by_item: sp.csr_array) -> np.ndarray:
        of_users, of_items = (np.asarray(m.sum(1), np.float64).ravel() for m in (r, by_item))
        # [j, i]: sum_u (R_uj / d_u)^alpha (R_ui / d_i)^alpha
        to_items = (by_item[rows] @ _inverse(of_users)).power(self.alpha)
        from_items = (r @ _inverse(of_items)).power(self.alpha)
        walks = (to_items @ from_items).toarray()
        return walks * np.where(of_items > 0, np.maximum(of_items, 1e-30) ** -self.beta, 0)[rows, None]


def _inverse(degree: np.ndarray) -> sp.dia_array:
    inverse = np.divide(1.0, degree, out=np.zeros_like(degree), where=degree > 0)
    return sp.dia_array((inverse[None], [0]), shape=(len(degree), len(degree)))
