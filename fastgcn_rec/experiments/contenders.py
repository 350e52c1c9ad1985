"""Who takes part in a comparison: a recipe, a model that was saved, another library's."""

from __future__ import annotations

import dataclasses
import inspect
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..data import Dataset
from ..data.reading.ranked import holds_lists
from ..models import Recommender
from ..ranking.ranker import Ranker
from ..ranking.recommendations import Invalid, Recommendations, read_recommendations
from .als import als
from .blended import fitted
from .recipe_file import read_recipe
from .recipes import RECIPES, Recipe
from .runs import MODEL

ALIASES = {"lightgcn": "default"}
NAMES = (*sorted(RECIPES), *ALIASES, "als")


@dataclasses.dataclass(frozen=True)
class How:
    """How a contender is made.

    Attributes
    ----------
    seed : is added to its own seeds
    epochs : of its training instead of its own; None: its own
    device : where it is trained, and ranks
    invalid : what becomes of items that no list can hold (:class:`fastgcn_rec.ranking.recommendations.Recommendations`)

    Examples
    --------
    >>> How().epochs is None
    True
    """

    seed: int = 0
    epochs: int | None = None
    device: str = "cpu"
    invalid: Invalid = "refuse"


@dataclasses.dataclass(frozen=True)
class Contender:
    """One of a comparison.

    Attributes
    ----------
    name : what stands in the table
    make : of the data and :class:`How`, what ranks, and the seconds that making it took
    seeded : whether a seed changes anything
    trained : whether epochs do
    note : of what ``make`` gave, what is to be said beside

    Examples
    --------
    >>> contender("mf").seeded, contender("ease").seeded
    (True, False)
    """

    name: str
    make: Callable[[Dataset, How], tuple[Ranker, float]]
    seeded: bool = False
    trained: bool = False
    note: Callable[[Ranker], str] = lambda ranker: ""


def contender(text: str) -> Contender:
    """Who ``text`` stands for: [NAME=]WHAT, with WHAT a name out of :data:`NAMES`, a .toml file of a recipe, a model.npz, the folder of a run that has one,
    or a file of lists (:func:`fastgcn_rec.read_recommendations`).

    Raises
    ------
    ValueError : none of these. FileNotFoundError : a file that is not there, a folder without a model.

    Examples
    --------
    >>> contender("ours=filter").name
    'ours'
    """
    label, _, what = text.partition("=") if "=" in text and not Path(text).exists() else ("", "", text)
    if what == "als":
        return Contender(label or what, _timed(lambda data, how: als(data, seed=how.seed)), seeded=True)
    if what in NAMES:
        return of_recipe(label or what, RECIPES[ALIASES.get(what, what)])
    path = Path(what).expanduser()
    if path.suffix == ".toml":
        return of_recipe(label or path.stem, read_recipe(path))
    if what not in ("", "-") and holds_lists(path):
        return _lists(label or path.name.split(".")[0], path)
    if what and (path.is_dir() or path.suffix == ".npz"):
        return _saved(label, path)
    raise ValueError(
        f"compare: models must be names out of {', '.join(NAMES)}, or a recipe's .toml, a run's folder, a model.npz or a file of lists, got {what or 'none'}"
    )


def contenders(texts: Sequence[str]) -> list[Contender]:
    """:func:`contender` of each. ValueError: none, or two of one name."""
    if not texts:
        raise ValueError(f"compare: models must be names out of {', '.join(NAMES)}, got none")
    found = [contender(text) for text in texts]
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"compare: models must have different names, got {', '.join(twice)} twice; NAME=WHAT gives another one"
        )
    return found


def of_recipe(name: str, recipe: Recipe) -> Contender:
    """What the recipe makes, trained where it trains.

    >>> of_recipe("mine", RECIPES["ease"]).trained
    False
    """
    seeded = _seeded(recipe)

    def make(data: Dataset, how: How) -> Ranker:
        own = _shifted(recipe, how.seed)
        if how.epochs is not None and own.trains:
            own = own.trained_with(epochs=how.epochs)
        return fitted(own, data, device=how.device, progress=False)

    return Contender(name, _timed(make), seeded, recipe.trains)


def _seeded(recipe: Recipe) -> bool:
    return bool(_seeds(recipe)) or recipe.train is not None or any(map(_seeded, recipe.parts.values()))


def _shifted(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with ``seed`` added to its own seeds, and to those of its parts."""
    options = recipe.model_options | {option: own + seed for option, own in _seeds(recipe).items()}
    train = None if recipe.train is None else recipe.train.replaced(seed=recipe.train.seed + seed)
    parts = {name: _shifted(part, seed) for name, part in recipe.parts.items()}
    return dataclasses.replace(recipe, model_options=options, train=train, parts=parts)


def _seeds(recipe: Recipe) -> dict[str, int]:
    """The options of the recipe's model that are seeds, with their values."""
    kind = Recommender.registry.get(recipe.model)
    options = {} if kind is None else inspect.signature(kind).parameters
    return {
        name: recipe.model_options.get(name, option.default)
        for name, option in options.items()
        if name == "seed" or name.endswith("_seed")
    }


def _timed(make: Callable[[Dataset, How], Ranker]) -> Callable[[Dataset, How], tuple[Ranker, float]]:
    def timed(data: Dataset, how: How) -> tuple[Ranker, float]:
        start = time.perf_counter()
        ranker = make(data, how)
        return ranker, time.perf_counter() - start

    return timed


def _saved(label: str, path: Path) -> Contender:
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} does not exist; a model of a comparison is a model.npz, or the folder of a run"
        )
    folder = file.resolve().parent

    def make(data: Dataset, how: How) -> tuple[Ranker, float]:
        return Recommender.load(file).to(how.device), _seconds(folder)

    return Contender(label or (folder.name if file.name == MODEL else file.stem), make)


def _lists(name: str, path: Path) -> Contender:
    def make(data: Dataset, how: How) -> tuple[Ranker, float]:
        return read_recommendations(path, data, invalid=how.invalid), float("nan")

    def note(ranker: Ranker) -> str:
        assert isinstance(ranker, Recommendations)
        return "; ".join(str(ranker.report()).splitlines())

    return Contender(name, make, note=note)


def _seconds(folder: Path) -> float:
    """What making the model took, as its run noted it; NaN: unknown."""
    try:
        noted: Any = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["seconds_train"]
        return float(noted)
    except (OSError, ValueError, KeyError, TypeError):
        return float("nan")
