"""The rows of a graph that one of several processes holds, where these share out its nodes (docs/ranks.md)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from .arguments import as_python, check_count
from .csr import Csr
from .elementwise import power
from .graph import Graph, Norm, exponents
from .world import World

Range = tuple[int, int]
MOST_PER_ROW = 1 << 20  # so that sums of 2^31 rows are int64


@dataclass(frozen=True, eq=False)
class RowGraph:
    """Some users' and some items' rows of a graph, numbered as in the whole graph.

    Attributes
    ----------
    n_users, n_items, n_edges : int
        Of the whole graph.
    users, items : (int, int)
        Own rows: the first one, and the one behind the last.
    indptr, indices, weight : own users' rows of R; int64 [own users + 1], from 0, int32 and float32 [own edges], or None
    indptr_t, indices_t, weight_t : own items' rows of R's transpose, likewise
    user_degree, item_degree : int64 [n_users], [n_items]
        Of the whole graph.
    user_sums, item_sums : float64 [n_users], [n_items]
        Sums of edge weights of the whole graph, by which it is normalised: the degrees where there are no weights.

    Examples
    --------
    >>> graph = Graph.from_edges([0, 0, 1], [0, 2, 2])
    >>> own = RowGraph.of(graph, (1, 2), (2, 3))
    >>> own.indices.tolist(), own.indices_t.tolist(), own.edges_before
    ([2], [0, 1], 2)
    """

    n_users: int
    n_items: int
    n_edges: int
    users: Range
    items: Range
    indptr: torch.Tensor
    indices: torch.Tensor
    weight: torch.Tensor | None
    indptr_t: torch.Tensor
    indices_t: torch.Tensor
    weight_t: torch.Tensor | None
    user_degree: torch.Tensor
    item_degree: torch.Tensor
    user_sums: torch.Tensor
    item_sums: torch.Tensor

    @classmethod
    def of(cls, graph: Graph, users: Range, items: Range) -> RowGraph:
        """These rows of a whole graph, copied. ValueError: a range that does not lie in its side."""
        if not isinstance(graph, Graph):
            raise TypeError(f"RowGraph.of: graph must be a Graph, got {type(graph).__name__}")
        users, items = _range("users", users, graph.n_users), _range("items", items, graph.n_items)
        sums = graph.degrees()
        of_users = _rows((graph.indptr, graph.indices, graph.weight), users)
        of_items = _rows((graph.indptr_t, graph.indices_t, graph.weight_t), items)
        sizes = graph.n_users, graph.n_items, graph.n_edges
        return cls(*sizes, users, items, *of_users, *of_items, graph.user_degree, graph.item_degree, *sums)

    @property
    def n_nodes(self) -> int:
        return self.n_users + self.n_items

    @property
    def edges_before(self) -> int:
        """How many edges the users before the own ones have: own edge e is edge ``edges_before + e`` of the whole graph."""
        return int(self.user_degree[: self.users[0]].sum())

    def scales(self, norm: Norm, dtype: torch.dtype) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(left, right), [n_nodes] each or None, of the whole graph: `Graph.scales`, to the bit."""
        sums = torch.cat([self.user_sums, self.item_sums])
        left, right = (None if p == 0 else power(sums, -p).to(dtype) for p in exponents(norm))
        return left, right


def row_bounds(degree: torch.Tensor, parts: int, per_row: int = 0) -> list[int]:
    """Bounds of ``parts`` ranges of rows in their order, between which ``degree`` (int64 [rows]) and ``per_row`` for each row add up to sums as even as whole rows allow.

    >>> row_bounds(torch.tensor([6, 3, 2, 1]), 2), row_bounds(torch.tensor([6, 3, 2, 1]), 2, per_row=4)
    ([0, 1, 4], [0, 2, 4])
    """
    parts = check_count(parts, "row_bounds: parts", 1)
    cost = degree + check_count(per_row, "row_bounds: per_row", 0, MOST_PER_ROW)
    middles, total = 2 * cost.cumsum(0) - cost, int(cost.sum())  # twice a row's middle: it goes where that lies
    wanted = torch.tensor([2 * total * part // parts for part in range(1, parts)], dtype=torch.int64)
    return [0, *torch.searchsorted(middles.cpu(), wanted, right=True).tolist(), len(cost)]


def range_bounds(world: World, who: str, side: str, own: Range, n: int) -> list[int]:
    """Bounds of the ranges of all ranks, which must follow each other. Collective."""
    ranges = world.values(own)
    bounds = [0, *(end for _, end in ranges)]
    if [tuple(r) for r in ranges] != list(pairwise(bounds)) or bounds[-1] != n:
        raise ValueError(
            f"{who}: the ranks' ranges of {side} must follow each other from 0 to {n}, got {ranges}; make them by row_bounds"
        )
    return bounds


def check_row_graph(graph: Any, who: str) -> RowGraph:
    if not isinstance(graph, RowGraph):
        raise TypeError(
            f"{who}: graph must be a RowGraph, got {type(graph).__name__}; RowGraph.of(graph, users, items) cuts a whole graph, load_rows reads files"
        )
    return graph


def _range(side: str, rows: Any, n: int) -> Range:
    ends = as_python(rows)
    if not isinstance(ends, (tuple, list)) or len(ends) != 2 or not all(type(end) is int for end in ends):
        raise TypeError(f"RowGraph: {side} must be two ints, the first of the rows and the end, got {rows!r:.80}")
    first, last = ends
    if not 0 <= first <= last <= n:
        raise ValueError(f"RowGraph: {side} must be a range in [0, {n}], got {first} to {last}")
    return first, last


def _rows(csr: Csr, rows: Range) -> Csr:
    first, last = rows
    indptr, indices, weight = csr
    begin, end = int(indptr[first]), int(indptr[last])
    own = None if weight is None else weight[begin:end].clone()
    return indptr[first : last + 1] - begin, indices[begin:end].clone(), own
