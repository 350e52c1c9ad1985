"""``fastgcn-rec inspect``."""

from __future__ import annotations

import argparse
import json

from ..experiments.inspection import inspect_data
from ..system.values import json_value
from .data_options import PROJECT, add_data, data_spec

EXAMPLES = (
    "fastgcn-rec inspect plays.csv",
    'fastgcn-rec inspect "orders/*.csv" --time-format "%d.%m.%Y %H:%M"',
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s DATA [DATA ...] [options]"
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    add_data(parser, more=PROJECT)


def run(args: argparse.Namespace) -> int:
    found = inspect_data(data_spec(args))
    print(json.dumps(json_value(found.to_dict()), indent=2) if args.json else found)
    return 0
