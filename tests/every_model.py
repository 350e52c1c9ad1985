"""One small model of each class, trained where it trains, for tests of what holds for all of them."""

import functools

import numpy as np
import pytest
import torch

import fastgcn_rec as fgr
from fastgcn_rec.data import Interactions, make_dataset
from fastgcn_rec.experiments.als import als
from fastgcn_rec.experiments.recipes import RECIPES
from fastgcn_rec.features import Categorical, Features


def pinsage(data, **options):
    kinds = [f"kind {i}" for i in np.arange(data.n_items) % 5]
    small = {"embedding_dim": 8, "hidden_dim": 8, "n_walks": 20, "top": 5, "history": 4}
    return fgr.PinSAGE(data, Features({"kind": Categorical()}), {"kind": kinds}, **{**small, **options})


def pinsage_with_users(data):
    groups = {"group": [f"group {u}" for u in np.arange(data.n_users) % 3]}
    users = {"user_features": Features({"group": Categorical()}), "user_info": groups, "cold_user_share": 0.2}
    return pinsage(data, embedding_dim=5, hidden_dim=33, **users)


def narrow(recipe, data):
    return recipe.make_model(data, **{name: 8 for name in recipe.model_options if name == "embedding_dim"})


def matrices(data):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, 8)).astype(np.float32) for n in (data.n_users, data.n_items)]


def least_squares(data):
    pytest.importorskip("implicit", reason="an extra")
    return als(data, 8)


TRAINED = {
    "MF": lambda data: fgr.MF(data, 8),
    "MF cosine": lambda data: fgr.MF(data, 8, similarity="cosine"),
    "LightGCN": lambda data: fgr.LightGCN(data, 8, 2, norm=(0.6, 0.1), gamma=0.2),
    "LightGCN by autograd": lambda data: fgr.LightGCN(data, 8, 2, learn_alpha=True, edge_dropout=0.2),
    "LightGCN contrast": lambda data: fgr.LightGCN(data, 8, 2, noise=0.1, contrast=0.1, contrast_layer=None),
    "LightGCN cosine": lambda data: fgr.LightGCN(data, 8, 2, similarity="cosine"),
    "NGCF": lambda data: fgr.NGCF(data, 8, 2, message_dropout=0.3, node_dropout=0.1),
    "LightGCN popularity": lambda data: fgr.LightGCN(data, 8, 1, similarity="cosine", popularity=0.1),
    "NGCF cosine": lambda data: fgr.NGCF(data, 8, 2, similarity="cosine", popularity=-0.2),
    "NGCF lecture": lambda data: fgr.NGCF(data, 8, 2, form="lecture", message_dropout=0.2, node_dropout=0.1),
    "PinSAGE": pinsage,
    "PinSAGE users": pinsage_with_users,
}


def blend(data, normalize="none", kinds=("MF cosine", "LightGCN popularity")):
    """Weights 1, 2, ..."""
    parts = [EVERY[kind](data) for kind in kinds]
    return fgr.Blend(data, parts, [1.0 + n for n in range(len(parts))], normalize)


MADE = {
    "Blend": lambda data: blend(data, "z", ("GraphFilter", "LightGCN", "Popularity")),
    "Blend ranks": lambda data: blend(data, "rank", ("ItemKNN", "MF")),
    "Blend vectors": blend,
    "EASE": lambda data: fgr.EASE(data, reg=10.0),
    "GraphFilter": lambda data: fgr.GraphFilter(data, rank=4, polynomial=(1.0, -0.5), user_power=0.4),
    "GraphFilter response": lambda data: fgr.GraphFilter(
        data, rank=4, response="sharpened", ideal_power=0.3, response_power=0.2
    ),
    "IALS": lambda data: fgr.IALS(data, 8, unobserved_weight=0.1, iterations=3),
    "IALS subspace": lambda data: fgr.IALS(
        data, 33, unobserved_weight=0.1, iterations=3, solver="subspace", block_size=16
    ),
    "ItemKNN": lambda data: fgr.ItemKNN(data, 10),
    "ItemKNN jaccard": lambda data: fgr.ItemKNN(data, 10, "jaccard", 1.0),
    "ItemKNN sapling": lambda data: fgr.ItemKNN(data, 10, "sapling"),
    "UserKNN": lambda data: fgr.UserKNN(data, 10),
    "UserKNN bm25": lambda data: fgr.UserKNN(data, 10, "bm25", k1=0.5),
    "SLIM": lambda data: fgr.SLIM(data, 0.1, 1.0),
    "RP3beta": lambda data: fgr.RP3beta(data, 10, 0.8, 0.3),
    "SparseEASE": lambda data: fgr.SparseEASE(data, 10.0, 6, user_power=0.2, item_power=0.1, row_power=0.1, feedback=3),
    "Popularity": fgr.Popularity,
}
EVERY = TRAINED | MADE
FOREIGN = {  # what ranks and is no model of this package
    "Vectors": lambda data: fgr.Vectors(*matrices(data), data),
    "Vectors cosine": lambda data: fgr.Vectors(*matrices(data), data, similarity="cosine"),
    "implicit": least_squares,
}
OF_RECIPES = {f"recipe {name}": functools.partial(narrow, recipe) for name, recipe in RECIPES.items()}
COLD_USERS, COLD_ITEMS = 5, 4
TRAINING = {"epochs": 3, "batch_size": 64, "lr": 0.02, "protocol": "none", "progress": False}


@functools.cache
def small_data():
    """40 users, whose ids are texts, and 30 items with edges, few of them popular; behind them users and items without any."""
    rng = np.random.default_rng(0)
    law = 1 / np.arange(1, 31)
    pairs = [(u, i) for u in range(40) for i in rng.choice(30, 6, replace=False, p=law / law.sum())]
    users, items = np.array([*pairs, *((i, i) for i in range(30))]).T
    names, numbers = [f"u{n:02}" for n in range(40 + COLD_USERS)], 100 + 3 * np.arange(30 + COLD_ITEMS)
    events = Interactions.from_raw([names[u] for u in users], numbers[items], user_ids=names, item_ids=numbers)
    return make_dataset("small", events, split="none")


@functools.cache
def trained(kind):
    """The model of ``small_data``, the same one for all tests, which leave it as it is. A recipe's is not trained."""
    model = (EVERY | OF_RECIPES | FOREIGN)[kind](small_data())
    if kind in TRAINED:
        fgr.fit(model, small_data(), **TRAINING)
    return model


def of_all(model, k=7):
    """What the model says: (recommendations, new users' recommendations, neighbours), as arrays."""
    new = [model.item_ids[[0, 3, 7]].tolist(), model.item_ids[[2]].tolist()]
    return [*model.recommend(model.user_ids, k), *model.recommend_new(new, k), *model.similar_items(model.item_ids, k)]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def numbers(model):
    own = model.state_dict().values() if isinstance(model, torch.nn.Module) else model.node_vectors()
    return [t.detach().clone() for t in own]


def with_guesses(scores, rows):
    """Scores [n_users, n_items] by items, where users whose row of R is empty get each item's share of the others."""
    has = np.asarray(rows) > 0
    known = has.any(1)
    return np.where(known[:, None], scores, has[known].mean(0))
