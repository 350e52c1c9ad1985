"""Files of every format: what they hold, by their heads, and their events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from .formats import Format, format_of
from .guess import Columns, guess_columns
from .interactions import Interactions
from .movielens import read_movielens
from .parquet import ParquetFiles
from .readers import read_csv, read_npz, read_parquet
from .recbole import read_recbole
from .sample import SampledColumn, columns_of
from .text import TextFormat

ROLES = ("user", "item", "rating", "weight", "time")
TIMES = ("time_unit", "time_format")
READING: dict[str, tuple[str, ...]] = {  # what the reader of each format takes
    "csv": (
        "sep", "header", "quoted", "newlines", "comment", "strip", "ids", "missing", "bad_lines", "encoding", *TIMES,
    ),
    "parquet": TIMES,
    "npz": (),
    "recbole": (),
    "movielens": (),
    "lightgcn": (),
}  # fmt: skip
COLUMNS = {"csv": ROLES, "parquet": ROLES, "recbole": ROLES}
_HEAD = 1000  # rows by which columns are told apart


def resolved(path: Path, columns: Columns, reading: Mapping[str, Any]) -> tuple[Columns, dict[str, Any]]:
    """(columns, reading) with the format, the columns and the unit of times filled in, from the heads of files."""
    known = get_args(Format)
    form = reading.get("format") or format_of(path)
    if form not in known:
        raise ValueError(f"format must be one of {', '.join(map(repr, known))}, got {form!r}")
    refuse(f"{path} (format {form!r})", reading, ("format", *READING[form]), "options")
    refuse(f"{path} (format {form!r})", columns, COLUMNS.get(form, ()), "columns")
    reading = {"format": form, **reading}
    head = head_of(path, reading)
    if head is None:
        return columns, reading
    columns = guess_columns(str(path), head, columns, time_format=reading.get("time_format"))
    time = columns["time"]
    sampled = next((column for n, column in enumerate(head) if time == column.name or time == n), None)
    if sampled is not None and sampled.numbers is not None and not {"time_unit", "time_format"} & set(reading):
        reading["time_unit"] = sampled.unit or ""
    return columns, reading


def head_of(path: Path, reading: Mapping[str, Any]) -> list[SampledColumn] | None:
    """The first rows of a table; None where the format says what its columns are."""
    if reading["format"] == "parquet":
        files = ParquetFiles(path)
        batch = next(files.batches({name: name for name in files.names}), None)
        rows = None if batch is None else batch.slice(0, _HEAD)
        return [
            SampledColumn(name, [] if rows is None else rows.column(n).to_pylist(), texts=False)
            for n, name in enumerate(files.names)
        ]
    if reading["format"] != "csv":
        return None
    form = TextFormat(
        **{name: value for name, value in reading.items() if name not in ("format", "bad_lines", "missing")}
    )
    form = replace(form, quoted=form.quoted and form.sep is not None and len(form.sep) == 1)
    with form.rows(path) as rows:
        head = [fields for _, fields in islice(rows, _HEAD + 1)]
    if not head:
        raise ValueError(f"{path}: the file is empty; it must have columns of users and of items")
    if not form.header:
        return columns_of(range(len(head[0])), head)
    return columns_of([name.strip() if form.strip else name for name in head[0]], head[1:])


def events_from(path: Path, columns: Columns, reading: Mapping[str, Any]) -> Interactions:
    """The events, of a resolved source; a column of weights takes the place of ratings."""
    readers: dict[str, Any] = {
        "csv": read_csv,
        "parquet": read_parquet,
        "npz": read_npz,
        "recbole": read_recbole,
        "movielens": read_movielens,
    }
    at = {role: name for role, name in columns.items() if name != "" and role != "weight"}
    if columns.get("weight", "") != "":
        at["rating"] = columns["weight"]
    options = {
        name: value for name, value in reading.items() if name != "format" and (name, value) != ("time_unit", "")
    }
    events: Interactions = readers[reading["format"]](path, **at, **options)
    if columns.get("rating") == "" and "rating" not in at:
        events = replace(events, rating=None)
    return replace(events, time=None) if columns.get("time") == "" else events


def refuse(what: str, given: Mapping[str, Any], known: Sequence[str], kind: str) -> None:
    """ValueError: something is given that is not known."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{what} takes no {kind} {', '.join(map(repr, unknown))}; it has {', '.join(known) or 'none'}")
