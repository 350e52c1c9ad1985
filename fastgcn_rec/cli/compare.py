"""``fastgcn-rec compare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..experiments.compare import DEFAULT_MODELS, NAMES, compare
from ..experiments.rows import table
from .arguments import add_quiet, at_least, folder
from .data_options import PROJECT, add_data, data_spec, said


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s DATA [DATA ...] [options]"
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        choices=NAMES,
        default=list(DEFAULT_MODELS),
        help=f"out of {', '.join(NAMES)}; default: {' '.join(DEFAULT_MODELS)}",
    )
    parser.add_argument("--out", type=folder, help="default: runs/DATA-compare")
    parser.add_argument("--epochs", type=at_least(0), help="of the models that train, instead of their recipes'")
    add_quiet(parser)
    add_data(parser, more=PROJECT)


def run(args: argparse.Namespace) -> int:
    spec = said(data_spec(args))
    out = args.out or Path("runs") / f"{spec.name}-compare"
    rows = compare(spec, args.models, out, epochs=args.epochs, progress=not args.quiet)
    print(table(rows))
    print(f"files: {', '.join(str(p) for p in sorted(out.iterdir()))}")
    return 0 if any(row.error is None for row in rows) else 1
