"""Delimited text files to columns of arrays, in bounded memory and with errors that show the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from ._arrays import Array, as_texts, is_text

CHUNK_ROWS = 1 << 14

Kind = Literal["id", "number", "time", "text"]


@dataclass(frozen=True)
class TextFormat:
    """How a file's lines become fields. A separator of two characters ("::") is allowed without quotes."""

    sep: str = ","
    header: bool = True
    quoted: bool = True

    @contextmanager
    def rows(self, path: Path) -> Iterator[Iterator[list[str]]]:
        """Open the file and iterate over its rows, header included and blank lines skipped."""
        with open(path, encoding=_encoding(path), newline="") as lines:
            source: Iterator[str] = lines
            sep = self.sep
            if len(sep) > 1:
                source, sep = (line.replace(self.sep, "\x1f") for line in lines), "\x1f"
            if self.quoted:
                yield csv.reader(source, delimiter=sep, quoting=csv.QUOTE_MINIMAL)
            else:
                yield csv.reader(source, delimiter=sep, quoting=csv.QUOTE_NONE)


def _encoding(path: Path) -> str:
    """UTF-8 where the bytes are valid UTF-8, otherwise Latin-1 (the older MovieLens files)."""
    try:
        with open(path, encoding="utf-8-sig") as lines:
            while lines.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def read_header(path: Path, form: TextFormat) -> list[str]:
    """Return the fields of a file's first row, or [] for an empty file."""
    with form.rows(path) as rows:
        return next(filter(None, rows), [])


def read_columns(path: Path, form: TextFormat, columns: dict[int, Kind], width: int) -> dict[int, Array]:
    """Read some columns of a delimited file.

    `columns` maps positions to kinds: "id" gives int64 where every value is a canonical integer and texts (an object array)
    otherwise, "number" float64, "time" int64, float64 or datetime64 and "text" texts. Every row must have `width`
    fields. A row that does not fit raises a ValueError with the file, the line number and the line.
    """
    parts: dict[int, list[Array]] = {position: [] for position in columns}
    done = 0
    known: dict[str, str] = {}  # ids, each of which is kept once
    with form.rows(path) as rows:
        rows = filter(None, rows)
        if form.header:
            next(rows, None)
        while True:
            try:
                chunk = list(islice(rows, CHUNK_ROWS))
            except csv.Error as error:
                raise ValueError(f"{path}: not a delimited text file ({error})") from error
            if not chunk:
                break
            wrong = next((n for n, row in enumerate(chunk) if len(row) != width), None)
            if wrong is not None:
                raise _malformed(path, form, done + wrong, f"{width} fields expected, got {len(chunk[wrong])}")
            for position, kind in columns.items():
                values = [row[position] for row in chunk]
                try:
                    part = _parse(values, kind)
                except _BadValue as bad:
                    raise _malformed(path, form, done + bad.row, bad.reason) from None
                if kind == "id" and is_text(part):
                    part = as_texts(known.setdefault(value, value) for value in values)
                parts[position].append(part)
            done += len(chunk)
    return {position: _join(parts[position], columns[position]) for position in columns}


class _BadValue(Exception):
    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


def _parse(values: list[str], kind: Kind) -> Array:
    if kind == "text":
        return as_texts(values)
    if "" in values:
        raise _BadValue(values.index(""), f"the {kind} is empty")
    if kind in ("id", "time"):
        whole = _canonical_integers(values)
        if whole is not None or kind == "id":
            return as_texts(values) if whole is None else whole
    try:
        return np.array(list(map(float, values)))
    except ValueError:
        pass
    if kind == "time" and max(map(len, values)) < 40:
        try:
            return np.array(values, np.str_).astype("datetime64[us]")
        except ValueError:
            pass
    for row, value in enumerate(values):
        try:
            float(value)
        except ValueError:
            date = " or an ISO date" if kind == "time" else ""
            raise _BadValue(row, f"{value!r} is not a number{date}") from None
    raise AssertionError("unreachable: a value that float() refuses was announced")


def _canonical_integers(values: list[str]) -> Array | None:
    """Return int64 values where str(int(v)) == v for all of them ("007", "+7" and "7.0" are not), else None."""
    try:
        whole = list(map(int, values))
        return np.array(whole, np.int64) if list(map(str, whole)) == values else None
    except (ValueError, OverflowError):
        return None


def _join(parts: list[Array], kind: Kind) -> Array:
    """Concatenate the chunks of one column; where their dtypes differ, the more general one wins."""
    if not parts:
        return np.zeros(0, {"text": "O", "number": "f8"}.get(kind, "i8"))
    if any(map(is_text, parts)):
        parts = [part if is_text(part) else as_texts(map(str, part.tolist())) for part in parts]
    elif len({part.dtype.kind == "M" for part in parts}) > 1:
        raise ValueError("the times mix numbers and dates; use one form")
    return np.concatenate(parts)


def _malformed(path: Path, form: TextFormat, row: int, reason: str) -> ValueError:
    """Return the error for data row `row` (0-based, header not counted), after finding its line again."""
    with open(path, encoding=_encoding(path), newline="") as lines:
        text = lines.read().split("\n")
    with form.rows(path) as rows:
        wanted = row + form.header
        for fields in rows:
            if fields and wanted == 0:
                number = getattr(rows, "line_num", 0)
                return malformed_line(path, number, text[number - 1].rstrip("\r"), reason)
            wanted -= bool(fields)
    return ValueError(f"{path}: data row {row + 1}: {reason}")


def malformed_line(path: Path, number: int, line: str, reason: str) -> ValueError:
    """Return the error for one line of a file: its number is 1-based, and a long line is cut."""
    shown = line if len(line) <= 120 else line[:117] + "..."
    return ValueError(f"{path}, line {number}: {reason}; the line is {shown!r}")
