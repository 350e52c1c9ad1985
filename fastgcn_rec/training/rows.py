"""Training where ranks share out the rows of the graph too, for what columns alone leave too large for one of them."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..core.arguments import check_count, check_number
from ..core.columns import Columns
from ..core.graph import Norm
from ..core.grid import Grid, check_grid
from ..core.normal import normal_rows
from ..core.row_graph import RowGraph, check_row_graph
from ..negatives import Batch, InBatch, Popularity, Shared, Sum, Uniform, parse
from ..ops.row_batch import RowBatches
from ..ops.row_step import RowStep
from ..system import stopping
from ..system.shards import Block
from ..system.values import json_value
from .checkpoint import Checkpoint, Share
from .config import TrainConfig, with_options
from .history import History
from .interruption import Interrupted

Tensor = torch.Tensor
_EDGES_AT_ONCE = 1 << 22
_TABLES = ("table", "exp_avg", "exp_avg_sq")


@dataclasses.dataclass(eq=False)
class RowTable:
    """What a rank holds of a model whose rows are shared out, after :func:`fit_rows`.

    Attributes
    ----------
    graph : RowGraph
    grid : Grid
    columns : Columns
    step : RowStep
        With the parameters, and with Adam's moments, as the training left them.
    history : History
    """

    graph: RowGraph
    grid: Grid
    columns: Columns
    step: RowStep
    history: History

    def vectors(self) -> Tensor:
        """[own users + own items, dim]: z of own rows, all columns, users first; what ranks. Collective."""
        return self.columns.whole(self.step.vectors())

    def whole(self, own: Tensor) -> Tensor:
        """[n_nodes, width] on every rank of tables of own rows [own users + own items, width]: for what fits. Collective."""
        users, items = own.split([end - first for first, end in (self.graph.users, self.graph.items)])
        of_users, of_items = (side.bounds for side in self.step.hops.sides)
        return torch.cat([self.grid.rows.joined(users, of_users), self.grid.rows.joined(items, of_items)])

    def table(self) -> Tensor:
        """[n_nodes, dim] on every rank: the whole of E, as LightGCN's and MF's ``embedding.weight``. Collective."""
        return self.columns.whole(self.whole(self.step.table()))


def fit_rows(
    graph: RowGraph,
    grid: Grid,
    config: TrainConfig | None = None,
    *,
    embedding_dim: int = 64,
    num_layers: int = 3,
    norm: Norm = "sym",
    init_std: float = 0.1,
    init_seed: int = 0,
    columns_at_once: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    **options: Any,
) -> RowTable:
    """:func:`fastgcn_rec.fit` of a LightGCN (``num_layers=0``: an MF) of which each rank holds its rows, of its own columns, and their edges, alone.

    Collective. The parameters are the bits of ``fit(LightGCN(data, embedding_dim, num_layers, seed=init_seed), data, protocol="none", ...)`` on one
    process. It covers all losses, storages, schedules, and the negatives that look at a user's own edges (uniform, popularity, shared, in_batch, sums); it
    evaluates nothing, and the last epoch is kept.

    Parameters
    ----------
    graph : RowGraph
        Own rows; those of the ranks of ``grid.rows`` follow each other: ``load_rows(files, grid.rows, per_row=3 * width).graph``, which evens out bytes,
        width the columns of a rank, or ``RowGraph.of`` of a whole graph.
    grid : Grid
    config : TrainConfig; ``options`` replace single fields of it, and ``protocol`` is "none" unless it is named
    embedding_dim, num_layers, norm, init_std, init_seed : as LightGCN's
    columns_at_once : int, optional
        As of :class:`fastgcn_rec.ops.row_step.RowStep`: less memory for layers.
    checkpoint : path, optional
        In a file system that all ranks share; a shard of each rank beside it. Written every ``eval_every`` epochs, after the last, and when a signal
        stops the training. If it exists, training goes on from it, on any number of ranks, to the same bits.
    on_epoch : called on every rank with every epoch's record

    Raises
    ------
    ValueError : what it does not cover; a checkpoint of another training. FloatingPointError : training diverged.
    Interrupted : Ctrl-C, SIGTERM or SIGHUP on any rank: all complete the step, save, and stop.

    Examples
    --------
    >>> from fastgcn_rec.core.graph import Graph
    >>> from fastgcn_rec.core.world import World
    >>> graph = RowGraph.of(Graph.from_edges([0, 0, 1, 2], [0, 1, 1, 2]), (0, 3), (0, 3))
    >>> trained = fit_rows(graph, Grid.of(World(), row_groups=1), embedding_dim=8, num_layers=2, epochs=3, batch_size=2)
    >>> trained.table().shape, len(trained.history.epochs)
    (torch.Size([6, 8]), 3)
    """
    check_row_graph(graph, "fit_rows")
    check_grid(grid, "fit_rows")
    config = with_options(config, {"protocol": "none", **options} if config is None else options)
    config = config.for_edges(graph.n_edges)
    _check_covered(config, graph)
    dim, layers = (
        check_count(embedding_dim, "fit_rows: embedding_dim", 1),
        check_count(num_layers, "fit_rows: num_layers", 0),
    )
    model = {"embedding_dim": dim, "num_layers": layers, "norm": norm, "init_std": check_number(init_std, "fit_rows: init_std"),
             "init_seed": check_count(init_seed, "fit_rows: init_seed")}  # fmt: skip
    sizes, name = (graph.n_users, graph.n_items, graph.n_edges), None if checkpoint is None else Path(checkpoint).name
    grid.world.agree(
        "fit_rows", config=config, model=model, graph=sizes, columns_at_once=columns_at_once, checkpoint=name
    )
    columns = Columns(grid.columns, dim)
    step = RowStep(
        graph, grid, _initial(graph, columns, model), dim, torch.tensor(1 / (layers + 1)).repeat(layers + 1), norm=norm, loss=config.loss,
        temperature=config.temperature, negative_weight=config.negative_weight, margin=config.margin, reg=config.reg, lr=config.lr,
        storage=torch.bfloat16 if config.storage == "bfloat16" else None, columns_at_once=columns_at_once,
    )  # fmt: skip
    trained = RowTable(graph, grid, columns, step, History(chosen_on="none"))
    file = None if checkpoint is None else _checkpoint(Path(checkpoint), trained, config, model)
    with stopping.deferred() as stop:
        _Training(trained, config, file).run(stop, on_epoch)
    return trained


class _Training:
    """The loop, and what of it a checkpoint holds."""

    def __init__(self, trained: RowTable, config: TrainConfig, file: Checkpoint | None) -> None:
        self.trained, self.step, self.config, self.file = trained, trained.step, config, file
        self.batches = RowBatches(trained.graph, trained.grid.rows)
        self.sampler = parse(config.negatives) if config.negatives else None
        self.steps_per_epoch = config.steps_per_epoch(trained.graph.n_edges)
        self.total = config.epochs * self.steps_per_epoch
        self.loss_sum, self.seconds, self.t = 0.0, 0.0, 0
        if file is not None and file.exists():
            self._resume(file)

    def run(self, stop: stopping.Stop, on_epoch: Callable[[dict[str, float]], None] | None) -> None:
        config, history, world = self.config, self.trained.history, self.trained.grid.world
        while self.t < self.total:
            if world.gather(torch.tensor([stop.signal or 0])).any():
                raise self._interrupted(max(world.values(stop.signal or 0)))
            start = time.perf_counter()
            self.step.lr = config.lr_at(self.t, self.total)
            self.loss_sum += float(self.step(*self._batch()))
            self.t += 1
            self.seconds += time.perf_counter() - start
            if self.t % self.steps_per_epoch == 0:
                epoch = self.t // self.steps_per_epoch
                record = {"epoch": float(epoch), "loss": self.loss_sum / self.steps_per_epoch, "seconds": self.seconds}
                self._check_finite(record)
                history.epochs.append(record)
                history.best_epoch, self.loss_sum, self.seconds = epoch, 0.0, 0.0
                if epoch % config.eval_every == 0 or self.t == self.total:
                    self._save()
                if on_epoch is not None:
                    on_epoch(dict(record))

    def _batch(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """users, pos, neg, mask of the next step."""
        config, offset = self.config, self.t * self.config.batch_size
        n_neg = 0 if config.loss == "softmax" or self.sampler is not None else config.n_neg
        users, pos, neg = self.batches(config.batch_size, n_neg, seed=config.seed, offset=offset, by=config.sampler)
        if self.sampler is None:
            return users, pos, neg if n_neg else None, None
        own = self.batches.own
        epoch = self.t // self.steps_per_epoch + 1
        ids, mask = self.sampler.draw(Batch(own, own.numbered(users), pos, config.seed, offset, self.t, epoch))
        if ids.shape[0] == config.batch_size and mask is None:
            return users, pos, self.batches.gathered(users, ids), None
        return users, pos, ids, None if mask is None else self.batches.gathered(users, mask)

    def _check_finite(self, record: dict[str, float]) -> None:
        ends = [float(end) for panel in self.step.panels if panel.table.numel() for end in torch.aminmax(panel.table)]
        if self.trained.grid.world.any(not all(map(math.isfinite, [record["loss"], *ends]))):
            raise FloatingPointError(
                f"fit_rows: training has diverged, in epoch {record['epoch']:.0f} the loss ({record['loss']:.4g}) or a parameter became infinite or "
                f"not a number; lower lr (now {self.config.lr})"
            )

    def _interrupted(self, number: int) -> Interrupted:
        kept = (
            "no checkpoint was asked for"
            if self.file is None
            else f"all is in {self.file.path}; the same call goes on from there"
        )
        self._save()
        return Interrupted(f"fit_rows: stopped after step {self.t} of {self.total}; {kept}", number)

    # --- the checkpoint ---------------------------------------------------------------------------------------------

    def _tensors(self) -> dict[str, Tensor]:
        return {name: torch.cat([getattr(panel, name) for panel in self.step.panels], 1) for name in _TABLES}

    def _save(self) -> None:
        if self.file is not None:
            history = dataclasses.asdict(self.trained.history)
            state = {"step": self.t, "loss_sum": self.loss_sum, "seconds": self.seconds, "history": history}
            self.file.write({**state, "reported": len(history["epochs"])}, self._tensors())

    def _resume(self, file: Checkpoint) -> None:
        found, tensors = file.read(self._tensors(), self.trained.graph.n_nodes)
        self.t, self.loss_sum, self.seconds = found["step"], found["loss_sum"], found["seconds"]
        self.step.step = self.t
        self.trained.history = History(**found["history"])
        for name in _TABLES:
            parts = tensors[name].split([panel.width for panel in self.step.panels], 1)
            for panel, part in zip(self.step.panels, parts, strict=True):
                getattr(panel, name).copy_(part)
        self.step.refresh()


def _check_covered(config: TrainConfig, graph: RowGraph) -> None:
    wanted = {"optimizer": "adam", "protocol": "none", "logq": 0.0, "logq_density": 0.0, "refit": False}
    for name, value in wanted.items():
        if getattr(config, name) != value:
            raise ValueError(
                f"fit_rows: where ranks share rows out {name} must be {value!r}, got {getattr(config, name)!r}; share columns alone, by "
                "fit in an initialised process group"
            )
    sampler = parse(config.negatives) if config.negatives else Uniform(1)
    for term in sampler.terms if isinstance(sampler, Sum) else (sampler,):
        if not isinstance(term, (Uniform, Popularity, Shared, InBatch)):
            raise ValueError(
                f"fit_rows: where ranks share rows out negatives are uniform, popularity, shared, in_batch or sums of them, got {term}, which reads "
                "more than a user's own edges; share columns alone, by fit in an initialised process group"
            )
    if graph.n_edges == 0:
        raise ValueError("fit_rows: the graph has no edges to train on")


def _initial(graph: RowGraph, columns: Columns, model: dict[str, Any]) -> Tensor:
    """Own rows and columns of the values that LightGCN begins with, of which all are drawn, block by block."""
    starts = (graph.users[0], graph.users[1]), (graph.n_users + graph.items[0], graph.n_users + graph.items[1])
    table = torch.empty(sum(b - a for a, b in starts), columns.width)
    for at, rows in normal_rows(graph.n_nodes, columns.dim, model["init_seed"]):
        own = 0
        for a, b in starts:
            first, last = max(a, at), min(b, at + len(rows))
            if first < last:
                part = columns.own(rows[first - at : last - at])
                table[own + first - a : own + last - a] = part * model["init_std"]
            own += b - a
    return table.to(graph.indptr.device)


def _checkpoint(path: Path, trained: RowTable, config: TrainConfig, model: dict[str, Any]) -> Checkpoint:
    graph, columns, world = trained.graph, trained.columns, trained.grid.world
    identity = {"config": dataclasses.asdict(config), "model": model, "graph": _fingerprint(graph, trained.grid)}
    share = None
    if world.size > 1:
        rows = graph.users, (graph.n_users + graph.items[0], graph.n_users + graph.items[1])
        share = Share(world, (graph.n_nodes, columns.dim), Block(rows, (columns.first, columns.last)))
    return Checkpoint(path, json_value(identity), not config.depends_on_epochs(), share)


def _fingerprint(graph: RowGraph, grid: Grid) -> str:
    """Of the whole graph, whoever holds which rows: a sum over edges of a function of an edge's number and item, beside the degrees."""
    total = 0
    for first in range(0, len(graph.indices), _EDGES_AT_ONCE):
        items = graph.indices[first : first + _EDGES_AT_ONCE].long()
        mixed = (
            torch.arange(len(items), device=items.device) + (graph.edges_before + first)
        ) * 0x2545F4914F6CDD1D + items
        mixed = (mixed ^ (mixed >> 29)) * 0x3F58476D1CE4E5B9
        total += int((mixed ^ (mixed >> 32)).sum())
    digest = hashlib.sha256(str(sum(grid.rows.values(total)) % 2**64).encode())
    for t in (graph.user_degree, graph.item_degree, graph.user_sums, graph.item_sums):
        digest.update(t.cpu().numpy().tobytes())
    return f"{graph.n_users}-{graph.n_items}-{graph.n_edges}-{digest.hexdigest()[:16]}"
