"""``fastgcn-rec recommend``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..ranking.export import write_recommendations
from .arguments import add_quiet, file
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
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s MODEL USER [USER ...] [options]\n       %(prog)s MODEL --users FILE [options]"
    add_model(parser)
    some = parser.add_argument("some", nargs="+", metavar="USER", help=f"raw user ids{DASH}")
    some.required = False  # "*" would be matched with nothing as soon as an option comes between MODEL and USER
    parser.add_argument("--users", metavar="FILE", help="'all', or a file of raw user ids, one a line")
    add_k(parser)
    add_filters(parser)
    add_show(parser)
    parser.add_argument(
        "--out", type=file, help="a .csv or .parquet file instead of the screen: user, rank, item, score"
    )
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    if bool(args.some) == (args.users is not None):
        raise ValueError("name the users either as arguments or by --users FILE (or --users all)")
    model = load_model(args.model)
    users = None if args.users == "all" else raw_ids(model.user_ids, args.some or lines(Path(args.users)), "user")
    only, without = known_items(model, args.only, "--only"), known_items(model, args.without, "--without")
    if args.out is not None:
        n = write_recommendations(model, args.out, users, args.k, progress=not args.quiet)
        print(f"{n:,} recommendations to {'all' if users is None else len(users)} users: {args.out}")
        return 0
    users = model.user_ids.tolist() if users is None else users
    found = model.recommend(users, args.k, items=only, exclude=without)
    print_lists("user", users, *found, model, shown_columns(args.model, model, args.show))
    return 0
