"""What is in a user's data, before anything is trained: what the columns are read as, counts, degrees, times, what a split would hold."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, Interactions
from ..data.reading.sources import head_of
from ..data.spec import DataSpec
from .pictures import Bins, are_dates, bars, by_doubling, over_time

_SHOWN = 5  # events
_VALUES_SHOWN = 3  # of a column
_VALUES = 20  # of ratings, one by one
_QUANTILES = {"least": 0.0, "10%": 0.1, "25%": 0.25, "median": 0.5, "75%": 0.75, "90%": 0.9, "99%": 0.99, "largest": 1.0}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Side:
    """Of users or items: how many, and how many of the others each has."""

    n: int
    quantiles: dict[str, float]
    degrees: Bins


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What :func:`inspect_data` finds; ``str`` shows it, :meth:`to_dict` gives values of JSON.

    Attributes
    ----------
    name, read_as : str
    source : list of str
    spec : dict
        What was found out of how the data are read.
    columns : list of dict
        Of each column of the files: "column", its name or position, "read_as", its role or "", and "values", the first ones. Empty where the
        format says what its columns are.
    first : list of dict
        The first events: raw ids, rating, time.
    events, pairs, repeated : int
        Rows, distinct pairs of user and item, and the rows beyond the first of their pair.
    density : float
        pairs over users * items.
    users, items : Side
    time : dict or None
        first, last, and the bins of events over time. Dates where the numbers may be seconds since 1970.
    rating : dict or None
        How many events have each value, or quantiles where there are many.
    split : dict
        What `load_dataset` would make of it with the split that was asked for, as `Dataset.report` counts; or why it would not.
    """

    name: str
    read_as: str
    source: list[str]
    spec: dict[str, Any]
    columns: list[dict[str, Any]]
    first: list[dict[str, Any]]
    events: int
    pairs: int
    repeated: int
    density: float
    users: Side
    items: Side
    time: dict[str, Any] | None
    rating: dict[str, Any] | None
    split: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        parts = [f"{' '.join(self.source)}: {self.read_as}", ""]
        if self.columns:
            shown = [{**one, "values": ", ".join(one["values"])} for one in self.columns]
            parts += [*_table(shown), ""]
        parts += [
            *_table([{**row, "time": self._moment(row["time"])} if "time" in row else row for row in self.first]),
            "",
        ]
        parts += [f"{label:<19} {value}" for label, value in self._counts()]
        for side, one, other in ((self.users, "a user", "items"), (self.items, "an item", "users")):
            numbers = ", ".join(f"{name} {value:,g}" for name, value in side.quantiles.items())
            parts += ["", f"{other} of {one}: {numbers}", *bars(side.degrees)]
        if self.rating is not None:
            parts += ["", "ratings", *bars([(str(value), n) for value, n in self.rating.get("values", [])])]
            parts += [f"  {name} {value:,g}" for name, value in self.rating.get("quantiles", {}).items()]
        if self.time is not None:
            what = "events over time" if self.time["dates"] else "events over time (numbers that are no dates)"
            parts += ["", f"{what}, {self.time['first']} to {self.time['last']}", *bars(self.time["bins"])]
        parts += ["", "a training would have", *(f"  {label:<19} {value}" for label, value in self._held_out())]
        return "\n".join(parts)

    def _moment(self, time: float) -> Any:
        return moment(time) if self.time is not None and self.time["dates"] else time

    def _counts(self) -> list[tuple[str, str]]:
        return [
            ("events", f"{self.events:,}"),
            ("users", f"{self.users.n:,}"),
            ("items", f"{self.items.n:,}"),
            ("distinct pairs", f"{self.pairs:,}  ({self.repeated:,} events repeat one)"),
            ("density", f"{self.density:.4%}"),
        ]

    def _held_out(self) -> list[tuple[str, str]]:
        return [(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value)) for name, value in self.split.items()]  # fmt: skip


def inspect_data(spec: DataSpec) -> Inspection:
    """Read the data and count; the memory is that of reading them.

    Raises
    ------
    What :meth:`DataSpec.load` raises while reading; what a filter or split refuses is told in ``split``.
    """
    spec = spec.resolved()
    try:
        events, data = spec.interactions(), None
    except ValueError:
        data = spec.load()  # raises what is wrong; where nothing is, the data come with their split
        events = _events_of(data)
    pairs = events.first_events()
    users, items = (np.bincount(codes[pairs], minlength=n) for codes, n in ((events.users, events.n_users), (events.items, events.n_items)))  # fmt: skip
    cells = events.n_users * events.n_items
    return Inspection(
        spec.name,
        spec.describe(),
        list(spec.source),
        spec.to_dict(),
        _columns(spec),
        _first(events),
        len(events),
        int(pairs.size),
        len(events) - int(pairs.size),
        pairs.size / cells if cells else 0.0,
        _side(users),
        _side(items),
        _time(events.time),
        _rating(events.rating),
        _split(spec, events, data),
    )


def _columns(spec: DataSpec) -> list[dict[str, Any]]:
    if spec.known:
        return []
    head = head_of(spec.source, spec.reading) or []
    roles = {column: role for role, column in spec.columns.items() if column != ""}
    found = []
    for n, column in enumerate(head):
        values = list(dict.fromkeys(map(str, column.values[:100])))[:_VALUES_SHOWN]
        found.append({"column": column.name, "read_as": roles.get(column.name, roles.get(n, "")), "values": values})
    return found


def _events_of(data: Dataset) -> Interactions:
    parts = [data.train, data.valid, data.test]
    users, items = (np.concatenate([getattr(part, side) for part in parts]) for side in ("users", "items"))
    return Interactions(users, items, data.user_ids, data.item_ids)


def _first(events: Interactions) -> list[dict[str, Any]]:
    found = []
    for row in range(min(len(events), _SHOWN)):
        one = {"user": events.user_ids[events.users[row]], "item": events.item_ids[events.items[row]]}
        for name, column in (("rating", events.rating), ("time", events.time)):
            if column is not None:
                one[name] = column[row]
        found.append({name: getattr(value, "item", lambda value=value: value)() for name, value in one.items()})
    return found


def _side(degrees: NDArray[np.int64]) -> Side:
    values = np.quantile(degrees, list(_QUANTILES.values())) if degrees.size else np.zeros(len(_QUANTILES))
    return Side(degrees.size, dict(zip(_QUANTILES, values.tolist(), strict=True)), by_doubling(degrees))


def _time(time: NDArray[Any] | None) -> dict[str, Any] | None:
    if time is None or not time.size:
        return None
    least, largest = time.min().item(), time.max().item()
    dates = are_dates(least, largest)
    first, last = (moment(at) if dates else at for at in (least, largest))
    return {"first": first, "last": last, "dates": dates, "bins": over_time(time)}


def moment(second: float) -> str:
    """Of seconds since 1970, in UTC.

    >>> moment(1600000000)
    '2020-09-13 12:26:40'
    """
    return str(np.datetime64(int(second), "s")).replace("T", " ")


def _rating(rating: NDArray[Any] | None) -> dict[str, Any] | None:
    if rating is None or not rating.size:
        return None
    values, many = np.unique(rating, return_counts=True)
    if values.size <= _VALUES:
        return {"values": [(value, n) for value, n in zip(values.tolist(), many.tolist(), strict=True)]}
    found = np.quantile(rating, list(_QUANTILES.values())).tolist()
    return {"quantiles": dict(zip(_QUANTILES, found, strict=True))}


def _split(spec: DataSpec, events: Interactions, data: Dataset | None) -> dict[str, Any]:
    try:
        data = data or spec.made_of(events)
    except ValueError as error:
        return {"refused": str(error)}
    report = data.report()
    names = ("train", "valid", "test", "users", "items", "cold_users", "cold_items", "users_without_test", "duplicates", "overlap")  # fmt: skip
    return {name: getattr(report, name) for name in names if name != "valid" or report.valid}


def _table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["no events"]
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(names))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cell(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
