"""From a pandas frame of who bought what and when to lists of what to show: python examples/from_a_frame.py [--events N]

Numbers the ids, holds each user's latest purchases out, compares models on them, trains the best one's recipe on everything and writes the lists.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import fastgcn_rec as fgr
from fastgcn_rec.data import make_dataset
from fastgcn_rec.experiments import RECIPES


def orders(n: int) -> pd.DataFrame:
    """Made-up orders of a shop: everyone has a taste, and some goods are liked by many."""
    rng = np.random.default_rng(0)
    n_people, n_goods, n_tastes = max(n // 25, 40), max(n // 80, 30), 6
    taste = rng.integers(n_tastes, size=n_people)
    of_taste = rng.zipf(1.3, size=(n_tastes, n_goods)).clip(max=100).astype(float)
    of_taste *= rng.random((n_tastes, n_goods)) < 0.4
    share = (of_taste + 0.05) / (of_taste + 0.05).sum(1, keepdims=True)
    person = rng.integers(n_people, size=n)
    good = [rng.choice(n_goods, p=share[taste[who]]) for who in person]
    day = pd.Timestamp("2025-01-01") + pd.to_timedelta(np.sort(rng.integers(365, size=n)), unit="D")
    return pd.DataFrame(
        {"customer": [f"C{who:05d}" for who in person], "product": [f"P{what:04d}" for what in good], "day": day}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("lists.csv"))
    args = parser.parse_args()

    frame = orders(args.events)
    columns = {"user": "customer", "item": "product", "time": "day"}
    data = make_dataset("shop", frame, split="temporal-user", test=0.2, **columns)
    print(data.report())

    found = {}
    for name in ("popularity", "itemknn", "ease", "ials"):
        found[name] = fgr.evaluate(RECIPES[name].make_model(data), data, ks=(10,))
        print(f"{name:12s} Recall@10 {found[name]['recall@10']:.4f}  NDCG@10 {found[name]['ndcg@10']:.4f}")
    best = max(found, key=lambda name: found[name]["ndcg@10"])

    whole = make_dataset("shop", frame, split="none", **columns)  # nothing held out: for lists in use
    model = RECIPES[best].make_model(whole)
    lists = model.recommend(whole.user_ids, k=5, as_frame="pandas")
    lists.to_csv(args.out, index=False)
    print(f"{best}: {lists['user'].nunique()} lists in {args.out}")
    print(lists.head(5).to_string(index=False))


if __name__ == "__main__":
    main()
