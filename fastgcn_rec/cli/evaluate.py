"""``fastgcn-rec evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from ..core.world import World
from ..data import Dataset
from ..data.dataset import Part
from ..data.reading.ranked import holds_lists
from ..experiments.project import Project, project_file
from ..experiments.repeat import refuse_other_data
from ..experiments.runs import KS, MODEL
from ..experiments.runs import METRICS as SHOWN
from ..ranking.evaluate import evaluate
from ..ranking.metrics import METRICS
from ..ranking.recommendations import Invalid, read_recommendations
from .arguments import at_least
from .data_options import PROJECT, add_data, column, data_spec, given, said
from .ranks import add_ranks
from .saved_model import load_model

_LISTS = ("user", "item", "score", "rank")

EXAMPLES = (
    "fastgcn-rec evaluate runs/plays --part valid",
    "fastgcn-rec evaluate lists.csv runs/plays --metrics recall novelty --ks 10 50",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s MODEL [options]\n       %(prog)s MODEL DATA [options]\n       %(prog)s LISTS DATA [options]"
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="model.npz, or the folder that train wrote; or LISTS, recommendations of any library: a file of text, Parquet or JSON lines, or - for "
        "standard input, a row a recommendation",
    )
    parser.add_argument(
        "--part",
        choices=get_args(Part),
        default="test",
        help="of the data; what comes before it is left out of the lists; default: test",
    )
    judged = parser.add_argument_group("what is measured")
    judged.add_argument(
        "--ks",
        metavar="K",
        type=at_least(1),
        nargs="+",
        default=KS,
        help=f"cut-offs; default: {' '.join(map(str, KS))}",
    )
    judged.add_argument(
        "--metrics",
        nargs="+",
        choices=METRICS,
        default=SHOWN,
        metavar="NAME",
        help=f"out of {', '.join(METRICS)}; default: {' '.join(SHOWN)}",
    )
    judged.add_argument(
        "--groups",
        nargs="+",
        metavar="NAME",
        default=[],
        help="means also over each kind of users, by a column of --users-file, or by their 'activity'; 'popularity': recall of popular items and others",
    )
    judged.add_argument(
        "--vectors",
        metavar="COLUMN",
        help="the column of the items, such as genres, that diversity compares them by; default: the users that they have",
    )
    lists = parser.add_argument_group("columns of LISTS, by name or position from 0; else they are guessed")
    for role, of in zip(
        _LISTS, ("users", "items", "scores, the highest first", "ranks, the lowest first"), strict=True
    ):
        lists.add_argument(f"--list-{role}", metavar="COLUMN", type=column, help=f"of {of}")
    lists.add_argument(
        "--invalid",
        choices=get_args(Invalid),
        help="items that no list can hold, since the user has them, the list has them twice, or the data do not have them: refuse the file; drop them, so that those "
        "behind move up; or let them keep their places as misses; default: refuse",
    )
    add_ranks(parser)
    add_data(parser, needed=False, more=f"{PROJECT}; default: the data of the run that MODEL is the folder of")


def run(args: argparse.Namespace) -> int:
    world = World.current()
    with world.together():
        model, data = _lists(args) if holds_lists(args.model) else _model(args)
    of = {"ks": args.ks, "metrics": args.metrics, "groups": args.groups, "vectors": args.vectors}
    found = evaluate(model, data, part=args.part or "test", world=world, **of)
    width = max(18, *map(len, found))
    for name, value in found.items():
        print(f"{name:{width}s} {value:.4f}" if "@" in name else f"{name:{width}s} {value:.0f}")
    return 0


def _model(args: argparse.Namespace) -> tuple[Any, Dataset]:
    flags = [f"--list-{role}" for role in _LISTS if getattr(args, f"list_{role}") is not None]
    flags += ["--invalid"] if args.invalid is not None else []
    path = Path(args.model)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; it is a model.npz, the folder that train wrote, or a file of lists"
        )
    if flags:
        raise ValueError(
            f"{', '.join(flags)}: of LISTS, and {path} holds a model; leave {'them' if len(flags) > 1 else 'it'} out"
        )
    return load_model(path), _data(args, path)


def _lists(args: argparse.Namespace) -> tuple[Any, Dataset]:
    if not args.data:
        raise ValueError(
            f"{args.model} does not say of which data its lists are; name DATA too, with the flags of train"
        )
    if args.model == "-" and "-" in args.data:
        raise ValueError("standard input is LISTS or DATA, not both; name a file for one of them")
    data = _with_part(args, said(data_spec(args)).load(print))
    columns = {role: getattr(args, f"list_{role}") for role in _LISTS}
    lists = read_recommendations(
        args.model, data, **columns, invalid=args.invalid or "refuse", say=lambda said: print(f"{args.model}: {said}")
    )
    print(lists.report(args.part or "test", max(args.ks)), flush=True)
    return lists, data


def _data(args: argparse.Namespace, model: Path) -> Dataset:
    """The data that are named, or those that the model was made on."""
    if args.data:
        data = said(data_spec(args)).load(print)
    else:
        folder = model.parent if model.name == MODEL else model
        file = project_file(folder) if folder.is_dir() else None
        if file is None:
            raise ValueError(f"{model} does not say on which data it was made; name DATA too, with the flags of train")
        data = said(Project.read(file).with_data(**given(args)).data).load(print)
        if not given(args):
            refuse_other_data(folder, data)
    return _with_part(args, data)


def _with_part(args: argparse.Namespace, data: Dataset) -> Dataset:
    if args.part is not None and not len(data.part(args.part)):
        raise ValueError(
            f"{data.name} has no edges in its part {args.part!r}; --valid and --test make parts, --split says how"
        )
    return data
