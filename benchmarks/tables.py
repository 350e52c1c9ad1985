"""The measured tables of the documents: for each its records, rows, columns and order."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from .harness import Record

Row = list[Record]
Cell = Callable[[Row], str]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: which records, what they share in a row, what its columns show.

    ``same`` says which records measure the same thing, of which the last counts; ``one_machine`` keeps the records of the machine that
    measured last, since times of two machines do not compare; ``shown`` which rows are; ``sources`` whether a line below says where from.
    """

    where: Callable[[Record], bool]
    columns: Mapping[str, Cell]
    row: Callable[[Record], Hashable] = id
    order: Callable[[Record], Any] = lambda r: 0
    same: Callable[[Record], Hashable] = id
    one_machine: bool = False
    shown: Callable[[Row], bool] = lambda row: True
    sources: bool = True


def value_text(field: str, record: Record) -> str:
    """A record's value as the documents write it: shares without a leading 0, with the digits that are known; times and ratios shorter."""
    value = record[field]
    if isinstance(value, str):
        return value
    if field.startswith(("recall@", "ndcg@")):
        return f"{value:.{record.get('digits', 4)}f}".removeprefix("0")
    if field == "of_ceiling":
        return f"{value:.0%}"
    if field == "units_per_s":
        return f"{value / 1e6:.0f} M"
    if field.startswith("ratio"):
        return ratio_text(value)
    return f"{value:,}" if isinstance(value, int) else short(value)


def short(value: float, digits: int = 3) -> str:
    """That many digits, but all those before the point."""
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def ratio_text(value: float) -> str:
    return f"{value:.2f}" if value < 2 else short(value, 2)


def field(name: str) -> Cell:
    return lambda row: value_text(name, row[0]) if name in row[0] else ""


def both(row: Row) -> str:
    """Recall and NDCG of a record."""
    return " / ".join(value_text(name, row[0]) for name in ("recall@20", "ndcg@20") if name in row[0])


def having(cell: Cell, **wanted: str) -> Cell:
    """The cell of those of a row's records that have these values; empty where there is none."""

    def of(row: Row) -> str:
        found = [r for r in row if all(r.get(key) == value for key, value in wanted.items())]
        return cell(found) if found else ""

    return of


def spread(name: str) -> Cell:
    """Mean and sample standard deviation over the seeds."""

    def of(row: Row) -> str:
        values = [r[name] for r in row if name in r]
        both = {name: statistics.mean(values)}, {name: statistics.stdev(values)}
        return " ± ".join(value_text(name, value) for value in both)

    return of


METRICS: Mapping[str, Cell] = {"Recall@20": field("recall@20"), "NDCG@20": field("ndcg@20")}

# Races: contender's time over ours. What is aimed at stands beside what was measured.
AIMS = {
    ("propagate/hop", "torch CSR, int32"): 6,
    ("propagate/hop", "torch COO"): 10,
    ("propagate/hop", "SciPy CSR"): 4,
    ("propagate/hop", "ours, one thread"): 1.7,
    ("step/bpr, 3 layers, batch 2048", "torch, CSR int32"): 10,
    ("step/bpr, 3 layers, batch 2048", "torch-geometric LightGCN, edge_index"): 50,
    ("step/softmax, 1 layer, batch 2048", "torch, CSR int32"): 8,
    ("topk/29858 users", "torch matmul, mask, topk"): 3,
    ("topk/users evaluated", "ours, bare retrieval"): 0.83,
    ("ppr/top 5000 of 1000 users", "SciPy power iteration, 20 users scaled"): 20,
    ("walks/2000 traces of 20", "NumPy, whole arrays"): 2,
    ("walks/200 neighbourhoods, 100 x 3", "NumPy, whole arrays, then torch"): 2,
}
OVERTAKEN = ("topk/4096 users",)  # measured before `retrieve` took its present form


def _is_race(*cases: str) -> Callable[[Record], bool]:
    return lambda r: (
        "ratio" in r and r["device"] == "cpu" and r["case"] not in OVERTAKEN and r["case"].split("/")[0] in cases
    )


def _who(r: Record) -> str:
    return r["contender"] + ("" if r["dtype"] != "bfloat16" else ", bfloat16")


def _times_ours(r: Record) -> str:
    ratio = " to ".join(ratio_text(pick(r["runs"])) for pick in (min, max)) if "runs" in r else ratio_text(r["ratio"])
    aim = AIMS.get((r["case"], r["contender"]))
    return f"{_who(r)} **{ratio}**" + (f" (aim {aim})" if aim and r["dtype"] != "bfloat16" else "")


def _is_ours(r: Record) -> bool:
    return r["ratio"] == 1 and r["contender"].startswith("ours")


def _ours_ms(row: Row) -> str:
    ours = [r for r in row if _is_ours(r) and "median_ms" in r]
    return short(ours[0]["median_ms"]) if ours else ""


def races(*cases: str) -> Table:
    """A row for each job: ours in ms, and how many times as long the others take."""
    return Table(
        where=_is_race(*cases),
        same=lambda r: (r["case"], r["data"], r["device"], r["contender"], r["dtype"]),
        order=lambda r: cases.index(r["case"].split("/")[0]),
        row=lambda r: (r["case"], r["data"]),
        columns={
            "job": lambda row: row[0]["case"].replace("/", ": ", 1),
            "ours, ms": _ours_ms,
            "time of others / ours": lambda row: "; ".join(_times_ours(r) for r in row if not _is_ours(r)),
        },
        one_machine=True,
    )


def with_data(table: Table) -> Table:
    """A column says of which data a row is."""
    return dataclasses.replace(table, columns={"data": field("data"), **table.columns})


# Quality.
def recipes(*data: str) -> Table:
    return Table(
        where=lambda r: r["case"] == "recipe" and r["data"] in data,
        order=lambda r: (data.index(r["data"]), -r["recall@20"]),
        same=lambda r: (r["data"], r["name"]),
        columns={
            "data": field("data"),
            "recipe": lambda row: (
                f"`{row[0]['name']}`" + (f", {row[0]['epochs']} epochs" if "epochs" in row[0] else "")
            ),
            **METRICS,
            "training, s": lambda row: _seconds("seconds_train", row[0]),
            "the test part was read": field("read"),
        },
    )


def _seconds(name: str, r: Record) -> str:
    if name not in r:
        return ""
    threads = r["machine"]["threads"]
    detail = [f"{threads} thread{'' if threads == 1 else 's'}"] + ([f"beside {r['beside']}"] if "beside" in r else [])
    return f"{short(r[name])} ({', '.join(detail)})"


def named(case: str, title: str, column: str = "name", **more: str) -> Table:
    """Records of a case in the order of their file, with Recall and NDCG."""
    return Table(
        where=lambda r: r["case"] == case and all(r.get(key) == value for key, value in more.items()),
        columns={title: field(column), **METRICS},
    )


def without_metric(table: Table, name: str) -> Table:
    return dataclasses.replace(table, columns={head: cell for head, cell in table.columns.items() if head != name})


def _plus_minus(name: str) -> Cell:
    return lambda row: f"{value_text(name, row[0])} ± {value_text(f'{name}_spread', row[0])}"


SAMPLERS = Table(
    where=lambda r: r["case"] == "compare_negatives",
    same=lambda r: (r["sampler"], r["command"]),
    order=lambda r: -r["recall@20"],
    columns={
        "sampler": lambda row: f"`{row[0]['sampler']}`",
        "epochs": lambda row: f"{row[0]['epochs']:.1f}",
        "Recall@20": _plus_minus("recall@20"),
        "NDCG@20": _plus_minus("ndcg@20"),
    },
)


def _fold_in_cell(row: Row) -> str:
    r = row[0]
    everything = f", all {value_text('recall@20_all', r)}" if "recall@20_all" in r else ""
    return both(row) + everything


def _trained_as(name: str) -> Cell:
    return lambda row: next((_fold_in_cell([r]) for r in row if f"--recipe {name} " in r["command"]), "")


FOLD_IN = Table(
    where=lambda r: r["case"] == "compare_fold_in",
    same=lambda r: (r["new"], r["contender"], r["command"].split("--json")[0]),
    order=lambda r: r["new"] == "items",
    row=lambda r: (r["new"], r["contender"]),
    columns={
        "new": field("new"),
        "by": field("contender"),
        "LightGCN (`softmax`, 6 epochs)": _trained_as("softmax"),
        "MF (`mf`, 15 epochs)": _trained_as("mf"),
    },
)

COLD_USERS = Table(
    where=lambda r: r["case"] == "cold users" and r["way"] != "mean of rows through W" and r["name"] != "popularity",
    row=lambda r: r["name"],
    columns={
        "model": field("name"),
        **{
            way: having(both, way=way)
            for way in ("own vectors", "mean", "weighted by degree", "least squares to popularity")
        },
    },
)

SEEN = (
    "features only",
    "text vectors",
    "words and text vectors",
    "features and graph",
    "features and ids",
    "PinSAGE",
    "PinSAGE, text vectors",
)
ITEMS = ("popularity", "random", *SEEN, *(f"{name}, trend" for name in SEEN))


def new_items(data: str) -> Table:
    """compare_pinsage: known items, and held-out ones after 0 and 5 events."""

    def cell(case: str, name: str) -> Cell:
        return having(spread(name), case=case)

    return Table(
        where=lambda r: "compare_pinsage" in r["command"] and f"--data {data}" in r["command"],
        same=lambda r: (r["contender"], r["case"], r["seed"]),
        order=lambda r: (ITEMS.index(r["contender"]), r["seed"]),
        row=lambda r: r["contender"],
        columns={
            data: field("contender"),
            "known items": cell("warm", "recall@20"),
            "among new, 0 events": cell("0 events given", "recall@20 held-out"),
            "among new, 5 events": cell("5 events given", "recall@20 held-out"),
            "among all, 0": cell("0 events given", "recall@20 all"),
            "among all, 5": cell("5 events given", "recall@20 all"),
        },
    )


USERS_WITH_FEATURES = Table(
    where=lambda r: r["case"] == "choice" and r["group"] == "pinsage users",
    row=lambda r: r["setting"],
    columns={
        "Recall@20 / NDCG@20": field("setting"),
        "94 users without items": having(both, users="94 users without items"),
        "the others": having(both, users="the others"),
    },
)

TRIALS = Table(
    where=lambda r: r["case"] == "trial",
    columns={
        "change": field("change"),
        "measured on": field("on"),
        "time with it / without": field("time"),
        "kept": field("kept"),
    },
)

WITHOUT_TRAINING = Table(
    where=lambda r: r["case"] == "recipe" and "seconds_make" in r,
    order=lambda r: -r["recall@20"],
    columns={
        "recipe": lambda row: f"`{row[0]['name']}`",
        "seconds to make": lambda row: _seconds("seconds_make", row[0]),
        "seconds to rank": field("seconds_rank"),
        "memory added at the peak, MiB": field("peak_mib"),
    },
)


def plain(case: str, **columns: str) -> Table:
    return Table(where=lambda r: r["case"] == case, columns={head: field(name) for head, name in columns.items()})


PLACES = {  # of held-out items
    "among new, 0 events": "recall@20 new 0",
    "among new, 5 events": "recall@20 new 5",
    "among all, 0": "recall@20 all 0",
    "among all, 5": "recall@20 all 5",
}

TABLES: Mapping[str, Table] = {
    "hops and steps": races("propagate", "step", "loss", "adam", "graph"),
    "columns": races("columns"),
    "drawing": races("sampler", "negatives", "walks"),
    "ranking": races("topk"),
    "pagerank": races("ppr"),
    "ngcf": races("ngcf"),
    "pinsage": races("pinsage"),
    "als": with_data(races("als")),
    "item item": with_data(races("item_item")),
    "pagerank once": plain("ppr once", what="what", ms="ms", MiB="mib"),
    "trials": TRIALS,
    "bfloat16": plain(
        "bfloat16",
        seed="seed",
        storage="storage",
        **{"held-out Recall@20": "recall@20", "training, s": "seconds_train"},
    ),
    "recipes": recipes("gowalla", "yelp2018"),
    "recipes on other data": without_metric(recipes("ml-1m", "online-retail", "ml-100k"), "the test part was read"),
    "demo": named("demo", "`make demo`, ml-100k"),
    "without training": WITHOUT_TRAINING,
    "test before softmax": named("attempt", "before the recipe `softmax`", "setting", name="softmax"),
    "test before yelp2018": named("attempt", "beside the recipe `yelp2018`", "setting", name="yelp2018"),
    "test before chebycf": named("attempt", "before the recipe `chebycf`", "setting", name="chebycf"),
    "test before best": Table(
        where=lambda r: r["case"] == "attempt" and r["name"] in ("gowalla", "best"),
        columns={"beside the recipe": lambda row: f"`{row[0]['name']}`", "setting": field("setting"), **METRICS},
    ),
    "test before ngcf": named("attempt", "before the recipe `ngcf`", "setting", name="ngcf"),
    "ngcf as published": named("ngcf as published", "epoch", "epoch"),
    "samplers": SAMPLERS,
    "fold in": FOLD_IN,
    "cold users": COLD_USERS,
    "new items: online-retail": new_items("online-retail"),
    "new items: ml-1m": new_items("ml-1m"),
    "users with features": USERS_WITH_FEATURES,
}
