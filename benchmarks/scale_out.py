"""What a step takes on many GPUs, by arithmetic from what one was measured to do: ``python -m benchmarks.scale_out FILE.json``.

A step of LightGCN on a grid of C column groups x R row groups, of which each GPU holds a cell: d / C columns of 1 / R of the rows. Times add up:

hops    (K - 1) forwards and K backwards over all rows; a hop reads a row and a column id for each directed edge, at the rate of random rows from HBM
adam    reads and writes the parameter and two moments, at the rate of a copy
loss    with sampling and numbering, which every rank does: as measured, by the size of the batch
rows    the batch's rows to all columns: bytes over the link between column groups, and a start
layers  with row groups, before each half-hop the other side's rows in own columns: bytes over the link within a group

Rates of links are data sheets', not measured; so is the time that a collective takes to start.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from fastgcn_rec.system.values import write_json

from .harness import Record, read_results

KERNELS = Path(__file__).parent / "results" / "2026-11-26-nvidia-h100-80gb-hbm3-kernels.json"
NVLINK, NETWORK = (
    450e9,
    50e9,
)  # bytes a second each way: of NVLink between the GPUs of a machine, of a GPU's 400 Gb/s between machines
START = 20e-6
MEASURED_BATCH = 2048
GIB = 2**30


class Case(NamedTuple):
    what: str
    users: float
    items: float
    edges: float
    dim: int
    columns: int  # groups of columns
    rows: int  # groups of rows
    batch: int
    machine: int = 8  # GPUs of one

    @property
    def gpus(self) -> int:
        return self.columns * self.rows


LAYERS = 3
CASES = (
    *(Case("100 M", 10e6, 1e6, 100e6, 64, c, 1, 16_384) for c in (1, 2, 4)),
    *(Case("1 G", 50e6, 5e6, 1e9, 128, c, 1, 65_536) for c in (1, 4, 8)),
    *(Case("10 G", 500e6, 50e6, 10e9, 128, 8, r, 65_536) for r in (4, 8)),
)


def records() -> list[Record]:
    measured = read_results([KERNELS])

    def one(name: str, variant: str = "now") -> Record:
        return next(r for r in measured if r["name"] == name and r["variant"] == variant and r["dtype"] == "float32")

    gather = 1e9 * one("gather 1000 MB, random")["gb_per_s"]
    copy = 1e9 * one("copy", "kernel")["gb_per_s"]
    step = one("step BPR K=3")
    others = 1e-6 * sum(step[f"us_of_{part}"] for part in ("sampling", "numbering", "loss"))
    return [_step(case, gather, copy, others) for case in CASES]


def _step(case: Case, gather: float, copy: float, others: float) -> Record:
    nodes, width = case.users + case.items, case.dim / case.columns
    own = nodes / case.rows
    hop = (2 * case.edges / case.rows * (4 * width + 4) + own * 4 * width) / gather
    within = NVLINK if case.gpus <= case.machine or case.rows <= case.machine else NETWORK
    between = NVLINK if case.gpus <= case.machine else NETWORK
    sampled = 3 * case.batch
    hops = (2 * LAYERS - 1) * hop
    layers = (2 * LAYERS - 1) * nodes * 4 * width * (1 - 1 / case.rows) / within
    adam = 24 * own * width / copy
    loss = others * max(1, case.batch / MEASURED_BATCH)
    rows = 0.0 if case.columns == 1 else sampled * case.dim * 4 * (1 - 1 / case.columns) / between + START
    held = 8 * case.edges / case.rows + 12 * nodes + 16 * own * width + 2 * 4 * own * width
    held += 0 if case.rows == 1 else 4 * case.users * width
    total = hops + layers + adam + loss + rows
    return {
        "case": "scale_out",
        "what": case.what,
        "edges": round(case.edges),
        "nodes": round(nodes),
        "dim": case.dim,
        "batch": case.batch,
        "gpus": case.gpus,
        "grid": f"{case.columns} x {case.rows}",
        "gib": held / GIB,
        "hops_ms": 1e3 * hops,
        "layers_ms": 1e3 * layers,
        "adam_ms": 1e3 * adam,
        "loss_ms": 1e3 * loss,
        "rows_ms": 1e3 * rows,
        "step_ms": 1e3 * total,
        "epoch_minutes": total * case.edges / case.batch / 60,
    }


if __name__ == "__main__":
    (kernels,) = read_results([KERNELS])[:1]
    shared = {"note": __doc__, "command": "python -m benchmarks.scale_out"}
    shared |= {key: kernels[key] for key in ("date", "machine", "versions")}
    write_json(sys.argv[1], shared | {"records": records()})
