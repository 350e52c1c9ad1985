"""Items known by their titles, and new ones without an edge: python examples/items_by_text.py [--epochs N]

PinSAGE reads words of the titles, prices and the graph. An item that comes after the training is given its title alone, and is recommended at once.
"""

from __future__ import annotations

import argparse

import numpy as np

import fastgcn_rec as fgr
from fastgcn_rec.data import Interactions, make_dataset
from fastgcn_rec.features import Features, Numeric, Text

KINDS = {
    "tea": ("green", "black", "white", "herbal"),
    "cake": ("plum", "rum", "apple", "cheese"),
    "bread": ("rye", "oat", "wheat", "spelt"),
}


def shop(n_users: int = 200) -> Interactions:
    """Made-up sales: people who buy tea buy teas."""
    rng = np.random.default_rng(1)
    titles = [f"{of} {kind} no {n}" for kind, all_of in KINDS.items() for of in all_of for n in range(5)]
    kinds = np.repeat(np.arange(len(KINDS)), len(titles) // len(KINDS))
    users, items = [], []
    for user in range(n_users):
        mine = np.flatnonzero(kinds == user % len(KINDS))
        for item in {*rng.choice(mine, 6), *rng.integers(len(titles), size=2)}:
            users.append(f"U{user}")
            items.append(titles[item])
    price = [1.0 + n % 7 for n in range(len(titles))]
    return Interactions.from_raw(users, items, item_ids=titles, item_info={"title": titles, "price": price})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    args = parser.parse_args()

    data = make_dataset("bakery", shop(), split="random", test=0.2)
    model = fgr.PinSAGE(data, Features({"title": Text(words=2), "price": Numeric(log=True)}))
    how = {
        "loss": "softmax",
        "logq": 1.0,
        "temperature": 0.1,
        "lr": 3e-3,
        "warmup": 0.1,
        "lr_schedule": "linear",
        "reg": 0.0,
    }
    fgr.fit(model, data, epochs=args.epochs, batch_size=256, protocol="none", progress=False, **how)
    for name, one in (("PinSAGE", model), ("popularity", fgr.Popularity(data))):
        print(f"{name:10s} Recall@10 {fgr.evaluate(one, data, ks=(10,))['recall@10']:.4f}")

    new = ["jasmine tea no 1", "lemon cake no 1", "rye bread with seeds"]
    grown = model.with_items({"title": new, "price": [4.0, 5.0, 3.0]}, [[], [], []], new)
    for user in ("U0", "U1", "U2"):
        (ids,), (scores,) = grown.recommend([user], k=1, items=new)
        print(f"{user}, who buys {list(KINDS)[int(user[1:]) % len(KINDS)]}: {ids[0]} ({scores[0]:.3f})")


if __name__ == "__main__":
    main()
