"""What is known of items and users beside the events: tables of any kind to columns aligned with ids."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from ..core.ids import Array, Ints, as_ids, as_texts, factorize, is_missing, is_text
from .columns import as_column
from .dataset import Dataset
from .interactions import Interactions
from .reading.files import files_of
from .reading.formats import format_of
from .reading.frames import columns_of_frame, is_frame
from .reading.names import grade, title_grade, words_of
from .reading.parquet import ParquetFiles
from .reading.parse import MISSING, parse_ids
from .reading.sample import typed
from .reading.sniff import sniff
from .reading.sources import paths_of
from .reading.text import TextFormat, read_columns, read_header

Side = Literal["items", "users"]
Found = TypeVar("Found", Interactions, Dataset)


def attach(
    found: Found,
    side: Side,
    source: Any,
    wanted: Sequence[str] | None = None,
    own: str | int | None = None,
    *,
    keep: bool = False,
    say: Callable[[str], None] | None = None,
) -> Found:
    """Attach the columns of a table of items or users to events or a data set.

    Parameters
    ----------
    found : Interactions or Dataset
    side : "items" or "users"
    source : path, list of paths, or what `read_frame` takes
        A text file of any form, Parquet, RecBole's .item and .user files, or a table in memory. The column of ids is that of the name `own`,
        else the one whose name says so, else the one whose values are most of the ids. Where an id has several rows, the first counts.
    wanted : names, optional
        The columns that are taken; default: all. Of items the one that is a title is called "title": by its name, else as the only column of texts of several
        words of which hardly any stands twice.
    own : str, optional
        The name of the column of ids in the events.
    keep : bool
        Whether ids that have no events become ids too, cold ones.
    say : function of a text, optional
        Is told how many ids have a row; without it there is a warning where fewer than half have.

    Raises
    ------
    ValueError
        None of the ids have a row, columns that are not there, or several that may be the ids.
    """
    table = _read(source, side)
    ids = _ids(found, side)
    key = table.id_column(side, ids, own)
    row_ids, rows = table.ids(key, side)
    distinct, codes = factorize(row_ids)
    first = np.full(distinct.size, row_ids.size, np.int64)
    np.minimum.at(first, codes, np.arange(row_ids.size))
    matched = int((_places(ids, distinct) >= 0).sum())
    if not matched:
        raise ValueError(
            f"{table.name}: none of the {distinct.size} ids of its column {key!r} are {side} of the events; they are {_some(distinct)} there and "
            f"{_some(ids)} in the events"
        )
    size = ids.size
    if keep:
        found = _with_cold(found, side, distinct)
        ids = _ids(found, side)
    place = _places(ids, distinct)
    at = np.where(place >= 0, rows[first[place]], -1)
    columns = {name: _aligned(column, at) for name, column in table.wanted(wanted, key, side).items()}
    title = _title(columns) if side == "items" else None
    shown = [f"title={name}" if name == title != "title" else name for name in columns]
    columns = {"title" if name == title else name: column for name, column in columns.items()}
    said = (
        f"{table.name}: {matched:,} of {size:,} {side} by {key}; {', '.join(shown) or 'no columns'}"
        + (
            f"; {distinct.size - matched:,} more {'are kept' if keep else 'have no events'}"
            if distinct.size > matched
            else ""
        )
        + (
            f"; {row_ids.size - distinct.size:,} rows repeat an id, of which the first row counts"
            if row_ids.size > distinct.size
            else ""
        )
        + (f"; {table.n_rows - row_ids.size:,} rows have no id" if table.n_rows > row_ids.size else "")
    )
    if say is not None:
        say(said)
    elif 2 * matched < size:
        warnings.warn(said, stacklevel=3)
    info = f"{side[:-1]}_info"
    changed: dict[str, Any] = {info: {**getattr(found, info), **columns}}
    return replace(found, **changed)


def with_beside(
    found: Found, beside: Mapping[str, Any], columns: Mapping[str, Any], say: Callable[[str], None] | None = None
) -> Found:
    """With what `DataSpec.beside` names; `columns` are those of the events."""
    sides: tuple[Side, ...] = ("items", "users")
    for side in sides:
        one, keep = side[:-1], side == "items" and bool(beside.get("keep_items"))
        if beside.get(side) is not None:
            found = attach(
                found, side, beside[side], beside.get(f"{one}_columns"), columns.get(one), keep=keep, say=say
            )
        elif beside.get(f"{one}_columns") or (side == "items" and beside.get("keep_items")):
            given = f"{one}_columns" if beside.get(f"{one}_columns") else "keep_items"
            raise ValueError(f"{given} is of {side}=, which is not given")
    return found


class _Table(NamedTuple):
    """Columns by name: of texts as they stand in a file, or as they were made by something else."""

    name: str
    columns: dict[str, Any]
    texts: bool
    decimal: str = "."

    @property
    def n_rows(self) -> int:
        return next((len(column) for column in self.columns.values()), 0)

    def id_column(self, side: Side, ids: Array, own: str | int | None) -> str:
        """The column that holds the ids: by name where it has some of them, else by having the most."""
        known = set(map(str, ids.tolist()))
        role = side[:-1]
        by_name = [own] if isinstance(own, str) and own in self.columns else []
        graded = {name: grade(name, role) + 5 * (words_of(name) == ["id"]) for name in self.columns}
        best = max(graded.values(), default=0)
        by_name += [name for name, value in graded.items() if best and value == best]
        for name in by_name:
            if not known.isdisjoint(_strings(self.columns[name])):
                return name
        shared = {name: len(known.intersection(_strings(column))) for name, column in self.columns.items()}
        most = [name for name, count in shared.items() if count and count == max(shared.values())]
        if len(most) > 1:
            raise ValueError(
                f"{self.name}: which column holds the ids of the {side}? {' and '.join(most)} may do; call it {own or role + '_id'}"
            )
        return most[0] if most else (by_name[0] if by_name else next(iter(self.columns)))

    def ids(self, key: str, side: Side) -> tuple[Array, Ints]:
        """(raw ids, the row of each) of the rows that have one."""
        values = _listed(self.columns[key])
        missing = [
            is_missing(value) or (isinstance(value, str) and (not value.strip() or value in MISSING))
            for value in values
        ]
        rows = np.flatnonzero(~np.array(missing, bool))
        left = [values[row] for row in rows.tolist()]
        if self.texts:
            return parse_ids([value.strip() for value in left], key), rows
        whole = [int(value) if isinstance(value, float) and value.is_integer() else value for value in left]
        return as_ids(whole, f"{self.name}: column {key!r}"), rows

    def wanted(self, names: Sequence[str] | None, key: str, side: Side) -> dict[str, Array]:
        """The columns that are taken, of numbers, dates or texts."""
        unknown = [name for name in names or () if name not in self.columns]
        if unknown:
            raise ValueError(
                f"{self.name}: no column {unknown[0]!r} in {side[:-1]}_columns; the columns are {', '.join(self.columns)[:1000]}"
            )
        return {
            name: typed(_listed(column), self.decimal)
            if self.texts
            else _column(column, f"{self.name}: column {name!r}")
            for name, column in self.columns.items()
            if (name != key if names is None else name in names)
        }


def _title(columns: Mapping[str, Array]) -> str | None:
    """The column that people read of an item: by its name, else the only one of texts of several words of which hardly any stands twice."""
    texts = {name: column for name, column in columns.items() if is_text(column)}
    best = "title" if "title" in columns else max(texts, key=title_grade, default="")
    if title_grade(best):
        return best
    own = [name for name, column in texts.items() if _are_own_words([text for text in column.tolist() if text])]
    return own[0] if len(own) == 1 else None


def _are_own_words(texts: list[str]) -> bool:
    several = sum(" " in text for text in texts)
    return bool(texts) and 2 * several > len(texts) and 10 * len(set(texts)) >= 9 * len(texts)


def _read(source: Any, side: Side) -> _Table:
    if is_frame(source):
        return _Table(f"the table of {side}", columns_of_frame(source), False)
    listed = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    names = paths_of([os.fspath(one) for one in listed])
    shown = ", ".join(names)
    kind = format_of(names)
    if kind == "parquet":
        files = ParquetFiles(names)
        batches = list(files.batches({name: name for name in files.names}))
        columns: dict[str, Any] = {
            name: np.concatenate([np.asarray(b.column(n).to_pylist(), object) for b in batches]) if batches else []
            for n, name in enumerate(files.names)
        }
        return _Table(shown, columns, False)
    if kind not in ("csv", "recbole"):
        raise ValueError(
            f"{shown}: a table of {side} must be text, Parquet or a table in memory, not of the format {kind!r}"
        )
    paths = files_of(names)
    form = TextFormat("\t", quoted=False) if kind == "recbole" else sniff(paths[0])
    head = read_header(paths[0], form)
    read = read_columns(paths, form, dict.fromkeys(range(len(head)), "text"), len(head))
    labels = (
        [name.split(":")[0] if kind == "recbole" else name.strip() for name in head]
        if form.header
        else [str(n) for n in range(len(head))]
    )
    if len(set(labels)) < len(labels):
        raise ValueError(f"{shown}: every column must have a name of its own, got {', '.join(labels)[:1000]}")
    return _Table(shown, {label: read[n] for n, label in enumerate(labels)}, True, form.decimal)


def _ids(found: Interactions | Dataset, side: Side) -> Array:
    return found.item_ids if side == "items" else found.user_ids


def _listed(column: Any) -> list[Any]:
    return column.tolist() if hasattr(column, "tolist") else list(column)


def _strings(column: Any) -> set[str]:
    return {
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
        for value in _listed(column)
    }


def _column(values: Any, name: str) -> Array:
    """As `as_column`, with lists of texts joined by "|" and decimals as floats."""
    listed = [value.tolist() if isinstance(value, np.ndarray) else value for value in _listed(values)]
    if any(isinstance(value, (list, tuple)) for value in listed):
        return as_texts("" if is_missing(value) else "|".join(map(str, value)) for value in listed)
    if any(type(value).__name__ == "Decimal" for value in listed):
        listed = [None if value is None else float(value) for value in listed]
    return as_column(listed, name)


def _places(ids: Array, distinct: Array) -> Ints:
    """The place of each id among sorted distinct ones, -1 for none; numbers are compared with texts as texts."""
    if is_text(ids) != is_text(distinct):
        ids, distinct = (as_texts(map(str, some.tolist())) for some in (ids, distinct))
    place = {value: n for n, value in enumerate(distinct.tolist())}
    return np.fromiter((place.get(value, -1) for value in ids.tolist()), np.int64, ids.size)


def _aligned(column: Array, rows: Ints) -> Array:
    """The values at rows; where one is -1 "", NaN or NaT."""
    none = rows < 0
    if is_text(column):
        filled = np.full(rows.size, "", object)
    elif column.dtype.kind == "M":
        filled = np.full(rows.size, "NaT", column.dtype)
    elif none.any() and column.dtype.kind in "biu":
        filled = np.full(rows.size, np.nan)
    else:
        filled = np.full(rows.size, np.nan if column.dtype.kind == "f" else 0, column.dtype)
    filled[~none] = column[rows[~none]]
    return filled


def _with_cold(found: Found, side: Side, distinct: Array) -> Found:
    """With those of the ids that it has not yet, without an edge."""
    ids = _ids(found, side)
    new = distinct[_places(distinct, ids) < 0] if ids.size else distinct
    if is_text(new) != is_text(ids):
        if not is_text(ids):
            raise ValueError(
                f"keep_{side}: the ids of the events are integers, got {_some(new)}; they must be of one kind to be kept"
            )
        new = as_texts(map(str, new.tolist()))
    every = np.concatenate((ids, new))
    rows = np.concatenate((np.arange(ids.size), np.full(new.size, -1)))
    info = {name: _aligned(column, rows) for name, column in getattr(found, f"{side[:-1]}_info").items()}
    changed: dict[str, Any] = {f"{side[:-1]}_ids": every, f"{side[:-1]}_info": info}
    grown = replace(found, **changed)
    rank = np.empty(every.size, np.int64)
    rank[np.argsort(every, kind="stable")] = np.arange(every.size)
    if isinstance(grown, Dataset):
        degrees = np.bincount(getattr(grown.train, side), minlength=every.size)
        order = np.lexsort((rank, -degrees))
        others = np.arange(grown.n_users if side == "items" else grown.n_items)
        return grown.renumbered(others, order) if side == "items" else grown.renumbered(order, others)
    order = np.argsort(rank)
    changed = {
        side: rank[getattr(found, side)],
        f"{side[:-1]}_ids": every[order],
        f"{side[:-1]}_info": {name: column[order] for name, column in info.items()},
    }
    return replace(grown, **changed)


def _some(ids: Array) -> str:
    return ", ".join(map(repr, ids[:3].tolist())) + (", ..." if ids.size > 3 else "")
