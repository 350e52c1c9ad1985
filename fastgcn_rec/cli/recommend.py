"""``fastgcn-rec recommend``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..data.lines import open_lines
from ..ranking.export import write_recommendations
from .arguments import add_quiet, file
from .saved_model import DASH, add_k, add_model, add_show, load_model, print_lists, raw_ids, shown_columns


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s MODEL USER [USER ...] [options]\n       %(prog)s MODEL --users FILE [options]"
    add_model(parser)
    some = parser.add_argument("some", nargs="+", metavar="USER", help=f"raw user ids{DASH}")
    some.required = False  # "*" would be matched with nothing as soon as an option comes between MODEL and USER
    parser.add_argument("--users", metavar="FILE", help="'all', or a file of raw user ids, one a line")
    add_k(parser)
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
    if args.out is not None:
        n = write_recommendations(model, args.out, users, args.k, progress=not args.quiet)
        print(f"{n:,} recommendations to {'all' if users is None else len(users)} users: {args.out}")
        return 0
    users = model.user_ids.tolist() if users is None else users
    print_lists("user", users, *model.recommend(users, args.k), model, shown_columns(args.model, model, args.show))
    return 0


def lines(path: Path) -> list[str]:
    """What stands on the lines that are not blank, whatever editor wrote them."""
    try:
        with open_lines(path) as file:
            found = [line.rstrip("\r\n") for line in file]
    except ValueError as error:
        raise ValueError(f"{error}; or save it as UTF-8, one id a line") from None
    if any("\0" in line for line in found):
        raise ValueError(f"{path}: must be a text file with one id a line, and it has NULs; save it as UTF-8")
    return [line for line in found if line.strip()]
