"""The tables of docs/choices.md: what was compared before a recipe stood."""

from __future__ import annotations

from .tables import METRICS, PLACES, Table, both, field, having, without_metric


def choices(group: str, title: str = "setting", **columns: str) -> Table:
    return Table(
        where=lambda r: r["case"] == "choice" and r["group"] == group,
        columns={title: field("setting"), **{head: field(name) for head, name in columns.items()}, **METRICS},
    )


def recall_only(table: Table) -> Table:
    return without_metric(table, "NDCG@20")


_DEGREES = ("4-7", "8-15", "16-31", "32-63", "64-127", "128-255", "256-511", "512 and more")
_SPLIT_DRIFT = Table(
    where=lambda r: r["case"] == "split drift",
    columns={
        "data": field("data"),
        "edges, by the item's degree in what is left": field("part"),
        **{name: field(name) for name in _DEGREES},
    },
)

TABLES: dict[str, Table] = {
    "choices: gowalla": choices("gowalla softmax"),
    "choices: yelp2018": choices("yelp2018 softmax"),
    "choices: schedule": recall_only(choices("softmax schedule")),
    "choices: softmax 64": choices("softmax 64"),
    "choices: softmax popularity": choices("softmax popularity", data="data"),
    "choices: published splits": _SPLIT_DRIFT,
    "choices: density": choices("softmax density", data="data", split="split"),
    "choices: any size": choices("any size", "recipe", data="data", split="split"),
    "choices: filter": choices("filter"),
    "choices: neighbours": choices("neighbours"),
    "choices: neighbours elsewhere": choices("neighbours elsewhere"),
    "choices: sparse ease": choices("sparse ease"),
    "choices: sparse ease, a fifth": choices("sparse ease fifth"),
    "choices: sparse ease, exact": choices("sparse ease exact"),
    "choices: optimizers": recall_only(choices("optimizers")),
    "choices: ials": choices("ials", data="data"),
    "choices: filter forms": choices("filter forms"),
    "choices: blend": choices("blend"),
    "choices: ngcf": recall_only(choices("ngcf 20")),
    "choices: ngcf form": recall_only(choices("ngcf form", temperature="temperature")),
    "choices: ngcf layers": recall_only(choices("ngcf layers")),
    "choices: lightgcn": choices("lightgcn options", "option"),
    "choices: pinsage": recall_only(choices("pinsage online-retail")),
    "choices: pinsage options": recall_only(choices("pinsage options")),
    "choices: pinsage epochs": choices("pinsage epochs", data="data"),
    "choices: pinsage layers": recall_only(choices("pinsage layers")),
    "choices: pinsage oracle": recall_only(choices("pinsage oracle")),
    "choices: pinsage trend": recall_only(choices("pinsage trend", "`trend`", **{"`trend_weight`": "weight"})),
    "choices: pinsage text": recall_only(choices("pinsage text", **PLACES)),
    "choices: pinsage ml-100k": Table(
        where=lambda r: r["case"] == "choice" and r["group"] == "pinsage ml-100k",
        row=lambda r: r["setting"],
        columns={
            "Recall@20 / NDCG@20": field("setting"),
            **{
                f"{who} users" if who == "all" else f"users {who}": having(both, users=who)
                for who in ("all", "without a training edge", "with one")
            },
        },
    ),
    "choices: tune": recall_only(choices("tune ml-100k", "trial")),
    "choices: tune gowalla": recall_only(choices("tune gowalla", "trial", seconds="seconds")),
    "choices: fold in": recall_only(choices("fold in MF", "new user's vector")),
}
