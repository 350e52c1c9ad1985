"""``fastgcn-rec similar``."""

from __future__ import annotations

import argparse

from .saved_model import DASH, add_k, add_model, add_show, load_model, print_lists, raw_ids, shown_columns


def arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("items", nargs="+", metavar="ITEM", help=f"raw item ids{DASH}")
    add_k(parser)
    add_show(parser)


def run(args: argparse.Namespace) -> int:
    model = load_model(args.model)
    items = raw_ids(model.item_ids, args.items, "item")
    columns = shown_columns(args.model, model, args.show)
    print_lists("item", items, *model.similar_items(items, args.k), model, columns)
    return 0
