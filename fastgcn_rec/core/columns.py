"""Which columns of the embedding a process holds, where several share them out (docs/ranks.md)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .arguments import check_count
from .together import exchange_together
from .world import World, check_world

Tensor = torch.Tensor
PANEL = 16  # columns that stay together: a cache line of float32
_AT_ONCE = 1 << 22  # numbers of a table that are sent at once


def column_bounds(dim: int, size: int) -> tuple[int, ...]:
    """[size + 1]: of ``size`` ranks that share ``dim`` columns out, rank r holds those from the r-th to the next; ValueError for more ranks than panels.

    >>> column_bounds(70, 2)
    (0, 32, 70)
    """
    panels = -(-dim // PANEL)
    if size > panels:
        raise ValueError(
            f"Columns: {size} ranks share {dim} columns in panels of {PANEL}, of which there are {panels}; start at most {panels} ranks, or take "
            f"embedding_dim >= {PANEL * (size - 1) + 1}"
        )
    return tuple(min(dim, PANEL * (panels * r // size)) for r in range(size + 1))


@dataclasses.dataclass(frozen=True)
class Columns:
    """Columns [first, last) of ``dim`` are this rank's: whole panels of 16, shared out evenly; the last panel may have fewer.

    What acts on each column by itself (propagation, its gradient, Adam) needs no other rank. What looks across columns gathers rows (:meth:`whole`).

    Examples
    --------
    >>> Columns(World(), 40).bounds
    (0, 40)
    >>> Columns(World(), 40).whole(torch.ones(2, 40)).shape
    torch.Size([2, 40])
    """

    world: World
    dim: int

    def __post_init__(self) -> None:
        check_world(self.world, "Columns")
        check_count(self.dim, "Columns: dim", 0)
        column_bounds(self.dim, self.world.size)

    @property
    def bounds(self) -> tuple[int, ...]:
        """[size + 1]: rank r holds columns bounds[r] to bounds[r + 1]."""
        return column_bounds(self.dim, self.world.size)

    @property
    def first(self) -> int:
        return self.bounds[self.world.rank]

    @property
    def last(self) -> int:
        return self.bounds[self.world.rank + 1]

    @property
    def width(self) -> int:
        return self.last - self.first

    def widths(self) -> list[int]:
        """Of all ranks."""
        return [b - a for a, b in itertools.pairwise(self.bounds)]

    def own(self, whole: Tensor) -> Tensor:
        """[n, width]: a copy of this rank's columns of [n, dim]."""
        return whole[:, self.first : self.last].clone(memory_format=torch.contiguous_format)

    def whole(self, own: Tensor) -> Tensor:
        """[n, dim] on every rank, of rows [n, width] of the same n nodes on each."""
        if self.world.size == 1:
            return own
        parts = self.world.exchange([own] * self.world.size, [(len(own), width) for width in self.widths()])
        return torch.cat(parts, 1)

    def panels(self) -> list[int]:
        """How many panels each rank has, of all ranks."""
        return [-(-width // PANEL) for width in self.widths()]

    def sum(self, own: Tensor) -> Tensor:
        """[n]: every rank's [n, own panels] float64 added up in the order of the panels, the same bits on all ranks."""
        return in_order(self.all_panels(own))

    def all_panels(self, own: Tensor) -> Tensor:
        """[n, panels of all]: every rank's [n, own panels] side by side."""
        parts = self.world.exchange([own] * self.world.size, [(len(own), panels) for panels in self.panels()])
        return torch.cat(parts, 1)

    def whole_and_panels(self, own: Tensor, panels: Tensor) -> tuple[Tensor, Tensor]:
        """(:meth:`whole` of ``own``, every rank's [n, own panels] side by side), sent together."""
        counts = zip(self.widths(), self.panels(), strict=True)
        shapes = [((len(own), width), (len(panels), n)) for width, n in counts]
        found = exchange_together(self.world, [(own, panels)] * self.world.size, shapes)
        of_own, of_panels = zip(*found, strict=True)
        return torch.cat(of_own, 1), torch.cat(of_panels, 1)

    def rows(self, own: Tensor, bounds: list[int]) -> Tensor:
        """[bounds[r + 1] - bounds[r], dim]: all columns of the rows of this rank r, where each holds its columns of all rows."""
        parts = [own[a:b] for a, b in itertools.pairwise(bounds)]
        n = bounds[self.world.rank + 1] - bounds[self.world.rank]
        return torch.cat(self.world.exchange(parts, [(n, width) for width in self.widths()]), 1)

    def of_rows(self, rows: Tensor, bounds: list[int]) -> Tensor:
        """[n, width]: this rank's columns of all rows, where each rank r holds all columns of rows bounds[r] to bounds[r + 1]; undoes :meth:`rows`."""
        parts = [rows[:, a:b] for a, b in itertools.pairwise(self.bounds)]
        shapes = [(b - a, self.width) for a, b in itertools.pairwise(bounds)]
        return torch.cat(self.world.exchange(parts, shapes))

    def by_rows(self, own: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """[n, width]: this rank's columns of what a function from rows [m, dim] to rows [m, dim] makes of a table [n, dim]; each row goes through it on one
        rank, some at a time."""
        step, done = max(1, _AT_ONCE // self.dim), []
        for at in range(0, len(own), step):
            bounds = self.world.shares(len(own[at : at + step]))
            done.append(self.of_rows(function(self.rows(own[at : at + step], bounds)), bounds))
        return torch.cat(done) if done else own

    def at(self, own: Tensor, nodes: Tensor) -> Tensor:
        """[n, dim] on every rank: all columns of the rows ``nodes`` int64 [n], distinct, of a table of which each holds its columns [n_nodes, width].
        Differentiable: of a gradient that is the same on every rank each takes its own columns."""
        found: Tensor = _At.apply(own, nodes, self)
        return found

    def pairs(self, own: Tensor, n_users: int, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(vectors of users [m, dim], of items [n, dim], users, items): all columns of the rows of these ids (-1: none), once each, by :meth:`at`, and
        where each id finds its own among them."""
        of_users, users_at = users.unique(return_inverse=True)
        of_items, items_at = items.clamp(min=0).unique(return_inverse=True)
        rows = self.at(own, torch.cat([of_users, of_items + n_users]))
        return *rows.split([len(of_users), len(of_items)]), users_at, torch.where(items >= 0, items_at, items)

    def blocks(self, own: Tensor, to: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """(first row, rows [n, dim]) of a table of which each rank holds its columns [n_nodes, width], block by block, so that nobody needs to hold it
        whole; with ``to`` on that rank alone, the others get rows [0, dim]."""
        step = max(1, _AT_ONCE // self.dim)
        for at in range(0, len(own), step):
            block = own[at : at + step]
            n = len(block) if to in (None, self.world.rank) else 0
            parts = [block if to in (None, rank) else block[:0] for rank in range(self.world.size)]
            yield at, torch.cat(self.world.exchange(parts, [(n, width) for width in self.widths()]), 1)

    def table(self, own: Tensor, to: int | None = None) -> Tensor:
        """[n_nodes, dim]: all of a table of which each rank holds its columns [n_nodes, width]; with ``to`` on that rank alone, the others get [0, dim]."""
        whole = own.new_empty(len(own) if to in (None, self.world.rank) else 0, self.dim)
        for at, rows in self.blocks(own, to):
            whole[at : at + len(rows)] = rows
        return whole


class _At(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, nodes: Tensor, columns: Columns) -> Tensor:
        ctx.columns, ctx.shape = columns, own.shape
        ctx.save_for_backward(nodes)
        return columns.whole(own[nodes])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (nodes,) = ctx.saved_tensors
        return grad.new_zeros(ctx.shape).index_copy_(0, nodes, ctx.columns.own(grad)), None, None


def in_order(panels: Tensor) -> Tensor:
    """[n]: the sums over the last axis of [n, panels], one after the other."""
    total = panels.new_zeros(len(panels))
    for panel in panels.unbind(1):
        total = total + panel
    return total
