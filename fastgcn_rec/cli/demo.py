"""``fastgcn-rec demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..experiments.demo import demo
from .arguments import folder

EXAMPLES = (
    "fastgcn-rec demo",
    "fastgcn-rec demo --out runs/first",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=folder, default=Path("runs/demo"), help="default: runs/demo")


def run(args: argparse.Namespace) -> int:
    demo(args.out)
    return 0
