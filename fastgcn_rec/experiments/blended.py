"""Recipes of several models: the parts, the edges that their weights are chosen on, and all of it once more on everything."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Dataset
from ..data.edges import joined
from ..models.base import Recommender
from ..models.blend import Blend
from ..ranking.blending import Weighed, choose_weights
from ..system.files import check_target
from ..training.checkpoint import remove_checkpoint
from ..training.config import TrainConfig
from ..training.loop import fit
from .recipes import Recipe

METRIC = "ndcg@20"  # that weights are chosen by


@dataclasses.dataclass(frozen=True)
class Blended:
    """What :func:`blended` made.

    Attributes
    ----------
    model : Blend
        Of parts that were trained on all edges, the validation part too.
    weighed : Weighed
        The weights, and what they reach on the edges that were held out.
    epochs : of each part that is trained, the one chosen
    seconds : of all of it
    """

    model: Blend
    weighed: Weighed
    epochs: dict[str, int]
    seconds: float

    def report(self) -> dict[str, Any]:
        """Values for a file."""
        return {"weighed": dataclasses.asdict(self.weighed), "best_epochs": self.epochs, "seconds_train": self.seconds}


def fitted(recipe: Recipe, data: Dataset, *, device: str = "cpu", progress: bool = True) -> Recommender:
    """The model of any recipe, ready: made, and trained where there is something to train."""
    if recipe.parts:
        return blended(recipe, data, device=device, progress=progress).model
    model = recipe.make_model(data).to(device)
    if recipe.train is not None:
        fit(model, data, recipe.train, progress=progress)
    return model


def blended(
    recipe: Recipe, data: Dataset, *, device: str = "cpu", folder: Path | None = None, progress: bool = True
) -> Blended:
    """The blend of a recipe with parts.

    The parts are trained on what is left of the training edges without the held-out ones, on which their epochs and then their weights are chosen: the
    data set's validation part, or the share of train that the first part that is trained would hold out (a tenth where none is); weights by NDCG@20. Then they
    are trained anew on all of it, with these epochs, and stand in the blend with these weights. The test part is not looked at.

    folder : for a checkpoint of each training, from which the same call goes on after an interruption; :func:`forget` removes them.
    """
    start = time.perf_counter()
    chosen, whole = _held_out(recipe, data)
    normalize = recipe.model_options.get("normalize", "none")
    trained = _Trained(recipe, device, folder, progress)
    parts, epochs = trained.parts(chosen, "chosen", {})
    weighed = choose_weights(parts, chosen.valid, parts[0].graph, METRIC, normalize)
    parts, _ = trained.parts(whole, "whole", epochs)
    return Blended(Blend(whole, parts, weighed.weights, normalize), weighed, epochs, time.perf_counter() - start)


def check_targets(recipe: Recipe, folder: Path) -> None:
    """That the checkpoints can be written is known before the work."""
    for path in _checkpoints(recipe, folder):
        check_target(path)


def forget(recipe: Recipe, folder: Path) -> None:
    """Removes the checkpoints of a blend that is done."""
    for path in _checkpoints(recipe, folder):
        remove_checkpoint(path)


@dataclasses.dataclass(frozen=True)
class _Trained:
    """Trains parts."""

    recipe: Recipe
    device: str
    folder: Path | None
    progress: bool

    def parts(self, data: Dataset, which: str, epochs: dict[str, int]) -> tuple[list[Recommender], dict[str, int]]:
        """(the parts, the epochs that were chosen); for ``epochs`` trained without a choice, where these are given."""
        made: list[Recommender] = []
        found: dict[str, int] = {}
        for name, part in self.recipe.parts.items():
            model = part.make_model(data).to(self.device)
            if part.train is not None:
                how: dict[str, Any] = (
                    {"protocol": "none", "epochs": epochs[name], "min_steps": 0}
                    if epochs
                    else {"protocol": "validation"}
                )
                config = dataclasses.replace(part.train, refit=False, **how)
                file = None if self.folder is None else _checkpoint(self.folder, name, which)
                found[name] = fit(model, data, config, checkpoint=file, progress=self.progress).best_epoch
            made.append(model)
        return made, found


def _held_out(recipe: Recipe, data: Dataset) -> tuple[Dataset, Dataset]:
    """(the data with a validation part that is not among its training edges, the data with this among them)."""
    if len(data.valid):
        return data, dataclasses.replace(
            data, train=joined([data.train, data.valid]), valid=data.valid.select(np.empty(0, np.int64))
        )
    lead = next((part.train for part in recipe.parts.values() if part.train is not None), TrainConfig())
    _, held = data.split_valid(lead.valid_fraction, seed=lead.seed, by=lead.valid_split)
    if not len(held):
        raise ValueError(
            f"a blend's weights are chosen on edges held out of train, and {lead.valid_fraction} of a user's, rounded, is none for every user of "
            f"{data.name}; take data with a validation part, or one of the parts as a recipe of its own"
        )
    return data.with_valid(held), data


def _checkpoint(folder: Path, name: str, which: str) -> Path:
    return folder / f"checkpoint-{name}-{which}.npz"


def _checkpoints(recipe: Recipe, folder: Path) -> list[Path]:
    trained = [name for name, part in recipe.parts.items() if part.train is not None]
    return [_checkpoint(folder, name, which) for name in trained for which in ("chosen", "whole")]
