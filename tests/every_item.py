"""Made-up columns of items, of every kind of feature, and PinSAGE's options as its paper has them."""

import numpy as np

from fastgcn_rec.features import Categorical, Numeric, Text

PAPER = {
    "linear": False,
    "top": 10,
    "n_walks": 100,
    "walk_length": 3,
    "degree_power": 0.0,
    "history": 10,
    "cold_share": 0.0,
}
COLUMNS = {"kind": Categorical("|"), "title": Text(64), "price": Numeric()}


def items(n, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "kind": ["|".join(rng.choice(list("abcdef"), 2)) for _ in range(n)],
        "title": [f"thing {rng.integers(9)} of {rng.integers(9)}" for _ in range(n)],
        "price": rng.lognormal(size=n),
    }
