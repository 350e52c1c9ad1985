"""The user-item graph: R in CSR, its transpose, and the scalings of the normalised adjacency."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Hashable
from typing import Any, Literal, TypeVar

import numpy as np
import scipy.sparse as sp
import torch

from . import native
from .arguments import as_python, check_number
from .csr import MOST_WEIGHT, Csr, alias_table, check_nodes, csr_of_edges, transposed
from .elementwise import power
from .links import Links
from .schedule import schedule_of
from .tensors import check_ids, check_range
from .watch import is_transformed

T = TypeVar("T")
Side = Literal["users", "items"]
Norm = Literal["sym", "left", "right", "none"] | tuple[float, float]
NORMS = ("sym", "left", "right", "none")
_EXPONENTS = dict(zip(NORMS, ((0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)), strict=True))


class Graph:
    """A bipartite graph of users and items, immutable.

    ``Graph(user_items)`` takes a SciPy sparse matrix [n_users, n_items]; see also :meth:`from_edges`.

    Parameters
    ----------
    user_items : scipy.sparse matrix or array, shape [n_users, n_items]
        Stored zeros are no edges.
    weighted : bool
        False (default): every stored non-zero is an edge of weight 1. True: the values are edge weights: each at
        least 2^-100, those of a node together at most 2^100.

    Attributes
    ----------
    indptr, indices, weight : R in CSR; int64 [n_users + 1], int32 [n_edges], float32 [n_edges] or None
    indptr_t, indices_t, weight_t : the same of R's transpose, [n_items + 1], ...
    n_users, n_items, n_nodes, n_edges : int

    Nodes are numbered users first, then items. Within a row edges are sorted and unique: duplicates are merged (their weights added).

    Raises
    ------
    TypeError : no SciPy sparse matrix. ValueError : values that are not positive, or weights out of range.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> graph = Graph(sp.csr_array([[1, 0, 1], [0, 1, 0]]))
    >>> graph.n_users, graph.n_items, graph.n_edges
    (2, 3, 3)
    """

    def __init__(self, user_items: Any, *, weighted: bool = False) -> None:
        if not sp.issparse(user_items):
            raise TypeError(
                f"Graph: user_items must be a SciPy sparse matrix [n_users, n_items], got {type(user_items).__name__}; "
                "for arrays of edges use Graph.from_edges(users, items, ...)"
            )
        if user_items.ndim != 2:
            raise ValueError(f"Graph: user_items must have two dimensions, got shape {user_items.shape}")
        coo = user_items.tocoo()
        stored = coo.data != 0
        rows, cols, data = (coo.row, coo.col, coo.data) if stored.all() else (
            coo.row[stored], coo.col[stored], coo.data[stored])  # fmt: skip
        if not weighted and not (data > 0).all():
            at = int((~(data > 0)).argmax())
            raise ValueError(
                f"Graph: user_items must hold positive values where there is an edge, got {data[at]} at [{rows[at]}, {cols[at]}]; "
                "leave out what is no interaction: user_items > 0"
            )
        n_users, n_items = user_items.shape
        self._take(*csr_of_edges(rows, cols, n_users, n_items, data if weighted else None))

    @classmethod
    def from_edges(
        cls,
        users: Any,
        items: Any,
        n_users: int | None = None,
        n_items: int | None = None,
        weight: Any = None,
        *,
        device: torch.device | str | None = None,
    ) -> Graph:
        """A graph from edge arrays: integers [n_edges] each (NumPy, torch or anything ``np.asarray`` takes).

        ``n_users``/``n_items`` default to the largest id + 1. Duplicate edges are merged, their weights added in the order of the edges.
        An id that is negative or not below its count raises ValueError.

        ``device`` is where the graph is built and lies; default: the CUDA device of the tensors, which must be one, else the CPU. The
        graph is the same, to the bit. On the CPU by counting sort, O(edges + nodes), with 16 bytes an edge beside the input (28 with
        weights), beyond 2^26 edges with less, down to 9 (18); on a GPU by radix sort, with 24 (40), and the host waits for it twice.

        >>> Graph.from_edges([0, 0, 1], [2, 2, 0]).n_edges
        2
        """
        graph = cls.__new__(cls)
        graph._take(*csr_of_edges(users, items, n_users, n_items, weight, device))
        return graph if device is None else graph.to(device)

    def _take(self, n_users: int, n_items: int, of_users: Csr, of_items: Csr) -> None:
        self.n_users, self.n_items = n_users, n_items
        self.indptr, self.indices, self.weight = of_users
        self.indptr_t, self.indices_t, self.weight_t = of_items
        self._normalised_as: Graph | None = None  # whose degrees scales() takes, if not its own
        self._cache: dict[Hashable, Any] = {}
        self._check_sums()
        self._schedule = schedule_of(torch.cat([self.user_degree, self.item_degree]))

    def _check_sums(self) -> None:
        """Every node's sum of weights is a float, and so is its inverse, which normalises."""
        for side, sums in zip(("user", "item"), self.degrees() if self.weight is not None else (), strict=False):
            most, at = sums.max(0) if len(sums) else (torch.zeros(()), torch.zeros(()))
            if not float(most) <= MOST_WEIGHT:
                raise ValueError(
                    f"Graph: the weights of {side} {int(at)} add up to {float(most):.3g}, more than {MOST_WEIGHT:.3g}; multiply all weights by "
                    "one small number, which changes nothing that is normalised"
                )

    @property
    def n_nodes(self) -> int:
        return self.n_users + self.n_items

    @property
    def n_edges(self) -> int:
        return self.indices.numel()

    @property
    def device(self) -> torch.device:
        return self.indptr.device

    @property
    def user_degree(self) -> torch.Tensor:
        """Number of items of every user, int64 [n_users]."""
        return self.indptr.diff()

    @property
    def item_degree(self) -> torch.Tensor:
        """Number of users of every item, int64 [n_items]."""
        return self.indptr_t.diff()

    @property
    def n_pairs(self) -> int:
        """How many pairs there are of a user and an item that have any edge: n_edges / n_pairs is the graph's density.

        >>> Graph.from_edges([0, 0, 1], [0, 1, 1], n_items=9).n_pairs
        4
        """
        return self.cached("n_pairs", lambda: int((self.user_degree > 0).sum()) * int((self.item_degree > 0).sum()))

    def active_users(self) -> torch.Tensor | None:
        """The users with at least one edge, int32; None when that is every user."""

        def made() -> torch.Tensor | None:
            active = torch.nonzero(self.user_degree > 0).flatten().to(torch.int32)
            return None if active.numel() == self.n_users else active

        return self.cached("active_users", made)

    def bare(self, side: Side) -> torch.Tensor | None:
        """Which users or items have no edge, bool [n]; None where every one has some."""

        def made() -> torch.Tensor | None:
            bare = (self.user_degree if side == "users" else self.item_degree) == 0
            return bare if bool(bare.any()) else None

        return self.cached(("bare", side), made)

    def alias_tables(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Walker's alias tables of R and of its transpose, int64 [n_edges] each (csrc/common/walk.h); None without weights.

        What a random walk needs to choose among weighted edges in constant time. Made once, when first asked for, and on the CPU: which cell
        takes from which is a chain along the row, so that a GPU would need a thread a row.
        """

        def made() -> tuple[torch.Tensor | None, torch.Tensor | None]:
            return (
                alias_table(self.indptr, self.indices, self.weight, self.n_items),
                alias_table(self.indptr_t, self.indices_t, self.weight_t, self.n_users),
            )

        return self.cached("alias_tables", made)

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor,
                               torch.Tensor | None]:  # fmt: skip
        """The six tensors as ops take them: (indptr, indices, weight) of R, then of its transpose."""
        return self.indptr, self.indices, self.weight, self.indptr_t, self.indices_t, self.weight_t

    def schedule(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """How a GPU shares out the nodes in a hop: see :func:`schedule_of`; None on the CPU."""
        return self._schedule

    def links(self) -> Links:
        """The six tensors and the schedule as one argument of an op."""
        return self.cached("links", lambda: Links(*self.tensors(), *self.schedule()))

    def scales(self, norm: Norm, dtype: torch.dtype) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(left, right), [n_nodes] each or None (= 1), such that the normalised adjacency is diag(left) A diag(right).

        "sym": D^-1/2 A D^-1/2 (He et al. 2020, eq. 3); "left": D^-1 A; "right": A D^-1; "none": A; (p, q): D^-p A D^-q. D holds the sums
        of edge weights; a node without edges has scale 0.
        """
        left, right = exponents(norm)
        return self.cached(
            ("scales", left, right, dtype), lambda: (self._scale(left, dtype), self._scale(right, dtype))
        )

    def _scale(self, exponent: float, dtype: torch.dtype) -> torch.Tensor | None:
        if exponent == 0:
            return None
        if self._normalised_as is not None:
            return self._normalised_as._scale(exponent, dtype)
        return self.cached(("scale", exponent, dtype), lambda: power(torch.cat(self.degrees()), -exponent).to(dtype))

    def select_users(self, users: torch.Tensor) -> Graph:
        """The graph of some users' edges: a row for each of the internal ids int64 [b], which may repeat, and all items. IndexError for an id
        out of range.

        >>> import torch
        >>> Graph.from_edges([0, 1, 1], [0, 1, 2]).select_users(torch.tensor([1])).to_scipy().toarray().tolist()
        [[0.0, 1.0, 1.0]]
        """
        users = check_ids("Graph.select_users", "users", users, (None,), self.indptr)
        check_range("Graph.select_users", "users", users, self.n_users)
        check_nodes(len(users), self.n_items)
        return self._part(self.user_degree[users].cumsum(0), edges_of(self.indptr, users)[1])

    def edges(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, items) of the edges, int64 [n_edges] each, by user, then item.

        >>> Graph.from_edges([1, 0], [0, 2]).edges()
        (tensor([0, 1]), tensor([2, 0]))
        """
        return row_of_each_edge(self.user_degree), self.indices.long()

    def without_edges(self, users: torch.Tensor, items: torch.Tensor) -> Graph:
        """The graph without these pairs, int64 [n] each; the weights of the others stay. Pairs that are no edges change nothing.

        >>> import torch
        >>> Graph.from_edges([0, 0, 1], [0, 1, 1]).without_edges(torch.tensor([0]), torch.tensor([1])).edges()
        (tensor([0, 1]), tensor([0, 1]))
        """
        of_users, of_items = self.edges()
        kept = ~torch.isin(of_users * self.n_items + of_items, users * self.n_items + items)
        return self._part(_from_zero(kept.cumsum(0))[self.indptr[1:]], kept)

    def _part(self, ends: torch.Tensor, edges: torch.Tensor) -> Graph:
        """The graph of these of R's edges, in their order, of users whose edges end at ``ends``."""
        of_users = _from_zero(ends), self.indices[edges], None if self.weight is None else self.weight[edges]
        part = Graph.__new__(Graph)
        part._take(len(ends), self.n_items, of_users, transposed(*of_users, self.n_items))
        return part

    def degrees(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums of edge weights of the users and of the items, float64: the diagonal of D."""
        return row_sums(self.indptr, self.weight), row_sums(self.indptr_t, self.weight_t)

    def item_law(self, power: float) -> torch.Tensor:
        """Running sums of degree^power over the items, int64 [n_items]: the law of drawing items by popularity.

        Integers, so that every device draws the same: a weight is degree^power rounded to a multiple of 2^-k, k <= 32 the largest
        with a total below 2^62. power >= 0; 0^0 = 1.
        """
        power = check_number(power, "Graph: power")
        if not 0 <= power < float("inf"):
            raise ValueError(f"Graph: power must be >= 0 and finite, got {power}")

        def made() -> torch.Tensor:
            weight = self.item_degree.cpu().numpy().astype(np.float64) ** power
            total = float(weight.sum())
            if not total < 2.0**60:
                raise ValueError(
                    f"Graph: degree^{power} adds up to {total:.3g} over the items, more than 2^60; lower power"
                )
            scale = 2.0 ** min(32, int(np.floor(61 - np.log2(max(total, 1.0)))))
            return torch.from_numpy(np.rint(weight * scale).astype(np.int64).cumsum()).to(self.device)

        return self.cached(("item_law", power), made)

    def cached(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, made when first asked for under ``key`` and kept as long as the graph: of another device or other weights is made anew.

        Not kept is what is made while a CUDA graph is captured, since it has its values only when that is replayed, or under a mode of torch, whose
        tensors may be fakes.
        """
        if key not in self._cache:
            if torch.compiler.is_compiling():
                self._cache[key] = make()
            else:
                with torch.inference_mode(False):  # whose tensors no gradient could be taken through later
                    made = make()
                if is_transformed() or native.is_captured(self.device):
                    return made
                self._cache[key] = made
        found: T = self._cache[key]
        return found

    def to(self, device: torch.device | str) -> Graph:
        """The same graph on another device (itself, if it is there already)."""
        device = torch.device(device)
        if device == self.device or (device.type == self.device.type and device.index is None):
            return self
        moved = Graph.__new__(Graph)
        moved.n_users, moved.n_items = self.n_users, self.n_items
        for name in ("indptr", "indices", "weight", "indptr_t", "indices_t", "weight_t"):
            t = getattr(self, name)
            setattr(moved, name, None if t is None else t.to(device))
        moved._cache = {}
        moved._normalised_as = None if self._normalised_as is None else self._normalised_as.to(device)
        moved._schedule = schedule_of(torch.cat([moved.user_degree, moved.item_degree]))
        return moved

    def to_scipy(self) -> sp.csr_array:
        """R as a SciPy CSR array, float32."""
        n = self.n_edges
        data = np.ones(n, np.float32) if self.weight is None else self.weight.cpu().numpy()
        return sp.csr_array(
            (data, self.indices.cpu().numpy(), self.indptr.cpu().numpy()), shape=(self.n_users, self.n_items)
        )

    def reweighted(self, weight: torch.Tensor, weight_t: torch.Tensor, *, same_scales: bool) -> Graph:
        """The same edges with other weights, float32 [n_edges] in the order of R and of its transpose, >= 0 and not checked; an edge of weight
        0 sends nothing. same_scales: the degrees that normalise stay this graph's."""
        other = copy.copy(self)
        other.weight, other.weight_t = weight, weight_t
        other._cache = {}
        other._normalised_as = self if same_scales else None
        return other

    def fingerprint(self) -> str:
        """ "users-items-edges-hash": equal for equal graphs."""
        digest = hashlib.sha256()
        for t in (self.indptr, self.indices, self.weight):
            if t is not None:
                digest.update(t.cpu().numpy().tobytes())
        return f"{self.n_users}-{self.n_items}-{self.n_edges}-{digest.hexdigest()[:16]}"

    def __repr__(self) -> str:
        weighted = "" if self.weight is None else ", weighted"
        return f"Graph(n_users={self.n_users}, n_items={self.n_items}, n_edges={self.n_edges}, {self.device}{weighted})"


def row_of_each_edge(degree: torch.Tensor) -> torch.Tensor:
    """Row r degree[r] times, for every row in order, int64. (torch.repeat_interleave opens a parallel region however small its input is.)"""
    if degree.device.type != "cpu":
        return torch.repeat_interleave(degree)
    return torch.from_numpy(np.repeat(np.arange(len(degree)), degree.numpy()))


def _from_zero(sums: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(sums, (1, 0))


def edges_of(indptr: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Every edge of some rows int64 [b] of a CSR, which may repeat: (its position in ``rows``, its place among the indices), int64 each."""
    begin, degree = indptr[rows], indptr[rows + 1] - indptr[rows]
    at = row_of_each_edge(degree)
    return at, torch.arange(len(at), device=at.device) + (begin - degree.cumsum(0) + degree)[at]


def exponents(norm: Norm) -> tuple[float, float]:
    """(p, q) of a normalisation D^-p A D^-q."""
    if isinstance(norm, str) and norm in _EXPONENTS:
        return _EXPONENTS[norm]
    pair = None if isinstance(norm, str) else as_python(norm)
    numbers = isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(p, (int, float)) for p in pair)
    if pair is None or not numbers or not all(map(math.isfinite, pair)):
        raise ValueError(f"norm must be one of {NORMS} or two finite exponents (left, right), got {norm!r}")
    return float(pair[0]), float(pair[1])


def row_sums(indptr: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    if weight is None:
        return indptr.diff().to(torch.float64)
    return torch.segment_reduce(weight.to(torch.float64), "sum", offsets=indptr, axis=0)
