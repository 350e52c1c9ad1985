"""The field: all recipes on all data, and beside them what others published for the same splits."""

from __future__ import annotations

from collections.abc import Mapping

from .harness import Record
from .tables import Cell, Row, Table, both, having, short, value_text

COLUMNS = {
    "gowalla": "gowalla",
    "yelp2018": "yelp2018",
    "ml-1m": "ml-1m",
    "online-retail": "online-retail, temporal",
}


def _metric(name: str) -> Cell:
    """The value, and half of its interval where it has one."""

    def of(row: Row) -> str:
        r = row[0]
        text = value_text(name, r)
        if f"{name}.low" not in r:
            return text
        half = (r[f"{name}.high"] - r[f"{name}.low"]) / 2
        return f"{text} ± {value_text(name, {name: half})}"

    return of


def _both(row: Row) -> str:
    return f"{_metric('recall@20')(row)} / {_metric('ndcg@20')(row)}"


def _name(row: Row) -> str:
    r = row[0]
    return f"{r['name']}, published" if r["case"] == "published" else f"`{r['name']}`"


def _source(row: Row) -> str:
    found = dict.fromkeys(r["source"] for r in row if r.get("source"))
    return ", ".join(found)


def _cost(row: Row) -> str:
    r = row[0]
    seconds = f"{short(r['seconds_train'])} + {short(r['seconds_rank'])} s" if "seconds_train" in r else ""
    memory = f"{value_text('peak_mib', r)} MiB" if "peak_mib" in r else ""
    return ", ".join(filter(None, (seconds, memory)))


def _who(r: Record) -> tuple[bool, str]:
    return r["case"] == "published", r["name"]


def _is_of_the_field(r: Record) -> bool:
    """A cell, a recipe's run before there were cells, or a published line."""
    whole = r["case"] in ("field", "published") or (r["case"] == "recipe" and "epochs" not in r)
    return whole and r["data"] in COLUMNS and "recall@20" in r and "ndcg@20" in r


FIELD = Table(
    where=_is_of_the_field,
    same=lambda r: (r["data"], *_who(r)),
    order=lambda r: (list(COLUMNS).index(r["data"]), -r["recall@20"]),
    row=_who,
    columns={
        "model": _name,
        **{title: having(_both, data=data) for data, title in COLUMNS.items()},
        "source": _source,
    },
)

COST = Table(
    where=lambda r: r["case"] == "field" and r["data"] in COLUMNS and ("peak_mib" in r or "seconds_train" in r),
    same=FIELD.same,
    order=FIELD.order,
    row=FIELD.row,
    columns={"model": _name, **{title: having(_cost, data=data) for data, title in COLUMNS.items()}},
)

# README.md's: a few of the field, without intervals.
IN_SHORT = ("best", "best512", "filter", "LightGCN (He et al. 2020), BPR, 1,000 epochs", "popularity")
SHORT = Table(
    where=lambda r: _is_of_the_field(r) and r["name"] in IN_SHORT,
    same=FIELD.same,
    order=lambda r: IN_SHORT.index(r["name"]),
    row=FIELD.row,
    columns={
        "Recall@20 / NDCG@20": _name,
        **{data: having(both, data=data) for data in ("gowalla", "yelp2018", "ml-1m")},
    },
    sources=False,
)

TABLES: Mapping[str, Table] = {"field": FIELD, "field: time and memory": COST, "in short": SHORT}
