"""The arguments that name a recipe and change its model."""

from __future__ import annotations

import argparse
import dataclasses

from ..experiments.recipes import EMBEDDINGS, RECIPES, Recipe
from .arguments import at_least

HELP = f"a model and its settings, by default LightGCN with BPR and early stopping; docs/train.md says what each is: {', '.join(sorted(RECIPES))}"


def add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", choices=sorted(RECIPES), metavar="NAME", help=HELP)


def add_sizes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dim", type=at_least(1), help="embedding dimension, instead of the recipe's")
    parser.add_argument("--layers", type=at_least(0), help="layers of LightGCN, NGCF or PinSAGE")


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
