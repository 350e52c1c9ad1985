"""A linear autoencoder in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from ..algorithms.solvers import BLOCK, invert_
from ..core.arguments import check_number
from ..core.graph import Graph
from ..data import Dataset
from ..ops.half_hop import half_hop
from ..system.available import available_memory
from ..system.contents import check_arrays
from .item_item import ItemItem, State
from .space import Tunable

Tensor = torch.Tensor
PRECISIONS = ("auto", "float32", "float64")
_ROWS = 512  # at once, of the passes over the matrix


class EASE(ItemItem):
    """Embarrassingly shallow autoencoder (Steck 2019, "Embarrassingly shallow autoencoders for sparse data", eq. 8): s_u = r_u B.

    B = argmin |R - R B|^2 + reg |B|^2 with a zero diagonal: B_ij = -C_ij / C_jj, i != j, C = (R^T R + reg I)^-1.

    Parameters
    ----------
    data : Dataset or Graph
    reg : float > 0
        lambda; hundreds, and more for denser data.
    precision : "auto", "float32" or "float64"
        Of the inverse. "auto": float64 where it fits into the memory that is free, else float32. B is kept as float32.
    state : what a file holds of an equal model
        Given by :meth:`Recommender.load`, to spare the making.

    The dense matrices take 12 n_items^2 bytes in float64 and 4 n_items^2 in float32 (and 16 KiB or 8 KiB an item); the time is O(n_items^3). It is made on the CPU, on torch's
    threads, with the same bits for any number of them: by products of our own (:func:`fastgcn_rec.algorithms.solvers.invert_`), where LAPACK, on one thread, factors blocks
    of up to 512 items alone.

    Raises
    ------
    MemoryError : the inverse does not fit into the memory that is free; says how much it takes. ValueError : for values out of range.

    Examples
    --------
    >>> model = EASE(Graph.from_edges([0, 0, 1], [0, 1, 1]), reg=1.0)
    >>> model.weights.tolist()
    [[0.0, 0.5], [0.3333333432674408, 0.0]]
    """

    weights: Tensor
    tuning_space = (Tunable("reg", 10.0, 10000.0, log=True),)

    def __init__(
        self, data: Dataset | Graph, reg: float = 500.0, precision: str = "auto", *, state: State | None = None
    ) -> None:
        super().__init__(data)
        self.reg = check_number(reg, "EASE: reg")
        if not 0 < self.reg < math.inf:
            raise ValueError(f"EASE: reg must be > 0 and finite, got {reg}")
        if precision not in PRECISIONS:
            raise ValueError(f"EASE: precision must be one of {PRECISIONS}, got {precision!r}")
        self.precision = precision
        self._keep(state)

    def config(self) -> dict[str, Any]:
        return {"reg": self.reg, "precision": self.precision}

    def _make(self) -> State:
        c = inverse_gram(self.graph.to("cpu").to_scipy(), self.reg, self._dtype())
        diagonal = c.diagonal().copy()
        b = c if c.dtype == np.float32 else np.empty(c.shape, np.float32)
        for first in range(0, len(c), _ROWS):
            rows = slice(first, first + _ROWS)
            b[rows] = c[rows] / -diagonal
        np.fill_diagonal(b, 0)
        return {"weights": torch.from_numpy(b).to(self.graph.device)}

    def _check(self, state: State) -> None:
        check_arrays(state, {"weights": ("float32", (self.n_items, self.n_items))})

    def _dtype(self) -> type[np.float32] | type[np.float64]:
        """What ``precision`` says, where it fits."""
        free, n = available_memory(), self.n_items
        needed = bytes_needed(n)
        for name in ("float64", "float32") if self.precision == "auto" else (self.precision,):
            if free is None or needed[name] <= free:
                return np.float64 if name == "float64" else np.float32
        least = min(needed.values()) if self.precision == "auto" else needed[self.precision]
        raise MemoryError(
            f"EASE: the inverse of a {n} x {n} matrix takes {least / 2**30:.1f} GiB, {(free or 0) / 2**30:.1f} GiB are free; "
            "use precision='float32' if it was not, keep fewer items, or take GraphFilter or ItemKNN"
        )

    @torch.no_grad()
    def score_rows(self, edges: Graph) -> Tensor:
        scores: Tensor = half_hop(edges, self.weights, "users")
        return scores


def bytes_needed(n_items: int) -> dict[str, int]:
    """By precision: the inverse beside what inverting takes or, in float64, beside B."""
    inverting = n_items * (n_items + 4 * min(n_items, BLOCK))
    return {"float64": max(8 * inverting, 12 * n_items**2), "float32": 4 * inverting}


def inverse_gram(r: sp.csr_array, reg: float, dtype: type[np.float32] | type[np.float64]) -> NDArray[Any]:
    """(R^T R + reg I)^-1, dense, in place of the sum."""
    n = r.shape[1]
    r = r.astype(dtype)
    by_item = r.T.tocsr()
    gram = np.empty((n, n), dtype)
    for first in range(0, n, _ROWS):
        gram[first : first + _ROWS] = (by_item[first : first + _ROWS] @ r).toarray()
    gram[np.arange(n), np.arange(n)] += dtype(reg)
    if not invert_(torch.from_numpy(gram)):
        raise ValueError(f"EASE: R^T R + reg I is not positive definite in {dtype.__name__}; raise reg, now {reg}")
    return gram
