"""``fastgcn-rec datasets``."""

from __future__ import annotations

import argparse

from ..data import available_datasets, load_dataset

EXAMPLES = (
    "fastgcn-rec datasets",
    "fastgcn-rec datasets ml-100k",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        metavar="DATASET",
        help="the one to report on; without, all that are known and where each was found",
    )


def run(args: argparse.Namespace) -> int:
    if args.name:
        print(load_dataset(args.name).report())
        return 0
    for info in available_datasets():
        where = info.found or ("downloaded on first use" if info.downloadable else "not here; set FASTGCN_REC_DATA")
        print(f"{info.name:14s} {info.description}\n{'':14s} {where}")
    return 0
