"""Steps of P processes that share the columns out, in turns with one process that has all their threads: time, bytes sent, memory added."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from fastgcn_rec import LightGCN, TrainConfig, TrainStep, sample_batch
from fastgcn_rec.core.columns import column_bounds
from fastgcn_rec.core.world import World
from fastgcn_rec.experiments.estimate import bytes_sent, estimate_memory
from fastgcn_rec.system.launched import threads_of

from .harness import Record, Settings, dataset_named
from .memory import reset_peak, resident, resident_peak

BATCH, LR, REG = 2048, 1e-3, 1e-4
Tensor = torch.Tensor
_SPAWN = multiprocessing.get_context("spawn")


class Job(NamedTuple):
    """Steps of one kind."""

    name: str
    dim: int
    layers: int
    loss: str

    @property
    def n_neg(self) -> int:
        return int(self.loss != "softmax")

    @property
    def config(self) -> TrainConfig:
        return TrainConfig(loss=self.loss, batch_size=BATCH, reg=REG, protocol="none")


JOBS = (
    Job("softmax, 1 layer, 256 dimensions", 256, 1, "softmax"),  # as the recipe gowalla
    Job("bpr, 3 layers, 64 dimensions", 64, 3, "bpr"),
)


def records(settings: Settings) -> list[Record]:
    sizes = [size for size in (2, 4) if size * threads_of(size) <= max(2, threads_of(1))]
    return [_raced(settings, job, size, threads_of(size)) for job, size in itertools.product(JOBS, sizes)]


def _raced(settings: Settings, job: Job, size: int, threads: int) -> Record:
    groups: list[_Group] = []
    with TemporaryDirectory() as folder:
        try:
            for n_ranks in (1, size):
                place = f"file://{folder}/{n_ranks}"
                groups.append(_Group(settings.data, job, n_ranks, threads * size // n_ranks, place))
            one, many = groups
            for group in groups:
                group.steps(2)
            n = max(1, round((0.3 if settings.quick else 1.0) / max(one.steps(1)[0], 1e-3)))
            many.steps(1)
            times, sent = [], 0
            for _ in range(settings.rounds):
                alone, _ = one.steps(n)
                shared, now = many.steps(n)
                times.append((alone / n, shared / n))
                sent += now
            # before the columns are copied to be compared
            memory = {"one": one.ask("memory")[0], "rank": max(many.ask("memory"))}
            taken = n * len(times)
            formula = one.ask("formula", 3, taken, size)[0]
            if sent != formula:
                raise AssertionError(f"ranks: {sent} bytes were sent in {taken} steps, {formula} by formula")
            bounds = column_bounds(job.dim, size)
            if one.tables(bounds) != many.tables(bounds):
                raise AssertionError(f"ranks: {size} ranks end with other parameters than one process")
        finally:
            for group in groups:
                group.close()
    ratios = [shared / alone for alone, shared in times]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "case": f"ranks/{job.name}, batch {BATCH}",
        "data": settings.data,
        "device": "cpu",
        "dim": job.dim,
        "ranks": size,
        "threads_a_rank": threads,
        "rounds": len(times),
        "one_ms": 1e3 * statistics.median(alone for alone, _ in times),
        "median_ms": 1e3 * statistics.median(shared for _, shared in times),
        "ratio": statistics.median(ratios),
        "ratio_q1": low,
        "ratio_q3": high,
        "sent_bytes_a_rank": round(sent / taken / size),
        "one_added_mib": memory["one"][0],
        "one_predicted_mib": memory["one"][1],
        "added_mib": memory["rank"][0],
        "predicted_mib": memory["rank"][1],
    }


class _Group:
    """Processes that take steps of a job together, and wait in between."""

    def __init__(self, data: str, job: Job, size: int, threads: int, place: str) -> None:
        self.ends: list[Connection] = []
        self.processes = []
        for rank in range(size):
            end, theirs = _SPAWN.Pipe()
            process = _SPAWN.Process(target=_work, args=(theirs, data, job, rank, size, threads, place))
            process.start()
            theirs.close()
            self.ends.append(end)
            self.processes.append(process)

    def ask(self, what: str, *args: Any) -> list[Any]:
        """What every process answers; EOFError where one has ended."""
        for end in self.ends:
            end.send((what, args))
        return [end.recv() for end in self.ends]

    def steps(self, n: int) -> tuple[float, int]:
        """(seconds of the slowest rank, bytes that all of them sent)."""
        found = self.ask("steps", n)
        return max(seconds for seconds, _ in found), sum(sent for _, sent in found)

    def tables(self, bounds: Sequence[int]) -> list[str]:
        return list(itertools.chain.from_iterable(self.ask("tables", bounds)))

    def close(self) -> None:
        for end, process in zip(self.ends, self.processes, strict=True):
            end.close()
            process.join(20)
            process.kill()


class _Worker:
    """A rank's part of a job: its columns of the tables and its steps."""

    def __init__(self, data: str, job: Job, world: World) -> None:
        self.world, self.job = world, job
        self.graph = dataset_named(data).graph()
        self.graph.scales("sym", torch.float32)
        self.before, self.of_files = reset_peak(), resident("RssFile")
        model = LightGCN(self.graph, job.dim, job.layers, world=world)
        columns, self.table = model.columns, model.embedding.weight.detach()
        self.first = 0 if columns is None else columns.first
        self.step = TrainStep(
            self.graph, self.table, [1 / (job.layers + 1)] * (job.layers + 1), loss=job.loss, temperature=0.12, reg=REG, lr=LR, columns=columns
        )  # fmt: skip

    def batch(self, t: int) -> tuple[Tensor, Tensor, Tensor]:
        return sample_batch(self.graph, BATCH, self.job.n_neg, seed=0, offset=t * BATCH)

    def steps(self, n: int) -> tuple[float, int]:
        self.world.barrier()
        start, before = time.perf_counter(), self.world.sent
        for _ in range(n):
            users, pos, neg = self.batch(self.step.step)
            self.step(users, pos, neg if self.job.n_neg else None)
        return time.perf_counter() - start, self.world.sent - before

    def formula(self, first: int, n: int, ranks: int) -> int:
        """Bytes that ``ranks`` ranks send together in n steps from ``first`` on."""
        found = 0
        for t in range(first, first + n):
            users, pos, neg = self.batch(t)
            rows = len(users.unique()) + len(torch.cat([pos, neg.flatten()]).unique())
            found += sum(bytes_sent(rows, self.job.dim, ranks, self.job.config))
        return found

    def tables(self, bounds: Sequence[int]) -> list[str]:
        """A digest of those columns between two bounds that this process has, one after the other."""
        own = [(a - self.first, b - self.first) for a, b in itertools.pairwise(bounds)]
        parts = [self.table[:, a:b].contiguous().numpy() for a, b in own if 0 <= a < self.table.shape[1]]
        return [hashlib.sha256(part).hexdigest() for part in parts]

    def memory(self) -> tuple[int, int]:
        """MiB that tables and steps have added at the peak, and what the estimate says of them, less the copy of the best epoch."""
        graph, job = self.graph, self.job
        sizes = graph.n_users, graph.n_items, graph.n_edges, job.dim, job.layers
        estimate = estimate_memory(*sizes, job.config, self.world.size)
        held = estimate.parameters - self.table.nbytes + estimate.layers + estimate.batch
        files = max(
            0, resident("RssFile") - self.of_files
        )  # libraries' pages, which the system takes away and reads again
        return round((resident_peak() - self.before - files) / 2**20), round(held / 2**20)


def _work(end: Connection, data: str, job: Job, rank: int, size: int, threads: int, place: str) -> None:
    torch.set_num_threads(threads)
    if size > 1:
        dist.init_process_group("gloo", place, world_size=size, rank=rank)
    world = World.current()
    _Worker("synthetic:2e4", job, world).steps(
        2
    )  # code that is read in, threads and connections are no cost of the size
    worker = _Worker(data, job, world)
    while True:
        try:
            what, args = end.recv()
        except EOFError:
            return
        end.send(getattr(worker, what)(*args))
