"""What a process of its own finds of a model, and what is made of several such: rows, and the metrics of each user."""

from __future__ import annotations

import dataclasses
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..ranking.metrics import bootstrap
from ..ranking.significance import PairedTest, paired_tests
from ..system.archives import load_arrays, refusing, save_arrays
from ..system.contents import check_keys
from ..system.files import StrPath
from ..system.process import python_module, traceback_wanted
from .rows import METRICS, NAN, Row

USERS = "users.npz"
RESAMPLES = 1000  # for the interval of a mean


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of a model.

    Attributes
    ----------
    row : what it reached, or its error
    users : raw ids of the users with test items; none with an error
    values : float64 [metrics, users], in the order of :data:`METRICS`

    Examples
    --------
    >>> Run(Row("als", error="needs implicit")).values.shape
    (2, 0)
    """

    row: Row
    users: NDArray[Any] = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    values: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros((len(METRICS), 0)))


def measured(name: str, task: dict[str, Any]) -> Run:
    """``task``, the arguments of :func:`fastgcn_rec.experiments.compare_one.run`, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / USERS
        text = json.dumps({**task, "users": str(file)})
        command = python_module("fastgcn_rec.experiments.compare_one", text, str(torch.get_num_threads()))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if traceback_wanted():
            sys.stderr.write(done.stderr)
        last = (done.stdout.strip().splitlines() or [""])[-1]
        if done.returncode == 0 and last.startswith("{"):
            values = json.loads(last)
            _, arrays = load_arrays(file, "compared")
            return Run(Row(**{**values, "model": name}), arrays["users"], arrays["values"])
    said = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
    if done.returncode < 0:
        guess = "; was memory short?" if done.returncode == -9 else ""
        said = [f"ended by signal {-done.returncode} ({signal.strsignal(-done.returncode)}{guess})"]
    return Run(Row(name, error=said[-1]))


def merged(runs: Sequence[Run], confidence: float = 0.95) -> Row:
    """The row of a model's trainings by several seeds: means, spreads and intervals; the first error, where there is one.

    >>> runs = [Run(Row("mf", recall, 0.5, 2.0, 1.0), np.arange(2), np.full((2, 2), recall)) for recall in (0.25, 0.75)]
    >>> merged(runs).recall, round(merged(runs).recall_sd, 3), merged(runs).recall_interval
    (0.5, 0.354, (0.5, 0.5))
    """
    rows = [run.row for run in runs]
    for row in rows:
        if row.error is not None:
            return Row(row.model, error=row.error)
    several = len(rows) > 1
    recalls, ndcgs = [row.recall for row in rows], [row.ndcg for row in rows]
    peaks = [row.peak_bytes for row in rows if row.peak_bytes is not None]
    low, high = (NAN, NAN), (NAN, NAN)
    values = mean_values(runs)
    if values.shape[1]:
        low, high = bootstrap(values.T, RESAMPLES, confidence).tolist()
    return Row(
        rows[0].model,
        _mean(recalls),
        _mean(ndcgs),
        _mean([row.seconds_train for row in rows]),
        _mean([row.seconds_rank for row in rows]),
        max(peaks) if len(peaks) == len(rows) else None,
        seeds=len(rows),
        recall_sd=statistics.stdev(recalls) if several else NAN,
        ndcg_sd=statistics.stdev(ndcgs) if several else NAN,
        recall_interval=(low[0], high[0]),
        ndcg_interval=(low[1], high[1]),
        note=rows[0].note,
    )


def _mean(values: list[float]) -> float:
    return values[0] if len(values) == 1 else statistics.fmean(values)


def mean_values(runs: Sequence[Run]) -> NDArray[np.float64]:
    """[metrics, users]: of each user the mean over the runs, which are of the same users."""
    return runs[0].values if len(runs) == 1 else np.mean([run.values for run in runs], axis=0)


class Users:
    """The metrics of each user by model, means over the seeds: what paired tests are made of.

    Attributes
    ----------
    ids : raw ids of the users
    values : by model float64 [metrics, users]

    Examples
    --------
    >>> Users().tested("recall@20", None, 0.95, 100)
    []
    """

    def __init__(self, ids: NDArray[Any] | None = None, values: dict[str, NDArray[np.float64]] | None = None) -> None:
        self.ids = np.zeros(0, np.int64) if ids is None else ids
        self.values = {} if values is None else values

    def add(self, name: str, runs: Sequence[Run]) -> None:
        """A model. ValueError: other users than those of the models before."""
        for run in runs:
            if self.values and not np.array_equal(self.ids, run.users):
                raise ValueError(
                    f"the users with test items are {len(run.users)} for {name!r} and other {len(self.ids)} for {next(iter(self.values))!r}"
                )
            self.ids = run.users
        self.values[name] = mean_values(runs)

    def tested(self, metric: str, baseline: str | None, confidence: float, resamples: int) -> list[PairedTest]:
        """The tests beside the best, and beside the baseline where it is another one; none of fewer than two models, or without users."""
        own = {name: values[METRICS.index(metric)] for name, values in self.values.items()}
        if len(own) < 2 or not len(self.ids):
            return []
        best = paired_tests(own, resamples=resamples, confidence=confidence)
        if baseline not in own or baseline == best[0].against:
            return best
        return best + paired_tests(own, baseline, resamples=resamples, confidence=confidence)

    def save(self, path: StrPath) -> None:
        """A file that :func:`read_users` reads, and numpy.load."""
        meta = {"kind": "users of a comparison", "format": 1, "metrics": METRICS, "models": list(self.values)}
        save_arrays(path, meta, {"users": self.ids, **{f"{n}": v for n, v in enumerate(self.values.values())}})


def read_users(path: StrPath) -> tuple[NDArray[Any], dict[str, dict[str, NDArray[np.float64]]]]:
    """The metrics of each user of a comparison, as it wrote them into users.npz.

    Parameters
    ----------
    path : of the file

    Returns
    -------
    (raw ids of the users, by metric and model float64 [n_users], means over the seeds), the latter ready for :func:`fastgcn_rec.ranking.paired_tests`

    Raises
    ------
    ValueError : naming the file, for another one. OSError : it cannot be read.

    Examples
    --------
    >>> users, values = read_users("runs/compare/users.npz")  # doctest: +SKIP
    >>> paired_tests(values["ndcg@20"], against="popularity")  # doctest: +SKIP
    """
    meta, arrays = load_arrays(path, "users of a comparison")
    with refusing(path):
        check_keys(meta, metrics=list, models=list)
        names, shape = (
            {f"{n}": str(name) for n, name in enumerate(meta["models"])},
            (len(meta["metrics"]), len(arrays["users"])),
        )
        if set(arrays) != {"users", *names} or any(arrays[n].shape != shape for n in names):
            raise ValueError(f"its arrays must be 'users' and, of each of {len(names)} models, {list(shape)}")
    return arrays["users"], {
        metric: {name: arrays[n][at] for n, name in names.items()} for at, metric in enumerate(meta["metrics"])
    }
