"""``fastgcn-rec export``."""

from __future__ import annotations

import argparse

from ..ranking.export import write_vectors
from .arguments import file
from .saved_model import add_model, load_model

EXAMPLES = (
    "fastgcn-rec export runs/plays --out items.npz",
    "fastgcn-rec export runs/plays --side users --out users.parquet",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--side", choices=["items", "users"], default="items", help="whose vectors; default: items")
    parser.add_argument("--out", type=file, required=True, help="a .npz or .parquet file")


def run(args: argparse.Namespace) -> int:
    n = write_vectors(load_model(args.model), args.out, args.side)
    print(f"{n:,} vectors of {args.side}: {args.out}")
    return 0
