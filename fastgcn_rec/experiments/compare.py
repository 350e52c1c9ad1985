"""Models side by side: one data set, one split, one evaluator; what each takes in time and memory, and whether they differ."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch

from ..core.arguments import check_count, check_fraction
from ..data.reading.files import standard_input
from ..data.spec import DataSpec
from ..ranking.recommendations import Invalid
from ..system.files import check_target
from ..system.progress import progress_bar
from ..system.values import write_json
from .contenders import contenders
from .devices import require_cuda
from .measured import USERS, Users, measured, merged
from .plots import plot_comparison
from .rows import METRICS, Comparison, as_values

DEFAULT_MODELS = ("popularity", "itemknn", "rp3beta", "filter", "softmax")
WRITTEN = ("comparison.json", "comparison.png", USERS)


def compare(
    dataset: str | DataSpec,
    models: Sequence[str] = DEFAULT_MODELS,
    out: str | os.PathLike[str] | None = None,
    *,
    split: str | None = None,
    epochs: int | None = None,
    seeds: int = 1,
    baseline: str | None = None,
    device: str = "cpu",
    invalid: Invalid = "refuse",
    confidence: float = 0.95,
    resamples: int = 10_000,
    progress: bool = True,
) -> Comparison:
    """Trains and tests each model in a process of its own, one after the other, and tests them against each other.

    Parameters
    ----------
    dataset : a name or path for :func:`fastgcn_rec.data.load_dataset`, or a :class:`fastgcn_rec.data.DataSpec`
    models : each [NAME=]WHAT, where NAME is what stands in the table
        WHAT: a name of a recipe, "lightgcn" for the recipe "default", "als", implicit's (Hu et al. 2008; needs implicit: the extra "compare"), a .toml
        file of a recipe, a model.npz or the folder of a run, made on these data and this split, or a file of lists that any library wrote
        (:func:`fastgcn_rec.read_recommendations`).
    out : folder for comparison.json, comparison.png and users.npz (:func:`read_users`), or None
    split : for data that come without one; a DataSpec has its own
    epochs : of the models that train, instead of their recipes'
    seeds : int >= 1
        Trainings of each model that a seed changes anything of: with its own seeds, these + 1, ...; the split is the same.
    baseline : one of the models' names, against which the others are tested too, beside the best
    device : "cpu", "cuda" or "cuda:N", where models are trained and rank
    invalid : of files of lists, what becomes of items that no list can hold: "refuse", "drop" or "miss"
    confidence, resamples : of the tests (:func:`fastgcn_rec.ranking.paired_tests`); two models differ where both tests, corrected by Holm, are
        below 1 - confidence
    progress : a bar

    Returns
    -------
    :class:`Comparison`, a list of a :class:`Row` a model, in the given order. A model that fails has its error and the others go on.

    Notes
    -----
    ``recall`` and ``ndcg`` are of :func:`fastgcn_rec.evaluate` at 20, on the test part, which chooses nothing. ``seconds_rank`` is that call: scores
    and lists of all users with test items, and the metrics. ``peak_bytes`` is the largest resident size while training and ranking less that
    before, with the data loaded; None where the system has no /proc. Of a saved model ``seconds_train`` is what its run noted.
    Tests pair users; of several seeds a user's mean counts.

    Raises ValueError for an unknown name, and whatever loading the data raises. The rows are written as they come, so that an interrupted
    comparison leaves those that it has.

    Examples
    --------
    >>> found = compare("gowalla", ["popularity", "filter", "mf"], seeds=3, progress=False)  # doctest: +SKIP
    >>> [test.p_bootstrap_holm for test in found.tests["recall@20"]]  # doctest: +SKIP
    """
    who = contenders(models)
    if baseline is not None and baseline not in [one.name for one in who]:
        raise ValueError(
            f"compare: baseline must be one of the models, {', '.join(one.name for one in who)}, got {baseline!r}"
        )
    seeds, resamples = check_count(seeds, "compare: seeds", 1), check_count(resamples, "compare: resamples", 1)
    level = 1 - check_fraction(confidence, "compare: confidence")
    if invalid not in get_args(Invalid):
        raise ValueError(f"compare: invalid must be one of {', '.join(get_args(Invalid))}, got {invalid!r}")
    if torch.device(device).type != "cpu":
        require_cuda(torch.device(device))
    for name in WRITTEN if out is not None else ():
        check_target(Path(out or "") / name)
    if isinstance(dataset, DataSpec) and split is not None:
        raise ValueError(f"compare: split={split!r} cannot be given beside a DataSpec, which has its own; leave it out")
    spec = (dataset if isinstance(dataset, DataSpec) else DataSpec.of(dataset, split=split)).resolved()
    if spec.source == ("-",):  # which this process reads, for its children too
        spec = dataclasses.replace(spec, source=(str(standard_input()),))
    spec = spec.completed(spec.load())  # what is wrong with the data is said once, and a download made once
    about = {"dataset": spec.name, "split": spec.split.get("split"), "data": spec.to_dict()}
    about |= {"baseline": baseline, "confidence": confidence, "resamples": resamples}
    found, users = Comparison(baseline=baseline, level=level), Users()
    turns = [range(seeds if one.seeded else 1) for one in who]
    with progress_bar(sum(map(len, turns)), "model", shown=progress) as bar:
        for one, text, turn in zip(who, models, turns, strict=True):
            task = {"data": spec.to_dict(), "model": text, "epochs": epochs, "device": device, "invalid": invalid}
            runs = []
            for seed in turn:
                bar.describe(one.name, now=True)
                runs.append(measured(one.name, {**task, "seed": seed}))
                bar.update()
            found.append(merged(runs, confidence))
            if found[-1].error is None:
                users.add(one.name, runs)
            if out is not None:
                write_json(Path(out) / "comparison.json", {**about, **as_values(found)})
    found.tests = {metric: users.tested(metric, baseline, confidence, resamples) for metric in METRICS}
    if out is not None:
        write_json(Path(out) / "comparison.json", {**about, **as_values(found)})
        users.save(Path(out) / USERS)
        try:
            plot_comparison(found, Path(out) / "comparison.png", spec.name)
        except ImportError as error:
            print(f"no comparison.png: {error}", file=sys.stderr)
    return found
