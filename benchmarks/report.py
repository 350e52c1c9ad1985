"""The picture of a set of results: a row a job, how many times as long the others take as we do.

docs/benchmarks.png is made of ``benchmarks/results`` and says inside which figures it shows (:func:`figures_in`).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from .documents import machine_of, when
from .harness import Record
from .tables import OVERTAKEN, ratio_text

Job = tuple[str, str, str]  # device, case, data

# README.md's jobs, and what they are called there.
JOBS: Mapping[Job, str] = {
    ("cpu", "propagate/hop", "gowalla"): "one hop over the graph",
    ("cpu", "columns/1", "gowalla"): "one hop, 1 column",
    ("cpu", "columns/8", "gowalla"): "one hop, 8 columns",
    ("cpu", "step/bpr, 3 layers, batch 2048", "gowalla"): "LightGCN: a step, BPR, 3 layers",
    ("cpu", "step/softmax, 1 layer, batch 2048", "gowalla"): "LightGCN: a step, softmax, 1 layer",
    ("cpu", "step/mf epoch", "gowalla"): "MF: an epoch, dense Adam",
    ("cpu", "adam", "gowalla"): "Adam on the whole table",
    ("cpu", "graph", "gowalla"): "making the graph",
    ("cpu", "sampler/batch 2048", "gowalla"): "drawing a batch",
    ("cpu", "negatives/dynamic, 1 of 32, batch 2048", "gowalla"): "hard negatives, 1 of 32",
    ("cpu", "walks/200 neighbourhoods, 100 x 3", "gowalla"): "neighbourhoods by random walks",
    ("cpu", "ppr/top 5000 of 1000 users", "gowalla"): "personalized PageRank",
    ("cpu", "topk/29858 users", "gowalla"): "top 20 of all users",
    ("cpu", "topk/1 user", "gowalla"): "top 20 of one user",
    ("cpu", "reading/integers for ids", "synthetic:20000000"): "reading a CSV of 20 M lines",
    ("cpu", "als/exact, d=64", "gowalla"): "iALS: an iteration, gowalla, d=64",
    ("cpu", "als/exact, d=128", "ml-1m"): "iALS: an iteration, ml-1m, d=128",
    ("cpu", "item_item/cosine, 100 neighbours", "ml-1m"): "ItemKNN: 100 neighbours",
    ("cpu", "item_item/EASE, 3706 items", "ml-1m"): "EASE of 3,706 items",
    ("cuda", "propagate/hop", "gowalla"): "one hop over the graph",
    ("cuda", "step/bpr, 3 layers, batch 2048", "gowalla"): "LightGCN: a step, BPR, 3 layers",
    ("cuda", "step/softmax, 1 layer, batch 2048", "gowalla"): "LightGCN: a step, softmax, 1 layer",
    ("cuda", "step/mf, batch 2048", "gowalla"): "MF: a step",
    ("cuda", "adam", "gowalla"): "Adam on the whole table",
    ("cuda", "topk/29858 users", "gowalla"): "top 20 of all users",
    ("cuda", "topk/1 user", "gowalla"): "top 20 of one user",
    ("cuda", "call/propagate", "10 nodes"): "calling a hop: what Python takes",
}
FASTER, SLOWER, INK, DOT = "#1b7f5c", "#c8553d", "#1f2933", "#9aa5b1"  # we are; we are not; letters; others
EQUAL = 1.05  # what lies within that of 1 is neither
EAGER = ", eager"


class Other(NamedTuple):
    """Who else does a job, and how many times as long as we do; the least of several runs."""

    name: str
    ratio: float


Panels = dict[str, dict[Job, list[Other]]]


def panels(records: Sequence[Record], jobs: Sequence[Job] | None = None) -> Panels:
    """By machine, each job's others from the fastest on: all jobs, or these in their order.

    As in the documents' tables the machine that measured a job last counts, and of a contender its last result;
    bfloat16 is left out.
    """
    latest: dict[tuple[Job, str], dict[str, Other]] = {}
    machines: dict[Job, str] = {}
    for r in sorted(filter(_is_shown, records), key=when):
        name = r["contender"] + (EAGER if r.get("captured_calls", 1) == 0 else "")
        other = Other(name, min(r.get("runs", [r["ratio"]])))
        job = r["device"], r["case"], r["data"]
        latest.setdefault((job, machine_of(r)), {})[name] = other
        machines[job] = machine_of(r)
    found: Panels = {}
    for job in machines if jobs is None else jobs:
        others = latest[job, machines[job]].values()
        found.setdefault(machines[job], {})[job] = sorted(others, key=lambda other: other.ratio)
    return found


def _is_shown(r: Record) -> bool:
    race = "ratio" in r and "contender" in r and r["case"] not in OVERTAKEN
    return race and not r["contender"].startswith("ours") and r["dtype"] != "bfloat16"


def figures_of(shown: Panels) -> str:
    """What a picture shows, as it says inside itself."""
    return json.dumps({machine: [[*job, others] for job, others in rows.items()] for machine, rows in shown.items()})


def figures_in(picture: bytes) -> str:
    """What a PNG says of the figures that it shows; empty where it says nothing."""
    at = 8
    while at < len(picture):
        size, kind = struct.unpack(">I4s", picture[at : at + 8])
        key, _, text = picture[at + 8 : at + 8 + size].partition(b"\0")
        if kind == b"tEXt" and key == b"Figures":
            return text.decode("latin-1")
        at += size + 12
    return ""


ROW, HEAD, LEFT, MIDDLE, RIGHT = 0.235, 0.42, 2.4, 3.3, 2.7  # inches


def draw(shown: Panels, path: Path) -> None:
    """A bar for the fastest of a job's others, a dot for each of the rest, on a log axis that all machines share."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    every = [other for rows in shown.values() for others in rows.values() for other in others]
    low, high = (edge(limit, *(other.ratio for other in every)) for edge, limit in ((min, 0.8), (max, 3)))
    notes = ["Time of others / ours: right of 1 ours is faster. Bar: the fastest other, dots: the rest."]
    if any(other.name.endswith(EAGER) for other in every):
        notes.append("Eager: called one by one, where ours is replayed from a CUDA graph.")
    foot = 0.35 + 0.18 * len(notes)
    width, height = LEFT + MIDDLE + RIGHT, foot + sum(HEAD + ROW * len(rows) for rows in shown.values())
    figure, top, last = plt.figure(figsize=(width, height)), height, list(shown)[-1]
    for machine, rows in shown.items():
        top -= HEAD + ROW * len(rows)
        axis = figure.add_axes((LEFT / width, top / height, MIDDLE / width, ROW * len(rows) / height))
        axis.set_xscale("log")
        axis.set_xlim(low / 1.2, high * 1.2)
        _panel(axis, machine, rows)
        ticks = [at for at in (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000) if low / 1.2 < at < high * 1.2]
        axis.set_xticks(ticks, [f"{at:g}" if machine == last else "" for at in ticks])
    for n, note in enumerate(reversed(notes)):
        figure.text(0.5, (0.08 + 0.18 * n) / height, note, ha="center", fontsize=8.5, color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor="white", metadata={"Figures": figures_of(shown)})
    plt.close(figure)


def _panel(axis: Any, machine: str, rows: Mapping[Job, Sequence[Other]]) -> None:
    axis.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    axis.axvline(1, color=INK, linewidth=0.8)
    for y, (first, *rest) in enumerate(rows.values()):
        color = FASTER if first.ratio >= EQUAL else SLOWER if first.ratio * EQUAL <= 1 else INK
        axis.barh(y, first.ratio - 1, left=1, height=0.62, color=color)
        axis.plot([other.ratio for other in rest], [y] * len(rest), "o", color=DOT, markersize=4, mec="white", mew=0.5)
        number, name = ratio_text(first.ratio), shorten(first.name, 36, placeholder=" ...")
        beside = {"transform": axis.get_yaxis_transform(), "va": "center", "fontsize": 8.5}
        axis.text(1.12, y, number, ha="right", color=color, weight="bold", **beside)
        axis.text(1.14, y, name, color=INK, **beside)
    axis.set_yticks(range(len(rows)), [JOBS.get(job, ", ".join(job[1:])) for job in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_title(machine, fontsize=9.5, loc="left", weight="bold", color=INK, pad=4)
    above = {"xycoords": "axes fraction", "xytext": (0, 4), "textcoords": "offset points"}
    axis.annotate("the fastest other", (1.14, 1), **above, fontsize=8.5, color=INK)
    axis.tick_params(which="both", length=0, labelsize=8.5, labelcolor=INK)
    axis.minorticks_off()
    axis.set_axisbelow(True)
    axis.spines[:].set_visible(False)
