"""Sparse linear methods."""

from __future__ import annotations

import math
import warnings
from typing import Any

import scipy.sparse as sp
import torch

from ..core import native
from ..core.arguments import check_count, check_numbers
from ..core.graph import Graph
from ..data import Dataset
from .item_item import State
from .space import Tunable
from .sparse_items import SparseItems

Tensor = torch.Tensor


class SLIM(SparseItems):
    """Sparse linear methods (Ning & Karypis 2011, "SLIM: Sparse linear methods for top-N recommender systems", eq. 3 and 4): s_u = r_u W.

    Column j of W minimises f(w) = 1/2 |x_j - R w|^2 + l1 sum_i w_i + l2/2 |w|^2 over w >= 0 with w_j = 0, x_j = R's column j: an elastic net, for every item
    by itself. l1 and l2 are as there (lambda and beta); scikit-learn's ``ElasticNet(alpha, l1_ratio, positive=True, fit_intercept=False)`` has
    l1 = n_users alpha l1_ratio and l2 = n_users alpha (1 - l1_ratio).

    By coordinate descent in float64, over the items alone that may have a weight: those with <x_i, x_j> > l1. A column ends where the duality gap of f is at most
    ``tolerance`` |x_j|^2, which bounds what f may still lose, or after ``max_sweeps`` rounds over its items; then a RuntimeWarning says so.
    Columns share out the threads; the same bits for any number of them. It is made on the CPU, wherever the graph is.

    Parameters
    ----------
    data : Dataset or Graph
    l1 : float >= 0
        The more, the fewer weights, and the faster.
    l2 : float > 0
    neighbours : int >= 1, or None for all items
        Only the so many of the greatest cosine with j may have a weight (fsSLIM, section 4.4): fewer weights, and faster.
    tolerance : float > 0
    max_sweeps : int >= 1
    state : what a file holds of an equal model
        Given by :meth:`Recommender.load`, to spare the making.

    Raises
    ------
    TypeError : an option of another kind. ValueError : one that cannot work, with what is allowed.

    Examples
    --------
    >>> model = SLIM(Graph.from_edges([0, 0, 1, 1, 2], [0, 1, 0, 1, 2]), l1=0.5, l2=1.0)
    >>> model.matrix().toarray().tolist()  # (2 - l1) / (2 + l2)
    [[0.0, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    tuning_space = (Tunable("l1", 0.3, 10.0, log=True), Tunable("l2", 1.0, 100.0, log=True))

    def __init__(
        self,
        data: Dataset | Graph,
        l1: float = 1.0,
        l2: float = 10.0,
        neighbours: int | None = None,
        tolerance: float = 1e-4,
        max_sweeps: int = 1000,
        *,
        state: State | None = None,
    ) -> None:
        super().__init__(data)
        self.l1, self.l2, self.tolerance = check_numbers("SLIM", l1=l1, l2=l2, tolerance=tolerance)
        if not 0 <= self.l1 < math.inf:
            raise ValueError(f"SLIM: l1 must be >= 0 and finite, got {l1}")
        for name, value in (("l2", self.l2), ("tolerance", self.tolerance)):
            if not 0 < value < math.inf:
                raise ValueError(f"SLIM: {name} must be > 0 and finite, got {value}")
        self.neighbours = None if neighbours is None else check_count(neighbours, "SLIM: neighbours", 1)
        self.max_sweeps = check_count(max_sweeps, "SLIM: max_sweeps", 1, 2**63 - 1)
        self._keep(state)

    def config(self) -> dict[str, Any]:
        names = ("l1", "l2", "neighbours", "tolerance", "max_sweeps")
        return {name: getattr(self, name) for name in names}

    def _columns(self) -> sp.csr_array:
        graph = self.graph.to("cpu")
        neighbours = min(self.neighbours or 0, max(self.n_items, 1))
        options = (self.l1, self.l2, self.tolerance, neighbours, self.max_sweeps)
        made = native.slim(graph.links().native(), *options)
        if made.n_open():
            warnings.warn(
                f"SLIM: {made.n_open()} of {self.n_items} columns did not converge within max_sweeps={self.max_sweeps}: a duality gap is "
                f"{made.worst_gap():.2g} |x_j|^2, tolerance={self.tolerance:g}; raise either, or l2",
                RuntimeWarning,
                stacklevel=5,
            )
        indptr, ids = torch.empty(self.n_items + 1, dtype=torch.int64), torch.empty(made.n_entries(), dtype=torch.int32)
        values = torch.empty(made.n_entries())
        made.copy(indptr, ids, values)
        return sp.csr_array((values.numpy(), ids.numpy(), indptr.numpy()), shape=(self.n_items, self.n_items))
