"""``fastgcn-rec train``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from pathlib import Path

import torch

from ..core.world import World
from ..data import Dataset
from ..data.spec import DataSpec
from ..experiments.devices import require_cuda
from ..experiments.project import Project
from ..experiments.recipe_file import named_recipe
from ..experiments.recipes import EMBEDDINGS, RECIPES
from ..experiments.repeat import again, finished, prepare, refuse_another, side_by_side
from ..experiments.runs import CHECKPOINT, MODEL, blend_and_write, make_and_write, train_and_write
from ..ranking.export import write_recommendations
from ..ranking.writers import SUFFIXES, suffix_of, writer_of
from ..system.files import locked
from .arguments import add_quiet, at_least, device, file, folder
from .data_options import PROJECT, add_data, given, project_of, said
from .ranks import add_ranks, all_have
from .recipe_options import add_recipe, add_settings, add_sizes, changed, option, refuse_training, settings_of
from .saved_model import load_model, shown_columns

EXAMPLES = (
    "fastgcn-rec train plays.csv --out runs/plays",
    "fastgcn-rec train plays.csv --recipe itemknn --recommend lists.csv",
    "fastgcn-rec train runs/plays --dim 128 --out runs/wide",
)


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
    add_ranks(parser, checked=_checked)
    parser.add_argument("--model", choices=EMBEDDINGS, help="instead of the recipe's")
    add_sizes(parser)
    add_data(parser, more=PROJECT)
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    if args.recommend is None and args.top is not None:
        raise ValueError(f"--top {args.top} is of --recommend FILE, which is not there")
    if args.recommend is not None:
        writer_of(suffix_of(args.recommend, SUFFIXES))  # what is wrong with it is said before the training
    world = World.current()
    project, path = _checked(args, world.size)
    repeated = path.parent if path is not None and finished(path.parent) else None
    out = world.by_first(lambda: args.out or _folder(project, path, repeated))
    spec = said(project.data)
    if not args.overwrite:
        world.by_first(lambda: refuse_another(project, out))
    data = spec.load(print)
    print(data.report())
    with contextlib.ExitStack() as held:
        world.by_first(lambda: held.enter_context(locked(out)))
        _train(project.completed(data), data, out, args, world)
    if repeated is not None and repeated.resolve() != out.resolve():
        world.by_first(lambda: print(side_by_side(repeated, out)))
    if args.recommend is not None:
        _recommend(data, out, args, world)
    world.barrier()
    return 0


def _checked(args: argparse.Namespace, size: int) -> tuple[Project, Path | None]:
    """What is to be trained, and the file that says so; ValueError for what ``size`` ranks, or this machine, cannot do, before data are read."""
    project, path = project_of(args)
    if project is None:
        project = Project(DataSpec.of(args.data, **given(args)), "default", RECIPES["default"])
    project = _with_flags(project, args)
    if project.device != "cpu":
        require_cuda(torch.device(project.device))
    project.recipe.check_ranks(size)
    return project, path


def _recommend(data: Dataset, out: Path, args: argparse.Namespace, world: World) -> None:
    """Lists for all users, by all ranks that have the file of the model, or by the first one."""
    if not all_have(out / MODEL, world):
        if not world.first:
            return
        world = World()
    with world.together():
        model = load_model(out)
        columns = shown_columns(out, model, None) if world.first else {}
    n = write_recommendations(
        model, args.recommend, k=args.top or 10, columns=columns, progress=not args.quiet, world=world
    )
    print(f"{n:,} recommendations to {data.n_users:,} users: {args.recommend}")


def _train(project: Project, data: Dataset, out: Path, args: argparse.Namespace, world: World) -> None:
    if not world.by_first(lambda: prepare(project, data, out, args.overwrite)):
        print(f"{out} holds this run already, finished; --overwrite makes it anew, --out elsewhere")
    elif project.recipe.parts:
        blend_and_write(project.recipe, data, out, project.device, progress=not args.quiet)
    elif project.recipe.train is None:
        world.by_first(lambda: make_and_write(project.recipe, data, out, project.device))
    else:
        config = project.recipe.train
        model = project.recipe.make_model(data, world=world, seed=config.seed).to(project.device)
        train_and_write(model, data, config, out, progress=not args.quiet, tensorboard=args.tensorboard)
        world.by_first(lambda: project.write(out))  # going on, it may have got other epochs


def _with_flags(project: Project, args: argparse.Namespace) -> Project:
    if args.recipe is not None:
        name, recipe = named_recipe(args.recipe)
        project = dataclasses.replace(project, name=name, recipe=recipe)
    if args.device is not None:
        project = dataclasses.replace(project, device=args.device)
    if project.recipe.parts:
        other = [option(name) for name in ("model", "dim", "layers") if getattr(args, name) is not None]
        other += ["--tensorboard"] * args.tensorboard
        if other:
            raise ValueError(f"recipe {project.name!r} blends {' and '.join(project.recipe.parts)}, {', '.join(other)} does not apply; settings of the training do, to its parts")  # fmt: skip
        return dataclasses.replace(project, recipe=project.recipe.trained_with(**settings_of(args)))
    if project.recipe.train is None and args.model is None:
        refuse_training(project.name, args, *["--tensorboard"] * args.tensorboard)
        return project
    recipe = changed(project.recipe, project.name, args.model, args.dim, args.layers)
    config = recipe.training().replaced(**settings_of(args))
    return dataclasses.replace(project, recipe=dataclasses.replace(recipe, train=config))


def _folder(project: Project, path: Path | None, repeated: Path | None) -> Path:
    """Where the run goes: a folder that holds it, begun or finished, decides."""
    if repeated is not None:
        return again(repeated)
    if path is not None and (path.parent / CHECKPOINT).exists():
        return path.parent
    return Path("runs") / f"{project.data.name}-{project.name.removesuffix('.toml')}"
