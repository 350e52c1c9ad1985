"""``fastgcn-rec train``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import torch

from ..data import load_dataset
from ..experiments.devices import require_cuda
from ..experiments.recipes import EMBEDDINGS, RECIPES
from ..experiments.runs import make_and_write, train_and_write
from ..training.config import TrainConfig
from .arguments import DATASET, add_quiet, add_split, device, folder
from .numpydoc import attributes
from .recipe_options import add_recipe, add_sizes, changed

_SETTINGS = [field.name for field in dataclasses.fields(TrainConfig)]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help=DATASET)
    add_recipe(parser)
    add_split(parser)
    parser.add_argument("--out", type=folder, help="default: runs/DATASET-RECIPE")
    parser.add_argument("--device", type=device, default="cpu", help="cpu or cuda")
    parser.add_argument("--tensorboard", action="store_true", help="log to OUT/tensorboard (needs the extra)")
    add_quiet(parser)
    parser.add_argument("--model", choices=EMBEDDINGS, help="instead of the recipe's")
    add_sizes(parser)
    settings = parser.add_argument_group("settings of the training, in place of the recipe's")
    about = attributes(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        kind: Any = {"int": int, "float": float}.get(str(field.type), str)
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if field.type == "bool" else {"type": kind}
        settings.add_argument(_option(field.name), help=about.get(field.name, "").replace("%", "%%"), **how)


def run(args: argparse.Namespace) -> int:
    if args.device != "cpu":
        require_cuda(torch.device(args.device))
    out = args.out or Path("runs") / f"{args.dataset}-{args.recipe}"
    if RECIPES[args.recipe].train is None and args.model is None:
        return _make(args, out)
    recipe = changed(args.recipe, args.model, args.dim, args.layers)
    config = dataclasses.replace(recipe.training(), **{name: getattr(args, name) for name in _given(args, _SETTINGS)})
    data = load_dataset(args.dataset, split=args.split)
    print(data.report())
    model = recipe.make_model(data, seed=config.seed).to(args.device)
    train_and_write(model, data, config, out, progress=not args.quiet, tensorboard=args.tensorboard)
    return 0


def _make(args: argparse.Namespace, out: Path) -> int:
    """A recipe without training."""
    given = [_option(name) for name in _given(args, [*_SETTINGS, "dim", "layers"])]
    given += ["--tensorboard"] * args.tensorboard
    if given:
        raise ValueError(f"recipe {args.recipe!r} is made without training, {', '.join(given)} does not apply")
    data = load_dataset(args.dataset, split=args.split)
    print(data.report())
    make_and_write(RECIPES[args.recipe], data, out, args.device)
    return 0


def _given(args: argparse.Namespace, names: list[str]) -> list[str]:
    return [name for name in names if getattr(args, name) is not None]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
