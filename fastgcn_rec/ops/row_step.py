"""A whole training step where ranks share out rows of the table, and columns too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from ..core import native
from ..core.arguments import check_count
from ..core.columns import PANEL, Columns
from ..core.graph import Norm
from ..core.grid import Grid, check_grid
from ..core.row_graph import RowGraph, check_row_graph
from ..core.tensors import check_range
from .optimizers import OPTIMIZERS
from .pair_loss import check_margin
from .propagate import checked_alphas
from .registration import check_float, number_of
from .row_hops import Compact, RowHops
from .softmax_loss import check_bias, check_negative_weight, check_temperature
from .train_step import STEP_LOSSES, StepBatch, check_betas, check_step, step_batch

Tensor = torch.Tensor
_OP = "RowStep"
_ROWS, _SEEDS = 1 + 2, 4 + 8  # StepPart of csrc/include/fgr/train_step.h


class RowStep:
    """:class:`fastgcn_rec.TrainStep` where every rank holds some rows, and their edges, alone: the same loss and the same bits. Collective.

    A rank keeps its columns of its rows of E and of Adam's moments, and the graph's rows of its own nodes. Before each half-hop the other side's
    layer is gathered from the ranks that have the same columns, so it sends far more than ranks that share out columns alone
    (docs/ranks.md): for what one rank cannot hold.

    Parameters
    ----------
    graph : RowGraph
        Own rows; the ranks of a row group follow each other (:func:`fastgcn_rec.core.row_graph.row_bounds`).
    grid : Grid
    embedding : float32 or float64 [own users + own items, own columns], contiguous, on the graph's device
        Own rows of E, users first; updated in place by every call, unless ``columns_at_once`` cuts it up.
    dim : int
        Columns of all ranks.
    alphas, norm, loss, temperature, negative_weight, item_bias, margin, reg, lr, betas, eps, weight_decay, storage : as of TrainStep
        item_bias is that of all items.
    columns_at_once : int, a multiple of 16, optional
        The table is copied into panels of so many columns, of which one layer of each side is held at a time: less memory, and edges are read
        once for each panel. Then :meth:`table` has the parameters.

    Attributes
    ----------
    panels : list of Panel
        table, exp_avg, exp_avg_sq [own rows, columns] each.
    step : int

    Raises
    ------
    TypeError, ValueError : wrong dtype, shape, device or option. IndexError : an id out of range.

    Examples
    --------
    >>> from fastgcn_rec.core.graph import Graph
    >>> from fastgcn_rec.core.world import World
    >>> from fastgcn_rec.ops.row_batch import RowBatches
    >>> graph = RowGraph.of(Graph.from_edges([0, 0, 1, 2], [0, 1, 1, 2]), (0, 3), (0, 3))
    >>> grid = Grid.of(World(), row_groups=1)
    >>> batches, step = RowBatches(graph, grid.rows), RowStep(graph, grid, torch.randn(6, 8), 8, [0.5, 0.5], lr=0.05)
    >>> losses = [float(step(*batches(16, seed=0, offset=16 * t))) for t in range(50)]
    >>> losses[-1] < losses[0]
    True
    """

    def __init__(
        self,
        graph: RowGraph,
        grid: Grid,
        embedding: Tensor,
        dim: int,
        alphas: Sequence[float] | Tensor = (1.0,),
        *,
        norm: Norm = "sym",
        loss: Literal["bpr", "binary", "max_margin", "softmax"] = "bpr",
        temperature: float = 0.1,
        negative_weight: float = 1.0,
        item_bias: Tensor | None = None,
        margin: float = 1.0,
        reg: float = 0.0,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        storage: torch.dtype | None = None,
        columns_at_once: int | None = None,
    ) -> None:
        check_row_graph(graph, _OP)
        self.columns = Columns(check_grid(grid, _OP).columns, check_count(dim, f"{_OP}: dim", 1))
        if not isinstance(embedding, Tensor):
            raise TypeError(
                f"{_OP}: embedding is updated in place and must be a tensor, got {type(embedding).__name__}"
            )
        check_float(_OP, "embedding", embedding, (torch.float32, torch.float64), in_place=True)
        n_own = graph.users[1] - graph.users[0] + graph.items[1] - graph.items[0]
        if embedding.shape != (n_own, self.columns.width) or not embedding.is_contiguous() or embedding.is_neg():
            raise ValueError(
                f"{_OP}: embedding must be contiguous, [own rows, own columns] = [{n_own}, {self.columns.width}], got {list(embedding.shape)}"
            )
        check_step(_OP, loss, storage, embedding)
        at_once = (
            embedding.shape[1]
            if columns_at_once is None
            else check_count(columns_at_once, f"{_OP}: columns_at_once", PANEL)
        )
        if columns_at_once is not None and at_once % PANEL:
            raise ValueError(f"{_OP}: columns_at_once must be a multiple of {PANEL}, got {columns_at_once}")
        if item_bias is not None:
            item_bias = check_bias(_OP, "item_bias", item_bias, graph.n_items, "n_items", embedding)
            item_bias = item_bias.detach().to(embedding.dtype).contiguous().resolve_neg()
        self.graph, self.loss, self.item_bias = graph, loss, item_bias
        margin = check_margin(_OP, margin) if loss == "max_margin" else 0.0
        options = {"reg": reg, "lr": lr, "eps": eps, "weight_decay": weight_decay}
        self.reg, lr, eps, weight_decay = (number_of(_OP, name, value) for name, value in options.items())
        of_loss = (
            STEP_LOSSES[loss],
            check_temperature(_OP, temperature),
            check_negative_weight(_OP, negative_weight),
            margin,
        )
        self._options = *of_loss, self.reg, *check_betas(_OP, betas), eps, weight_decay
        self._like = embedding.new_empty(0)
        self._lr = torch.full((), lr, dtype=torch.float64, device=embedding.device)
        self._next_step = torch.ones((), dtype=torch.int64, device=embedding.device)
        self._storage = storage or embedding.dtype
        self._alphas = checked_alphas(_OP, alphas, embedding.dtype, embedding.device).detach().clone()
        self.hops = RowHops(graph, grid.rows, self._alphas, norm, self._storage, dim)
        whole = embedding.detach()
        parts = [whole] if at_once >= whole.shape[1] else [part.contiguous() for part in whole.split(at_once, 1)]
        self.panels = [self.hops.panel(part) for part in parts]

    @property
    def step(self) -> int:
        return int(self._next_step) - 1

    @step.setter
    def step(self, step: int) -> None:
        self._next_step.fill_(step + 1)

    @property
    def lr(self) -> float:
        return float(self._lr)

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr.fill_(lr)

    def table(self) -> Tensor:
        """[own rows, own columns]: E as it is now."""
        return self.panels[0].table if len(self.panels) == 1 else torch.cat([panel.table for panel in self.panels], 1)

    def vectors(self) -> Tensor:
        """[own rows, own columns] of z as it is now, in the dtype of layers. Collective."""
        return torch.cat([self.hops.vectors(panel) for panel in self.panels], 1)

    def refresh(self) -> None:
        """Takes over tables that were changed from outside; needed with ``storage`` only."""
        for panel in self.panels:
            self.hops.refresh(panel)

    def __call__(self, users: Any, pos: Any, neg: Any = None, mask: Any = None) -> Tensor:
        """Takes the step for a batch, the same on every rank: ids of the whole graph, as of TrainStep. Returns the loss before it, on every rank."""
        job = step_batch(_OP, self.loss, self._like, users, pos, neg, mask)
        check_range(_OP, "pos", job.pos, self.graph.n_items)
        batch = Compact.of(job.users, torch.cat([job.pos, job.neg.flatten()]), self.graph)
        parts = self.hops.mark(batch)
        try:
            own = [self.hops.table_rows(panel, batch, parts) for panel in self.panels]
            z = [self.hops.forward(panel, batch, parts, e) for panel, e in zip(self.panels, own, strict=True)]
            loss, seeds = self._seeds(batch, job, torch.cat(own, 1), torch.cat(z, 1))
            adam, first = (*self._options[5:], self._lr, self._next_step), 0
            for panel in self.panels:
                last = first + panel.width
                scaled, seed, direct = (rows[:, first:last].contiguous() for rows in seeds)
                self.hops.backward(panel, scaled, seed, direct, adam)
                first = last
        finally:
            self.hops.unmark(batch)
        self._next_step.add_(1)
        return loss

    def _seeds(self, batch: Compact, job: StepBatch, rows: Tensor, z: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(loss, (T(left * dL/dz), dL/dz, alphas[0] dL/dz + the ridge's)), own columns: the native step on the batch's nodes alone."""
        device, width = rows.device, rows.shape[1]
        graph = native.shape(len(batch.users), len(batch.items))
        compact = batch.numbered(job)
        left = self.hops.left_of(batch)
        bias = None if self.item_bias is None else self.item_bias[batch.items]
        at = {"whole_dim": self.columns.dim, "first_column": self.columns.first}
        sizes = job.size, job.n_neg, job.shared
        n_bytes = native.size(
            "train_step", device, native.DTYPE_CODE[self._storage], graph, width, self.columns.dim, 1, *sizes
        )
        space = native.workspace(n_bytes, device)
        loss, scaled = rows.new_empty(()), torch.empty_like(rows, dtype=self._storage)
        seeds = {"scaled_seed": scaled, "seed": torch.empty_like(rows), "direct": torch.empty_like(rows)}
        own_z = torch.empty_like(rows, dtype=self._storage)
        ridge = rows.new_zeros((1, self.columns.panels()[self.columns.world.rank]), dtype=torch.float64)

        def run(share: Any) -> None:
            native.call(
                "train_step", device, native.DTYPE_CODE[self._storage], graph, share, width, self._alphas, 1, left, None, rows, None, None,
                bias, None, *compact, *self._options, self._lr, self._next_step, loss, None, OPTIMIZERS["adam"], None, space,
            )  # fmt: skip

        run(native.step_share(_ROWS, **at, own_z=own_z, own_ridge=ridge))
        z, ridge = self.columns.whole_and_panels(z, ridge)
        run(native.step_share(_SEEDS, **at, z=z, ridge=ridge, **seeds))
        return loss, tuple(seeds.values())
