"""Implicit alternating least squares as a model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch

from ..algorithms.als import als, als_loss, halves, ridge_of_rows
from ..algorithms.ridge_rows import RidgeRows
from ..core.arguments import check_count, check_numbers
from ..core.graph import Graph, Side
from ..core.normal import normal_rows
from ..data import Dataset
from ..ranking.protocols import Fold
from ..system.contents import check_arrays
from .base import Recommender
from .item_item import State, in_own_dtype
from .saved import configured
from .space import Tunable

Tensor = torch.Tensor
SOLVERS = ("cholesky", "subspace")


class IALS(Recommender):
    """Matrix factorization by implicit alternating least squares (Hu, Koren & Volinsky 2008, "Collaborative filtering for implicit feedback
    datasets"; as Rendle, Krichene, Zhang & Koren 2022, "Revisiting the performance of iALS on item recommendation benchmarks"). Over x_u and y_i it minimises

        sum_{(u, i) in train} w_ui (1 - <x_u, y_i>)^2 + a sum_{u, i} <x_u, y_i>^2 + sum_u r_u |x_u|^2 + sum_i r_i |y_i|^2,
        r_u = regularization (sum_{i of u} w_ui + a n_items)^exponent, r_i likewise with n_users,   a = unobserved_weight, w_ui the edge's weight, or 1

    It is made when it is constructed, without training: ``iterations`` times all users' vectors against the items', then all items' against the users'
    (:func:`fastgcn_rec.algorithms.als.als`). New users and items are folded in by the same half-step.

    Parameters
    ----------
    data : Dataset or Graph
    embedding_dim : int >= 1
    unobserved_weight : float >= 0, or None
        a: what a pair counts that is not in train, beside 1 for one that is. More keeps the scores of the many that nobody knows of down.
        None: by the density, the part of all pairs that are edges, 8 times it, at least .01 and at most .1 (docs/choices.md); the model's attribute says how much that is.
    regularization : float > 0, or None
        None: .8 times the density, at least .003 and at most .01.
    iterations : int >= 1
    exponent : float
        Of the ridge; 1: a vector counts as often as its node is in the loss.
    solver : "cholesky" or "subspace"
        The minimum of each half-step, exactly; or a pass over ``block_size`` columns at a time (Rendle et al. 2021, "iALS++"), for
        vectors of many hundreds of columns.
    block_size : int >= 1
        In steps of 16.
    init_std : float > 0
        Standard deviation of the normal initial vectors' lengths: of their entries times sqrt(embedding_dim).
    seed : int
        Of the initial vectors.
    state : what a file holds of an equal model
        Given by :meth:`Recommender.load`, to spare the making.

    It is made on the CPU in float32, wherever the graph is, and then moved there; the same bits for any number of threads. Time a half-step
    O(sum over its nodes of n dim min(n, dim) + min(n, dim)^3), n a node's edges, memory 8 (n_users + n_items) dim bytes.

    Raises
    ------
    TypeError : an option of another kind. ValueError : one that cannot work, with what is allowed; or so small a ridge, or so large weights, that
    float32 has no solution.

    Examples
    --------
    >>> model = IALS(Graph.from_edges([0, 0, 1, 1, 2], [0, 1, 0, 1, 2], n_items=3), embedding_dim=4, unobserved_weight=0.1)
    >>> model.recommend([0], k=1, exclude_seen=False)[0].tolist()[0][0] in (0, 1)
    True
    >>> model.recommend_new([[0]], k=1)[0].tolist()
    [[1]]
    """

    tuning_space = (
        Tunable("embedding_dim", choices=(64, 128, 256)),
        Tunable("unobserved_weight", 1e-4, 1.0, log=True),
        Tunable("regularization", 1e-4, 0.1, log=True),
        Tunable("iterations", 4, 32, log=True),
    )

    def __init__(
        self,
        data: Dataset | Graph,
        embedding_dim: int = 64,
        *,
        unobserved_weight: float | None = None,
        regularization: float | None = None,
        iterations: int = 8,
        exponent: float = 1.0,
        solver: str = "cholesky",
        block_size: int = 32,
        init_std: float = 0.1,
        seed: int = 0,
        state: State | None = None,
    ) -> None:
        super().__init__(data)
        self.embedding_dim = check_count(embedding_dim, "IALS: embedding_dim", 1, 2**15)
        self.iterations = check_count(iterations, "IALS: iterations", 1)
        self.block_size = check_count(block_size, "IALS: block_size", 1)
        self.seed = check_count(seed, "IALS: seed")
        self.unobserved_weight, self.regularization = _given(
            unobserved_weight, regularization, **self.left_to(self.graph)
        )
        self.exponent, self.init_std = check_numbers("IALS", exponent=exponent, init_std=init_std)
        if not math.isfinite(self.exponent):
            raise ValueError(f"IALS: exponent must be finite, got {exponent}")
        if not 0 < self.init_std < math.inf:
            raise ValueError(f"IALS: init_std must be > 0 and finite, got {init_std}")
        if solver not in SOLVERS:
            raise ValueError(f"IALS: solver must be one of {SOLVERS}, got {solver!r}")
        self.solver = solver
        if state is not None:
            check_arrays(state, {"table": ("float32", (self.graph.n_nodes, self.embedding_dim))})
        self.register_buffer("table", self._made() if state is None else state["table"])
        self.to(self.graph.device)

    @classmethod
    def left_to(cls, graph: Graph) -> dict[str, Any]:
        """Denser data want more of both.

        >>> IALS.left_to(Graph.from_edges([0, 1], [0, 1]))
        {'unobserved_weight': 0.1, 'regularization': 0.01}
        """
        density = graph.n_edges / max(1, graph.n_pairs)
        return {
            "unobserved_weight": max(0.01, min(0.1, 8 * density)),
            "regularization": max(0.003, min(0.01, 0.8 * density)),
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Recommender:
        """Moves to devices; the numbers keep the dtype that they were made in."""
        return super()._apply(in_own_dtype(fn), recurse)

    def config(self) -> dict[str, Any]:
        names = ("embedding_dim", "unobserved_weight", "regularization", "iterations", "exponent", "solver", "block_size", "init_std", "seed")  # fmt: skip
        return {name: getattr(self, name) for name in names}

    @torch.no_grad()
    def _made(self) -> Tensor:
        graph, dim = self.graph, self.embedding_dim
        start = torch.cat([rows for _, rows in normal_rows(graph.n_nodes, dim, self.seed)] or [torch.empty(0, dim)])
        users, items = (start * (self.init_std / math.sqrt(dim))).split([graph.n_users, graph.n_items])
        block = self.block_size if self.solver == "subspace" else None
        return torch.cat(als(graph, users, items, iterations=self.iterations, block=block, **self._rule()))

    def _rule(self) -> dict[str, float]:
        return {"unobserved": self.unobserved_weight, "reg": self.regularization, "exponent": self.exponent}

    def loss(self) -> float:
        """What is minimised, as the vectors are now, in float64.

        >>> graph = Graph.from_edges([0, 0, 1], [0, 1, 1])
        >>> IALS(graph, 4, iterations=9).loss() < IALS(graph, 4, iterations=2).loss()
        True
        """
        users, items = self.get_embedding().split([self.n_users, self.n_items])
        return als_loss(self.graph, users, items, **self._rule())

    def get_embedding(self) -> Tensor:
        return self.get_buffer("table")

    @classmethod
    def restored(cls, graph: Graph, config: dict[str, Any], state: dict[str, Tensor]) -> Recommender:
        return configured(cls, graph, config, state=state)

    @torch.no_grad()
    def folding(self, regularization: float | None = None, unobserved_weight: float | None = None) -> Fold:
        """A new user's vector by the half-step that the users' are made by, exactly, whatever the solver; items likewise against users.

        Parameters
        ----------
        regularization, unobserved_weight : None for the model's own
        """
        own = {"unobserved_weight": self.unobserved_weight, "regularization": self.regularization}
        unobserved, reg = _given(unobserved_weight, regularization, **own)
        users, items = self.get_embedding().split(
            [self.n_users, self.n_items]
        )  # of nodes without an edge no guesses, but 0
        others = {"users": RidgeRows(items, unobserved), "items": RidgeRows(users, unobserved)}
        return _HalfStep(others, unobserved, reg, self.exponent, self.get_embedding())


@dataclasses.dataclass(frozen=True)
class _HalfStep:
    """By the side of the new nodes: regressions on the other side's vectors."""

    others: dict[str, RidgeRows]
    unobserved: float
    reg: float
    exponent: float
    like: Tensor

    def __call__(self, edges: Graph, new: Side) -> Tensor:
        rows, fits = halves(edges.to("cpu"))[0], self.others[new]
        ridge = ridge_of_rows(rows, edges.n_items, self.unobserved, self.reg, self.exponent)
        return fits.back(fits.solve(rows, ridge)).to(self.like)


def _given(a: Any, reg: Any, unobserved_weight: float, regularization: float) -> tuple[float, float]:
    """Both weights, checked; the last two where they are None."""
    a, reg = unobserved_weight if a is None else a, regularization if reg is None else reg
    a, reg = check_numbers("IALS", unobserved_weight=a, regularization=reg)
    if not 0 <= a < math.inf:
        raise ValueError(f"IALS: unobserved_weight must be >= 0 and finite, got {a}")
    if not 0 < reg < math.inf:
        raise ValueError(f"IALS: regularization must be > 0 and finite, got {reg}")
    return a, reg
