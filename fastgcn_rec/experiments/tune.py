"""Tuning: a search over a model's options and its settings of training, judged on held-out edges of train."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from ..core.arguments import check_count, check_number
from ..data import Dataset
from ..data.spec import DataSpec
from ..models import Recommender
from ..models.space import Tunable
from ..system.files import check_target, locked
from ..system.progress import progress_bar
from ..training.config import TrainConfig
from .devices import require_cuda
from .recipe_file import named_recipe
from .recipes import RECIPES, Recipe, learns
from .search import Search, optuna_or_error
from .study import FILE, Study, Trial, sign_of
from .trial_loop import CHECKPOINT, WINNER, Work, shown
from .trials import Bench, value_in

_JUDGE = tuple(f"train.{name}" for name in ("metric", "protocol", "refit", "valid_fraction", "valid_split"))
_FIRST = {"LightGCN": "softmax"}  # the recipe to begin from, where a model has several


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes
    ----------
    recipe : Recipe
        The best one: as it was trained, ready for :func:`fastgcn_rec.fit` or ``train --recipe``.
    metric : str
    value : float
        The metric on the validation part; NaN where the first trial did not end.
    trials : list of Trial, in their order; the first is the recipe that it began from
    space : tuple of Tunable, what was varied
    importances : dict
        The share of each option in what tells good trials from all, the largest first; empty where there are too few.
    stopped : str
        Why it ended.

    Examples
    --------
    >>> Tuned(RECIPES["ease"], "recall@20", 0.25, [], ()).table()
    'no trial has ended'
    """

    recipe: Recipe
    metric: str
    value: float
    trials: list[Trial]
    space: tuple[Tunable, ...]
    importances: dict[str, float] = dataclasses.field(default_factory=dict)
    stopped: str = ""

    def table(self, rows: int = 10) -> str:
        """The best trials as text, a line each."""
        done = [(n, trial) for n, trial in enumerate(self.trials) if trial.state == "done"]
        if not done:
            return "no trial has ended"
        done.sort(key=lambda one: -one[1].value * sign_of(self.metric))
        names = [one.name for one in self.space]
        head = ["trial", self.metric, "epochs", "seconds", *(name.removeprefix("train.") for name in names)]
        cells = [
            [f"{n}{'' if n else ' (recipe)'}", f"{trial.value:.4f}", str(trial.epochs), f"{trial.seconds:.1f}", *(shown(trial.params[name]) for name in names)]
            for n, trial in done[:rows]
        ]  # fmt: skip
        widths = [max(len(row[at]) for row in [head, *cells]) for at in range(len(head))]
        return "\n".join("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in [head, *cells])  # fmt: skip


def tune(
    dataset: str | DataSpec | Dataset,
    recipe: str | Recipe = "softmax",
    *,
    minutes: float | None = None,
    trials: int | None = None,
    metric: str | None = None,
    valid_fraction: float | None = None,
    valid_split: Literal["random", "temporal", "order"] | None = None,
    space: Sequence[Tunable] | None = None,
    fixed: Collection[str] = (),
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    progress: bool = True,
) -> Tuned:
    """Searches a model's options and settings of training for the best on a validation part; the test part is taken away before anything is trained.

    The first trial is the recipe as it is, so that what is found is no worse there. Where it is trained for 6 epochs or more, new values are tried in trainings
    of a third of the epochs, each with its whole schedule, and after every three of these the best one is trained in full (successive halving, Jamieson and
    Talwalkar 2016, in its asynchronous form: nothing waits for a rung to fill). A trial whose metric falls below the median of its like, at the same part of a
    training, is stopped. Values are proposed by Optuna's TPE sampler.

    Parameters
    ----------
    dataset : a name or path for :func:`fastgcn_rec.data.load_dataset`, a :class:`fastgcn_rec.data.DataSpec`, or a Dataset
        Judged on its validation part, or where it has none on the one that ``fit`` would hold out of train.
    recipe : a name, a .toml file, or a Recipe
        What is not in the space stays as it says.
    minutes : float > 0
        The time of all trials together, also over interruptions; a training is cut at the end of an epoch, and goes on where more is given.
    trials : int >= 1
        How many, short ones counted; one of both is needed, and the first that is used up ends the search.
    metric, valid_fraction, valid_split : fields of :class:`fastgcn_rec.TrainConfig`, in place of the recipe's; also for a model that is not trained
    space : what is varied; default: ``tuning_space`` of the model's class
    fixed : names in it that are not
    seed : of the search; trainings have the recipe's
    out : folder for study.json, written after each trial, and recipe.toml, the best so far; the same call goes on with what is there. None: nothing is written
    overwrite : lose the study that ``out`` holds
    device : of the models
    progress : a bar, and a line a trial

    Returns
    -------
    :class:`Tuned`. The same for the same seed and number of trials, whether it was interrupted or not; where minutes end it, the trials that it has are.

    Raises
    ------
    ValueError : nothing to vary, or to be judged on; FileExistsError : ``out`` holds another study; ImportError : optuna is not installed.
    Signalled : Ctrl-C, SIGTERM or SIGHUP; a KeyboardInterrupt. The same call goes on, with the training under way too.

    Examples
    --------
    >>> from fastgcn_rec.data import synthetic_interactions
    >>> found = tune(synthetic_interactions(60, 40, 500), "ease", trials=3, progress=False)
    >>> len(found.trials), found.value >= found.trials[0].value
    (3, True)
    """
    if minutes is None and trials is None:
        raise ValueError("tune: give minutes, trials, or both: one of them has to end the search")
    if minutes is not None and not 0 < check_number(minutes, "tune: minutes") < math.inf:
        raise ValueError(f"tune: minutes must be > 0 and finite, got {minutes}")
    trials = None if trials is None else check_count(trials, "tune: trials", 1)
    seed = check_count(seed, "tune: seed", 0)
    recipe = named_recipe(recipe)[1] if isinstance(recipe, str) else recipe
    if not isinstance(recipe, Recipe):
        raise TypeError(f"tune: recipe must be a name, a .toml file or a Recipe, got {type(recipe).__name__}")
    if torch.device(device).type != "cpu":
        require_cuda(torch.device(device))
    varied = _varied(recipe, space, fixed)
    optuna_or_error()  # before the data are read
    folder = None if out is None else Path(out)
    for name in (WINNER, CHECKPOINT):
        if folder is not None:
            check_target(folder / name)
    data = dataset if isinstance(dataset, Dataset) else _spec(dataset).load()
    own = {"metric": metric, "valid_fraction": valid_fraction, "valid_split": valid_split}
    bench = Bench(recipe, data, varied, {name: value for name, value in own.items() if value is not None}, device)
    search = Search(bench.space, sign_of(bench.metric) > 0, seed)
    about: dict[str, Any] = {
        "data": bench.data.fingerprint(),
        "recipe": dataclasses.replace(bench.recipe, expected="").to_dict(),
        "space": [dataclasses.asdict(one) for one in bench.space],
        "metric": bench.metric,
        "seed": seed,
        "device": device,
    }
    with contextlib.ExitStack() as held:
        if folder is not None:
            held.enter_context(locked(folder))
            _check_winner(folder / WINNER, overwrite)
        study = Study.opened(about, bench.metric, folder, overwrite)
        shows = progress and trials is not None
        bar = held.enter_context(progress_bar(trials or 1, "trial", initial=len(study.trials), shown=shows))
        say = bar.write if shows else print if progress else _silent
        work = Work(bench, study, search, math.inf if minutes is None else 60 * minutes, say)
        stopped = work.run(trials, bar.update)
    best, like = study.best(), [trial for trial in study.trials if trial.stage == bench.stages[-1]]
    value = math.nan if best is None else best.value
    return Tuned(work.winner(), bench.metric, value, study.trials, bench.space, search.importances(like), stopped)


def recipe_of(model: str) -> str | Recipe:
    """What a search for this model begins from: a recipe's name, or the class's defaults where no recipe is of it.

    >>> recipe_of("LightGCN"), recipe_of("EASE")
    ('softmax', 'ease')
    """
    kind = Recommender.registry.get(model)
    if kind is None:
        tuned = sorted(name for name, own in Recommender.registry.items() if own.tuning_space)
        raise ValueError(f"tune: model must be one of {', '.join(tuned)}, got {model!r}")
    named = _FIRST.get(model) or next((name for name, recipe in RECIPES.items() if recipe.model == model), None)
    return named or Recipe(model, {}, TrainConfig() if learns(kind) else None, "")


def _silent(text: str) -> None:
    pass


def _check_winner(file: Path, overwrite: bool) -> None:
    """A FileExistsError where a recipe lies there that no search wrote; of one that is to be lost, it goes."""
    if overwrite:
        file.unlink(missing_ok=True)
    elif file.exists() and not (file.parent / FILE).exists():
        raise FileExistsError(
            f"{file} was not written by a search, and this one would write it; name another folder by --out"
        )


def _spec(dataset: str | DataSpec) -> DataSpec:
    return (dataset if isinstance(dataset, DataSpec) else DataSpec.of(dataset)).resolved()


def _varied(recipe: Recipe, space: Sequence[Tunable] | None, fixed: Collection[str]) -> list[Tunable]:
    """What of the space is varied; ValueError: nothing."""
    kind = Recommender.registry.get(recipe.model)
    if kind is None:
        raise ValueError(f"tune: model must be one of {', '.join(sorted(Recommender.registry))}, got {recipe.model!r}")
    declared = list(kind.tuning_space if space is None else space)
    for one in declared:
        if not isinstance(one, Tunable):
            raise TypeError(f"tune: space must be a list of Tunable, got {one!r:.80} in it")
        if one.name in _JUDGE:
            raise ValueError(
                f"tune: {one.name} is of how trials are judged, all alike, and cannot be varied; leave it out of space"
            )
    given = [one for one in declared if one.name not in fixed]
    names = [one.name for one in given]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"tune: space must have each option once, got {', '.join(sorted(twice))} twice")
    varied = [one for one in given if one.when is None or one.when[0] in names or value_in(recipe, one.when[0]) in one.when[1]]  # fmt: skip
    if not varied:
        why = "all that its space has is fixed" if kind.tuning_space or space else "its class has no tuning_space"
        raise ValueError(f"tune: there is nothing to vary of {recipe.model}: {why}; pass space=, or another model")
    return varied
