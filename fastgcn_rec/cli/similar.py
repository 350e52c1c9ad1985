"""``fastgcn-rec similar``."""

from __future__ import annotations

import argparse

from .saved_model import (
    DASH,
    add_filters,
    add_k,
    add_model,
    add_show,
    known_items,
    load_model,
    print_lists,
    raw_ids,
    shown_columns,
)

EXAMPLES = ("fastgcn-rec similar runs/plays 17 -k 5",)


def arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("items", nargs="+", metavar="ITEM", help=f"raw item ids{DASH}")
    add_k(parser)
    add_filters(parser)
    add_show(parser)


def run(args: argparse.Namespace) -> int:
    model = load_model(args.model)
    items = list(raw_ids(model.item_ids, args.items, "item"))
    columns = shown_columns(args.model, model, args.show)
    only, without = known_items(model, args.only, "--only"), known_items(model, args.without, "--without")
    found = model.similar_items(items, args.k, among=only, exclude=without)
    print_lists("item", items, *found, model, columns)
    return 0
