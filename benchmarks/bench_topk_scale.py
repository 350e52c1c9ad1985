"""Exact retrieval against size: time a pair and what memory it adds beside its input, for a budget; each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import torch

from fastgcn_rec import retrieve

from .harness import Record, Settings
from .memory import reset_peak, resident_peak

K, BUDGET = 20, 256 << 20


def records(settings: Settings) -> list[Record]:
    sizes = (
        ((1_000, 100_000), (10_000, 10_000))
        if settings.quick
        else ((10_000, 100_000), (10_000, 1_000_000), (100_000, 1_000_000))
    )
    found: list[Record] = []
    for n_queries, n_items in sizes:
        command = [sys.executable, "-m", "benchmarks.bench_topk_scale", *map(str, (n_queries, n_items, settings.dim))]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found.append({"case": "topk_scale", "data": "gaussian", "device": "cpu", **json.loads(output)})
    return found


def _measure(n_queries: int, n_items: int, dim: int) -> Record:
    generator = torch.Generator().manual_seed(0)
    queries, items = (torch.randn(n, dim, generator=generator) for n in (n_queries, n_items))
    seen = torch.arange(0, 50 * n_queries + 1, 50), torch.randint(n_items, (50 * n_queries,), generator=generator)
    retrieve(queries[:64], items[:1000], K)
    before, start = reset_peak(), time.perf_counter()
    found = retrieve(queries, items, K, seen, memory_budget=BUDGET)
    seconds, peak = time.perf_counter() - start, resident_peak() - before
    row = n_queries // 2
    scores = items @ queries[row]
    scores[seen[1][50 * row : 50 * row + 50]] = -torch.inf
    torch.testing.assert_close(found.scores[row], scores.topk(K).values)  # the gate
    return {
        "queries": n_queries,
        "items": n_items,
        "dim": dim,
        "seconds": round(seconds, 2),
        "ps_per_pair": round(seconds / n_queries / n_items * 1e12, 1),
        "gflops": round(2 * dim * n_queries * n_items / seconds / 1e9, 1),
        "budget_mib": BUDGET >> 20,
        "exclusion_mib": round(3 * seen[1].nbytes / 2**20),  # sorted and narrowed to int32 on the way
        "peak_mib": round(peak / 2**20),
        "scores_mib": round(4 * n_queries * n_items / 2**20),
    }


if __name__ == "__main__":
    print(json.dumps(_measure(*map(int, sys.argv[1:]))))
