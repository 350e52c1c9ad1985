"""``fastgcn-rec evaluate``."""

from __future__ import annotations

import argparse

from ..data import load_dataset
from ..experiments.runs import KS, METRICS
from ..ranking.evaluate import evaluate
from .arguments import DATASET, add_split
from .saved_model import add_model, load_model


def arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("dataset", metavar="DATASET", help=DATASET)
    add_split(parser)


def run(args: argparse.Namespace) -> int:
    model, data = load_model(args.model), load_dataset(args.dataset, split=args.split)
    for name, value in evaluate(model, data.test, ks=KS, metrics=METRICS).items():
        print(f"{name:18s} {value:.4f}" if "@" in name else f"{name:18s} {value:.0f}")
    return 0
