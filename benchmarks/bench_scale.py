"""Cost against size: time per edge and peak memory on synthetic graphs, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import torch

from fastgcn_rec import Graph, TrainStep, propagate, sample_batch
from fastgcn_rec.core import native
from fastgcn_rec.data import synthetic_edges
from fastgcn_rec.experiments.estimate import estimate_memory
from fastgcn_rec.training.config import TrainConfig

from .harness import Record, Settings
from .memory import reset_peak, resident_peak

BATCH, LAYERS, ROUNDS = 2048, 3, 7


def records(settings: Settings) -> list[Record]:
    sizes = (100_000, 1_000_000) if settings.quick else (1_000_000, 10_000_000, 50_000_000)
    found: list[Record] = []
    for n_edges in sizes:
        command = [sys.executable, "-m", "benchmarks.bench_scale", str(n_edges), str(settings.dim)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found.append({"case": "scale", "data": f"synthetic:{n_edges}", "device": "cpu", **json.loads(output)})
    return found


def _measure(n_edges: int, dim: int) -> Record:
    """Everything that training holds at once, on a graph of gowalla's density: edges, graph, parameters, a step."""
    users, items = synthetic_edges(n_edges // 27, n_edges // 20, n_edges)
    before = reset_peak()
    start = time.perf_counter()
    graph = Graph.from_edges(users, items, n_edges // 27, n_edges // 20)
    graph.scales("sym", torch.float32)
    built = time.perf_counter() - start
    graph_peak = resident_peak() - before
    table = torch.randn(graph.n_nodes, dim) * 0.1
    hop = _fastest(lambda: propagate(graph, table, [0.0, 1.0]))
    reset_peak()
    step = TrainStep(graph, table, [1 / (LAYERS + 1)] * (LAYERS + 1))
    taken = _fastest(lambda: _step(step))
    config = TrainConfig(protocol="none", batch_size=BATCH)
    estimate = estimate_memory(graph.n_users, graph.n_items, n_edges, dim, LAYERS, config)
    held = estimate.edges + estimate.graph + 3 * table.nbytes + estimate.layers + estimate.batch
    peak = resident_peak() - before + users.nbytes + items.nbytes
    del users, items
    return {
        "edges": n_edges,
        "dim": dim,
        "graph_ns_per_edge": round(built / n_edges * 1e9, 1),
        "graph_peak_bytes_per_edge": round(graph_peak / n_edges, 1),
        "hop_ns_per_edge": round(hop / n_edges * 1e9, 2),
        "step_ns_per_edge": round(taken / n_edges * 1e9, 2),
        "peak_mib": round(peak / 2**20),
        "predicted_mib": round(held / 2**20),
        **_small_pages(graph, table, step),
    }


def _small_pages(graph: Graph, table: torch.Tensor, step: TrainStep) -> Record:
    """Times in small pages over those in huge ones, in interleaved rounds; what the step, and the table since then, takes lies in huge pages if large."""
    with _huge_from(1 << 62):
        small = table.clone()
        other = TrainStep(graph, small, step.alphas)
    runs = {
        "hop": (lambda: propagate(graph, table, [0.0, 1.0]), lambda: propagate(graph, small, [0.0, 1.0])),
        "step": (lambda: _step(step), lambda: _step(other)),
    }
    found: Record = {}
    for name, (in_huge, in_small) in runs.items():
        ratios = []
        for _ in range(ROUNDS + 1):
            taken = _seconds(in_huge)
            with _huge_from(1 << 62):
                ratios.append(_seconds(in_small) / taken)
        found[f"{name}_small_pages"] = round(statistics.median(ratios[1:]), 3)
    return found


@contextlib.contextmanager
def _huge_from(n_bytes: int) -> Iterator[None]:
    before, native.HUGE_BYTES = native.HUGE_BYTES, n_bytes
    try:
        yield
    finally:
        native.HUGE_BYTES = before


def _step(step: TrainStep) -> None:
    step(*sample_batch(step.graph, BATCH, 1, seed=0, offset=step.step * BATCH))


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _fastest(run: Callable[[], object], least: int = 3) -> float:
    run()
    best, start, n = math.inf, time.perf_counter(), 0
    while n < least or time.perf_counter() - start < 1:
        best, n = min(best, _seconds(run)), n + 1
    return best


if __name__ == "__main__":
    _measure(20_000, int(sys.argv[2]))  # code that is read in, threads and their stacks are no cost of the size
    print(json.dumps(_measure(int(sys.argv[1]), int(sys.argv[2]))))
