"""Named recipes: a model and a TrainConfig with the numbers they are known to reach."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from ..core.columns import column_bounds
from ..core.world import World
from ..data import Dataset
from ..models import Recommender  # and all of the package's, which its registry then has
from ..models.graph_filter import sharpening
from ..training.config import TrainConfig
from .tables import check_keys, near


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
        None for a model that is made without training, and for a blend, whose parts are trained.
    expected : str
        What it is known to give, and who measured it.
    parts : dict of recipes by name
        Of what a "Blend" adds up; empty for any other.

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
    parts: dict[str, Recipe] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, part in self.parts.items():
            _check_part(name, bool(part.parts))

    def make_model(self, data: Dataset, *, world: World | None = None, **options: Any) -> Recommender:
        """The model, untrained where there is something to train; ``options`` come before the recipe's own. ValueError: there is no such model.
        One that the ranks of ``world`` can share out by columns is made so, and no rank ever holds its table."""
        kind = Recommender.registry.get(self.model)
        if kind is None:
            known = ", ".join(sorted(Recommender.registry))
            raise ValueError(
                f"Recipe: model must be one of {known}, got {self.model!r}; import the module that defines it first"
            )
        if world is not None and world.size > 1 and "world" in inspect.signature(kind).parameters:
            options["world"] = world
        parts = {"parts": [part.make_model(data) for part in self.parts.values()]} if self.parts else {}
        return kind(data, **{**self.model_options, **parts, **options})

    @property
    def trains(self) -> bool:
        """Whether it, or a part of it, is trained."""
        return self.train is not None or any(part.trains for part in self.parts.values())

    def trained_with(self, **settings: Any) -> Recipe:
        """With other fields of its TrainConfig, or of those of its parts that are trained; a ValueError where nothing is."""
        if not self.parts:
            return dataclasses.replace(self, train=self.training().replaced(**settings))
        if settings and not self.trains:
            self.training()
        parts = {name: part.trained_with(**settings) if part.trains else part for name, part in self.parts.items()}
        return dataclasses.replace(self, parts=parts)

    def check_ranks(self, size: int) -> None:
        """ValueError where ``size`` ranks cannot share the training out; needs neither data nor ranks, so that none are started in vain."""
        kind = Recommender.registry.get(self.model)
        if size == 1 or not self.trains or kind is None:
            return
        kind.refuse_ranks(size)
        dim = inspect.signature(kind).parameters.get("embedding_dim")
        if dim is not None:
            column_bounds(self.model_options.get("embedding_dim", dim.default), size)

    def training(self) -> TrainConfig:
        """``train``; a ValueError for a model that has none."""
        if self.parts:
            raise ValueError(
                f"{self.model} has the parts {', '.join(self.parts)}, each with a training of its own or none; take the recipe of one"
            )
        if self.train is None:
            raise ValueError(f"{self.model} is made without training; options of training and its memory do not apply")
        return self.train

    def to_dict(self) -> dict[str, Any]:
        """As values of TOML; :meth:`from_dict` makes an equal one of them."""
        found: dict[str, Any] = {"model": self.model, "expected": self.expected, "options": dict(self.model_options)}
        if self.parts:
            found["parts"] = {name: part.to_dict() for name, part in self.parts.items()}
        return found if self.train is None else {**found, "train": dataclasses.asdict(self.train)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe ``name`` (default: "default"), with what else is given in its place.

        Parameters
        ----------
        values : mapping with any of the keys name, model, options, train, expected, parts
            ``options`` beside a ``model`` are all of its options; else they change the named recipe's. So do settings in ``train``. A name that ends in
            .toml is that of a file, whose recipe is whole by itself. ``parts``, of a Blend, are tables of such values by name, and all of its parts.

        Raises
        ------
        ValueError, TypeError : naming the key, and what is allowed; tables as in run.toml: [recipe], [recipe.options], [train].

        Examples
        --------
        >>> Recipe.from_dict({"name": "softmax", "train": {"epochs": 3}}).training().epochs
        3
        >>> Recipe.from_dict(RECIPES["filter"].to_dict()) == RECIPES["filter"]
        True
        """
        check_keys("recipe", values, RECIPE_KEYS)
        for key in ("name", "model", "expected"):
            if not isinstance(values.get(key, ""), str):
                raise TypeError(f"[recipe] {key} must be a text, got {values[key]!r}")
        for key, table in (("options", "recipe.options"), ("train", "train"), ("parts", "recipe.parts")):
            if not isinstance(values.get(key, {}), Mapping):
                raise TypeError(f"[{table}] must be a table, got {values[key]!r}")
        name = values.get("name", "default")
        base = _named(name, values)
        model = values.get("model", base.model)
        kind = Recommender.registry.get(model)
        if kind is None:
            known = sorted(Recommender.registry)
            raise ValueError(f"[recipe] model must be one of {', '.join(known)}, got {model!r}{near(model, known)}")
        options = dict(values.get("options", {}))
        check_keys("recipe.options", options, [key for key in inspect.signature(kind).parameters if key not in _MADE])
        if not ("model" in values and "options" in values):
            options = {**(base.model_options if model == base.model else {}), **options}
        of = f"recipe {name!r}" if model == base.model else f"model {model}"
        train = _settings(of, kind, base, values.get("train", {}))
        parts = base.parts if model == base.model else {}
        if "parts" in values:
            parts = {name: _part(name, part) for name, part in values["parts"].items()}
        if bool(parts) != (model == "Blend"):
            raise ValueError(f"[recipe.parts] are what a Blend is made of, one table or more, and model is {model}; {'leave them out' if parts else 'give them'}")  # fmt: skip
        expected = base.expected if model == base.model else ""  # of that model, and of no other one
        return cls(model, options, train, values.get("expected", expected), parts)


RECIPE_KEYS = ("name", "model", "expected", "options", "train", "parts")
_MADE = ("data", "parts", "weights", "world")  # what a recipe gives its model beside options
SETTINGS = tuple(field.name for field in dataclasses.fields(TrainConfig))


def learns(kind: type[Recommender]) -> bool:
    """Whether models of this class are trained; others are ready when they are made.

    >>> learns(Recommender.registry["MF"]), learns(Recommender.registry["EASE"])
    (True, False)
    """
    return kind.ego_embedding is not Recommender.ego_embedding or kind.batch_loss is not Recommender.batch_loss


def _part(name: str, values: Any) -> Recipe:
    if not isinstance(values, Mapping):
        raise TypeError(f"[recipe.parts.{name}] must be a table, got {values!r}")
    _check_part(name, values.get("model") == "Blend" and "parts" in values)
    try:
        return Recipe.from_dict(values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"[recipe.parts.{name}]: {error}") from None


def _check_part(name: str, blends: bool) -> None:
    """ValueError: a part that is a blend, whose own parts nothing would train, or a name that no file of its checkpoint can have."""
    if blends:
        raise ValueError(f"[recipe.parts.{name}] is a Blend itself; put its parts beside the other ones, whose weights are chosen together")  # fmt: skip
    if not name or any(sign in name for sign in "/\\\0"):
        raise ValueError(f"[recipe.parts] must have names that files can have too, without / and \\, got {name!r}")


def _named(name: str, values: Mapping[str, Any]) -> Recipe:
    if name.endswith(".toml"):
        if "model" not in values:
            raise ValueError(f"[recipe] name {name!r} is that of a file, whose recipe needs its model; give it")
        return Recipe("", {}, None, "")
    if name not in RECIPES:
        raise ValueError(f"[recipe] name must be one of {', '.join(sorted(RECIPES))}, got {name!r}{near(name, RECIPES)}")  # fmt: skip
    return RECIPES[name]


def _settings(of: str, kind: type[Recommender], base: Recipe, given: Mapping[str, Any]) -> TrainConfig | None:
    """The base's settings with those that are given, for a model that is trained."""
    if not learns(kind):
        if given:
            raise ValueError(f"[train] does not apply to {of}, which is made without training; leave the table out")
        return None
    check_keys("train", given, SETTINGS)
    try:
        return (base.train or TrainConfig()).replaced(**given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"[train] {error}") from None


_SOFTMAX = TrainConfig(
    epochs=14,
    min_steps=300,
    loss="softmax",
    temperature=0.12,
    logq_density=50.0,
    lr=1e-3,
    warmup=0.2,
    lr_schedule="linear",
    sampler="edge",
    reg=1e-5,
    valid_fraction=0.1,
    eval_every=7,
    patience=0,
    refit=True,
)

EMBEDDINGS = ("LightGCN", "MF")  # models whose only parameters are a vector of each node

RECIPES: dict[str, Recipe] = {
    "default": Recipe(
        "LightGCN",
        {"embedding_dim": 64, "num_layers": 3, "init_std": 0.1},
        TrainConfig(epochs=200, min_steps=2000, loss="bpr", sampler="edge", eval_every=5, patience=5),
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
        dataclasses.replace(_SOFTMAX, epochs=40, lr=2e-3, eval_every=20),
        "gowalla Recall@20 .1872, NDCG@20 .1584, measured (docs/results.md)",
    ),
    "gowalla": Recipe(
        "LightGCN",
        {"embedding_dim": 256, "num_layers": 1, "init_std": 0.005},
        dataclasses.replace(_SOFTMAX, epochs=12, temperature=0.1, logq=0.2, eval_every=6, valid_fraction=0.05),
        "gowalla Recall@20 .1954, NDCG@20 .1657, measured (docs/results.md)",
    ),
    "yelp2018": Recipe(
        "LightGCN",
        {"embedding_dim": 512, "num_layers": 1, "init_std": 0.005},
        dataclasses.replace(_SOFTMAX, epochs=12, logq=0.2, eval_every=6, valid_fraction=0.05),
        "yelp2018 Recall@20 .0752, NDCG@20 .0622, measured (docs/results.md)",
    ),
    "mf": Recipe(
        "MF",
        {"embedding_dim": 64, "init_std": 0.1},
        TrainConfig(epochs=200, min_steps=2000, loss="bpr", sampler="edge", reg=1e-3, eval_every=5, patience=5),
        "the baseline without a graph; gowalla Recall@20 .1600, NDCG@20 .1280, measured (docs/results.md)",
    ),
    "filter": Recipe(
        "GraphFilter",
        {"rank": 448, "ideal": 0.1, "polynomial": sharpening(2.0), "user_power": 0.3, "item_power": 0.45},
        None,
        "gowalla Recall@20 .1924, NDCG@20 .1593; yelp2018 .0733, .0606, measured (docs/results.md)",
    ),
    "chebycf": Recipe(
        "GraphFilter",
        {
            "rank": 512,
            "ideal": 0.2,
            "response": "chebycf",
            "shape": 1.5,
            "degree": 8,
            "ideal_power": 0.4,
            "response_power": 0.4,
        },
        None,
        "the filter of Kim et al. 2025 with the options that they publish for gowalla, there Recall@20 .1935, NDCG@20 .1615, measured; published .1941, .1616 (docs/results.md)",
    ),
    "ials": Recipe(
        "IALS",
        {"embedding_dim": 256, "iterations": 8},
        None,
        "weights by the density of the data, chosen on held-out edges; gowalla Recall@20 .1745, NDCG@20 .1438, measured (docs/results.md)",
    ),
    "itemknn": Recipe(
        "ItemKNN",
        {"neighbours": 100, "similarity": "tfidf", "shrinkage": 1000.0, "asymmetry": 0.7},
        None,
        "docs/results.md",
    ),
    "userknn": Recipe("UserKNN", {"neighbours": 100, "similarity": "tfidf", "asymmetry": 0.7}, None, "docs/results.md"),
    "slim": Recipe("SLIM", {"l1": 0.5, "l2": 30.0, "neighbours": 300}, None, "docs/results.md"),
    "rp3beta": Recipe("RP3beta", {"neighbours": 200, "alpha": 0.5, "beta": 0.3}, None, "docs/results.md"),
    "sparseease": Recipe(
        "SparseEASE",
        {
            "reg": 15.0,
            "neighbours": 32,
            "candidates": 400,
            "user_power": 0.15,
            "row_power": 0.1,
            "feedback": 50,
            "feedback_weight": 2.0,
        },
        None,
        "gowalla Recall@20 .1827, NDCG@20 .1507, measured (docs/results.md)",
    ),
    "ease": Recipe("EASE", {"reg": 500.0}, None, "docs/results.md"),
    "popularity": Recipe("Popularity", {}, None, "what every model must beat"),
    "ngcf": Recipe(
        "NGCF",
        {"embedding_dim": 128, "num_layers": 1, "message_dropout": 0.0, "init": "identity", "similarity": "cosine"},
        dataclasses.replace(
            _SOFTMAX, epochs=24, min_steps=1000, temperature=0.09, logq=1.2, lr=2e-3, eval_every=6, valid_fraction=0.2
        ),
        "gowalla Recall@20 .1751, NDCG@20 .1394, measured; published .1570, .1327 (docs/results.md)",
    ),
    "pinsage": Recipe(
        "PinSAGE",
        {},
        TrainConfig(
            epochs=16,
            min_steps=1000,
            loss="softmax",
            logq=1.0,
            temperature=0.1,
            batch_size=1024,
            lr=3e-3,
            warmup=0.1,
            lr_schedule="linear",
            reg=0.0,
            eval_every=4,
            patience=0,
        ),
        "items by their features, ids and graph: ml-1m Recall@20 .2554, NDCG@20 .3860; online-retail .0867, .1011, measured (docs/results.md)",
    ),
}
"""The recipes by name, as ``fastgcn-rec train --recipe`` takes them."""


def _best(part: str) -> Recipe:
    """A fifth of train is held out: of every user something, as in the test parts of these data."""
    recall, ndcg = (".2008", ".1677") if part == "gowalla" else (".0758", ".0626")
    reached = f"{part} Recall@20 {recall}, NDCG@20 {ndcg}"  # a part has its data set's name
    known = f"the recipes filter and {part}, weighed on held-out edges: {reached}, measured (docs/results.md)"
    split = (
        "order" if part == "yelp2018" else "random"
    )  # its published test part has each user's latest reviews (docs/choices.md)
    parts = {"filter": RECIPES["filter"], part: RECIPES[part].trained_with(valid_fraction=0.2, valid_split=split)}
    return Recipe("Blend", {"normalize": "z"}, None, known, parts)


RECIPES |= {"best": _best("gowalla"), "best512": _best("yelp2018")}
