"""Recommending by a filter of the graph: no parameters, no training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..algorithms.spectral import top_singular
from ..core.arguments import check_count, check_each, check_number, check_numbers
from ..core.elementwise import power
from ..core.graph import Graph, row_of_each_edge
from ..data import Dataset
from ..ops.dense import dense
from ..ops.half_hop import half_hop
from ..system.contents import Spec, check_arrays
from .item_item import ItemItem, State, check_finite
from .space import Tunable

Tensor = torch.Tensor
_COLUMNS = {"cpu": 64, "cuda": 512}  # users a hop: on the CPU, as many as keep what is gathered from in the cache


def sharpening(time: float, degree: int = 4) -> list[float]:
    """The coefficients (-time)^k / k!, k = 0 .. degree, of what one step over ``time`` makes of the sharpening process ds/dt = -s P (BSPM).

    degree 1 is Euler's step, degree 4 that of Runge and Kutta.

    >>> sharpening(1.0, 2)
    [1.0, -1.0, 0.5]
    """
    return [(-time) ** k / math.factorial(k) for k in range(degree + 1)]


def _plateau(value: float, flatness: float) -> float:
    x = 2 * value - 1
    return (1 + math.copysign(abs(x) ** flatness, x)) / 2


RESPONSES: dict[str, Callable[[float, float], float]] = {  # h(eigenvalue in [0, 1], shape)
    "plateau": _plateau,
    "chebycf": _plateau,
    "sharpened": lambda value, time: value * math.exp(-time * value),
    "ridge": lambda value, reg: value / (value + reg),
}

_NAMED = ("plateau", "sharpened", "ridge")  # chebycf is a plateau


def chebyshev(response: str, shape: float, degree: int = 8) -> list[float]:
    """The coefficients c_0 .. c_degree of sum_k c_k T_k(1 - 2 v), the polynomial that is a response h(v) at the degree + 1 Chebyshev nodes of [0, 1].

    T_k is Chebyshev's polynomial of the first kind. By its recurrence the sum keeps float32's digits at any degree, where powers of v with coefficients that
    grow as 4^degree lose them.

    response, shape
        "plateau": (1 + sign(2 v - 1) |2 v - 1|^shape) / 2, flat about 1/2 (Kim et al. 2025); "chebycf": the same as their code has it, with
        values of the degree + 1 extrema cos(pi j / degree) in the places of those of the nodes, which makes it a little steeper; "sharpened": v exp(-shape v), the exact solution of what :func:`sharpening` steps through; "ridge": v / (v + shape), a
        ridge regression of a user's items on their spectrum.

    >>> [round(c, 3) for c in chebyshev("plateau", 1.0, 1)]
    [0.5, -0.5]
    """
    n = degree + 1
    angles = (np.arange(n) + 0.5) * (math.pi / n)
    places = np.arange(n) * (math.pi / degree) if response == "chebycf" else angles
    values = [RESPONSES[response]((1 - math.cos(place)) / 2, shape) for place in places]
    sums = [math.fsum(v * math.cos(k * angle) for v, angle in zip(values, angles, strict=True)) for k in range(n)]
    return [total * (2 if k else 1) / n for k, total in enumerate(sums)]


class GraphFilter(ItemItem):
    """Scores by low-pass filters of the normalised graph and a polynomial of it; nothing is trained.

    s_u = r_u (P + ideal * D_i^-c V V^T D_i^c) q(P),   P = R~^T R~ / sigma_1^2,   R~ = D_u^-a R D_i^-b,   q(P) = sum_k polynomial[k] P^k

    with r_u the user's row of R, sigma_1 the largest singular value of R~ and V its first ``rank`` right singular vectors. With a ``response`` h:

    s_u = r_u D_i^-d h(P) D_i^d + ideal * r_u D_i^-c V V^T D_i^c,   h(P) = sum_k c_k T_k(I - 2 P),   c = :func:`chebyshev` (response, shape, degree)

    What is in the literature, all with a = b = c = 1/2 (where sigma_1 = 1) but for the last:

    - the linear filter: ideal = 0, polynomial = (1,)
    - GF-CF (Shen et al. 2021, "How powerful is graph convolution for recommendation?", eq. 13): polynomial = (1,), their ideal = .3
    - BSPM-EM (Choi et al. 2023, "Blurring-sharpening process models for collaborative filtering"): a blurring step r P, an ideal low-pass
      filter, and sharpening of their sum: polynomial = ``sharpening(time, degree)``
    - ChebyCF (Kim et al. 2025, "Graph spectral filtering with Chebyshev interpolation for recommendation"): response = "plateau", c = d; "chebycf" as
      in its code

    Parameters
    ----------
    data : Dataset or Graph
    rank : int >= 0
        Cut-off of the ideal low-pass filter; there are no more than min(n_users, n_items) singular vectors, so that a greater rank is that one.
    ideal : float >= 0
        Its weight; 0 leaves it out, as rank = 0 does.
    polynomial : floats, at least one; of no account where another ``response`` stands in its place
        Coefficients of q, that of P^0 first. Two half-hops a user for each but the first.
    user_power, item_power, ideal_power : a, b, c
    response : "polynomial", or in its place "plateau", "chebycf", "sharpened" or "ridge"; ``shape``, > 0, is its flatness, time or reg
    degree : int >= 1, of the polynomial that stands for the response; two half-hops a user each
    response_power : d
    seed : int
        Of the vectors' solver, :func:`fastgcn_rec.algorithms.spectral.top_singular`.
    state : what a file holds of an equal model
        Given by :meth:`Recommender.load`, to spare the making.

    Time O((degree + 1) n_edges + rank n_items) a user; memory 8 rank n_items bytes.

    Raises
    ------
    ValueError : for values out of range, with what is allowed.

    Examples
    --------
    >>> model = GraphFilter(Graph.from_edges([0, 0, 1, 1, 2], [0, 1, 1, 2, 2]), rank=2)
    >>> model.recommend([0], k=1)[0].tolist()
    [[2]]
    >>> model.recommend_new([[0]], k=1)[0].tolist()  # a new user: his row through the same filter
    [[1]]
    """

    tuning_space = (
        Tunable("rank", 64, 1024, log=True),
        Tunable("ideal", 0.0, 1.0),
        Tunable("response", choices=("polynomial", *_NAMED)),
        Tunable(
            "polynomial",
            choices=tuple(sharpening(time) for time in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)),
            when=("response", ("polynomial",)),
        ),
        Tunable("shape", 0.1, 10.0, log=True, when=("response", _NAMED)),
        Tunable("response_power", 0.0, 0.5, when=("response", _NAMED)),
        Tunable("user_power", 0.1, 0.7),
        Tunable("item_power", 0.1, 0.7),
        Tunable("ideal_power", 0.2, 0.7),
    )

    def __init__(
        self,
        data: Dataset | Graph,
        rank: int = 256,
        ideal: float = 0.3,
        polynomial: Sequence[float] = (1.0,),
        *,
        user_power: float = 0.5,
        item_power: float = 0.5,
        ideal_power: float = 0.5,
        response: str = "polynomial",
        shape: float = 2.0,
        degree: int = 8,
        response_power: float = 0.0,
        seed: int = 0,
        state: State | None = None,
    ) -> None:
        super().__init__(data)
        rank, seed = check_count(rank, "GraphFilter: rank"), check_count(seed, "GraphFilter: seed")
        ideal = check_number(ideal, "GraphFilter: ideal")
        if rank < 0:
            raise ValueError(f"GraphFilter: rank must be >= 0, got {rank}")
        if not 0 <= ideal < math.inf:
            raise ValueError(f"GraphFilter: ideal must be >= 0 and finite, got {ideal}")
        self.polynomial = check_each(polynomial, "GraphFilter: polynomial")
        if not self.polynomial or not all(map(math.isfinite, self.polynomial)):
            raise ValueError(f"GraphFilter: polynomial must be at least one finite number, got {list(polynomial)}")
        if response != "polynomial" and response not in [*RESPONSES]:
            raise ValueError(
                f"GraphFilter: response must be polynomial, or in its place {', '.join(RESPONSES)}, got {response!r}"
            )
        self.response = response
        self.shape, self.degree = (
            check_number(shape, "GraphFilter: shape"),
            check_count(degree, "GraphFilter: degree", 1, 10_000),
        )
        if not 0 < self.shape < math.inf:
            raise ValueError(f"GraphFilter: shape must be > 0 and finite, got {shape}")
        powers = {
            "user_power": user_power,
            "item_power": item_power,
            "ideal_power": ideal_power,
            "response_power": response_power,
        }
        self.powers = dict(zip(powers, check_numbers("GraphFilter", **powers), strict=True))
        for name, exponent in self.powers.items():
            if not math.isfinite(exponent):
                raise ValueError(f"GraphFilter: {name} must be finite, got {exponent}")
        self.rank, self.ideal, self.seed = rank, ideal, seed
        self._coefficients = [] if response == "polynomial" else chebyshev(response, self.shape, self.degree)
        self._keep(state)

    def config(self) -> dict[str, Any]:
        own = {"rank": self.rank, "ideal": self.ideal, "polynomial": self.polynomial, "seed": self.seed}
        if self.response == "polynomial":
            return own | {name: power for name, power in self.powers.items() if name != "response_power"}
        return own | self.powers | {"response": self.response, "shape": self.shape, "degree": self.degree}

    def _make(self) -> State:
        """of_users, of_items: the scales of R~, the items' divided by sigma_1; project [n_items, rank], back [rank, n_items]: the ideal
        filter as D_i^-c V and ideal * (q(P) D_i^c V)^T, without q where there is a response."""
        users, items = self.graph.degrees()
        state = {
            "of_users": _power(users, -self.powers["user_power"]),
            "of_items": _power(items, -self.powers["item_power"]),
        }
        options = {"ideal": self.ideal, "polynomial": self.polynomial, **self.powers}
        exponent = 0.0 if self.response == "polynomial" else self.powers["response_power"]
        around = {"before": _power(items, -exponent), "after": _power(items, exponent)}
        check_finite("GraphFilter", state | around, options)
        if not self.graph.n_edges:
            return state
        left, right = state["of_users"].double(), state["of_items"].double()
        rank = min(self.rank, self.n_users, self.n_items)
        squares, vectors = (t.float() for t in top_singular(self.graph, left, right, max(rank, 1), self.seed))
        state["of_items"] = state["of_items"] / squares[0].sqrt()
        if rank and self.ideal:
            exponent = self.powers["ideal_power"]
            back = vectors * _power(items, exponent)[:, None]
            if self.response == "polynomial":
                back = self._sharpened(back, **state)
            state["project"] = vectors * _power(items, -exponent)[:, None]
            state["back"] = self.ideal * back.T.contiguous()
        check_finite("GraphFilter", state, options)
        return state

    def _check(self, state: State) -> None:
        expected: dict[str, Spec] = {"of_users": ("float32", (self.n_users,)), "of_items": ("float32", (self.n_items,))}
        if self.graph.n_edges and self.rank and self.ideal:
            rank = min(self.rank, self.n_users, self.n_items)
            expected["project"] = "float32", (self.n_items, rank)
            expected["back"] = "float32", (rank, self.n_items)
        check_arrays(state, expected)

    @torch.no_grad()
    def score_rows(self, edges: Graph) -> Tensor:
        state = dict(self.named_buffers())
        project, back = state.pop("project", None), state.pop("back", None)
        rows = row_of_each_edge(edges.user_degree)
        columns = edges.indices.long()
        weight = torch.ones_like(columns, dtype=torch.float32) if edges.weight is None else edges.weight
        scores = weight.new_empty((edges.n_users, self.n_items))
        width = self._width()
        for first in range(0, edges.n_users, width):
            begin, end = edges.indptr[first], edges.indptr[min(first + width, edges.n_users)]
            x = weight.new_zeros((self.n_items, min(width, edges.n_users - first)))
            x[columns[begin:end], rows[begin:end] - first] = weight[begin:end]
            scores[first : first + width] = self._filtered(x, state).T
        if project is not None and back is not None:
            scores += dense(half_hop(edges, project, "users"), back.T)
        return scores

    def _filtered(self, x: Tensor, scales: State) -> Tensor:
        """Columns x [n_items, n], rows of R transposed, through the filter without the ideal one."""
        if self.response == "polynomial":
            return self._sharpened(self._smoothed(x, **scales), **scales)
        exponent, degree = self.powers["response_power"], self.graph.item_degree
        if not exponent:
            return self._responding(x, **scales)
        return self._responding(x * _power(degree, -exponent)[:, None], **scales).mul_(
            _power(degree, exponent)[:, None]
        )

    def _responding(self, x: Tensor, of_users: Tensor, of_items: Tensor) -> Tensor:
        """h(P) x, by Chebyshev's recurrence in the singular values of R~, whose terms are of either side in turn: T_k(I - 2 P) x is every second one."""
        first, *coefficients = self._coefficients
        y, at_users, at_items = first * x, None, x
        twice, minus = 2 * of_users, -2 * of_items
        for c in coefficients:
            at_users = half_hop(
                self.graph, at_items, "users", of_users if at_users is None else twice, of_items, at_users
            )
            at_items = half_hop(self.graph, at_users, "items", minus, of_users, at_items)
            y.add_(at_items, alpha=c)
        return y

    def _smoothed(self, x: Tensor, of_users: Tensor, of_items: Tensor) -> Tensor:
        """P x for columns x [n_items, n]."""
        return half_hop(self.graph, half_hop(self.graph, x, "users", of_users, of_items), "items", of_items, of_users)

    def _sharpened(self, x: Tensor, **scales: Tensor) -> Tensor:
        """q(P) x by Horner's scheme, some columns at a time."""
        blocks = []
        for block in x.split(self._width(), 1):
            y = self.polynomial[-1] * block
            for coefficient in self.polynomial[-2::-1]:
                y = self._smoothed(y, **scales).add_(block, alpha=coefficient)
            blocks.append(y)
        return torch.cat(blocks, 1)

    def _width(self) -> int:
        return _COLUMNS.get(self.graph.device.type, 64)


def _power(degree: Tensor, exponent: float) -> Tensor:
    return power(degree, exponent).float()
