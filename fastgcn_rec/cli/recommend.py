"""``fastgcn-rec recommend``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.ids import UnknownIds
from ..core.world import World
from ..models.base import Recommender
from ..ranking.export import write_recommendations
from ..ranking.writers import FORMATS
from .arguments import add_quiet, file
from .ranks import add_ranks
from .saved_model import (
    DASH,
    add_filters,
    add_k,
    add_model,
    add_show,
    known_items,
    lines,
    load_model,
    print_lists,
    raw_ids,
    shown_columns,
    some_of,
)

_STREAM = "-"

EXAMPLES = (
    "fastgcn-rec recommend runs/plays 17 42 -k 10",
    "fastgcn-rec recommend runs/plays --users all --out lists.csv",
    "fastgcn-rec recommend runs/plays --liked 7 12 3",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s MODEL USER [USER ...] [options]\n       %(prog)s MODEL --users FILE [options]\n       %(prog)s MODEL --liked ITEM [ITEM ...] [options]"
    add_model(parser)
    some = parser.add_argument("some", nargs="+", metavar="USER", help=f"raw user ids{DASH}")
    some.required = False  # "*" would be matched with nothing as soon as an option comes between MODEL and USER
    parser.add_argument(
        "--users", metavar="FILE", help="'all', or a file of raw user ids, one a line, or - for standard input"
    )
    parser.add_argument(
        "--liked", nargs="+", metavar="ITEM", help="for somebody whom the model does not know: raw ids of what he has"
    )
    parser.add_argument(
        "--skip-unknown", action="store_true", help="leave out users whom the model does not know, and say how many"
    )
    add_k(parser)
    add_filters(parser)
    add_show(parser)
    parser.add_argument(
        "--out",
        type=_target,
        metavar="FILE",
        help="instead of the screen a .csv or .jsonl file (.gz behind it compresses), a .parquet file, or - for standard output: user, rank, item, score, "
        "and what --show shows",
    )
    parser.add_argument("--format", choices=tuple(FORMATS), help="of --out -; default: csv")
    add_quiet(parser)
    add_ranks(parser)


def run(args: argparse.Namespace) -> int:
    if [bool(args.some), args.users is not None, args.liked is not None].count(True) != 1:
        raise ValueError(
            "name the users either as arguments or by --users FILE (or --users all), or a new user's items by --liked"
        )
    if args.liked is not None and args.skip_unknown:
        raise ValueError("--skip-unknown leaves out users; --liked names items, all of which the model must know")
    if args.liked is not None and args.out is not None:
        raise ValueError("--liked shows its list; --out is for lists of --users, and recommend_new in Python for many")
    if args.format is not None and args.out != _STREAM:
        raise ValueError("--format is that of --out -; a file's suffix says its own")
    world = World.current()
    with world.together():
        model = load_model(args.model)
    try:
        return _recommend(args, model, world)
    except UnknownIds as error:
        if args.liked is not None:
            raise ValueError(str(error).replace("user_items holds", "--liked holds")) from None
        raise ValueError(f"{error}; --skip-unknown leaves them out, --liked takes what a new user has") from None


def _recommend(args: argparse.Namespace, model: Recommender, world: World) -> int:
    only, without = world.by_first(
        lambda: (known_items(model, args.only, "--only"), known_items(model, args.without, "--without"))
    )
    with world.together():
        columns = shown_columns(args.model, model, args.show) if world.first else {}
    if args.liked is not None:
        liked = list(raw_ids(model.item_ids, args.liked, "item"))
        found = model.recommend_new([liked], args.k, items=only, exclude=without)
        print_lists("who has", [", ".join(map(str, liked))], *found, model, columns)
        return 0
    if args.out is None:
        users = model.user_ids.tolist() if args.users == "all" else list(_users(args, model))
        print_lists("user", users, *model.recommend(users, args.k, items=only, exclude=without), model, columns)
        return 0
    counted = _Counted(_users(args, model))
    n = write_recommendations(
        model,
        sys.stdout.buffer if args.out == _STREAM else args.out,
        None if args.users == "all" else list(counted) if args.some else counted,
        args.k,
        items=only,
        exclude=without,
        columns=columns,
        format=(args.format or "csv") if args.out == _STREAM else None,
        progress=not args.quiet,
        world=world,
    )
    said = f"{n:,} recommendations to {'all' if args.users == 'all' else format(counted.n, ',')} users"
    print(
        f"{said}: {args.out}" if args.out != _STREAM else said, file=sys.stdout if args.out != _STREAM else sys.stderr
    )
    return 0


class _Counted(Iterator[Any]):
    """An iterator that knows how many it has given."""

    def __init__(self, of: Iterator[Any]) -> None:
        self.of, self.n = of, 0

    def __next__(self) -> Any:
        one = next(self.of)
        self.n += 1
        return one


def _users(args: argparse.Namespace, model: Recommender) -> Iterator[Any]:
    if args.users == "all":
        return iter(())
    users = raw_ids(model.user_ids, args.some or lines(args.users), "user")
    return _known(users, model) if args.skip_unknown else users


def _known(users: Iterator[Any], model: Recommender) -> Iterator[Any]:
    """Those that the model has; how many it has not is said at the end. ValueError: it has none of them."""
    known, n, n_unknown = set(model.user_ids.tolist()), 0, 0
    first: list[Any] = []
    for user in users:
        n += 1
        if user in known:
            yield user
            continue
        n_unknown += 1
        first += [user] * (len(first) <= 3)
    if n_unknown and n_unknown == n:
        raise ValueError(f"none of the {n:,} users is known to the model, such as {first[0]!r}")
    if n_unknown:
        print(f"{n_unknown:,} of {n:,} users are not known to the model: {some_of(first)}", file=sys.stderr)


def _target(text: str) -> Path | str:
    return text if text == _STREAM else file(text)
