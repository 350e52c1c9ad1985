"""Which items may stand in a list: the only ones, and those that are left out, of all lists or of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.graph import Graph
from ..core.ids import Ints, among
from ..core.ties import tie_key

Tensor = torch.Tensor
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
    """What may stand in n lists of items, by internal ids: an item that is in ``within``, the same for all lists, and in the list's own row of ``only``,
    and in none of ``without``; None asks for nothing."""

    n_items: int
    within: Ints | None = None  # ascending, distinct
    only: Rows | None = None
    without: tuple[Rows, ...] = ()

    def __bool__(self) -> bool:
        return self.within is not None or self.only is not None or bool(self.without)

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
        starts = np.zeros(n + 1, np.int64)
        np.cumsum(np.sum(own, 0) if own else starts[1:], out=starts[1:])
        yield from in_blocks(starts, most, _PAIRS_AT_ONCE) if n else (slice(0, 0),)

    @cached_property
    def mask(self) -> NDArray[np.bool_] | None:
        """Which items are in ``within``, bool [n_items]."""
        if self.within is None:
            return None
        mask = np.zeros(self.n_items, bool)
        mask[self.within] = True
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
        """The items that are not in ``within``."""
        return np.zeros(0, np.int64) if self.mask is None else np.flatnonzero(~self.mask)

    @cached_property
    def columns(self) -> Ints:
        """``within`` in an order in which places tie as the items do: of two items of equal score that with the smaller ``tie_key`` of its place goes first."""
        items = np.arange(self.n_items) if self.within is None else self.within
        columns = np.empty_like(items)
        columns[np.argsort(tie_key(np.arange(len(items))))] = items[np.argsort(tie_key(items))]
        return columns

    def _keys(self, graph: Graph) -> Ints:
        rows, items = graph.edges()
        keys: Ints = (rows * self.n_items + items).cpu().numpy()
        return keys


def in_blocks(starts: Ints, most: int, together: int) -> Iterator[slice]:
    """Lists that follow each other, ``most`` at once and no more pairs than ``together``, though one list at least; ``starts`` [n + 1] counts the pairs
    before each list."""
    first, n = 0, len(starts) - 1
    while first < n:
        fits = int(np.searchsorted(starts, starts[first] + together, "right")) - 1
        last = min(max(fits, first + 1), first + most, n)
        yield slice(first, last)
        first = last
