"""The half-hops of a training step on own rows, with the other side's layer gathered before each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from ..core import native
from ..core.graph import Norm
from ..core.row_graph import RowGraph, range_bounds
from ..core.schedule import schedule_of
from ..core.tensors import check_range
from ..core.world import World
from .train_step import StepBatch

Tensor = torch.Tensor


@dataclasses.dataclass(eq=False)
class Panel:
    """Columns of a table, with all that Adam keeps of them: [own rows, width] each, own users' rows first.

    ``shadow``: the table as hops read it, in their storage type and scaled; None: they read the table itself.
    """

    table: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    shadow: Tensor | None

    @property
    def width(self) -> int:
        return self.table.shape[1]


@dataclasses.dataclass(frozen=True, eq=False)
class Compact:
    """The batch's distinct nodes in ascending order, of which every rank knows all: ids within their side, users first."""

    users: Tensor  # int64 [distinct users], of the whole graph
    items: Tensor

    @classmethod
    def of(cls, users: Tensor, items: Tensor, graph: RowGraph) -> Compact:
        """Of a batch's ids, of which -1 is no item. IndexError: an id out of range."""
        of_users, of_items = users.unique(), items.unique()
        check_range("RowStep", "users", of_users, graph.n_users)
        check_range("RowStep", "items", of_items, graph.n_items, -1)
        return cls(of_users, of_items[of_items >= 0])

    def numbered(self, batch: StepBatch) -> StepBatch:
        """The same batch with the nodes' places among the distinct ones as ids."""
        neg = torch.searchsorted(self.items, batch.neg)
        return batch._replace(
            users=torch.searchsorted(self.users, batch.users),
            pos=torch.searchsorted(self.items, batch.pos),
            neg=torch.where(batch.neg < 0, batch.neg, neg),
        )

    def __len__(self) -> int:
        return len(self.users) + len(self.items)


class _Operand(NamedTuple):
    """What a half-hop gathers: all rows of the other side, or compact ones by ``slot``; scale: by which it multiplies them."""

    x: Tensor
    scale: Tensor | None
    slot: Tensor | None
    gain: Tensor | None


class _Side:
    """What a rank holds of the users or of the items."""

    def __init__(
        self,
        graph: RowGraph,
        users: bool,
        bounds: Sequence[int],
        scales: tuple[Tensor | None, ...],
        whole_dim: int,
        dtype: torch.dtype,
    ) -> None:
        g = graph
        csr = (g.indptr, g.indices, g.weight) if users else (g.indptr_t, g.indices_t, g.weight_t)
        n_own_users = g.users[1] - g.users[0]
        begin, end = (0, g.n_users) if users else (g.n_users, g.n_nodes)
        self.first, self.last = g.users if users else g.items
        self.at = 0 if users else n_own_users  # own rows in a table of both sides
        self.bounds, self.n, self.n_other = list(bounds), end - begin, g.n_nodes - (end - begin)
        self.n_own, self.whole_dim, self.dtype = self.last - self.first, whole_dim, dtype
        self._held = [*csr, *schedule_of(csr[0].diff())]  # what the views below look at
        self._edges = native.rows(*csr, self.n_other, *self._held[3:])
        self._no_edges = native.shape(self.n_own, self.n_other)
        self.left, self.right = (None if s is None else s[begin:end].contiguous() for s in scales)
        self.own_left, self.own_right = self._own(self.left), self._own(self.right)
        self.slot = torch.full((self.n,), -1, dtype=torch.int32, device=g.indptr.device)  # a node's row in the batch
        self._layers: dict[int, Tensor] = {}

    def layer(self, width: int) -> Tensor:
        """[n, width], of which each half-hop that computes this side writes the own rows."""
        if width not in self._layers:
            self._layers[width] = native.in_huge_pages(
                torch.empty(self.n, width, dtype=self.dtype, device=self.slot.device)
            )
        return self._layers[width]

    def of(self, table: Tensor) -> Tensor:
        return table[self.at : self.at + self.n_own]

    def own(self, layer: Tensor) -> Tensor:
        return layer[self.first : self.last]

    def operands(
        self, x: _Operand | None, width: int, beta: Tensor | None, left: Tensor | None, out: Tensor | None, base: Tensor,
        base_slot: Tensor | None,
    ) -> tuple[Any, ...]:  # fmt: skip
        """A half-hop that computes own rows, as the kernel takes it (csrc/include/fgr/row_step.h); x = None: no neighbours."""
        edges = self._no_edges if x is None else self._edges
        gathered, scale, slot, gain = x or (None,) * 4
        return edges, gathered, width, self.whole_dim, scale, slot, gain, beta, left, out, base, base_slot

    def workspace(self, code: int, width: int) -> Tensor:
        device = self.slot.device
        return native.workspace(native.size("row_step", device, code, self._edges, width), device)

    def _own(self, scale: Tensor | None) -> Tensor | None:
        return None if scale is None else scale[self.first : self.last]


class RowHops:
    """z = sum_k alphas[k] B^k E at the batch's nodes, and Adam on E from dL/dz there, where ranks share the rows of E out.

    The kernels are :class:`fastgcn_rec.TrainStep`'s, and so are the order of every sum and the bits. Collective.

    Parameters
    ----------
    graph : RowGraph
        Own rows.
    world : World
        The ranks that share out the rows of the same columns, in the order of their ranges.
    alphas : [K + 1], in the dtype of sums; norm : as for ``propagate``
    storage : the dtype in which layers are gathered
    whole_dim : int
        Columns of all ranks: a GPU's order of sums depends on it.
    """

    def __init__(
        self, graph: RowGraph, world: World, alphas: Tensor, norm: Norm, storage: torch.dtype, whole_dim: int
    ) -> None:
        self.world, self.alphas, self.hops, self.storage = world, alphas, len(alphas) - 1, storage
        self._code = native.DTYPE_CODE[storage]
        scales = graph.scales(norm, alphas.dtype)
        bounds = [range_bounds(world, "RowHops", name, *own) for name, own in (("users", (graph.users, graph.n_users)),
                                                               ("items", (graph.items, graph.n_items)))]  # fmt: skip
        self.sides = tuple(_Side(graph, k == 0, bounds[k], scales, whole_dim, storage) for k in (0, 1))

    # --- tables -----------------------------------------------------------------------------------------------------

    def panel(self, table: Tensor) -> Panel:
        """These columns of own rows, [own rows, width], with moments of zero."""
        stored = self.hops > 0 and self.storage != table.dtype
        shadow = native.in_huge_pages(torch.empty_like(table, dtype=self.storage)) if stored else None
        exp_avg, exp_avg_sq = (native.in_huge_pages(torch.empty_like(table)).zero_() for _ in range(2))
        panel = Panel(native.in_huge_pages(table, filled=True), exp_avg, exp_avg_sq, shadow)
        self.refresh(panel)
        return panel

    def refresh(self, panel: Panel) -> None:
        """The shadow of a table that was changed from outside."""
        for side in self.sides:
            if panel.shadow is not None:
                own, scale = side.of(panel.table), side.own_right
                side.of(panel.shadow).copy_(own if scale is None else own * scale[:, None])

    def left_of(self, batch: Compact) -> Tensor | None:
        """The left scale of the batch's nodes."""
        of_users, of_items = (side.left for side in self.sides)
        if of_users is None or of_items is None:
            return None
        return torch.cat([of_users[batch.users], of_items[batch.items]])

    # --- rows -------------------------------------------------------------------------------------------------------

    def mark(self, batch: Compact) -> list[list[int]]:
        """Takes a batch's nodes; where each rank's rows of users, and of items, begin among the compact ones."""
        for side, nodes, first in zip(self.sides, (batch.users, batch.items), (0, len(batch.users)), strict=True):
            side.slot[nodes] = torch.arange(first, first + len(nodes), dtype=torch.int32, device=nodes.device)
        parts = ((side.bounds, nodes) for side, nodes in zip(self.sides, (batch.users, batch.items), strict=True))
        return [torch.searchsorted(nodes, nodes.new_tensor(bounds)).tolist() for bounds, nodes in parts]

    def unmark(self, batch: Compact) -> None:
        for side, nodes in zip(self.sides, (batch.users, batch.items), strict=True):
            side.slot[nodes] = -1

    def table_rows(self, panel: Panel, batch: Compact, parts: list[list[int]]) -> Tensor:
        """[compact rows, width] of the table."""
        out = panel.table.new_empty(len(batch), panel.width)
        for side, nodes, bounds, rows in self._compact(batch, parts, out):
            begin, end = bounds[self.world.rank], bounds[self.world.rank + 1]
            torch.index_select(side.of(panel.table), 0, nodes[begin:end] - side.first, out=rows[begin:end])
            self.world.fill(rows, bounds)
        return out

    # --- hops -------------------------------------------------------------------------------------------------------

    def forward(self, panel: Panel, batch: Compact, parts: list[list[int]], table_rows: Tensor) -> Tensor:
        """[compact rows, width] of z; table_rows: :meth:`table_rows`."""
        if self.hops == 0:
            return (self.alphas[0] * table_rows).to(self.storage)
        out = torch.empty(len(batch), panel.width, dtype=self.storage, device=panel.table.device)
        for side, nodes, bounds, rows in self._compact(batch, parts, out):
            own = slice(bounds[self.world.rank], bounds[self.world.rank + 1])
            only = (nodes[own] - side.first).to(torch.int32)
            self._hop(side, self._last_forward(side, panel), only, rows[own])
            self.world.fill(rows, bounds)
        return out

    def vectors(self, panel: Panel) -> Tensor:
        """[own rows, width] of z."""
        if self.hops == 0:
            return (self.alphas[0] * panel.table).to(self.storage)
        out = torch.empty_like(panel.table, dtype=self.storage)
        for side in self.sides:
            self._hop(side, self._last_forward(side, panel), None, side.of(out))
        return out

    def _last_forward(self, side: _Side, panel: Panel) -> tuple[Any, ...]:
        """The last half-hop forwards of own rows of a side, K >= 1: its operands, after those before it."""

        def first(other: _Side) -> _Operand:
            layer = other.layer(panel.width)
            other.own(layer).copy_(other.of(panel.table if panel.shadow is None else panel.shadow))
            self.world.fill(layer, other.bounds)
            return _Operand(layer, other.right if panel.shadow is None else None, None, self.alphas[-1:])

        def base(one: _Side) -> tuple[Tensor, None]:
            return one.of(panel.table), None

        x = self._inner(side, panel.width, first, base, lambda s: (s.own_left, s.own_right))
        return side.operands(x, panel.width, self.alphas[:1], side.own_left, None, *base(side))

    def _hop(self, side: _Side, operands: tuple[Any, ...], rows: Tensor | None, y: Tensor) -> None:
        if len(y):
            space = side.workspace(self._code, y.shape[1])
            native.call("row_hop", y.device, self._code, *operands, rows, len(y), y, space)

    def backward(self, panel: Panel, scaled_seed: Tensor, seed: Tensor, direct: Tensor, adam: Sequence[Any]) -> None:
        """Adam with dL/dE of all own rows, from compact rows: T(left * dL/dz), dL/dz and alphas[0] dL/dz + the ridge's.

        adam : beta1, beta2, eps, weight_decay, lr float64 [1], step int64 [1]
        """

        def first(side: _Side) -> _Operand:
            return _Operand(scaled_seed, None, side.slot, self.alphas[-1:])

        def base(side: _Side) -> tuple[Tensor, Tensor]:
            return seed, side.own(side.slot)

        for side in self.sides:
            x = self._inner(side, panel.width, first, base, lambda s: (s.own_right, s.own_left)) if self.hops else None
            operands = side.operands(x, panel.width, None, side.own_right, None, direct, side.own(side.slot))
            state = [
                None if t is None else side.of(t) for t in (panel.table, panel.exp_avg, panel.exp_avg_sq, panel.shadow)
            ]
            if side.n_own:
                space = side.workspace(self._code, panel.width)
                native.call("row_update", direct.device, self._code, *operands, *state, side.own_right, *adam, space)

    def _inner(
        self,
        end: _Side,
        width: int,
        first: Callable[[_Side], _Operand],
        base: Callable[[_Side], tuple[Tensor, Tensor | None]],
        scales: Callable[[_Side], tuple[Tensor | None, Tensor | None]],
    ) -> _Operand:
        """Horner's scheme (docs/kernels.md) for the rows of ``end``, up to what its last half-hop gathers."""
        sides = end, self.sides[1 if end is self.sides[0] else 0]
        x = first(sides[self.hops % 2])
        for k in range(self.hops - 1, 0, -1):
            side = sides[k % 2]
            layer = side.layer(width)
            operands = side.operands(x, width, self.alphas[k : k + 1], *scales(side), *base(side))
            self._hop(side, operands, None, side.own(layer))
            self.world.fill(layer, side.bounds)
            x = _Operand(layer, None, None, None)
        return x

    def _compact(
        self, batch: Compact, parts: list[list[int]], rows: Tensor
    ) -> Iterator[tuple[_Side, Tensor, list[int], Tensor]]:
        """Of users, then of items: the side, its nodes in the batch, where each rank's begin, and their rows of a compact matrix."""
        of_sides = rows.split([len(batch.users), len(batch.items)])
        return zip(self.sides, (batch.users, batch.items), parts, of_sides, strict=True)
