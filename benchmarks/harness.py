"""Timing: interleaved rounds, ratios within a run, correctness before speed."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from fastgcn_rec import _C, Graph
from fastgcn_rec.data import Dataset, load_dataset, synthetic_interactions
from fastgcn_rec.system.values import write_json

from . import gpu_main

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to do the job; ``run`` does it once, or a sample of it that takes 1 / ``scale`` of the time.

    ``calls`` is how many of them a CUDA graph may record; 0: it is not to be captured. ``waits``: a call by itself waits for the GPU,
    one that is captured does not.
    """

    name: str
    run: Callable[[], Any]
    dtype: str = "float32"
    scale: float = 1
    calls: int = 20
    waits: bool = False


def on_first_call(make: Callable[[], Callable[[], Any]]) -> Callable[[], Any]:
    """make()(), where make() is called once, by the first call: what it raises is the contender's fault, not the comparison's."""
    made = functools.cache(make)
    return lambda: made()()


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One job and those who do it; the first contender is ours, the denominator of every ratio.

    ``gate`` raises AssertionError unless the results are right; it runs before anything is timed. ``n_bytes`` are the bytes that our
    contender must move and ``ceiling`` the bandwidth to hold them against ("copy" or "gather").
    ``n_units`` is how much of what ``unit`` names (steps of walks, say) one run does.
    """

    case: str
    contenders: Sequence[Contender]
    gate: Callable[[], None]
    n_bytes: int = 0
    ceiling: str = ""
    n_units: int = 0
    unit: str = ""


@dataclasses.dataclass
class Settings:
    """What the command line asked for, and the data, loaded once."""

    data: str
    device: torch.device
    dim: int = 64
    quick: bool = False
    seed: int = 0
    rows: int = 20_000_000

    @property
    def rounds(self) -> int:
        return 5 if self.quick else 11

    @property
    def budget_s(self) -> float:
        """Seconds for the rounds of one comparison; at least 5 rounds run all the same."""
        return 8 if self.quick else 60

    @functools.cached_property
    def dataset(self) -> Dataset:
        return dataset_named(self.data)

    @functools.cached_property
    def graph(self) -> Graph:
        return self.dataset.graph(self.device)

    def embedding(self, std: float = 0.1) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return (torch.randn(self.dataset.n_users + self.dataset.n_items, self.dim, generator=generator) * std).to(
            self.device
        )


def dataset_named(name: str) -> Dataset:
    """``load_dataset(name)``, or "synthetic:EDGES": a power-law graph of about gowalla's shape."""
    if not name.startswith("synthetic:"):
        return load_dataset(name)
    n_edges = int(float(name.removeprefix("synthetic:")))
    return synthetic_interactions(max(n_edges // 27, 50), max(n_edges // 20, 50), n_edges)


class _Racer:
    """A contender that has run, with how often it runs a sample, and its times: called one by one and, on a GPU, replayed from a CUDA graph."""

    def __init__(self, contender: Contender, device: torch.device) -> None:
        self.contender = contender
        self.clock, self.seconds = (_cuda_clock, 0.01) if device.type == "cuda" else (_cpu_clock, 0.02)
        self.modes: dict[str, tuple[Callable[[], Any], int]] = {"eager": (contender.run, 1)}
        self.not_captured = ""
        contender.run()
        self.counts = {"eager": self._count(contender.run)}
        if device.type == "cuda" and contender.calls:
            calls = min(contender.calls, self.counts["eager"])
            try:
                self.modes["captured"] = captured(contender.run, calls, contender.waits), calls
                self.counts["captured"] = self._count(self.modes["captured"][0])
            except Exception as error:  # whatever it is, it runs without
                self.not_captured = _first_line(error)
        self.samples: dict[str, list[float]] = {mode: [] for mode in self.modes}

    def _count(self, run: Callable[[], Any]) -> int:
        return max(1, min(1000, round(self.seconds / max(self.clock(run, 1), 1e-7))))

    def sample(self) -> None:
        for mode, (run, calls) in self.modes.items():
            if self.counts[mode] > 1:
                run()
            self.samples[mode].append(self.contender.scale * self.clock(run, self.counts[mode]) / calls)

    @property
    def times(self) -> list[float]:
        """Captured, where it can be: as training runs it, and a time of the GPU rather than of Python."""
        return self.samples.get("captured", self.samples["eager"])


def measure(
    comparison: Comparison, settings: Settings, ceilings: dict[str, float]
) -> tuple[list[Record], list[Record]]:
    """Times every contender in interleaved rounds: in each, a warm-up call, then the mean of enough calls to fill 20 ms (10 on a GPU).

    Returns the records of those that ran and, as (case, contender, dtype, error), those that raised; ours must not.
    """
    comparison.gate()
    racers: list[_Racer] = []
    skipped: list[Record] = []

    def skip(contender: Contender, error: Exception) -> None:
        if contender is comparison.contenders[0]:
            raise error
        names = {"case": comparison.case, "contender": contender.name, "dtype": contender.dtype}
        skipped.append({**names, "error": _first_line(error)})

    for contender in comparison.contenders:
        try:
            racers.append(_Racer(contender, settings.device))
        except Exception as error:
            skip(contender, error)
    start = time.perf_counter()
    for n in range(settings.rounds):
        if n >= 5 and time.perf_counter() - start > settings.budget_s:
            break
        for racer in list(racers):
            try:
                racer.sample()
            except Exception as error:
                skip(racer.contender, error)
                racers.remove(racer)
    return [_record(racer, racers[0], comparison, settings, ceilings) for racer in racers], skipped


def _record(
    racer: _Racer, ours: _Racer, comparison: Comparison, settings: Settings, ceilings: dict[str, float]
) -> Record:
    contender = racer.contender
    ratios = [theirs / mine for theirs, mine in zip(racer.times, ours.times, strict=True)]
    q1, median, q3 = quartiles([1e3 * t for t in racer.times])
    record: Record = {
        "case": comparison.case,
        "data": settings.data,
        "device": settings.device.type,
        "dtype": contender.dtype,
        "dim": settings.dim,
        "contender": contender.name,
        "median_ms": median,
        "q1_ms": q1,
        "q3_ms": q3,
        "ratio": statistics.median(ratios),
        "ratio_q1": quartiles(ratios)[0],
        "ratio_q3": quartiles(ratios)[2],
        "rounds": len(racer.times),
    }
    if settings.device.type == "cuda":
        record["captured_calls"] = racer.modes["captured"][1] if "captured" in racer.modes else 0
        record["eager_ms"] = 1e3 * statistics.median(racer.samples["eager"])
        if racer.not_captured:
            record["not_captured"] = racer.not_captured
    if comparison.n_units:
        record["unit"], record["units_per_s"] = comparison.unit, 1e3 * comparison.n_units / median
    if racer is ours and comparison.n_bytes:
        record["gb_per_s"] = comparison.n_bytes / median / 1e6
        record["ceiling"] = comparison.ceiling
        record["of_ceiling"] = record["gb_per_s"] / ceilings[comparison.ceiling]
    return record


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:200]


def captured(run: Callable[[], Any], calls: int, may_wait: bool = False) -> Callable[[], Any]:
    """run() recorded ``calls`` times as one CUDA graph, and replayed by the function returned. RuntimeError: it cannot be."""
    before = torch.cuda.current_stream()
    try:
        if not may_wait:  # what waits for the GPU says so here, where it does no harm
            torch.cuda.set_sync_debug_mode("error")
        run()
        torch.cuda.set_sync_debug_mode("default")
        side = torch.cuda.Stream()
        side.wait_stream(before)
        with torch.cuda.stream(side):
            run()
        before.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(calls):
                run()
        graph.replay()
        torch.cuda.synchronize()
    finally:
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.set_stream(before)  # a capture that fails leaves its own
    return graph.replay


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return (values[0],) * 3
    q1, q2, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return q1, q2, q3


def _cpu_clock(run: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def _cuda_clock(run: Callable[[], Any], calls: int) -> float:
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin.record()
    for _ in range(calls):
        run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3 / calls


def ceilings(settings: Settings) -> dict[str, float]:
    """GB/s of this machine in this run: "copy" of a large array (bytes read + written) and "gather" of the rows that a hop reads.

    The gather is our own hop on the graph's column indices, four times over and cut into rows of 64 edges: no short rows, hardly
    any output, nothing but gathering.
    """
    big = torch.ones(1 << 26, device=settings.device)
    out = torch.empty_like(big)
    graph, x = settings.graph, settings.embedding()
    indices = graph.indices.repeat(4)
    indptr = torch.arange(0, indices.numel() + 1, 64, device=x.device)
    rows = torch.cat([x.new_empty(indptr.numel() - 1, settings.dim), x[graph.n_users :]])
    no_edges = torch.zeros(graph.n_items + 1, dtype=torch.int64, device=x.device)
    alphas = torch.tensor([0.0, 1.0], device=x.device)
    csr = (indptr, indices, None, no_edges, indices[:0], None)
    jobs: dict[str, tuple[Callable[[], Any], int]] = {
        "copy": (lambda: out.copy_(big), 2 * big.nbytes),
        "gather": (
            lambda: torch.ops.fastgcn_rec.propagate(rows, alphas, *csr, None, None, None, None),
            (indptr.numel() - 1) * 64 * settings.dim * x.element_size(),
        ),
    }
    clock = _cuda_clock if settings.device.type == "cuda" else _cpu_clock
    result = {}
    for name, (run, n_bytes) in jobs.items():
        run()
        result[name] = n_bytes / min(clock(run, 3) for _ in range(7)) / 1e9
    return result


def run_context(argv: Sequence[str], settings: Settings) -> Record:
    """Where, when and with what."""
    packages = ("torch", "numpy", "scipy", "torch_geometric", "torch_cluster", "implicit", "cupy-cuda13x")
    versions = {"python": platform.python_version(), "fastgcn_rec": _C.build_info()["version"]}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    machine: Record = {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "isa_level": _C.isa_level(),
        "load_before": os.getloadavg()[0],
    }
    if settings.device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(settings.device)
    return {
        "command": command_of("benchmarks", argv),
        "date": datetime.date.today().isoformat(),
        "machine": machine,
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def table(records: Sequence[Record], skipped: Sequence[Record] = ()) -> str:
    """Records as text; the first of a case is ours. Times on a GPU are those of a CUDA graph, where there is one."""
    lines, case = [], None
    for r in records:
        if r["case"] != case:
            case = r["case"]
            of = (
                f"; ours: {r['gb_per_s']:.0f} GB/s, {r['of_ceiling']:.0%} of {r['ceiling']}"
                if "of_ceiling" in r
                else ""
            )
            lines += ["", f"{case}, {r['data']}, dim {r['dim']}, {r['device']}, {r['rounds']} rounds{of}"]
            lines.append(f"  {'':40s} {'median ms':>10s} {'q1':>9s} {'q3':>9s}   x ours (q1 to q3)")
        ratio = f"{r['ratio']:8.2f} ({r['ratio_q1']:.2f} to {r['ratio_q3']:.2f})"
        name = f"{r['contender']}, {r['dtype']}"
        rate = f"  {r['units_per_s'] / 1e6:.1f} M {r['unit']}/s" if "unit" in r else ""
        if r.get("captured_calls"):
            rate += f"  (eager {r['eager_ms']:.3f})"
        elif "eager_ms" in r:
            rate += f"  (eager; {r.get('not_captured', 'not to be captured')})"
        lines.append(f"  {name:40s} {r['median_ms']:10.3f} {r['q1_ms']:9.3f} {r['q3_ms']:9.3f} {ratio}{rate}")
    lines += [f"  {r['contender'] + ', ' + r['dtype']:40s} skipped: {r['error']}" for r in skipped]
    return "\n".join(lines)


def command_of(module: str, argv: Sequence[str]) -> str:
    """What was run, to be run again; without the place of the results."""
    at = argv.index("--json") if "--json" in argv else len(argv)
    return f"python -m {module} {shlex.join([*argv[:at], *argv[at + 2 :]])}".rstrip()


def write_results(path: Path, context: Record, records: Sequence[Record]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**context, "records": list(records)})


def read_results(paths: Sequence[Path]) -> list[Record]:
    """Every record of the files, those of ``gpu_main time`` too, with the file's date, machine and versions."""
    records = []
    for path in paths:
        try:
            content = json.loads(path.read_text())
            if gpu_main.is_time(content):
                records += gpu_main.records_of(content)
                continue
            shared = {key: content[key] for key in ("date", "machine", "versions", "command")}
            records += [{**shared, **record} for record in content["records"]]
        except (json.JSONDecodeError, KeyError) as error:
            sys.exit(f"{path} is not a result of these benchmarks ({error}); make one with --json")
    return records
