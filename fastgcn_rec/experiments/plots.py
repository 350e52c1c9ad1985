"""The pictures of a training run and of a comparison."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from ..system.files import write_atomically
from ..training.history import History
from .rows import Comparison, Row


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
    """Recall@20 over the seconds to train, a point a model with its interval over users; a PNG. Needs matplotlib (the extra "plot").

    Of a :class:`Comparison` the points of models that differ from the baseline, or from the best, are hollow. What is not known to have taken a
    time, as lists of others, is a line.
    """
    figure: Any = _figure("plot_comparison", (7, 4.5))
    axis = figure.subplots()
    marks = isinstance(rows, Comparison) and rows.beside("recall@20")
    for row in rows:
        if row.error is not None:
            continue
        place = {"xy": (max(row.seconds_train, 1e-3), row.recall), "xytext": (5, 4)}
        if math.isnan(row.seconds_train):  # what it took nobody noted
            axis.axhline(row.recall, color="gray", linestyle=":", linewidth=0.8)
            place |= {"xy": (0, row.recall), "xycoords": axis.get_yaxis_transform()}
        else:
            differs = isinstance(rows, Comparison) and rows.mark("recall@20", row.model)
            ends = [[abs(row.recall - end)] for end in row.recall_interval]
            style = {"mfc": "white" if differs else "tab:blue", "color": "tab:blue", "capsize": 2, "elinewidth": 0.8}
            known = all(map(math.isfinite, row.recall_interval))
            axis.errorbar(max(row.seconds_train, 1e-3), row.recall, ends if known else None, fmt="o", **style)
        axis.annotate(row.model, textcoords="offset points", fontsize=8, **place)
    axis.set(xscale="log", xlabel="seconds to train", ylabel="Recall@20", title=title)
    if marks:
        assert isinstance(rows, Comparison)
        what = f"{rows.baseline}, the baseline" if rows.baseline is not None else f"{marks[0].against}, the best"
        said = f"bars: {100 * (1 - rows.level):.3g} % interval over users; hollow: differs from {what} (paired tests, Holm)"
        axis.text(0.99, 0.01, said, transform=axis.transAxes, ha="right", va="bottom", fontsize=6, color="gray")
    axis.margins(x=0.15, y=0.1)
    axis.grid(alpha=0.3)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))


def _figure(name: str, size: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(f"{name} needs matplotlib: pip install 'fastgcn_rec[plot]'") from None
    return Figure(figsize=size, layout="constrained")
