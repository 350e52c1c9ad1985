"""``fastgcn-rec estimate``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from ..data import available_datasets
from ..experiments.estimate import estimate_memory
from ..experiments.recipe_file import named_recipe
from ..experiments.recipes import EMBEDDINGS
from .arguments import at_least
from .data_options import PROJECT, add_data, data_spec, given, said
from .recipe_options import add_recipe, add_sizes, changed

EXAMPLES = (
    "fastgcn-rec estimate gowalla --recipe gowalla",
    "fastgcn-rec estimate 1e6,2e5,5e7 --dim 128",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s DATA [DATA ...] [options]"
    add_recipe(parser)
    add_sizes(parser)
    parser.add_argument("--batch-size", type=at_least(1), help="instead of the recipe's")
    parser.add_argument(
        "--ranks",
        type=at_least(1),
        default=1,
        dest="of_ranks",
        metavar="P",
        help="that share the training out: what each takes (default: 1)",
    )
    add_data(parser, more=f"{PROJECT}; or USERS,ITEMS,PAIRS. Files are read, to count")


def run(args: argparse.Namespace) -> int:
    name, recipe = named_recipe(args.recipe or "default")
    recipe = changed(recipe, name, None, args.dim, args.layers)
    if recipe.model not in EMBEDDINGS:
        raise ValueError(
            f"the memory of {' and '.join(EMBEDDINGS)} is known, not that of {recipe.model}, which recipe {name!r} makes"
        )
    n_users, n_items, n_pairs = _sizes(args)
    config = recipe.training()
    config = dataclasses.replace(config, batch_size=args.batch_size or config.batch_size)
    dim, layers = recipe.model_options["embedding_dim"], recipe.model_options.get("num_layers", 0)
    estimate = estimate_memory(n_users, n_items, n_pairs, dim, layers, config, args.of_ranks)
    each = f"; each of {args.of_ranks} ranks" if args.of_ranks > 1 else ""
    print(f"{n_users:,} users, {n_items:,} items, {n_pairs:,} pairs; {layers} layers, dim {dim}, recipe {name}{each}")
    print(estimate)
    return 0


def _sizes(args: argparse.Namespace) -> tuple[int, int, int]:
    """Users, items, and pairs to train on: of a known name, as typed, or counted."""
    (text, *more), options = args.data, given(args)
    shapes = {info.name: info.shape for info in available_datasets()}
    if not more and not options and text in shapes:
        return shapes[text]
    if not more and text not in shapes and not Path(text).expanduser().exists() and ("," in text or not Path(text).suffix) and text != "-":  # fmt: skip
        return _shape(text, ", ".join(shapes))
    data = said(data_spec(args)).load(print)
    return data.n_users, data.n_items, len(data.train)


def _shape(text: str, names: str) -> tuple[int, int, int]:
    """USERS,ITEMS,PAIRS, each as 1000000 or 1e6."""
    try:
        n_users, n_items, n_pairs = (int(float(n)) for n in text.split(","))
    except (ValueError, OverflowError):
        raise ValueError(f"DATA must be one of {names}, a file, or USERS,ITEMS,PAIRS, got {text!r}") from None
    if min(n_users, n_items) < 1 or max(n_users, n_items) >= 2**31 or not 0 <= n_pairs <= n_users * n_items:
        raise ValueError(
            f"USERS,ITEMS,PAIRS: users and items must lie in [1, 2^31), pairs in [0, users * items], got {text}"
        )
    return n_users, n_items, n_pairs
