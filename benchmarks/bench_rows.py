"""What a rank holds where ranks share rows out: peak memory and time of steps on a made-up graph, one process against two ranks by rows."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta

import torch
import torch.distributed as dist

from fastgcn_rec import Graph, TrainStep, sample_batch
from fastgcn_rec.core.csr import Csr
from fastgcn_rec.core.grid import Grid
from fastgcn_rec.core.row_graph import RowGraph, row_bounds
from fastgcn_rec.core.world import World
from fastgcn_rec.ops.row_batch import RowBatches
from fastgcn_rec.ops.row_step import RowStep

from .harness import Record, Settings
from .memory import reset_peak, resident_peak

BATCH, LAYERS, STEPS = 2048, 3, 2
RANKS, AT_ONCE = 2, 16
_ROWS_AT_ONCE = 1 << 15
ALPHAS = [1 / (LAYERS + 1)] * (LAYERS + 1)


def records(settings: Settings) -> list[Record]:
    n_edges = 1_000_000 if settings.quick else 50_000_000
    (alone,) = _run(1, n_edges, settings.dim, 0)
    found: list[Record] = [{"ranks": 1, "at_once": settings.dim, **alone}]
    for at_once in (settings.dim, AT_ONCE):
        ranks = _run(RANKS, n_edges, settings.dim, at_once)
        for rank, one in enumerate(ranks):
            if one["losses"] != alone["losses"]:
                raise RuntimeError(f"rank {rank} has other losses than one process: {one['losses']}, {alone['losses']}")
            shares = {f"{name}_of_one": round(one[name] / alone[name], 3) for name in ("peak_mib", "training_mib")}
            found.append({"ranks": RANKS, "rank": rank, "at_once": at_once, **one, **shares})
    return [
        {"case": "rows", "data": f"synthetic:{n_edges}", "device": "cpu", "dim": settings.dim, **one} for one in found
    ]


def _run(ranks: int, n_edges: int, dim: int, at_once: int) -> list[Record]:
    with tempfile.TemporaryDirectory() as folder:
        numbers = [str(n) for n in (ranks, n_edges, dim, at_once)]
        command = [sys.executable, "-m", "benchmarks.bench_rows", f"{folder}/store", *numbers]
        running = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True) for rank in range(ranks)]
        output = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            raise RuntimeError(f"a rank failed: {[process.returncode for process in running]}")
    return [json.loads(text) for text in output]


def _measure(store: str, ranks: int, n_edges: int, dim: int, at_once: int, rank: int) -> Record:
    torch.set_num_threads(1)
    imported = resident_peak()
    start = time.perf_counter()
    made = _Made(n_edges)
    if ranks == 1:
        graph = Graph.__new__(Graph)
        graph._take(made.n_users, made.n_items, *made.rows((0, made.n_users), (0, made.n_items)))
        table = _table(graph.n_nodes, dim, ((0, graph.n_nodes),))
        reset_peak()
        step = TrainStep(graph, table, ALPHAS)
        take = lambda t: step(*sample_batch(graph, BATCH, 1, seed=0, offset=t * BATCH))  # noqa: E731
    else:
        dist.init_process_group("gloo", f"file://{store}", timedelta(seconds=1800), ranks, rank)
        grid = Grid.of(World.current(), ranks)
        own = made.own(grid.rows, 3 * dim)
        starts = own.users, (own.n_users + own.items[0], own.n_users + own.items[1])
        table = _table(own.n_nodes, dim, starts)
        reset_peak()
        by_rows = RowStep(own, grid, table, dim, ALPHAS, columns_at_once=at_once)
        batches = RowBatches(own, grid.rows)
        take = lambda t: by_rows(*batches(BATCH, 1, seed=0, offset=t * BATCH))  # noqa: E731
    del made, table
    built = time.perf_counter() - start
    losses, seconds = [], []
    for t in range(STEPS):
        start = time.perf_counter()
        losses.append(float(take(t)))
        seconds.append(time.perf_counter() - start)
    return {
        "edges": n_edges,
        "losses": losses,
        "imported_mib": round(imported / 2**20),
        "peak_mib": round(resident_peak() / 2**20),
        "training_mib": round((resident_peak() - imported) / 2**20),
        "build_s": round(built, 1),
        "step_s": round(min(seconds), 2),
    }


class _Made:
    """A graph of gowalla's density whose rows anybody can make: degrees of users fall with their number, items are spread evenly."""

    def __init__(self, n_edges: int) -> None:
        self.n_users, self.n_items = n_edges // 27, n_edges // 20
        law = torch.arange(1, self.n_users + 1, dtype=torch.float64) ** -0.4
        self.degree = (law * (n_edges / float(law.sum()))).long().clamp(1, self.n_items // 2)
        self.item_degree = torch.zeros(self.n_items, dtype=torch.int64)
        for _, items in self._pairs(0, self.n_users):
            self.item_degree += torch.bincount(items, minlength=self.n_items)

    def _pairs(self, first: int, last: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(users, items) of the edges, by user, then item, block by block."""
        for begin in range(first, last, _ROWS_AT_ONCE):
            users = torch.arange(begin, min(begin + _ROWS_AT_ONCE, last))
            degree = self.degree[users]
            of_edge = users.repeat_interleave(degree)
            place = torch.arange(len(of_edge)) - (degree.cumsum(0) - degree).repeat_interleave(degree)
            stride = self.n_items // degree  # a step of a row's items, which so are distinct
            items = (of_edge * 7919 + place * stride.repeat_interleave(degree)) % self.n_items
            order = (of_edge * self.n_items + items).argsort()
            yield of_edge[order], items[order]

    def rows(self, users: tuple[int, int], items: tuple[int, int]) -> tuple[Csr, Csr]:
        """Own users' rows of R, own items' of its transpose."""
        indptr, indptr_t = (
            torch.nn.functional.pad(degree[a:b].cumsum(0), (1, 0))
            for degree, (a, b) in ((self.degree, users), (self.item_degree, items))
        )
        indices, indices_t = (torch.empty(int(ends[-1]), dtype=torch.int32) for ends in (indptr, indptr_t))
        at, next_place = 0, indptr_t[:-1].clone()
        for of_edge, item in self._pairs(0, self.n_users):
            kept = item[(of_edge >= users[0]) & (of_edge < users[1])]
            indices[at : at + len(kept)] = kept.to(torch.int32)
            at += len(kept)
            own = (item >= items[0]) & (item < items[1])
            row, order = (item[own] - items[0]).sort(stable=True)
            counts = torch.bincount(row, minlength=len(next_place))
            within = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
            indices_t[next_place[row] + within] = of_edge[own][order].to(torch.int32)
            next_place += counts
        return (indptr, indices, None), (indptr_t, indices_t, None)

    def own(self, world: World, per_row: int) -> RowGraph:
        r, degrees = world.rank, (self.degree, self.item_degree)
        users, items = ((bounds[r], bounds[r + 1]) for bounds in (row_bounds(d, world.size, per_row) for d in degrees))
        n_edges, sums = int(self.degree.sum()), [degree.double() for degree in degrees]
        of_users, of_items = self.rows(users, items)
        return RowGraph(self.n_users, self.n_items, n_edges, users, items, *of_users, *of_items, *degrees, *sums)


def _table(n_nodes: int, dim: int, own: tuple[tuple[int, int], ...]) -> torch.Tensor:
    """Own rows of one table of all nodes, in closed form."""
    parts = []
    for first, last in own:
        part = torch.arange(first * dim, last * dim, dtype=torch.float32).remainder_(8191.0)
        parts.append(part.mul_(2e-5).sub_(0.08).view(last - first, dim))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], *map(int, sys.argv[2:]))))
