"""The arguments that name a recipe, or its file, and change its model and its settings."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ..experiments.recipe_file import check_recipe_name
from ..experiments.recipes import EMBEDDINGS, RECIPES, SETTINGS, Recipe
from ..training.config import TrainConfig
from .arguments import at_least
from .numpydoc import attributes

HELP = f"a model and its settings, by default LightGCN with BPR and early stopping; docs/train.md says what each is: {', '.join(sorted(RECIPES))}; or a .toml file of one"


def add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", type=recipe_name, metavar="NAME|FILE", help=HELP)


def recipe_name(text: str) -> str:
    """A name of a recipe, or a file that may hold one."""
    try:
        return check_recipe_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_sizes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dim", type=at_least(1), help="embedding dimension, instead of the recipe's")
    parser.add_argument("--layers", type=at_least(0), help="layers of LightGCN, NGCF or PinSAGE")


def add_settings(parser: argparse.ArgumentParser) -> None:
    settings = parser.add_argument_group("settings of the training, in place of the recipe's")
    about = attributes(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        kind: Any = {"int": int, "float": float}.get(str(field.type), str)
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if field.type == "bool" else {"type": kind}
        settings.add_argument(option(field.name), help=about.get(field.name, "").replace("%", "%%"), **how)


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Those that were given."""
    return {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def refuse_training(name: str, args: argparse.Namespace, *more: str, but: tuple[str, ...] = ()) -> None:
    """A ValueError for what was given that only a training takes, for a recipe that has none."""
    sizes = [size for size in ("dim", "layers") if getattr(args, size) is not None]
    other = [option(own) for own in (*settings_of(args), *sizes) if own not in but] + [*more]
    if other:
        raise ValueError(f"recipe {name!r} is made without training, {', '.join(other)} does not apply")


def changed(recipe: Recipe, name: str, model: str | None, dim: int | None, layers: int | None) -> Recipe:
    """The recipe of that name with what --model, --dim and --layers say; a ValueError where that does not apply."""
    recipe.training()
    if model is not None and recipe.model not in EMBEDDINGS:
        raise ValueError(
            f"--model {model} cannot take the options of recipe {name!r}, a {recipe.model}; choose another recipe"
        )
    kind, options = model or recipe.model, dict(recipe.model_options)
    if kind == "MF":
        options.pop("num_layers", None)
        if layers:
            raise ValueError(f"--layers {layers} does not apply to MF, which has none")
    elif layers is not None:
        options["num_layers"] = layers
    if dim is not None:
        options["embedding_dim"] = dim
    return dataclasses.replace(recipe, model=kind, model_options=options)
