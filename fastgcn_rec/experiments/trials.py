"""One trial of a search: a recipe with other values, trained or made, and judged on the validation part."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Dataset
from ..models import Recommender
from ..models.space import Tunable
from ..ranking.evaluate import evaluate
from ..ranking.metrics import parse_metric
from ..system.values import json_value, same_values
from ..training.config import TrainConfig
from ..training.loop import fit
from .recipes import Recipe
from .search import plays
from .study import SHORT, Stage

_EVALUATIONS = 4  # of a training that its recipe evaluates less often
_LOGQ = "train.logq"
_LEAST = 6  # epochs of a training that is worth a short one

Params = Mapping[str, Any]


class Bench:
    """Data without their test part, and a recipe whose options and settings are varied on them.

    Attributes
    ----------
    recipe : Recipe, that chooses by validation and ``metric``
    data : the data set with a validation part of its own and an empty test part
    space : what is varied, wide enough for what the recipe says
    params : what the recipe says of that
    """

    def __init__(
        self, recipe: Recipe, data: Dataset, space: Sequence[Tunable], settings: Mapping[str, Any], device: str
    ) -> None:
        self.device = device
        train = dataclasses.replace(recipe.train or TrainConfig(), protocol="validation", **settings)
        self.metric = train.metric
        self.recipe = recipe if recipe.train is None else dataclasses.replace(recipe, train=train)
        recipe = self.recipe
        self.data = _without_test(data, train)
        self.params = {one.name: value_in(recipe, one.name) for one in space}
        left = Recommender.registry[recipe.model].left_to(self.data.graph())  # what it comes to on these data
        self.params |= {name: left[name] for name, value in self.params.items() if value is None and name in left}
        if _LOGQ in self.params:
            self.params[_LOGQ] = train.logq_on(self.data.graph())
        self.space = tuple(one.with_value(self.params[one.name]) for one in space)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Both, where the recipe's training is long enough for a short one to say something."""
        train = self.recipe.train
        return ("full", "short") if train is not None and self._epochs(train).epochs >= _LEAST else ("full",)

    def recipe_of(self, stage: Stage, params: Params) -> Recipe:
        """What is trained: in full with the recipe's own values, the recipe as it is."""
        own = same_values(json_value(params), json_value(self.params))
        if own and stage == "full":
            return self.recipe
        params = dict(params)
        idle = [one.name for one in self.space if not plays(one, params)]
        options = {name: value for name, value in self.recipe.model_options.items() if name not in idle}
        options |= {name: value for name, value in params.items() if not name.startswith("train.") and name not in idle and value != self.params[name]}  # fmt: skip
        train = self.recipe.train
        if train is None:
            return dataclasses.replace(self.recipe, model_options=options)
        given = {
            name.removeprefix("train."): value
            for name, value in params.items()
            if name.startswith("train.") and name not in idle
        }
        if _LOGQ in params:
            given["logq_density"] = 0.0
        train = self._epochs(dataclasses.replace(train, **given))
        epochs = train.epochs if stage == "full" else math.ceil(train.epochs / SHORT)
        often = max(1, min(train.eval_every, math.ceil(epochs / _EVALUATIONS)))
        train = dataclasses.replace(train, epochs=epochs, eval_every=often)
        return dataclasses.replace(self.recipe, model_options=options, train=train)

    def run(
        self,
        recipe: Recipe,
        checkpoint: Path | None,
        on_epoch: Callable[[dict[str, float], int], None],
    ) -> tuple[float, list[tuple[float, float]], int]:
        """(the metric, that of each evaluated epoch by the part of the training that it ends, epochs).

        ``on_epoch`` gets every record and the number of epochs; what it raises ends the training, which the checkpoint then has."""
        if recipe.train is None:
            name, k = parse_metric(self.metric)
            model = recipe.make_model(self.data).to(self.device)
            return evaluate(model, self.data, part="valid", ks=k, metrics=name)[self.metric], [], 0
        config = dataclasses.replace(self._epochs(recipe.train), refit=False)
        model = recipe.make_model(self.data, seed=config.seed).to(self.device)
        n = config.epochs
        history = fit(
            model,
            self.data,
            config,
            checkpoint=checkpoint,
            progress=False,
            on_epoch=lambda record: on_epoch(record, n),
        )
        if history.best_metric is None:  # of 0 epochs
            raise ValueError(f"tune: a training of {n} epochs is judged nowhere; give epochs >= 1")
        values = [(record["epoch"] / n, record[self.metric]) for record in history.epochs if self.metric in record]
        return history.best_metric, values, len(history.epochs)

    def _epochs(self, train: TrainConfig) -> TrainConfig:
        return train.for_edges(len(self.data.train))


def value_in(recipe: Recipe, name: str) -> Any:
    """What a recipe says of an option, or of a setting "train.NAME"; where it says nothing, the model's default.

    Raises ValueError where its model has no such option, or it no settings.
    """
    where, _, setting = name.rpartition(".")
    parameters = inspect.signature(Recommender.registry[recipe.model]).parameters
    if where == "train" and hasattr(recipe.train, setting):
        return json_value(getattr(recipe.train, setting))
    if where or name not in parameters or name == "data":
        raise ValueError(f"tune: {name!r} is no option of {recipe.model}, and no setting of its training (train.NAME)")
    default = parameters[name].default
    value = recipe.model_options.get(name, default)
    if value is inspect.Parameter.empty:
        raise ValueError(f"tune: {recipe.model} has no default of {name!r}, and its recipe says nothing of it")
    return json_value(value)


def _without_test(data: Dataset, settings: TrainConfig) -> Dataset:
    """With a validation part, the data set's own or what ``fit`` would hold out of train, and nothing to test on."""
    without = dataclasses.replace(data, test=data.test.select(np.zeros(0, np.int64)))
    if len(without.valid):
        return without
    _, held = without.split_valid(settings.valid_fraction, seed=settings.seed, by=settings.valid_split)
    if not len(held):
        raise ValueError(
            f"tune: valid_fraction={settings.valid_fraction} of a user's training edges, rounded, is none for every user of {data.name}, so that there is "
            "nothing to judge by; take a larger one, or data with a validation part"
        )
    return without.with_valid(held)
