"""``fastgcn-rec estimate``."""

from __future__ import annotations

import argparse
import dataclasses

from ..data import available_datasets
from ..experiments.estimate import estimate_memory
from ..experiments.recipes import EMBEDDINGS
from .arguments import at_least
from .recipe_options import add_recipe, add_sizes, changed


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help="a known name, or USERS,ITEMS,PAIRS")
    add_recipe(parser)
    add_sizes(parser)
    parser.add_argument("--batch-size", type=at_least(1), help="instead of the recipe's")


def run(args: argparse.Namespace) -> int:
    shapes = {info.name: info.shape for info in available_datasets()}
    n_users, n_items, n_pairs = shapes.get(args.dataset) or _shape(args.dataset, ", ".join(shapes))
    recipe = changed(args.recipe, None, args.dim, args.layers)
    if recipe.model not in EMBEDDINGS:
        raise ValueError(
            f"the memory of {' and '.join(EMBEDDINGS)} is known, not that of {recipe.model}, which recipe {args.recipe!r} makes"
        )
    config = recipe.training()
    config = dataclasses.replace(config, batch_size=args.batch_size or config.batch_size)
    dim, layers = recipe.model_options["embedding_dim"], recipe.model_options.get("num_layers", 0)
    estimate = estimate_memory(n_users, n_items, n_pairs, dim, layers, config)
    print(f"{n_users:,} users, {n_items:,} items, {n_pairs:,} pairs; {layers} layers, dim {dim}, recipe {args.recipe}")
    print(estimate)
    return 0


def _shape(text: str, names: str) -> tuple[int, int, int]:
    """USERS,ITEMS,PAIRS, each as 1000000 or 1e6."""
    try:
        n_users, n_items, n_pairs = (int(float(n)) for n in text.split(","))
    except (ValueError, OverflowError):
        raise ValueError(f"DATASET must be one of {names} or USERS,ITEMS,PAIRS, got {text!r}") from None
    if min(n_users, n_items) < 1 or max(n_users, n_items) >= 2**31 or not 0 <= n_pairs <= n_users * n_items:
        raise ValueError(
            f"USERS,ITEMS,PAIRS: users and items must lie in [1, 2^31), pairs in [0, users * items], got {text}"
        )
    return n_users, n_items, n_pairs
