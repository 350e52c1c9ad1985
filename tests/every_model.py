"""One small model of each class, for tests of what holds for all of them."""

import numpy as np

from fastgcn_rec import EASE, MF, NGCF, GraphFilter, ItemKNN, LightGCN, PinSAGE, Popularity, RP3beta
from fastgcn_rec.features import Categorical, Features


def pinsage(data, **options):
    kinds = [f"kind {i}" for i in np.arange(data.n_items) % 5]
    small = {"embedding_dim": 8, "hidden_dim": 8, "n_walks": 20, "top": 5, "history": 4}
    return PinSAGE(data, Features({"kind": Categorical()}), {"kind": kinds}, **{**small, **options})


TRAINED = {
    "MF": lambda data: MF(data, 8),
    "MF cosine": lambda data: MF(data, 8, similarity="cosine"),
    "LightGCN": lambda data: LightGCN(data, 8, 2),
    "LightGCN by autograd": lambda data: LightGCN(data, 8, 2, learn_alpha=True),
    "LightGCN cosine": lambda data: LightGCN(data, 8, 2, similarity="cosine"),
    "NGCF": lambda data: NGCF(data, 8, 2),
    "NGCF cosine": lambda data: NGCF(data, 8, 2, similarity="cosine"),
    "NGCF lecture": lambda data: NGCF(data, 8, 2, form="lecture"),
    "PinSAGE": pinsage,
}
MADE = {
    "EASE": lambda data: EASE(data, reg=10.0),
    "GraphFilter": lambda data: GraphFilter(data, rank=4),
    "ItemKNN": lambda data: ItemKNN(data, 10),
    "RP3beta": lambda data: RP3beta(data, 10),
    "Popularity": Popularity,
}
EVERY = TRAINED | MADE


def with_guesses(scores, rows):
    """Scores [n_users, n_items] by items, where users whose row of R is empty get each item's share of the others."""
    has = np.asarray(rows) > 0
    known = has.any(1)
    return np.where(known[:, None], scores, has[known].mean(0))
