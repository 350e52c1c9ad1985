"""Files of every format: what they hold, by their heads, and their events."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from ..interactions import Interactions
from .arrow import first_batches, sample_of
from .files import files_of, is_pipe, spooled
from .formats import Format, format_of
from .guess import Columns, check_guessed_unit, guess_columns, guessed_unit
from .lists import read_lists
from .movielens import read_movielens
from .parquet import ParquetFiles
from .readers import read_csv, read_npz, read_parquet
from .recbole import read_recbole
from .sample import SampledColumn, columns_of
from .sniff import head, sniff
from .text import TextFormat

ROLES = ("user", "item", "rating", "weight", "time")
TIMES = ("time_unit", "time_format")
_SNIFFED = ("sep", "header", "quoted", "newlines", "comment", "strip", "ids", "missing", "encoding", *TIMES, "decimal")
READING: dict[str, tuple[str, ...]] = {  # what the reader of each format takes
    "csv": (*_SNIFFED, "bad_lines", "skip_bad_lines"),
    "parquet": (*TIMES, "skip_bad_lines"),
    "npz": (),
    "recbole": (),
    "movielens": (),
    "lightgcn": (),
}
COLUMNS = {"csv": ROLES, "parquet": ROLES, "recbole": ROLES}
BLANKS = "blanks"  # the separator None, which would be one to be guessed
_HEAD = 1000  # rows by which columns are told apart


def format_for(source: Sequence[str], reading: Mapping[str, Any]) -> Format:
    """The format that is given, or found by the content."""
    known = get_args(Format)
    form = reading["format"] if "format" in reading else format_of(source)
    if form not in known:
        raise ValueError(f"format must be one of {', '.join(map(repr, known))}, got {form!r}")
    if len(source) > 1 and form not in ("csv", "parquet"):
        raise ValueError(f"format {form!r} is of one file or folder, got {len(source)}: {', '.join(source[:5])}")
    return form  # type: ignore[no-any-return]


def resolved(source: Sequence[str], columns: Columns, reading: Mapping[str, Any]) -> tuple[Columns, dict[str, Any]]:
    """(columns, reading) with the format, the form of texts, the columns and the unit of times filled in, from the heads of files."""
    what, reading, table = opened(source, columns, reading)
    if table is None:
        return columns, reading
    columns = guess_columns(
        what, table, columns, time_unit=reading.get("time_unit"), time_format=reading.get("time_format")
    )
    time = columns["time"]
    sampled = next((column for n, column in enumerate(table) if time == column.name or time == n), None)
    if sampled is not None and sampled.numbers is not None and not set(TIMES) & set(reading):
        reading["time_unit"] = guessed_unit(what, sampled) or ""
    return columns, reading


def opened(
    source: Sequence[str], columns: Columns, reading: Mapping[str, Any]
) -> tuple[str, dict[str, Any], list[SampledColumn] | None]:
    """(the source's name in errors, ``reading`` with the format and the form of texts filled in, the columns of the first rows as of `head_of`)."""
    form = format_for(source, reading)
    what = f"{', '.join(source[:5])}{', ...' if len(source) > 5 else ''}"
    refuse(f"{what} (format {form!r})", reading, ("format", *READING[form]), "options")
    refuse(f"{what} (format {form!r})", columns, COLUMNS.get(form, ()), "columns")
    reading = {"format": form, **reading}
    if form == "csv":
        text, table = _text_head(source, columns, reading)
        return what, reading | text, table
    return what, reading, _parquet_head(source) if form == "parquet" else None


def head_of(source: Sequence[str], reading: Mapping[str, Any]) -> list[SampledColumn] | None:
    """The columns of the first rows of a source that is resolved; None where the format says what they are."""
    if reading["format"] == "parquet":
        return _parquet_head(source)
    return _text_head(source, {}, reading)[1] if reading["format"] == "csv" else None


def _text_head(
    source: Sequence[str], columns: Columns, reading: Mapping[str, Any]
) -> tuple[dict[str, Any], list[SampledColumn]]:
    """The form of a text file, as options of its reader, and its first rows."""
    given = {name: value for name, value in reading.items() if name in _SNIFFED}
    if given.get("sep") == "":
        raise ValueError(f"sep must be a text without line ends, or {BLANKS!r} for runs of blanks, got ''")
    if given.get("sep") == BLANKS:
        given["sep"] = None
    paths = files_of(paths_of(source))
    named = [column for column in columns.values() if isinstance(column, str) and column != ""]
    for path in _filled(paths, given.get("encoding")):
        form = sniff(path, names=named, **given)
        names, rows = head(path, form, _HEAD)
        if rows:
            break
    found = {
        "sep": BLANKS if form.sep is None else form.sep,
        "header": form.header,
        "quoted": form.quoted,
        "comment": form.comment or "",
        "decimal": form.decimal,
    }
    return found, columns_of(names if form.header else range(len(rows[0])), rows, form.missing, form.decimal)


def _parquet_head(source: Sequence[str]) -> list[SampledColumn]:
    files = ParquetFiles(paths_of(source))
    once = [name for name in files.names if files.names.count(name) == 1]
    with files.naming():
        batches = first_batches(files.batches({name: name for name in once}), _HEAD)
    values = {
        name: [value for rows in batches for value in sample_of(rows.column(n), _HEAD)] for n, name in enumerate(once)
    }
    return [SampledColumn(name, values.get(name, []), texts=False) for name in files.names]


def _filled(paths: list[Path], encoding: str | None) -> Iterator[Path]:
    """The files that may have rows first, by how many lines they begin with: a header and a row, one line, none."""

    def has_lines(path: Path, least: int) -> bool:
        with TextFormat(quoted=False, encoding=encoding).rows(path, whole=False) as rows:
            return len(list(islice(rows, least))) == least

    for least in (2, 1):
        yield from (path for path in paths if has_lines(path, least))
    yield paths[0]


def paths_of(source: Sequence[str]) -> list[str]:
    """The paths that a source names, "-" as the file that holds what standard input gave. ValueError: it gave nothing."""
    if "-" in source and spooled("-").stat().st_size == 0:
        raise ValueError("standard input is empty; pipe the data into the command: zcat plays.gz | ...")
    return [str(spooled(one)) if is_pipe(one) else os.path.expanduser(one) for one in source]


def events_from(
    source: Sequence[str],
    columns: Columns,
    reading: Mapping[str, Any],
    *,
    guessed: bool = False,
    share: tuple[int, int] | None = None,
) -> Interactions:
    """The events, of a resolved source; a column of weights takes the place of ratings. Was the unit of times `guessed`, all must fit it. `share` is that of
    `read_parquet`."""
    readers: dict[str, Any] = {
        "csv": read_csv,
        "parquet": read_parquet,
        "npz": read_npz,
        "recbole": read_recbole,
        "movielens": read_movielens,
        "lightgcn": read_lists,
    }
    at = {role: name for role, name in columns.items() if name != "" and role != "weight"}
    if columns.get("weight", "") != "":
        at["rating"] = columns["weight"]
    options = {name: value for name, value in reading.items() if name != "format"}
    if share is not None:
        options["share"] = share
    if options.get("time_unit") == "":
        del options["time_unit"]
    if options.get("sep") == BLANKS:
        options["sep"] = None
    paths = paths_of(source)
    events: Interactions = readers[reading["format"]](paths[0] if len(paths) == 1 else paths, **at, **options)
    if guessed and "time_unit" in reading:
        check_guessed_unit(", ".join(source[:5]), events.time, reading["time_unit"])
    if columns.get("rating") == "" and "rating" not in at:
        events = replace(events, rating=None)
    return replace(events, time=None) if columns.get("time") == "" else events


def refuse(what: str, given: Mapping[str, Any], known: Sequence[str], kind: str) -> None:
    """ValueError: something is given that is not known."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{what} takes no {kind} {', '.join(map(repr, unknown))}; it has {', '.join(known) or 'none'}")
