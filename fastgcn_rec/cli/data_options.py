"""The arguments that say where data come from, what their columns mean and what is held out: those of `load_dataset`, a flag each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from ..data.catalogue import ENTRIES
from ..data.reading.formats import Format
from ..data.reading.parse import Ids
from ..data.spec import DataSpec
from ..data.splits import SPLITS
from ..experiments.project import FILE, Project, project_file
from ..experiments.runs import CHECKPOINT, MODEL

PROJECT = "; or a project file (run.toml), or the folder of a run that has one: flags override what it says"
DATA = (
    "a name that `fastgcn-rec datasets` lists; a file (CSV, TSV, Parquet, .npz, RecBole's .inter; compressed too), several, a glob in quotes, a folder "
    "(of such files, MovieLens', or LightGCN's train.txt and test.txt); or - for standard input"
)
_AT = "data_"  # before the destination of every flag here
Flag = tuple[str, dict[str, Any]]


def add_data(parser: argparse.ArgumentParser, *, needed: bool = True, split: bool = True, more: str = "") -> None:
    """DATA and its flags; ``more``: what DATA may be beside."""
    # "*" would be matched with nothing as soon as an option comes before DATA
    data = parser.add_argument("data", nargs="+", metavar="DATA", help=DATA + more)
    data.required = needed
    groups = {**_GROUPS, **(_HELD_OUT if split else {})}
    for title, flags in groups.items():
        group = parser.add_argument_group(title)
        for name, (flag, how) in flags.items():
            group.add_argument(*flag.split(), dest=_AT + name, **how)


def given(args: argparse.Namespace) -> dict[str, Any]:
    """What was given by flags, as `load_dataset` takes it."""
    return {
        name: getattr(args, _AT + name)
        for flags in (*_GROUPS.values(), *_HELD_OUT.values())
        for name in flags
        if getattr(args, _AT + name, None) is not None
    }


def project_of(args: argparse.Namespace) -> tuple[Project | None, Path | None]:
    """The project file that DATA is, or that is in the folder of a run that DATA is, and its place; flags override what it says of the data."""
    name = args.data[0]
    if len(args.data) > 1 or name in ENTRIES:
        return None, None
    path = Path(name).expanduser()
    file = project_file(path)
    if file is None:
        if any((path / of_run).is_file() for of_run in (MODEL, CHECKPOINT)):
            raise ValueError(
                f"{name} holds a run and no {FILE} that says how it was made; name the data and the options of its train"
            )
        return None, None
    project = Project.read(file)
    return project.with_data(**given(args)), file


def data_spec(args: argparse.Namespace) -> DataSpec:
    """Where the data of DATA and its flags come from."""
    project, _ = project_of(args)
    return DataSpec.of(args.data, **given(args)) if project is None else project.data


def said(spec: DataSpec) -> DataSpec:
    """``spec``; of files it is said what they are read as."""
    if not spec.known:
        print(f"{' '.join(spec.source)}: {spec.describe()}", flush=True)
    return spec


def column(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdecimal() else text


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


def _number_or_file(text: str) -> int | float | str:
    try:
        return _number(text)
    except argparse.ArgumentTypeError:
        return text


def _core(text: str) -> int | list[int]:
    try:
        sizes = [int(size) for size in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) not in (1, 2) or min(sizes) < 0:
        raise argparse.ArgumentTypeError(f"must be a whole number >= 0, or USERS,ITEMS, got {text!r}")
    return sizes[0] if len(sizes) == 1 else sizes


def _separator(text: str) -> str:
    return {"tab": "\t", "\\t": "\t", "space": " "}.get(text, text)


def _option(flag: str, about: str, kind: Callable[[str], Any] = str, **how: Any) -> Flag:
    return flag, {"help": about, "type": kind, **how}


def _switch(flag: str, about: str) -> Flag:
    return flag, {"help": about, "action": argparse.BooleanOptionalAction, "default": None}


_C: dict[str, Any] = {"metavar": "COLUMN"}
_F: dict[str, Any] = {"metavar": "FILE"}
_GROUPS: dict[str, dict[str, Flag]] = {
    "columns of the data, by name or position from 0; those left out are guessed": {
        "user": _option("--user", "of users", column, **_C),
        "item": _option("--item", "of items", column, **_C),
        "time": _option("--time", "of times; '' for none", column, **_C),
        "rating": _option("--rating", "of ratings; '' for none", column, **_C),
        "weight": _option("--weight", "of counts or amounts > 0 that weigh the edges; never guessed", column, **_C),
    },
    "how the data are read; what is not given is found out": {
        "format": _option("--format", "of DATA", choices=get_args(Format)),
        "sep": _option("--sep", "between columns; 'tab' and 'space' are words for theirs", _separator, metavar="TEXT"),
        "header": _switch("--header", "whether the first line names the columns"),
        "quoted": _switch("--quoted", "whether fields may stand in double quotes"),
        "newlines": _switch("--newlines", "whether quoted fields may hold line ends"),
        "encoding": _option("--encoding", "of the text, such as latin-1; default: UTF-8, or what its first bytes say", metavar="NAME"),
        "decimal": _option("--decimal", "the mark of decimals", choices=(",", "."), metavar="MARK"),
        "comment": _option("--comment", "what begins a line that is none", metavar="MARK"),
        "strip": _switch("--strip", "take blanks around fields away"),
        "ids": _option("--ids", "what ids are", choices=get_args(Ids)),
        "missing": _option("--missing", "what stands for a missing id, which is an error", nargs="+", metavar="TEXT"),
        "time_unit": _option("--time-unit", "of times that are numbers", choices=("s", "ms", "us", "ns")),
        "time_format": _option("--time-format", "of times that are texts, such as '%d.%m.%Y %H:%M'".replace("%", "%%"), metavar="FORMAT"),
        "skip_bad_lines": _option("--skip-bad-lines", "leave out so many lines that cannot be read, or rows of Parquet with nulls, and say which", int, metavar="N"),
    },
    "what is known of items and users beside": {
        "items": _option("--items", "a file of items: titles for output, features for PinSAGE", **_F),
        "item_columns": _option("--item-columns", "which of its columns; default: all", nargs="+", **_C),
        "keep_items": _switch("--keep-items", "take items of that file without events too, as cold ones"),
        "users": _option("--users-file", "a file of users", **_F),
        "user_columns": _option("--user-columns", "which of its columns; default: all", nargs="+", **_C),
    },
}  # fmt: skip
_HELD_OUT: dict[str, dict[str, Flag]] = {
    "what is kept and what is held out (docs/data.md)": {
        "split": _option("--split", "what is held out as test part, for data that come without a split; none: all of it is trained on, for lists in use", choices=tuple(SPLITS)),
        "test": _option("--test", "the share that is held out for the test; or its file", _number_or_file, metavar="SHARE"),
        "valid": _option("--valid", "the share that is held out to choose by; or its file", _number_or_file, metavar="SHARE"),
        "seed": _option("--seed-split", "of a split that is drawn", int, metavar="SEED"),
        "k": _option("--k", "items a user that leave-k-out holds out", int, metavar="K"),
        "by": _option("--by", "what leave-k-out holds out: the latest, or any", choices=("time", "random")),
        "min_rating": _option("--min-rating", "keep what is rated so or higher", _number, metavar="RATING"),
        "k_core": _option("--k-core", "keep users and items with so many of each other; or USERS,ITEMS", _core, metavar="K"),
    },
}  # fmt: skip
