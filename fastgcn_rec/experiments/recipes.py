"""Named recipes: a model and a TrainConfig with the numbers they are known to reach."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..data import Dataset
from ..models import Recommender  # and all of the package's, which its registry then has
from ..models.graph_filter import sharpening
from ..training.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A named way to train.

    Attributes
    ----------
    model : str
        The name of a class in ``Recommender.registry``: "LightGCN", "MF", "GraphFilter", ...
    model_options : dict
        Its arguments beside the data.
    train : TrainConfig or None
        None for a model that is made without training.
    expected : str
        What it is known to give, and who measured it.

    Examples
    --------
    >>> from fastgcn_rec.data import synthetic_interactions
    >>> RECIPES["mf"].make_model(synthetic_interactions(50, 40, 400)).embedding_dim
    64
    """

    model: str
    model_options: dict[str, Any]
    train: TrainConfig | None
    expected: str

    def make_model(self, data: Dataset, **options: Any) -> Recommender:
        """The model, untrained where there is something to train; ``options`` come before the recipe's own. ValueError: there is no such model."""
        kind = Recommender.registry.get(self.model)
        if kind is None:
            known = ", ".join(sorted(Recommender.registry))
            raise ValueError(
                f"Recipe: model must be one of {known}, got {self.model!r}; import the module that defines it first"
            )
        return kind(data, **{**self.model_options, **options})

    def training(self) -> TrainConfig:
        """``train``; a ValueError for a model that has none."""
        if self.train is None:
            raise ValueError(f"{self.model} is made without training; options of training and its memory do not apply")
        return self.train


_SOFTMAX = TrainConfig(
    epochs=14,
    loss="softmax",
    temperature=0.12,
    lr=1e-3,
    warmup=0.2,
    lr_schedule="linear",
    sampler="edge",
    reg=1e-5,
    valid_fraction=0.05,
    eval_every=7,
    patience=0,
    refit=True,
)

EMBEDDINGS = ("LightGCN", "MF")  # models whose only parameters are a vector of each node

RECIPES: dict[str, Recipe] = {
    "default": Recipe(
        "LightGCN",
        {"embedding_dim": 64, "num_layers": 3, "init_std": 0.1},
        TrainConfig(epochs=200, loss="bpr", sampler="edge", eval_every=5, patience=5),
        "BPR with early stopping on a validation part; for data of any kind",
    ),
    "paper": Recipe(
        "LightGCN",
        {"embedding_dim": 64, "num_layers": 3, "init_std": 0.1},
        TrainConfig(epochs=1000, loss="bpr", sampler="user", protocol="published", eval_every=20, patience=10),
        "gowalla Recall@20 .1823, NDCG@20 .1555; yelp2018 .0639, .0525 (He et al. 2020, table 3), the epoch picked on test as there; measured: gowalla .1319, .1145 after 20 epochs",
    ),
    "softmax": Recipe(
        "LightGCN",
        {"embedding_dim": 64, "num_layers": 1, "init_std": 0.005},
        _SOFTMAX,
        "gowalla Recall@20 .1836, NDCG@20 .1548, measured (docs/results.md)",
    ),
    "gowalla": Recipe(
        "LightGCN",
        {"embedding_dim": 256, "num_layers": 1, "init_std": 0.005},
        dataclasses.replace(_SOFTMAX, epochs=12, temperature=0.1, logq=0.2, eval_every=6),
        "gowalla Recall@20 .1954, NDCG@20 .1657, measured (docs/results.md)",
    ),
    "yelp2018": Recipe(
        "LightGCN",
        {"embedding_dim": 512, "num_layers": 1, "init_std": 0.005},
        dataclasses.replace(_SOFTMAX, epochs=12, logq=0.2, eval_every=6),
        "yelp2018 Recall@20 .0752, NDCG@20 .0622, measured (docs/results.md)",
    ),
    "mf": Recipe(
        "MF",
        {"embedding_dim": 64, "init_std": 0.1},
        TrainConfig(epochs=200, loss="bpr", sampler="edge", reg=1e-3, eval_every=5, patience=5),
        "the baseline without a graph, not run yet; gowalla about .163, .138 when tuned (published)",
    ),
    "filter": Recipe(
        "GraphFilter",
        {"rank": 448, "ideal": 0.1, "polynomial": sharpening(2.0), "user_power": 0.3, "item_power": 0.45},
        None,
        "gowalla Recall@20 .1924, NDCG@20 .1593; yelp2018 .0733, .0606, measured (docs/results.md)",
    ),
    "itemknn": Recipe("ItemKNN", {"neighbours": 100, "shrinkage": 10.0}, None, "docs/results.md"),
    "rp3beta": Recipe("RP3beta", {"neighbours": 100, "alpha": 1.0, "beta": 0.6}, None, "docs/results.md"),
    "ease": Recipe("EASE", {"reg": 500.0}, None, "docs/results.md"),
    "popularity": Recipe("Popularity", {}, None, "what every model must beat"),
    "ngcf": Recipe(
        "NGCF",
        {"embedding_dim": 128, "num_layers": 1, "message_dropout": 0.0, "init": "identity", "similarity": "cosine"},
        dataclasses.replace(_SOFTMAX, epochs=12, temperature=0.09, logq=1.2, lr=2e-3, eval_every=6, valid_fraction=0.2),
        "gowalla Recall@20 .1683, NDCG@20 .1321, measured; published .1570, .1327 (docs/results.md)",
    ),
    "pinsage": Recipe(
        "PinSAGE",
        {},
        TrainConfig(
            epochs=8,
            loss="softmax",
            logq=1.0,
            temperature=0.1,
            batch_size=1024,
            lr=3e-3,
            warmup=0.1,
            lr_schedule="linear",
            reg=0.0,
            eval_every=2,
            patience=0,
        ),
        "items by their features, ids and graph: ml-1m Recall@20 .2492, NDCG@20 .3803; online-retail .0855, .1008, measured (docs/results.md)",
    ),
}
