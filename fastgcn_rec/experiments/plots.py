"""The pictures of a training run and of a comparison."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..system.files import write_atomically
from ..training.history import History
from .rows import Row


def plot_curves(history: History, path: str | os.PathLike[str], title: str, metric: str) -> None:
    """Loss and metric by epoch, the chosen epoch marked; a PNG. Needs matplotlib (the extra "plot")."""
    figure: Any = _figure("plot_curves", (7, 4))
    left = figure.subplots()
    left.plot([r["epoch"] for r in history.epochs], [r["loss"] for r in history.epochs], color="tab:gray", label="loss")
    left.set(xlabel="epoch", ylabel="training loss", title=title)
    measured = [r for r in history.epochs if metric in r]
    if measured:
        right = left.twinx()
        right.plot([r["epoch"] for r in measured], [r[metric] for r in measured], "o-", color="tab:blue")
        right.set_ylabel(f"{metric} on {history.chosen_on}", color="tab:blue")
        right.axvline(history.best_epoch, color="tab:blue", linestyle=":", label=f"kept: epoch {history.best_epoch}")
        right.legend(loc="center right")
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))


def plot_comparison(rows: Sequence[Row], path: str | os.PathLike[str], title: str) -> None:
    """Recall@20 over the seconds to train, a point a model; a PNG. Needs matplotlib (the extra "plot")."""
    figure: Any = _figure("plot_comparison", (7, 4.5))
    axis = figure.subplots()
    for row in rows:
        if row.error is None:
            seconds = max(row.seconds_train, 1e-3)
            axis.plot(seconds, row.recall, "o", color="tab:blue")
            axis.annotate(row.model, (seconds, row.recall), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axis.set(xscale="log", xlabel="seconds to train", ylabel="Recall@20", title=title)
    axis.margins(x=0.15, y=0.1)
    axis.grid(alpha=0.3)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))


def _figure(name: str, size: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(f"{name} needs matplotlib: pip install 'fastgcn_rec[plot]'") from None
    return Figure(figsize=size, layout="constrained")
