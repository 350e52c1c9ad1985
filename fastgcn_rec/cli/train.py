"""``fastgcn-rec train``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import torch

from ..data import Dataset
from ..data.spec import DataSpec
from ..experiments.devices import require_cuda
from ..experiments.project import Project
from ..experiments.recipes import EMBEDDINGS, RECIPES
from ..experiments.repeat import again, finished, prepare, refuse_another, side_by_side
from ..experiments.runs import CHECKPOINT, make_and_write, train_and_write
from ..ranking.export import write_recommendations
from ..ranking.writers import SUFFIXES, suffix_of, writer_of
from ..system.files import locked
from ..training.config import TrainConfig
from .arguments import add_quiet, at_least, device, file, folder
from .data_options import PROJECT, add_data, given, project_of, said
from .numpydoc import attributes
from .recipe_options import add_recipe, add_sizes, changed
from .saved_model import load_model, shown_columns

_SETTINGS = [field.name for field in dataclasses.fields(TrainConfig)]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s DATA [DATA ...] [options]\n       %(prog)s run.toml [options]\n       %(prog)s RUN [options]"
    )
    add_recipe(parser)
    parser.add_argument(
        "--out", type=folder, help="default: runs/DATA-RECIPE; of the folder of a run: the same with -again behind"
    )
    parser.add_argument(
        "--recommend",
        type=file,
        metavar="FILE",
        help="then write lists for all users: a .csv, .jsonl or .parquet file; `fastgcn-rec recommend OUT` has more to choose",
    )
    parser.add_argument("--top", type=at_least(1), metavar="K", help="of --recommend: items in a list; default: 10")
    parser.add_argument("--overwrite", action="store_true", help="lose the run, finished, that OUT holds")
    parser.add_argument("--device", type=device, help="cpu or cuda")
    parser.add_argument("--tensorboard", action="store_true", help="log to OUT/tensorboard (needs the extra)")
    add_quiet(parser)
    parser.add_argument("--model", choices=EMBEDDINGS, help="instead of the recipe's")
    add_sizes(parser)
    add_data(parser, more=PROJECT)
    settings = parser.add_argument_group("settings of the training, in place of the recipe's")
    about = attributes(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        kind: Any = {"int": int, "float": float}.get(str(field.type), str)
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if field.type == "bool" else {"type": kind}
        settings.add_argument(_option(field.name), help=about.get(field.name, "").replace("%", "%%"), **how)


def run(args: argparse.Namespace) -> int:
    if args.recommend is None and args.top is not None:
        raise ValueError(f"--top {args.top} is of --recommend FILE, which is not there")
    if args.recommend is not None:
        writer_of(suffix_of(args.recommend, SUFFIXES))  # what is wrong with it is said before the training
    project, path = project_of(args)
    if project is None:
        project = Project(DataSpec.of(args.data, **given(args)), "default", RECIPES["default"])
    project = _with_flags(project, args)
    if project.device != "cpu":
        require_cuda(torch.device(project.device))
    repeated = path.parent if path is not None and finished(path.parent) else None
    out = args.out or _folder(project, path, repeated)
    spec = said(project.data)
    if not args.overwrite:
        refuse_another(project, out)
    data = spec.load(print)
    print(data.report())
    with locked(out):
        _train(project.completed(data), data, out, args)
    if repeated is not None and repeated.resolve() != out.resolve():
        print(side_by_side(repeated, out))
    if args.recommend is not None:
        model = load_model(out)
        columns = shown_columns(out, model, None)
        n = write_recommendations(model, args.recommend, k=args.top or 10, columns=columns, progress=not args.quiet)
        print(f"{n:,} recommendations to {data.n_users:,} users: {args.recommend}")
    return 0


def _train(project: Project, data: Dataset, out: Path, args: argparse.Namespace) -> None:
    if not prepare(project, data, out, args.overwrite):
        print(f"{out} holds this run already, finished; --overwrite makes it anew, --out elsewhere")
    elif project.recipe.train is None:
        make_and_write(project.recipe, data, out, project.device)
    else:
        config = project.recipe.train
        model = project.recipe.make_model(data, seed=config.seed).to(project.device)
        train_and_write(model, data, config, out, progress=not args.quiet, tensorboard=args.tensorboard)
        project.write(out)  # going on, it may have got other epochs


def _with_flags(project: Project, args: argparse.Namespace) -> Project:
    if args.recipe is not None:
        project = dataclasses.replace(project, name=args.recipe, recipe=RECIPES[args.recipe])
    if args.device is not None:
        project = dataclasses.replace(project, device=args.device)
    if project.recipe.train is None and args.model is None:
        other = [_option(name) for name in _given(args, [*_SETTINGS, "dim", "layers"])]
        other += ["--tensorboard"] * args.tensorboard
        if other:
            raise ValueError(f"recipe {project.name!r} is made without training, {', '.join(other)} does not apply")
        return project
    recipe = changed(project.recipe, project.name, args.model, args.dim, args.layers)
    settings = {name: getattr(args, name) for name in _given(args, _SETTINGS)}
    config = dataclasses.replace(recipe.training(), **settings)
    return dataclasses.replace(project, recipe=dataclasses.replace(recipe, train=config))


def _folder(project: Project, path: Path | None, repeated: Path | None) -> Path:
    """Where the run goes: a folder that holds it, begun or finished, decides."""
    if repeated is not None:
        return again(repeated)
    if path is not None and (path.parent / CHECKPOINT).exists():
        return path.parent
    return Path("runs") / f"{project.data.name}-{project.name}"


def _given(args: argparse.Namespace, names: list[str]) -> list[str]:
    return [name for name in names if getattr(args, name) is not None]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
