"""Recipes as files: the tables [recipe] and [train] of a run's, so that a run.toml is a file of its recipe too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..data.reading.events import naming
from ..system.files import StrPath, write_atomically
from ..system.toml import read_toml, toml_text
from .project import HEAD, KEYS
from .recipes import RECIPES, Recipe
from .tables import check_keys, near


def recipe_text(recipe: Recipe, name: str = "recipe.toml") -> str:
    """What a file of the recipe holds.

    >>> print(recipe_text(RECIPES["ease"]))
    # Written by fastgcn-rec; `fastgcn-rec train DATA --recipe recipe.toml` trains so.
    [recipe]
    model = "EASE"
    expected = "docs/results.md"
    <BLANKLINE>
    [recipe.options]
    reg = 500.0
    <BLANKLINE>
    """
    values = recipe.to_dict()
    train = {"train": values.pop("train")} if "train" in values else {}
    return f"{HEAD}; `fastgcn-rec train DATA --recipe {name}` trains so.\n" + toml_text({"recipe": values, **train})


def write_recipe(recipe: Recipe, path: StrPath) -> None:
    """Writes a file that :func:`read_recipe` reads as an equal recipe, whole or not at all.

    Parameters
    ----------
    recipe : Recipe
        Of options that TOML has: texts, truth values, numbers, lists and tables of them; TypeError for others.
    path : of a .toml file; OSError where it cannot be written

    Examples
    --------
    >>> write_recipe(RECIPES["softmax"], "mine.toml")  # doctest: +SKIP
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(
            f"write_recipe: recipe must be a Recipe, got {type(recipe).__name__}; RECIPES has those with names"
        )
    text = recipe_text(recipe, Path(path).name)
    write_atomically(path, lambda file: file.write(text.encode()))


def read_recipe(path: StrPath) -> Recipe:
    """The recipe of a file that :func:`write_recipe` wrote, or somebody by hand, or of a run.toml, whose data play no part.

    Parameters
    ----------
    path : of a .toml file
        ``[recipe]`` has ``name`` (of :data:`RECIPES`, whose options and settings hold where others are not given) or ``model``, and a table ``options``;
        ``[train]`` has settings, fields of :class:`fastgcn_rec.TrainConfig`.

    Raises
    ------
    FileNotFoundError, or ValueError and TypeError that name the file, the key and what is allowed.

    Examples
    --------
    >>> read_recipe("runs/plays/run.toml").model  # doctest: +SKIP
    'LightGCN'
    """
    file = Path(path).expanduser()
    values = read_toml(file)
    with naming(file):
        check_keys("", values, KEYS[""], KEYS)
        recipe, train = values.get("recipe", {}), values.get("train", {})
        if not isinstance(recipe, Mapping):
            raise TypeError(f"[recipe] must be a table, got {recipe!r}")
        if "name" not in recipe and "model" not in recipe:
            raise ValueError(
                f"there is no recipe in it: [recipe] needs a name, out of {', '.join(sorted(RECIPES))}, or a model"
            )
        check_keys("recipe", recipe, KEYS["recipe"], KEYS)
        return Recipe.from_dict({**recipe, "train": train})


def check_recipe_name(text: str) -> str:
    """``text``, if it is the name of a recipe or may be that of a file of one; ValueError: it is neither."""
    if text not in RECIPES and not text.endswith(".toml"):
        raise ValueError(
            f"recipe must be one of {', '.join(sorted(RECIPES))}, or a .toml file, got {text!r}{_of_model(text) or near(text, RECIPES)}"
        )
    return text


def _of_model(text: str) -> str:
    """Which recipes there are, where ``text`` is the name of a model."""
    found = [name for name, recipe in RECIPES.items() if recipe.model.lower() == text.lower()]
    return f", which is a model; its recipes are {', '.join(found)}" if found else ""


def named_recipe(text: str) -> tuple[str, Recipe]:
    """(name, recipe) of a name out of :data:`RECIPES`, or of a .toml file, which :func:`read_recipe` reads: its name then is the file's.

    Parameters
    ----------
    text : str

    Raises
    ------
    ValueError : it is neither, and what :func:`read_recipe` raises.

    Examples
    --------
    >>> named_recipe("mf")[1].model
    'MF'
    """
    check_recipe_name(text)
    return (text, RECIPES[text]) if text in RECIPES else (Path(text).name, read_recipe(text))
