"""The picture of a training run."""

from __future__ import annotations

import os
from typing import Any

from .storage import write_atomically
from .train import History


def plot_curves(history: History, path: str | os.PathLike[str], title: str, metric: str) -> None:
    """Loss and metric by epoch, the chosen epoch marked; a PNG. Needs matplotlib (the extra "plot")."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plot_curves needs matplotlib: pip install 'fastgcn_rec[plot]'") from None
    figure: Any = Figure(figsize=(7, 4), layout="constrained")
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
