"""``fastgcn-rec compare``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from ..experiments.compare import DEFAULT_MODELS, compare
from ..experiments.contenders import NAMES, contenders
from ..experiments.rows import differences_table, table
from ..ranking.recommendations import Invalid
from .arguments import add_quiet, at_least, device, folder
from .data_options import PROJECT, add_data, data_spec, said

EXAMPLES = (
    "fastgcn-rec compare ml-100k --models popularity itemknn default --seeds 3",
    "fastgcn-rec compare runs/plays --models ease mine.toml theirs=lists.csv",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s DATA [DATA ...] [options]"
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        default=list(DEFAULT_MODELS),
        help=f"[NAME=]WHAT, where NAME is what the table shows and WHAT is one of {', '.join(NAMES)}, a recipe's .toml, a model.npz or the folder of a run on "
        f"these data, or a file of lists of any library, user, item and score or rank; default: {' '.join(DEFAULT_MODELS)}",
    )
    parser.add_argument("--out", type=folder, help="default: runs/DATA-compare")
    parser.add_argument("--epochs", type=at_least(0), help="of the models that train, instead of their recipes'")
    parser.add_argument(
        "--seeds", type=at_least(1), default=1, help="trainings of each model, by different seeds; default: 1"
    )
    parser.add_argument(
        "--baseline", metavar="NAME", help="the model that the others are tested against, beside the best"
    )
    parser.add_argument("--resamples", type=at_least(1), default=10_000, help="of the bootstrap tests; default: 10000")
    parser.add_argument("--device", type=device, default="cpu", help="cpu or cuda; default: cpu")
    parser.add_argument(
        "--invalid",
        choices=get_args(Invalid),
        default="refuse",
        help="what becomes of items in files of lists that the user has, the list has twice or the data do not have; default: refuse",
    )
    add_quiet(parser)
    add_data(parser, more=PROJECT)


def run(args: argparse.Namespace) -> int:
    contenders(args.models)  # judged before the data are read
    spec = said(data_spec(args))
    out = args.out or Path("runs") / f"{spec.name}-compare"
    options = {"epochs": args.epochs, "seeds": args.seeds, "baseline": args.baseline}
    options |= {"device": args.device, "invalid": args.invalid, "resamples": args.resamples}
    found = compare(spec, args.models, out, **options, progress=not args.quiet)
    print(table(found))
    print("\n".join(filter(None, ["", differences_table(found)])))
    print(f"files: {', '.join(str(p) for p in sorted(out.iterdir()))}")
    failed = [row.model for row in found if row.error is not None]
    if failed:
        print(f"fastgcn-rec compare: failed: {', '.join(failed)}; the table says why", file=sys.stderr)
    return 1 if failed else 0
