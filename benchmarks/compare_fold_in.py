"""``python -m benchmarks.compare_fold_in --data ml-1m --recipe softmax --epochs 6``: how far folding in is from training anew.

A share of the users is left out of training altogether; their training edges are handed to ``fold_in_users`` afterwards, and the items of
their test part are ranked. Beside it: the same model trained for as long on all users, and popularity. Of the items a share is left out
likewise; the whole catalogue is ranked for all users, and judged on the left-out items' test pairs and, as "all", on the whole test part.
One seed. Nothing is chosen on the test part here: the recipes' options are fixed beforehand.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastgcn_rec import Graph, LightGCN, Popularity, Recommender, evaluate, fit
from fastgcn_rec.data import Dataset
from fastgcn_rec.experiments.recipes import RECIPES
from fastgcn_rec.ranking.fold_in import FoldIn

from .harness import Record, Settings, command_of, dataset_named, quartiles, run_context, write_results


def without(data: Dataset, side: str, held: np.ndarray) -> Dataset:
    """The data set with no training edge of the held-out users or items; ids stay as they are."""
    return dataclasses.replace(data, train=data.train.select(~np.isin(getattr(data.train, side), held)))


def trained(data: Dataset, args: argparse.Namespace) -> Recommender:
    recipe = RECIPES[args.recipe]
    model = recipe.make_model(data, seed=args.seed)
    config = recipe.train.replaced(protocol="none", refit=False, epochs=args.epochs, seed=args.seed)
    start = time.perf_counter()
    fit(model, data, config, progress=False)
    print(f"trained on {len(data.train):,} edges in {time.perf_counter() - start:.0f} s", flush=True)
    return model


def folded_scorer(
    model: Recommender, graph: Graph, side: str, held: np.ndarray, **options: Any
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Scores of the model with the vectors of the held-out users or items folded in from their edges in ``graph``."""
    vectors = dict(zip(("users", "items"), model.scoring_vectors(), strict=True))
    fold, edges = FoldIn(model, **options), graph.to_scipy()
    new = fold.users(edges[held]) if side == "users" else fold.items(edges.T.tocsr()[held])
    vectors[side] = vectors[side].clone()
    vectors[side][torch.from_numpy(held)] = model.as_scored(new.float())
    return lambda ids: vectors["users"][ids] @ vectors["items"].T


def compare(data: Dataset, side: str, whole: Recommender, args: argparse.Namespace) -> list[Record]:
    n = data.n_users if side == "users" else data.n_items
    held = np.sort(np.random.default_rng(args.seed).choice(n, max(1, round(args.share * n)), replace=False))
    reduced = without(data, side, held)
    model = trained(reduced, args)
    graph = data.graph()
    test = data.test.select(np.isin(getattr(data.test, side), held))
    scorers = {
        "trained with them": whole.scorer(),
        "folded in": folded_scorer(model, graph, side, held),
        "popularity": Popularity(data).scorer(),
    }
    if isinstance(model, LightGCN):
        scorers["folded in, method='ridge'"] = folded_scorer(model, graph, side, held, method="ridge")
    if side == "items":
        scorers["folded in, calibrated"] = folded_scorer(model, graph, side, held, calibrate=True)
        if isinstance(model, LightGCN):
            both = folded_scorer(model, graph, side, held, calibrate=True, method="ridge")
            scorers["folded in, method='ridge', calibrated"] = both
    records = []
    for name, scorer in scorers.items():
        record: Record = {"case": "compare_fold_in", "new": side, "contender": name, "n_new": len(held)}
        record |= evaluate(scorer, test, graph)
        if side == "items":
            record |= {f"{m}_all": value for m, value in evaluate(scorer, data.test, graph).items() if "@" in m}
        records.append(record)
    if side == "users":
        records[1] |= latency(model, graph, held)
    return records


def latency(model: Recommender, graph: Graph, held: np.ndarray) -> Record:
    """Milliseconds to fold in one user and rank all items, from raw item ids: median and quartiles over 200 of the held-out users."""
    fold = FoldIn(model)
    asked = [model.item_ids[graph.indices[graph.indptr[u] : graph.indptr[u + 1]].numpy()].tolist() for u in held[:200]]
    fold.recommend(asked[:1])
    times = []
    for items in asked:
        start = time.perf_counter()
        fold.recommend([items])
        times.append(1e3 * (time.perf_counter() - start))
    q1, median, q3 = quartiles(times)
    return {"one_user_ms": median, "one_user_ms_q1": q1, "one_user_ms_q3": q3}


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser("python -m benchmarks.compare_fold_in", description=__doc__)
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="softmax")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--share", type=float, default=0.05, help="of the users, and of the items, to leave out")
    parser.add_argument("--new", nargs="+", choices=("users", "items"), default=("users", "items"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/compare-fold-in.json"))
    args = parser.parse_args(argv)
    data = dataset_named(args.data)
    whole = trained(data, args)
    records = [record for side in args.new for record in compare(data, side, whole, args)]
    for r in records:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in r.items() if isinstance(value, float))
        print(f"{r['n_new']} new {r['new']}, {r['contender']}: {figures}")
    context = run_context(argv, Settings(args.data, torch.device("cpu")))
    context["command"] = command_of("benchmarks.compare_fold_in", argv)
    write_results(args.json, context | {"options": {k: v for k, v in vars(args).items() if k != "json"}}, records)
    print(f"written: {args.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
