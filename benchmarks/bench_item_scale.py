"""SparseEASE against the size of the catalogue: what making it takes, time and memory, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import torch

from fastgcn_rec import Graph, SparseEASE
from fastgcn_rec.data import synthetic_edges

from .harness import Record, Settings, dataset_named
from .memory import reset_peak, resident_peak

OPTIONS = {"reg": 15.0, "neighbours": 32, "candidates": 400, "user_power": 0.15}


def records(settings: Settings) -> list[Record]:
    sizes = (500, 5000) if settings.quick else (200_000, 1_000_000)
    found: list[Record] = []
    for source in (settings.data, *map(str, sizes)):
        command = [sys.executable, "-m", "benchmarks.bench_item_scale", source]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        data = "synthetic" if source.isdigit() else source
        found.append({"case": "item_scale", "data": data, "device": "cpu", **json.loads(output)})
    return found


def _graph(source: str) -> Graph:
    """Of a data set; or of so many items: two users each, 25 interactions a user, degrees by a power law."""
    if not source.isdigit():
        return dataset_named(source).graph()
    n_items = int(source)
    return Graph.from_edges(*synthetic_edges(2 * n_items, n_items, 50 * n_items, dim=64, seed=1), 2 * n_items, n_items)


def _measure(source: str) -> Record:
    graph = _graph(source)
    before, start, busy = reset_peak(), time.perf_counter(), time.process_time()
    model = SparseEASE(graph, **OPTIONS)
    seconds, busy, peak = time.perf_counter() - start, time.process_time() - busy, resident_peak()
    users = torch.arange(100)
    start = time.perf_counter()
    ids, scores = model.recommend(users.numpy(), 20)
    ranked = time.perf_counter() - start
    rows = graph.to_scipy()
    assert np.isfinite(scores).all()
    for user, found in zip(users.tolist(), ids, strict=True):  # the gate
        assert not np.isin(found, rows.indices[rows.indptr[user] : rows.indptr[user + 1]]).any()
    return {
        "items": graph.n_items,
        "users": graph.n_users,
        "edges": len(graph.indices),
        **{name: OPTIONS[name] for name in ("neighbours", "candidates")},
        "entries": len(model.values),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(busy, 1),
        "ms_a_user": round(10 * ranked, 2),
        "data_mib": round(before / 2**20),
        "peak_mib": round(peak / 2**20),
    }


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1])))
