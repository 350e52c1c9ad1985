"""Models side by side: one data set, one split, one evaluator; what each takes in time and memory."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..data.reading.files import standard_input
from ..data.spec import DataSpec
from ..system.files import check_target
from ..system.process import python_module, traceback_wanted
from ..system.progress import progress_bar
from ..system.values import write_json
from .plots import plot_comparison
from .recipes import RECIPES
from .rows import Row

ALIASES = {"lightgcn": "default"}
NAMES = (*sorted(RECIPES), *ALIASES, "als")
DEFAULT_MODELS = ("popularity", "itemknn", "rp3beta", "filter", "softmax")


def compare(
    dataset: str | DataSpec,
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
    dataset : a name or path for :func:`fastgcn_rec.data.load_dataset`, or a :class:`fastgcn_rec.data.DataSpec`
    models : names out of :data:`NAMES`: the recipes, "lightgcn" for the recipe "default", and "als", implicit's
        (Hu et al. 2008; needs implicit: the extra "compare")
    out : folder for comparison.json and comparison.png, or None
    split : for data that come without one; a DataSpec has its own
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

    Examples
    --------
    >>> rows = compare("gowalla", ["popularity", "filter"], progress=False)  # doctest: +SKIP
    """
    unknown = [name for name in models if name not in NAMES]
    if unknown or not models:
        raise ValueError(f"compare: models must be names out of {', '.join(NAMES)}, got {', '.join(unknown) or 'none'}")
    for name in ("comparison.json", "comparison.png") if out is not None else ():
        check_target(Path(out or "") / name)
    if isinstance(dataset, DataSpec) and split is not None:
        raise ValueError(f"compare: split={split!r} cannot be given beside a DataSpec, which has its own; leave it out")
    spec = (dataset if isinstance(dataset, DataSpec) else DataSpec.of(dataset, split=split)).resolved()
    if spec.source == ("-",):  # which this process reads, for its children too
        spec = dataclasses.replace(spec, source=(str(standard_input()),))
    spec = spec.completed(spec.load())  # what is wrong with the data is said once, and a download made once
    rows: list[Row] = []
    with progress_bar(len(models), "model", shown=progress) as bar:
        for name in models:
            bar.describe(name, now=True)
            rows.append(_in_a_process({"data": spec.to_dict(), "model": name, "epochs": epochs}))
            if out is not None:
                about = {"dataset": spec.name, "split": spec.split.get("split"), "data": spec.to_dict()}
                written = {**about, "rows": [dataclasses.asdict(r) for r in rows]}
                write_json(Path(out) / "comparison.json", written)
            bar.update()
    if out is not None:
        try:
            plot_comparison(rows, Path(out) / "comparison.png", spec.name)
        except ImportError as error:
            print(f"no comparison.png: {error}", file=sys.stderr)
    return rows


def _in_a_process(task: dict[str, Any]) -> Row:
    command = python_module("fastgcn_rec.experiments.compare_one", json.dumps(task), str(torch.get_num_threads()))
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
