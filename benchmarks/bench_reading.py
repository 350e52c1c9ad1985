"""From Parquet files to a data set: reading, numbering of ids, each user's random fifth held out; seconds and memory, each run in a process of its own.

Beyond MOST_COMPARED rows ours alone, of files that are drawn as they are written: ``python -m benchmarks reading --rows 500e6``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .harness import Record, Settings, quartiles
from .memory import reset_peak, resident, resident_peak

FRACTION = 0.2
MOST_COMPARED = 200_000_000
Counts = dict[str, int]


def records(settings: Settings) -> list[Record]:
    rows = min(settings.rows, 1_000_000) if settings.quick else settings.rows
    contenders = [name for name in CONTENDERS if importlib.util.find_spec(name) or name == "ours"]
    found: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        if rows > MOST_COMPARED:
            return [_larger(Path(folder), rows)]
        for ids in ("integers", "texts"):
            path = Path(folder) / f"{ids}.parquet"
            write(path, rows, ids == "texts")
            runs: dict[str, list[Record]] = {name: [] for name in contenders}
            for _ in range(3):
                for name in contenders:
                    command = [sys.executable, "-m", "benchmarks.bench_reading", name, str(path)]
                    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                    runs[name].append(json.loads(output))
            path.unlink()
            found += _records(f"reading/{ids} for ids", rows, runs)
    return found


def _records(case: str, rows: int, runs: dict[str, list[Record]]) -> list[Record]:
    for name, own in runs.items():  # the gate: all did the same job
        for run in own:
            assert run["counts"] == runs["ours"][0]["counts"], f"{name} found {run['counts']}"
    found = []
    for name, own in runs.items():
        ratios = [run["seconds"] / mine["seconds"] for run, mine in zip(own, runs["ours"], strict=True)]
        q1, median, q3 = quartiles([1e3 * run["seconds"] for run in own])
        found.append(
            {
                "case": case,
                "data": f"synthetic:{rows}",
                "device": "cpu",
                "dtype": "int64",
                "dim": 0,
                "contender": name,
                "rows": rows,
                "seconds": round(median / 1e3, 1),
                "median_ms": median,
                "q1_ms": q1,
                "q3_ms": q3,
                "ratio": statistics.median(ratios),
                "ratio_q1": quartiles(ratios)[0],
                "ratio_q3": quartiles(ratios)[2],
                "rounds": len(own),
                "peak_mib": round(statistics.median(run["peak"] for run in own) / 2**20),
                "added_mib": round(statistics.median(run["peak"] - run["before"] for run in own) / 2**20),
                "load": round(os.getloadavg()[0], 1),
                **own[0]["counts"],
            }
        )
    return found


def _larger(folder: Path, rows: int) -> Record:
    """Of 25 events a user and 250 an item, in files of 2^26 rows: the peak of reading them, and of the graph of the training part."""
    write_larger(folder, rows, rows // 25, rows // 250)
    command = [sys.executable, "-m", "benchmarks.bench_reading", "larger", str(folder)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    on_disk = sum(file.stat().st_size for file in folder.iterdir())
    own = {"case": "reading larger", "data": f"synthetic:{rows}", "device": "cpu", "rows": rows}
    return {**own, "files_mib": round(on_disk / 2**20), **json.loads(output), "load": round(os.getloadavg()[0], 1)}


def write_larger(folder: Path, rows: int, n_users: int, n_items: int) -> None:
    """Events of power-law degrees in the order of their time, a stretch of 2^20 at a time."""
    import pyarrow
    import pyarrow.parquet

    names = ("user", "item", "time")
    schema = pyarrow.schema([(name, pyarrow.int64()) for name in names])
    for number, first in enumerate(range(0, rows, 1 << 26)):
        with pyarrow.parquet.ParquetWriter(folder / f"part-{number:03d}.parquet", schema) as file:
            for begin in range(first, min(rows, first + (1 << 26)), 1 << 20):
                rng = np.random.default_rng(begin)
                when = 1_500_000_000 + np.arange(begin, min(rows, begin + (1 << 20)))
                drawn = [
                    (n * rng.random(when.size) ** power).astype(np.int64) for n, power in ((n_users, 2), (n_items, 3))
                ]
                raw = [(side * 0x9E3779B1 + 7) % 2**40 for side in drawn]
                file.write_table(pyarrow.table(dict(zip(names, (*raw, when), strict=True)), schema=schema))


def _read_larger(folder: str) -> None:
    from fastgcn_rec.data import load_dataset

    start, before = time.perf_counter(), resident()
    data = load_dataset(f"{folder}/*.parquet", split="random", test=FRACTION)
    seconds, peak = time.perf_counter() - start, resident_peak()
    reset_peak()  # a peak of its own for the graph
    start = time.perf_counter()
    graph = data.graph()
    built, graph_peak = time.perf_counter() - start, resident_peak()
    rows = len(data.train) + len(data.test) + data.dropped_duplicates
    found = {
        "seconds": round(seconds, 1),
        "peak_mib": round(peak / 2**20),
        "peak_bytes_per_row": round((peak - before) / rows, 1),
        "graph_seconds": round(built, 1),
        "graph_peak_mib": round(graph_peak / 2**20),
        "edges": graph.n_edges,
        "repeats": data.dropped_duplicates,
        **_counts(data.n_users, data.n_items, len(data.train), len(data.test)),
    }
    print(json.dumps(found))


def write(path: Path, rows: int, texts: bool) -> None:
    """Events in the order of their time, of users and items of power-law degrees, whose ids lie anywhere below 2^40."""
    import pyarrow
    import pyarrow.parquet

    from fastgcn_rec.data import synthetic_edges

    edges = synthetic_edges(max(rows // 20, 50), max(rows // 100, 50), rows)
    order = np.random.default_rng(0).permutation(rows)
    schema = pyarrow.schema(
        [(name, pyarrow.string() if texts else pyarrow.int64()) for name in ("user", "item")]
        + [("time", pyarrow.int64())]
    )
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
        for begin in range(0, rows, 1 << 20):
            which = order[begin : begin + (1 << 20)]
            raw = [(side[which].astype(np.int64) * 0x9E3779B1 + 7) % 2**40 for side in edges]
            ids = [
                pyarrow.array([f"{mark}{n:010x}" for n in side.tolist()] if texts else side)
                for mark, side in zip("ui", raw, strict=True)
            ]
            when = pyarrow.array(1_500_000_000 + np.arange(begin, begin + which.size))
            file.write_table(pyarrow.Table.from_arrays([*ids, when], schema=schema))


def _ours(path: str) -> Callable[[], Counts]:

    from fastgcn_rec.data import make_dataset, read_parquet

    def run() -> Counts:
        data = make_dataset("plays", read_parquet(path, time="time"), split="random", test=FRACTION)
        return _counts(data.n_users, data.n_items, len(data.train), len(data.test))

    return run


def _pandas(path: str) -> Callable[[], Counts]:
    import pandas as pd
    import pyarrow.parquet  # noqa: F401
    import scipy.sparse as sp

    def run() -> Counts:
        frame = pd.read_parquet(path, columns=["user", "item", "time"])
        users, user_ids = pd.factorize(frame.pop("user"))
        items, item_ids = pd.factorize(frame.pop("item"))
        shape = len(user_ids), len(item_ids)
        by_chance = np.random.default_rng(0).permutation(len(users))
        rank = np.empty(len(users), np.int64)
        rank[by_chance] = pd.Series(users[by_chance]).groupby(users[by_chance]).cumcount().to_numpy()
        held = rank < _quota(np.bincount(users))[users]
        train, test = (
            sp.csr_array((np.ones(int(part.sum()), np.float32), (users[part], items[part])), shape=shape)
            for part in (~held, held)
        )
        return _counts(*shape, train.nnz, test.nnz)

    return run


def _polars(path: str) -> Callable[[], Counts]:
    import polars as pl

    def run() -> Counts:
        frame = pl.read_parquet(path, columns=["user", "item", "time"])
        spaces, query = {}, frame.lazy()
        for side in ("user", "item"):
            spaces[side] = frame.select(pl.col(side).unique()).with_row_index("code")
            query = query.join(spaces[side].lazy(), on=side, how="left").drop(side).rename({"code": side})
        frame = query.collect()
        degree = frame.group_by("user").len().sort("user")["len"].to_numpy()
        quota = pl.lit(pl.Series(_quota(degree))).gather(pl.col("user"))
        held = frame.select(held=pl.int_range(pl.len()).shuffle(seed=0).over("user") < quota)["held"]
        train, test = frame.filter(~held), frame.filter(held)
        return _counts(len(spaces["user"]), len(spaces["item"]), len(train), len(test))

    return run


def _quota(degree: np.ndarray) -> np.ndarray:
    return np.minimum(np.floor(degree * FRACTION + 0.5).astype(np.int64), np.maximum(degree - 1, 0))


def _counts(users: int, items: int, train: int, test: int) -> Counts:
    return {"users": int(users), "items": int(items), "train": int(train), "test": int(test)}


CONTENDERS = {"ours": _ours, "pandas": _pandas, "polars": _polars}


if __name__ == "__main__" and sys.argv[1] == "larger":
    _read_larger(sys.argv[2])
elif __name__ == "__main__":
    job = CONTENDERS[sys.argv[1]](sys.argv[2])
    before, start = resident(), time.perf_counter()
    counts = job()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak": resident_peak(), "before": before, "counts": counts}))
