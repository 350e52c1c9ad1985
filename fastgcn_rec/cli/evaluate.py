"""``fastgcn-rec evaluate``."""

from __future__ import annotations

import argparse
from typing import get_args

from ..data.dataset import Part
from ..experiments.project import Project, project_file
from ..experiments.repeat import refuse_other_data
from ..experiments.runs import KS, METRICS, MODEL
from ..ranking.evaluate import evaluate
from .data_options import PROJECT, add_data, data_spec, given, said
from .saved_model import add_model, load_model


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s MODEL [options]\n       %(prog)s MODEL DATA [options]"
    add_model(parser)
    parser.add_argument(
        "--part",
        choices=get_args(Part),
        default="test",
        help="of the data; what comes before it is left out of the lists; default: test",
    )
    add_data(parser, needed=False, more=f"{PROJECT}; default: the data of the run that MODEL is the folder of")


def run(args: argparse.Namespace) -> int:
    model = load_model(args.model)
    if args.data:
        data = said(data_spec(args)).load(print)
    else:
        folder = args.model.parent if args.model.name == MODEL else args.model
        file = project_file(folder) if folder.is_dir() else None
        if file is None:
            raise ValueError(
                f"{args.model} does not say on which data it was made; name DATA too, with the flags of train"
            )
        data = said(Project.read(file).with_data(**given(args)).data).load(print)
        if not given(args):
            refuse_other_data(folder, data)
    if args.part is not None and not len(data.part(args.part)):
        raise ValueError(
            f"{data.name} has no edges in its part {args.part!r}; --valid and --test make parts, --split says how"
        )
    for name, value in evaluate(model, data, part=args.part or "test", ks=KS, metrics=METRICS).items():
        print(f"{name:18s} {value:.4f}" if "@" in name else f"{name:18s} {value:.0f}")
    return 0
