"""Models side by side: one data set, one split, one evaluator; what each takes in time and memory."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from ..data import Dataset, load_dataset
from ..ranking.evaluate import evaluate
from ..system.process import explain, python_module, traceback_wanted
from ..system.progress import progress_bar
from ..system.storage import check_target, write_json
from ..training.loop import fit
from .plots import plot_comparison
from .recipes import RECIPES
from .rows import Row

_ALIASES = {"lightgcn": "default"}
NAMES = (*sorted(RECIPES), *_ALIASES, "als")
DEFAULT_MODELS = ("popularity", "itemknn", "rp3beta", "filter", "softmax")


def compare(
    dataset: str,
    models: Sequence[str] = DEFAULT_MODELS,
    out: str | os.PathLike[str] | None = None,
    *,
    split: str | None = None,
    epochs: int | None = None,
    progress: bool = True,
) -> list[Row]:
    """Trains and tests each model in a process of its own, one after the other.

    Parameters
    ----------
    dataset : a name for :func:`fastgcn_rec.data.load_dataset`
    models : names out of :data:`NAMES`: the recipes, "lightgcn" for the recipe "default", and "als", implicit's
        (Hu et al. 2008; needs implicit: the extra "compare")
    out : folder for comparison.json and comparison.png, or None
    split : for data that come without one
    epochs : of the models that train, instead of their recipes'
    progress : a bar

    Returns
    -------
    one :class:`Row` a model, in the given order. A model that fails has its error and the others go on.

    Notes
    -----
    ``recall`` and ``ndcg`` are of :func:`fastgcn_rec.evaluate` at 20, on the test part, which chooses nothing. ``seconds_rank`` is that call: scores
    and lists of all users with test items, and the metrics. ``peak_bytes`` is the largest resident size while training and ranking less that
    before, with the data loaded; None where the system has no /proc.

    Raises ValueError for an unknown name, and whatever loading the data raises. The rows are written as they come, so that an interrupted
    comparison leaves those that it has.
    """
    unknown = [name for name in models if name not in NAMES]
    if unknown or not models:
        raise ValueError(f"compare: models must be names out of {', '.join(NAMES)}, got {', '.join(unknown) or 'none'}")
    for name in ("comparison.json", "comparison.png") if out is not None else ():
        check_target(Path(out or "") / name)
    load_dataset(dataset, split=split)  # what is wrong with the data is said once, and a download made once
    rows: list[Row] = []
    with progress_bar(len(models), "model", shown=progress) as bar:
        for name in models:
            bar.describe(name, now=True)
            rows.append(_in_a_process({"dataset": dataset, "model": name, "split": split, "epochs": epochs}))
            if out is not None:
                written = {"dataset": dataset, "split": split, "rows": [dataclasses.asdict(r) for r in rows]}
                write_json(Path(out) / "comparison.json", written)
            bar.update()
    if out is not None:
        try:
            plot_comparison(rows, Path(out) / "comparison.png", dataset)
        except ImportError as error:
            print(f"no comparison.png: {error}", file=sys.stderr)
    return rows


def _in_a_process(task: dict[str, Any]) -> Row:
    command = python_module("fastgcn_rec.experiments.compare", json.dumps(task), str(torch.get_num_threads()))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if traceback_wanted():
        sys.stderr.write(done.stderr)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode == 0 and last.startswith("{"):
        return Row(**json.loads(last))
    said = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
    if done.returncode < 0:
        guess = "; was memory short?" if done.returncode == -9 else ""
        said = [f"ended by signal {-done.returncode} ({signal.strsignal(-done.returncode)}{guess})"]
    return Row(task["model"], error=said[-1])


def run(dataset: str, model: str, split: str | None = None, epochs: int | None = None) -> Row:
    """One model, in this process."""
    data = load_dataset(dataset, split=split)
    before = _reset_peak()
    start = time.perf_counter()
    ranker = _trained(data, model, epochs)
    trained = time.perf_counter()
    found = evaluate(ranker, data.test)
    ranked = time.perf_counter()
    peak = None if before is None else _status("VmHWM") - before
    return Row(model, found["recall@20"], found["ndcg@20"], trained - start, ranked - trained, peak)


def _trained(data: Dataset, name: str, epochs: int | None) -> Any:
    if name == "als":
        return Als(data)
    recipe = RECIPES[_ALIASES.get(name, name)]
    model = recipe.make_model(data)
    if recipe.train is not None:
        config = recipe.train if epochs is None else dataclasses.replace(recipe.train, epochs=epochs)
        fit(model, data, config, progress=False)
    return model


class Als:
    """Implicit ALS (Hu et al. 2008) as the package implicit computes it, 64 factors, else with its defaults; for :func:`fastgcn_rec.evaluate`."""

    def __init__(self, data: Dataset, factors: int = 64, seed: int = 0) -> None:
        try:
            from implicit.cpu.als import AlternatingLeastSquares
            from threadpoolctl import threadpool_limits  # comes with it
        except ImportError:
            raise ImportError("als needs implicit: pip install 'fastgcn_rec[compare]'") from None
        self.graph = data.graph()
        with threadpool_limits(1, "blas"):  # it has threads of its own
            als = AlternatingLeastSquares(factors=factors, random_state=seed, num_threads=torch.get_num_threads())
            als.fit(sp.csr_matrix(self.graph.to_scipy()), show_progress=False)
        self._factors = tuple(torch.from_numpy(np.asarray(f, np.float32)) for f in (als.user_factors, als.item_factors))

    def vectors(self) -> tuple[torch.Tensor, torch.Tensor, str]:
        users, items = self._factors
        return users, items, "dot"


def _status(name: str) -> int:
    """Bytes of a line of /proc/self/status."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name + ":")) * 1024


def _reset_peak() -> int | None:
    """The resident size now; the peak counts from here on. None where there is no /proc that does this."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as control:
            control.write("5")
        return _status("VmRSS")
    except OSError:
        return None


def _main(task: str, threads: str) -> int:
    torch.set_num_threads(int(threads))
    try:
        print(json.dumps(dataclasses.asdict(run(**json.loads(task)))))
        return 0
    except Exception as error:
        print(explain(error).replace("\n", " "), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
