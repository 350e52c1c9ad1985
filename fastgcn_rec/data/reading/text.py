"""Delimited text files to columns of arrays, in bounded memory and with errors that show the line."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ...core.ids import Array, as_texts, is_text
from ..rows import BadValue
from ..times import is_date
from .lines import line_at, malformed_line, open_lines
from .parse import MARK, MISSING, Ids, parse_ids, parse_numbers, parse_times, shown, twice_written

CHUNK_ROWS = 1 << 13
_SHOWN = 3  # bad lines in a warning

Kind = Literal["id", "number", "time", "text"]
Row = tuple[int, list[str]]  # the number of its first line, its fields


@dataclass(frozen=True)
class TextFormat:
    """How a file's lines become fields, and fields values; `read_csv` says what each option means.

    A separator of several characters ("::"), and None, blanks, are allowed without quotes.
    """

    sep: str | None = ","
    header: bool = True
    quoted: bool = True
    newlines: bool = False
    comment: str | None = None
    strip: bool | None = None
    ids: Ids = "auto"
    missing: Collection[str] = MISSING
    skip: int | None = 0  # how many bad lines may be left out; None: any number
    encoding: str | None = None
    time_unit: str | None = None
    time_format: str | None = None
    decimal: str = "."

    def __post_init__(self) -> None:
        """ValueError, TypeError: what no file can be read by."""
        if self.sep == "" or (isinstance(self.sep, str) and set(self.sep) & {"\r", "\n"}):
            raise ValueError(f"sep must be a text without line ends, or None for blanks, got {self.sep!r}")
        for name, value, known in (("ids", self.ids, get_args(Ids)), ("decimal", self.decimal, (".", ","))):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
        if isinstance(self.missing, str):
            raise TypeError(f"missing must be a collection of texts, got one; write [{self.missing!r}]")

    @contextmanager
    def rows(self, path: Path, *, whole: bool = True) -> Iterator[Iterator[Row]]:
        """Open the file and iterate over its rows, header included, blank lines and comments left out; `whole` as `encoding_of` takes it."""
        with open_lines(path, self.encoding, whole=whole) as file:
            try:
                yield self._quoted(file) if self.quoted else self._plain(file)
            except _BadLine as bad:
                raise malformed_line(path, bad.number, line_at(path, self.encoding, bad.number), bad.reason) from None

    def _plain(self, lines: Iterable[str]) -> Iterator[Row]:
        for number, line in enumerate(lines, 1):
            if self.comment and line.startswith(self.comment):
                continue
            fields = line.rstrip("\r\n").split(self.sep)
            if fields and fields != [""]:
                yield number, fields

    def _quoted(self, lines: Iterable[str]) -> Iterator[Row]:
        begins = True  # whether the next line begins a row: in a quoted field it is none that is left out

        def without_comments() -> Iterator[str]:
            nonlocal begins
            for line in lines:
                left_out = begins and bool(self.comment) and line.startswith(self.comment or "")
                begins = False
                yield "\n" if left_out else line  # a blank line in its place, so that lines keep their numbers

        rows = csv.reader(without_comments(), delimiter=self.sep or ",", strict=True, skipinitialspace=bool(self.strip))
        first = 1
        try:
            for fields in rows:
                begins = True
                if rows.line_num > first and not self.newlines:
                    raise _BadLine(
                        first,
                        "a quoted field goes on in the next line; newlines=True (--newlines) if that is meant, quoted=False (--no-quoted) if the quotation mark "
                        "stands for itself",
                    )
                if fields:
                    yield first, fields
                first = rows.line_num + 1
        except csv.Error as error:
            reason = str(error)
            if "field larger" in reason:
                reason += ", which csv.field_size_limit raises; quoted=False knows no limit"
            elif "NUL" not in reason:
                reason = f"a quotation mark that does not close its field ({reason}); quoted=False (--no-quoted) if it stands for itself"
            raise _BadLine(first, reason) from None


class _BadLine(Exception):
    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number
        self.reason = reason


def read_header(path: Path, form: TextFormat) -> list[str]:
    """Return the fields of a file's first row, or [] for an empty file."""
    with form.rows(path, whole=False) as rows:
        _, fields = next(rows, (0, []))
    return [field.strip() for field in fields] if form.strip else fields


def read_columns(
    paths: Path | Sequence[Path],
    form: TextFormat,
    columns: dict[int, Kind],
    width: int,
    names: dict[int, str] | None = None,
    header: Sequence[str | int] = (),
) -> dict[int, Array]:
    """Read some columns of a delimited file, or of several that are one table.

    `columns` maps positions to kinds: "id" gives int64 where every value is a canonical integer and texts (an object array of str)
    otherwise, "number" finite float64, "time" int64 or float64 and "text" texts. Every row must have `width` fields. A row that does not
    fit raises a ValueError with the file, the line number and the line, in which `names` (default: the kinds) name the columns, and `header` those
    of another name in the file.
    """
    paths = [paths] if isinstance(paths, Path) else list(paths)
    readers = {
        at: _Column(kind, (names or {}).get(at, kind), form, *header[at : at + 1]) for at, kind in columns.items()
    }
    left_out = _LeftOut(form.skip)
    for path in paths:
        with form.rows(path) as rows:
            first = next(rows, (0, []))[1] if form.header else []
            while chunk := list(islice(rows, CHUNK_ROWS)):
                try:
                    parts = _read(chunk, readers, width, form, first)
                except _BadLine:
                    if form.skip == 0:
                        raise
                    chunk = _sift(chunk, readers, width, form, first, path, left_out)
                    parts = _read(chunk, readers, width, form, first)
                for at, part in parts.items():
                    readers[at].parts.append(part)
    if left_out.count:
        place = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        warnings.warn(
            f"{place}: {left_out.count} lines are left out, the first is {'; '.join(left_out.first)}", stacklevel=5
        )
    found = {at: reader.joined() for at, reader in readers.items()}
    for at, reader in readers.items():
        if form.ids == "auto" and is_text(found[at]):
            _refuse_two_forms(paths, form, at, reader.name, reader.known)
    return found


class _LeftOut:
    """The bad lines that are left out: how many, and what is wrong with the first few."""

    def __init__(self, most: int | None) -> None:
        self.most, self.count = most, 0
        self.first: list[str] = []
        self.path: Path | None = None

    def take(self, path: Path, line: _BadLine) -> None:
        if self.most is not None and self.count >= self.most:
            line.reason += f" (bad lines before it: {self.count}, as many as skip_bad_lines={self.most} leaves out)"
            raise line
        self.count += 1
        if len(self.first) < _SHOWN:
            place = f"line {line.number}" if self.path in (None, path) else f"{path}, line {line.number}"
            self.first.append(f"{place}: {line.reason}")
            self.path = path


class _Column:
    """One column while its chunks are read."""

    def __init__(self, kind: Kind, name: str, form: TextFormat, own: str | int = "") -> None:
        self.kind, self.name, self.form = kind, name, form
        self.place = "" if str(own).strip() in ("", name) else f"; the column is {own!r}"
        self.parts: list[Array] = []
        self.dates: bool | None = None  # whether times are dates: the first one says it
        self.known: dict[str, str] = {}  # ids, each of which is kept once

    def parse(self, values: list[str]) -> Array:
        if self.kind == "text":
            return as_texts(values)
        if self.kind == "number":
            return parse_numbers(values, self.name, self.form.decimal)
        if self.kind == "time":
            unit, form = self.form.time_unit, self.form.time_format
            dates = is_date(values[0].strip()) if self.dates is None and values else bool(self.dates)
            part = parse_times(values, self.name, dates, unit, form, self.form.decimal)
            self.dates = dates if values else self.dates
            return part
        part = parse_ids(values, self.name, self.form.ids, self.form.strip, self.form.missing)
        return self._kept(part.tolist()) if is_text(part) else part

    def _kept(self, values: Iterable[str]) -> Array:
        return as_texts(self.known.setdefault(value, value) for value in values)

    def joined(self) -> Array:
        """The chunks as one; where their dtypes differ, the more general one."""
        parts = self.parts
        if not parts:
            return np.zeros(0, {"text": "O", "number": "f8"}.get(self.kind, "i8"))
        if any(map(is_text, parts)):
            parts = [part if is_text(part) else self._kept(map(str, part.tolist())) for part in parts]
        return np.concatenate(parts)


def _read(
    chunk: list[Row], readers: dict[int, _Column], width: int, form: TextFormat, first: list[str]
) -> dict[int, Array]:
    for number, fields in chunk:
        if fields == first or (fields[0][0:1] == MARK and [fields[0][1:], *fields[1:]] == first):
            raise _BadLine(number, "the names of the columns again, as where files were joined; leave the line out")
        if len(fields) != width:
            raise _BadLine(number, f"must have {width} fields, got {len(fields)}" + _hint(chunk[0][1], fields, form))
    parts = {}
    for at, reader in readers.items():
        try:
            parts[at] = reader.parse([fields[at] for _, fields in chunk])
        except BadValue as bad:
            number, fields = chunk[bad.row]
            raise _BadLine(
                number, bad.reason + reader.place + (_hint(fields, fields, form) if "" in fields else "")
            ) from None
    return parts


def _sift(
    chunk: list[Row],
    readers: dict[int, _Column],
    width: int,
    form: TextFormat,
    first: list[str],
    path: Path,
    left_out: _LeftOut,
) -> list[Row]:
    """The rows of a chunk that can be read."""
    good = []
    for row in chunk:
        try:
            _read([row], readers, width, form, first)
            good.append(row)
        except _BadLine as line:
            left_out.take(path, line)
    return good


def _hint(first: list[str], fields: list[str], form: TextFormat) -> str:
    """What the reader of an error about the number of fields may have wanted."""
    mark = next((row[0][0] for row in (fields, first) if row[0][:1] in ("#", "%")), None)
    if mark is not None and not form.comment:
        return f"; comment={mark!r} leaves out lines that begin so"
    if form.sep is not None and not form.sep.strip() and "" in fields:
        return "; sep=None takes any run of blanks for one separator"
    return ""


def _refuse_two_forms(paths: list[Path], form: TextFormat, at: int, name: str, distinct: Collection[str]) -> None:
    value = twice_written(distinct)
    if value is None:
        return
    for path in paths:
        with form.rows(path) as rows:
            for number, fields in rows:
                if len(fields) > at and fields[at].strip() == value:
                    raise _BadLine(
                        number,
                        f"the {name} {shown(value)} is also written {shown(value.split('.')[0])}; ids='integer' makes one id of both, "
                        "ids='text' keeps two",
                    )
