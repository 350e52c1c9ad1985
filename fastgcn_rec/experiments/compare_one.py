"""One model of a comparison, trained and tested in a process of its own: ``python -m fastgcn_rec.experiments.compare_one TASK THREADS``."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import Any

import torch

from ..data import Dataset
from ..data.spec import DataSpec
from ..ranking.evaluate import evaluate
from ..ranking.ranker import Ranker
from ..system.process import explain
from ..training.loop import fit
from .als import als
from .compare import ALIASES
from .recipes import RECIPES
from .rows import Row


def run(data: dict[str, Any], model: str, epochs: int | None = None) -> Row:
    """One model, in this process; ``data``: a DataSpec as values of JSON."""
    loaded = DataSpec.from_dict(data).load()
    before = _reset_peak()
    start = time.perf_counter()
    ranker = _trained(loaded, model, epochs)
    trained = time.perf_counter()
    found = evaluate(ranker, loaded)
    ranked = time.perf_counter()
    peak = None if before is None else _status("VmHWM") - before
    return Row(model, found["recall@20"], found["ndcg@20"], trained - start, ranked - trained, peak)


def _trained(data: Dataset, name: str, epochs: int | None) -> Ranker:
    if name == "als":
        return als(data)
    recipe = RECIPES[ALIASES.get(name, name)]
    model = recipe.make_model(data)
    if recipe.train is not None:
        config = recipe.train if epochs is None else dataclasses.replace(recipe.train, epochs=epochs)
        fit(model, data, config, progress=False)
    return model


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
