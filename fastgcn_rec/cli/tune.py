"""``fastgcn-rec tune``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from ..data.spec import DataSpec
from ..experiments.devices import require_cuda
from ..experiments.recipe_file import named_recipe
from ..experiments.recipes import Recipe
from ..experiments.trial_loop import WINNER
from ..experiments.tune import recipe_of, tune
from ..models import Recommender
from .arguments import add_quiet, at_least, device, folder
from .data_options import PROJECT, add_data, given, project_of, said
from .recipe_options import add_recipe, add_settings, add_sizes, changed, refuse_training, settings_of

_JUDGED = ("metric", "valid_fraction", "valid_split", "seed")  # settings that a model without training takes too
_SIZES = {"dim": "embedding_dim", "layers": "num_layers"}

EXAMPLES = (
    "fastgcn-rec tune plays.csv --model LightGCN --minutes 60",
    "fastgcn-rec tune plays.csv --recipe itemknn --trials 30 --metric ndcg@10",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s DATA [DATA ...] --minutes B [options]"
    models = sorted(name for name, kind in Recommender.registry.items() if kind.tuning_space)
    parser.add_argument("--model", choices=models, metavar="MODEL", help=f"what is tuned: {', '.join(models)}")
    add_recipe(parser)
    parser.add_argument(
        "--minutes",
        type=_minutes,
        metavar="B",
        help="for all trials; a training is cut at an epoch, and goes on where more are given",
    )
    parser.add_argument(
        "--trials",
        type=at_least(1),
        metavar="N",
        help="how many; one of both is needed, and what is used up first ends the search",
    )
    parser.add_argument(
        "--out", type=folder, help="default: runs/DATA-RECIPE-tune; the same command goes on with what is there"
    )
    parser.add_argument("--overwrite", action="store_true", help="lose the study that OUT holds")
    parser.add_argument("--device", type=device, help="cpu or cuda")
    add_quiet(parser)
    add_sizes(parser)
    add_data(parser, more=PROJECT)
    add_settings(parser)  # fmt: skip


def run(args: argparse.Namespace) -> int:
    if args.minutes is None and args.trials is None:
        raise ValueError("tune needs --minutes B, --trials N, or both: one of them has to end the search")
    project, _ = project_of(args)
    spec = DataSpec.of(args.data, **given(args)) if project is None else project.data
    at = args.device or ("cpu" if project is None else project.device)
    if at != "cpu":
        require_cuda(torch.device(at))
    if args.recipe is None and args.model is None and project is not None:
        name, recipe = project.name, project.recipe
    else:
        name, recipe = _begun_from(args)
    recipe, fixed = _fixed(recipe, name, args)
    spec = said(spec)
    out = args.out or Path("runs") / f"{spec.name}-{(args.model or name).removesuffix('.toml')}-tune"
    found = tune(
        spec,
        recipe,
        minutes=args.minutes,
        trials=args.trials,
        metric=args.metric,
        valid_fraction=args.valid_fraction,
        valid_split=args.valid_split,
        fixed=fixed,
        seed=args.seed or 0,
        out=out,
        overwrite=args.overwrite,
        device=at,
        progress=not args.quiet,
    )
    print(f"{found.stopped}; {len(found.trials)} trials, judged by {found.metric} on the validation part:")
    print(found.table())
    if found.importances:
        shares = ", ".join(f"{name.removeprefix('train.')} {share:.0%}" for name, share in found.importances.items())
        print(f"what told good ones from the others: {shares}")
    if (out / WINNER).exists():
        typed, same = " ".join(args.data), ", with the same options of the data," * bool(given(args))
        print(f"the best: {out / WINNER}; `fastgcn-rec train {typed} --recipe {out / WINNER}`{same} trains it and tests it once")  # fmt: skip
    else:
        print("no trial came to its end; the same command with more --minutes goes on")
    return 0


def _begun_from(args: argparse.Namespace) -> tuple[str, Recipe]:
    """The recipe that is named, or the model's."""
    if args.recipe is None and args.model is not None:
        found = recipe_of(args.model)
        return (args.model, found) if isinstance(found, Recipe) else named_recipe(found)
    name, recipe = named_recipe(args.recipe or "softmax")
    if args.model not in (None, recipe.model):
        raise ValueError(
            f"--model {args.model} is not what recipe {name!r} makes, a {recipe.model}; leave one of them out"
        )
    return name, recipe


def _fixed(recipe: Recipe, name: str, args: argparse.Namespace) -> tuple[Recipe, list[str]]:
    """The recipe with what was given, and the names of that: it is not varied."""
    settings = settings_of(args)
    if recipe.train is None:
        refuse_training(name, args, but=_JUDGED)
        return recipe, []
    recipe = changed(recipe, name, None, args.dim, args.layers)
    sizes = [option for flag, option in _SIZES.items() if getattr(args, flag) is not None]
    train = recipe.training().replaced(**settings)
    return dataclasses.replace(recipe, train=train), [*sizes, *(f"train.{setting}" for setting in settings)]


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of minutes > 0, got {text!r}")
    return minutes
