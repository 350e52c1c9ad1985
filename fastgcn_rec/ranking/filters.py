"""Which items may stand in a list: the only ones, and those that are left out, of all lists or of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from ..core.graph import Graph
from ..core.ids import Ints, among, as_ids
from ..core.ties import tie_key
from ..data import Edges
from .protocols import KnowsIds
from .same_data import check_same_ids

Tensor = torch.Tensor
RowsOf: TypeAlias = Callable[[NDArray[Any], str], Ints]
"""(raw ids, the argument named in errors) -> internal ids."""

_PAIRS_AT_ONCE = 1 << 22  # of lists and items


class Rows(NamedTuple):
    """Items of each of n lists: those that row ``at[n]`` of a graph has an edge to, or row n where ``at`` is None."""

    graph: Graph
    at: Tensor | None = None

    def sizes(self) -> Ints:
        indptr = self.graph.indptr
        return (indptr.diff() if self.at is None else indptr[self.at + 1] - indptr[self.at]).cpu().numpy()

    def rows(self, lists: slice) -> Tensor:
        """The rows of the graph of these lists."""
        return torch.arange(lists.start, lists.stop, device=self.graph.device) if self.at is None else self.at[lists]

    def part(self, lists: slice) -> Graph:
        """A row for each of these lists."""
        return self.graph.select_users(self.rows(lists))


@dataclass(frozen=True, eq=False)
class Filter:
    """What may stand in n lists of items, by internal ids: an item that is in ``among``, in ``only`` and not in ``without``; None asks for nothing."""

    n_items: int
    among: Ints | None = None  # ascending, distinct
    only: Rows | None = None
    without: tuple[Rows, ...] = ()

    def __bool__(self) -> bool:
        return self.among is not None or self.only is not None or bool(self.without)

    def leaving_out(self, graph: Graph | None, at: Tensor | None = None) -> Filter:
        """The same, less what row at[n] of ``graph`` has."""
        return self if graph is None else replace(self, without=(*self.without, Rows(graph, at)))

    def part(self, lists: slice) -> Filter:
        """What is said of these lists."""
        return self._each(lambda rows: Rows(rows.graph, rows.rows(lists)))

    def of_users(self, users: Tensor) -> Filter:
        """What is said of other lists, of these users."""
        return self._each(lambda rows: Rows(rows.graph, users))

    def _each(self, change: Callable[[Rows], Rows]) -> Filter:
        only = None if self.only is None else change(self.only)
        return replace(self, only=only, without=tuple(map(change, self.without)))

    def parts(self, n: int, most: int) -> Iterator[slice]:
        """The n lists in blocks of ``most`` at most, fewer where they have many items of their own."""
        own = [rows.sizes() for rows in (*self.without, *([] if self.only is None else [self.only]))]
        ends = np.cumsum(np.sum(own, 0)) if own else np.zeros(n, np.int64)
        first = 0
        while first < max(n, 1):
            done = ends[first - 1] if first else 0
            fits = int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, "right"))
            last = min(max(fits, first + 1), first + most, n)
            yield slice(first, last)
            first = max(last, 1)

    @cached_property
    def mask(self) -> NDArray[np.bool_] | None:
        """Which items are in ``among``, bool [n_items]."""
        if self.among is None:
            return None
        mask = np.zeros(self.n_items, bool)
        mask[self.among] = True
        return mask

    def left_out(self, lists: slice) -> Graph | None:
        """The items of ``without``, a row for each of these lists."""
        parts = [rows.part(lists) for rows in self.without]
        if len(parts) < 2:
            return parts[0] if parts else None
        device = parts[0].device
        rows, items = (
            torch.cat([t.to(device) for t in both]) for both in zip(*(part.edges() for part in parts), strict=True)
        )
        return Graph.from_edges(rows, items, lists.stop - lists.start, self.n_items)

    def allowed(self, lists: slice) -> Ints:
        """list * n_items + item, ascending, of what is left of ``only``, lists counted from the first of these."""
        if self.only is None:
            raise ValueError("allowed: of lists with items of their own alone")
        keys = self._keys(self.only.part(lists))
        if self.mask is not None:
            keys = keys[self.mask[keys % self.n_items]]
        left = self.left_out(lists)
        return keys if left is None else keys[~among(self._keys(left), keys)]

    def judge(self, lists: slice) -> Callable[[Ints, Ints], NDArray[np.bool_]]:
        """A function from (which of these lists [m], counted from the first, ids [m, w], -1 for none) to which ids may stand in them."""
        wanted = None if self.only is None else self.allowed(lists)
        left = None if self.only is not None else self.left_out(lists)
        unwanted = None if left is None else self._keys(left)

        def may_stand(rows: Ints, ids: Ints) -> NDArray[np.bool_]:
            keys = rows[:, None] * self.n_items + ids
            if wanted is not None:
                return (ids >= 0) & among(wanted, keys)
            may: NDArray[np.bool_] = ids >= 0
            if self.mask is not None:
                may = may & self.mask[ids]
            return may if unwanted is None else may & ~among(unwanted, keys)

        return may_stand

    @cached_property
    def gone(self) -> Ints:
        """The items that are not in ``among``."""
        return np.zeros(0, np.int64) if self.mask is None else np.flatnonzero(~self.mask)

    @cached_property
    def columns(self) -> Ints:
        """``among`` in an order in which places tie as the items do: of two items of equal score that with the smaller ``tie_key`` of its place goes first."""
        items = np.arange(self.n_items) if self.among is None else self.among
        columns = np.empty_like(items)
        columns[np.argsort(tie_key(np.arange(len(items))))] = items[np.argsort(tie_key(items))]
        return columns

    def _keys(self, graph: Graph) -> Ints:
        rows, items = graph.edges()
        keys: Ints = (rows * self.n_items + items).cpu().numpy()
        return keys


def filter_of(
    who: str,
    n: int,
    n_items: int,
    rows_of: RowsOf,
    only: Any,
    exclude: Any,
    names: tuple[str, str] = ("items", "exclude"),
    model: KnowsIds | None = None,
    users: Tensor | None = None,
) -> Filter:
    """What two arguments of a caller say of n lists.

    Parameters
    ----------
    only, exclude : None; raw ids, for all lists; n lists of raw ids; a SciPy sparse matrix [n, n_items] of internal ids; or Edges
    names : of the arguments, for errors
    model, users : whose lists they are, internal ids int64 [n]; where they are given, Edges may be
    """
    found = Filter(n_items)
    if only is None and exclude is None:
        return found
    given = [
        None if value is None else _given(who, name, value, n, n_items, rows_of, model, users)
        for name, value in zip(names, (only, exclude), strict=True)
    ]
    if isinstance(given[0], Rows):
        found = replace(found, only=given[0])
    elif given[0] is not None:
        found = replace(found, among=given[0])
    if isinstance(given[1], Rows):
        return replace(found, without=(given[1],))
    if given[1] is not None:
        every = np.arange(n_items) if found.among is None else found.among
        found = replace(found, among=every[~among(given[1], every)])
    return found


def _given(
    who: str, name: str, value: Any, n: int, n_items: int, rows_of: RowsOf, model: KnowsIds | None, users: Tensor | None
) -> Ints | Rows:
    """Internal ids, ascending and distinct, of all lists; or those of each."""
    if isinstance(value, Edges):
        if model is None or users is None:
            raise TypeError(
                f"{who}: {name} must be raw ids, lists of them or a SciPy sparse matrix, got Edges, whose users are not those of these lists"
            )
        return Rows(_graph_of(who, name, value, model, users.device), users)
    if sp.issparse(value):
        if value.shape != (n, n_items):
            raise ValueError(
                f"{who}: {name} must have shape [lists, n_items] = [{n}, {n_items}], columns by internal ids, got {list(value.shape)}"
            )
        marked = sp.coo_array(value)
        stored = marked.data != 0
        return Rows(Graph.from_edges(marked.row[stored], marked.col[stored], n, n_items))
    if is_list(value) and not hasattr(value, "__array__"):
        value = list(value)
    rows = _each(who, name, value)
    if rows is None:
        return np.unique(rows_of(as_ids(value if is_list(value) else [value], name), name))
    if len(rows) != n:
        raise ValueError(
            f"{who}: {name} must be raw ids, for all, or {n} lists of them, one for each, got {len(rows)} lists"
        )
    lists, flat = flattened(rows, name)
    return Rows(Graph.from_edges(lists, rows_of(flat, name), n, n_items))


def _graph_of(who: str, name: str, edges: Edges, model: KnowsIds, device: torch.device) -> Graph:
    check_same_ids(who, model, edges.ids, name)
    sizes = len(model.user_ids), len(model.item_ids)
    for side, ids, size in zip(("user", "item"), (edges.users, edges.items), sizes, strict=True):
        if ids.size and ids.max() >= size:
            raise IndexError(f"{who}: {name} must hold internal ids, {side}s below {size}, got {ids.max()}")
    return Graph.from_edges(edges.users, edges.items, *sizes, device=device)


def _each(who: str, name: str, value: Any) -> list[Any] | None:
    """The lists, one for each; None where there is one for all."""
    flat = (
        hasattr(value, "__array__") and getattr(value, "ndim", 1) == 1 and str(getattr(value, "dtype", "")) != "object"
    )
    if flat or not is_list(value):
        return None
    rows = list(value)
    are = [is_list(row) for row in rows]
    if not any(are):
        return None
    if not all(are):
        raise TypeError(
            f"{who}: {name} must be raw ids, or lists of raw ids, got both: {rows[are.index(False)]!r:.80} among lists"
        )
    return rows


def is_list(value: Any) -> bool:
    """Whether it is several ids, and no id."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) > 0


def flattened(rows: list[Any], name: str) -> tuple[Ints, NDArray[Any]]:
    """n lists of raw ids as (the number of the list, the id), a pair an entry."""
    rows = [row if hasattr(row, "__len__") else list(row) for row in rows]
    full = [row for row in rows if len(row)]
    arrays = bool(full) and all(isinstance(row, np.ndarray) for row in full)
    flat = as_ids(np.concatenate(full) if arrays else list(itertools.chain.from_iterable(full)), name)
    return np.repeat(np.arange(len(rows)), [len(row) for row in rows]), flat
