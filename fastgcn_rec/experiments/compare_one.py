"""One model of a comparison, trained and tested in a process of its own: ``python -m fastgcn_rec.experiments.compare_one TASK THREADS``."""

from __future__ import annotations

import dataclasses
import json
import sys
import time

import scipy.sparse as sp
import torch

from ..data import Dataset, load_dataset
from ..ranking.evaluate import evaluate
from ..ranking.rank import as_ranker
from ..ranking.ranker import Ranker
from ..system.process import explain
from ..training.loop import fit
from .compare import ALIASES
from .recipes import RECIPES
from .rows import Row


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


def _trained(data: Dataset, name: str, epochs: int | None) -> Ranker:
    if name == "als":
        return als(data)
    recipe = RECIPES[ALIASES.get(name, name)]
    model = recipe.make_model(data)
    if recipe.train is not None:
        config = recipe.train if epochs is None else dataclasses.replace(recipe.train, epochs=epochs)
        fit(model, data, config, progress=False)
    return model


def als(data: Dataset, factors: int = 64, seed: int = 0) -> Ranker:
    """Implicit ALS (Hu et al. 2008) as the package implicit computes it, 64 factors, else with its defaults."""
    try:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits  # comes with it
    except ImportError:
        raise ImportError("als needs implicit: pip install 'fastgcn_rec[compare]'") from None
    with threadpool_limits(1, "blas"):  # it has threads of its own
        model = AlternatingLeastSquares(factors=factors, random_state=seed, num_threads=torch.get_num_threads())
        model.fit(sp.csr_matrix(data.graph().to_scipy()), show_progress=False)
    return as_ranker(model, data)


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
