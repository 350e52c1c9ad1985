"""``fastgcn-rec recommend``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..ranking.export import write_recommendations
from .arguments import add_quiet, file
from .saved_model import DASH, add_k, add_model, load_model, print_lists, raw_ids


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s MODEL USER [USER ...] [options]\n       %(prog)s MODEL --users FILE [options]"
    add_model(parser)
    some = parser.add_argument("some", nargs="+", metavar="USER", help=f"raw user ids{DASH}")
    some.required = False  # "*" would be matched with nothing as soon as an option comes between MODEL and USER
    parser.add_argument("--users", metavar="FILE", help="'all', or a file of raw user ids, one a line")
    add_k(parser)
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
    print_lists("user", users, *model.recommend(users, args.k))
    return 0


def lines(path: Path) -> list[str]:
    """What stands on the lines that are not blank, whatever editor wrote them."""
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw:
        raise ValueError(
            f"{path}: must be a text file in UTF-8 or Latin-1, but it is UTF-16 or binary; save it as UTF-8"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    each = (line.removesuffix("\r") for line in text.split("\n"))  # splitlines() would split at an id's U+2028
    return [line for line in each if line.strip()]
