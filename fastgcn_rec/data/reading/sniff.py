"""What the first rows of a text file show of its form: separator, quotes, comments, header, decimal mark. What is doubtful is refused."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from ..times import is_date
from .lines import open_lines
from .names import grade, title_grade
from .text import TextFormat

ROWS = 1000
_LONGEST = 1 << 20  # characters of a sample
_SEPARATORS = ("\t", "::", ";", "|", ",", None)  # blanks last: they are in texts
_MARKS = ("#", "%")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_COMMAS = re.compile(r"\s*[+-]?\d+(,\d+)?\s*", re.ASCII)
_FOREIGN = {
    r'\s*(\[\s*)?\{\s*("[^"]*"\s*:|\})': (
        "JSON",
        "make_dataset takes the frame that pandas.read_json or polars.read_ndjson makes of it",
    ),
    "%%MatrixMarket": (
        "a Matrix Market file",
        "scipy.sparse.save_npz saves what scipy.io.mmread reads of it, for read_npz",
    ),
}
_DIGIT = re.compile(r"\d")

Rows = list[list[str]]


def sniff(path: Path, *, names: Collection[str] = (), **given: Any) -> TextFormat:
    """Return how a file's lines become fields, from its first rows.

    Parameters
    ----------
    path : path
        One file, as `files_of` gives them.
    names : texts
        Names of columns that the user asks for: a first row that has them all is a header.
    **given
        Fields of `TextFormat`, which are not guessed.

    Raises
    ------
    ValueError
        What cannot be told; the error names the options that decide.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "plays.csv"
    >>> _ = path.write_text("user;item;stars\\nann;7;4,5\\nbob;7;3\\n")
    >>> form = sniff(path)
    >>> form.sep, form.header, form.decimal
    (';', True, ',')
    """
    form = TextFormat(**given)
    lines = _lines(path, form)
    if not lines:
        raise ValueError(f"{path}: the file is empty")
    for begin, (kind, reader) in _FOREIGN.items():
        if re.match(begin, lines[0]):
            raise ValueError(f"{path} is {kind}, not a table of delimited text; {reader}")
    if "comment" not in given:
        form = replace(form, comment=_comment(path, lines, form, "sep" in given))
    if form.comment:
        lines = [line for line in lines if not line.startswith(form.comment)]
        if not lines:
            raise ValueError(
                f"{path}: all of the first lines begin with {form.comment!r}; comment='' takes them as they are"
            )
    found = _split(path, lines, form, "sep" in given, "quoted" in given)
    rows = found.rows
    form = replace(form, sep=found.sep, quoted=found.quoted)
    if "header" not in given:
        form = replace(form, header=_header(path, rows, names))
    if "decimal" not in given and form.sep != ",":
        form = replace(form, decimal=_decimal(rows[1:] if form.header else rows))
    return form


def head(path: Path, form: TextFormat, rows: int = ROWS) -> tuple[list[str], Rows]:
    """Return the names of the columns, none without a header, and the fields of the first rows.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "plays.csv"
    >>> _ = path.write_text("user,item\\nann,7\\nbob,7\\n")
    >>> head(path, TextFormat(), 1)
    (['user', 'item'], [['ann', '7']])
    """
    with form.rows(path, whole=False) as found:
        first = next(found, (0, []))[1] if form.header else []
        names = [field.strip() for field in first] if form.strip else first
        return names, [fields for _, fields in islice(found, rows)]


def _lines(path: Path, form: TextFormat) -> list[str]:
    """The first lines that are not blank, without their ends."""
    found: list[str] = []
    left = _LONGEST
    with open_lines(path, form.encoding, whole=False) as file:
        while left > 0 and len(found) <= ROWS:
            line = file.readline(left)
            if not line:
                break
            left -= len(line)
            if line.rstrip("\r\n"):
                found.append(line.rstrip("\r\n"))
    return found if left > 0 or len(found) == 1 else found[:-1]  # the last may be cut


# ---- separators and quotes


@dataclass(frozen=True)
class _Split:
    sep: str | None
    quoted: bool
    rows: Rows
    share: float  # of rows that have as many fields as most
    width: int


def _split(path: Path, lines: list[str], form: TextFormat, has_sep: bool, has_quoted: bool) -> _Split:
    tried = [
        found
        for sep in ([form.sep] if has_sep else _SEPARATORS)
        for found in [_tried(lines, sep, form, has_quoted)]
        if found.width > 1 or has_sep
    ]
    whole = [found for found in tried if found.share == 1]
    good = whole or [found for found in tried if found.share > 0.5 and len(found.rows[0]) == found.width]
    if len(good) > 1:
        good = [found for found in good if found.sep is not None]
    if not whole:  # the reader says what is wrong with the other lines
        good = [found for found in good if found.share == max(other.share for other in good)]
    if len(good) > 1 and good[0].sep not in ("\t", "::"):
        good = _without_decimals(good)
    if not good:
        raise ValueError(
            f"{path}: no separator divides all lines into as many fields; sep= (--sep) names it, sep=None is for runs of blanks; the first line is "
            f"{_shown(lines[0])}"
        )
    if len(good) > 1 and good[0].sep not in ("\t", "::"):
        ways = ", ".join(f"{found.sep!r} ({found.width} fields)" for found in good)
        raise ValueError(f"{path}: the separator may be {ways}; sep= says which; the first line is {_shown(lines[0])}")
    return good[0]


def _tried(lines: list[str], sep: str | None, form: TextFormat, has_quoted: bool) -> _Split:
    rows, quoted = None, form.quoted and sep is not None and len(sep) == 1
    plain = [line.split(sep) for line in lines]
    if quoted:
        rows = _quoted(lines, sep or ",", form)
        if (
            rows is None
            and not has_quoted
            and _share(plain)[0] == 1
            and not any(_is_quoted(field) for row in plain for field in row)
        ):
            quoted = False
    rows = plain if rows is None else rows
    share, width = _share(rows)
    return _Split(sep, quoted, rows, share, width)


def _quoted(lines: list[str], sep: str, form: TextFormat) -> Rows | None:
    """The fields of lines in which quotation marks quote; None where one lost its partner."""
    ended = [line + "\n" for line in lines]
    try:
        rows = [row for row in csv.reader(ended, delimiter=sep, strict=True, skipinitialspace=bool(form.strip)) if row]
    except csv.Error:
        return None
    return rows if len(rows) == len(lines) or form.newlines else None


def _is_quoted(field: str) -> bool:
    field = field.strip()
    return len(field) > 1 and field[0] == field[-1] == '"'


def _share(rows: Rows) -> tuple[float, int]:
    """Of the rows that have as many fields as most, and how many those are."""
    width, times = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
    return times / max(len(rows), 1), width


def _without_decimals(found: list[_Split]) -> list[_Split]:
    """Without the comma, where it stands in nothing but decimal numbers between other separators."""
    others = [one for one in found if one.sep != ","]
    for one in others:
        commas = [field for row in one.rows for field in row if "," in field]
        if len(others) == 1 and commas and all(map(_COMMAS.fullmatch, commas)):
            return others
    return found


# ---- comments, header, decimals


def _comment(path: Path, lines: list[str], form: TextFormat, has_sep: bool) -> str | None:
    mark = next((mark for mark in _MARKS if lines[0].startswith(mark)), None)
    if mark is None:
        return None
    marked = next((n for n, line in enumerate(lines) if not line.startswith(mark)), len(lines))
    rest = [line for line in lines[marked:] if not line.startswith(mark)]
    later = [line for line in lines[marked:] if line.startswith(mark)]
    for sep in ([form.sep] if has_sep else _SEPARATORS) if rest else ():
        share, width = _share([line.split(sep) for line in rest])
        fitting = [len(line.split(sep)) == width for line in lines[:marked] + later]
        if share == 1 and width > 1 and (all(fitting[:marked]) or any(fitting[marked:])):
            first = all(fitting[:marked])
            first = all(fitting[:marked])
            odd = lines[0] if first else later[fitting[marked:].index(True)]
            place = "the first line" if marked == 1 and first else f"a line that begins with {mark!r}"
            meant = "the names of the columns" if marked == 1 and first else "a row"
            raise ValueError(
                f"{path}: {place} may be a comment or {meant}; comment={mark!r} leaves it out, comment='' takes it; it is {_shown(odd)}"
            )
    return mark if rest else None


def _header(path: Path, rows: Rows, names: Collection[str]) -> bool:
    first, rest = [field.strip() for field in rows[0]], rows[1:]
    if names and set(names) <= set(first):
        return True
    graded = {role: [field for field in first if grade(field, role)] for role in ("user", "item", "rating", "time")}
    graded["title"] = [field for field in first if title_grade(field)]
    named = bool(graded["user"]) or sum(map(bool, graded.values())) > 1
    if named and any(list(map(str.strip, row)) == first for row in rest):
        return True  # and again, which the reader refuses
    counted = [str(n) for n in range(len(first))]
    if len(first) > 2 and first == ["", *counted[:-1]]:
        return True  # pandas' own names of columns, and none of its index
    kinds = [(_kind(field), _kind_below(rest, at)) for at, field in enumerate(first)]
    doubtful = (len(first) > 2 and first == counted) or (len(rest) > 2 and _are_numbered(kinds, rest))
    if any(own == below and own not in ("text", "none") for own, below in kinds) and not doubtful:
        return False  # a number above numbers
    if any(own == "text" and below in ("number", "date") for own, below in kinds):
        return True
    if doubtful:
        _refuse_header(path, first)
    if not rest and any(own in ("number", "date") for own, _ in kinds):
        return False
    below = [{row[at].strip() for row in rest if at < len(row)} for at in range(len(first))]
    if any(field and field in column for field, column in zip(first, below, strict=True)):
        return False  # names of columns are no ids
    shapes = [set(map(_shape, column)) for column in below]
    if any(_DIGIT.search(field) and _shape(field) in column for field, column in zip(first, shapes, strict=True)):
        return False  # "u1" above "u2"
    if any(
        column and not _DIGIT.search(field) and all(map(_DIGIT.search, column))
        for field, column in zip(first, below, strict=True)
    ):
        return True  # "buyer" above "u2"
    if not named:
        _refuse_header(path, first)
    return True


def _are_numbered(kinds: list[tuple[str, str]], rest: Rows) -> bool:
    """Whether a first row has a number above nothing but texts, as where columns are named by numbers."""
    return any(
        own == "number"
        and below == "text"
        and "number" not in {_kind(row[at].strip()) for row in rest if at < len(row)}
        for at, (own, below) in enumerate(kinds)
    )


def _refuse_header(path: Path, first: list[str]) -> NoReturn:
    raise ValueError(
        f"{path}: the first row may be the names of the columns or not; header=True or header=False says which; it is {', '.join(map(_shown, first))}"
    )


def _kind(field: str) -> str:
    if not field:
        return "none"
    return "number" if _NUMBER.fullmatch(field) or _COMMAS.fullmatch(field) else "date" if is_date(field) else "text"


def _shape(field: str) -> str:
    return re.sub(r"\d+", "0", field)


def _kind_below(rest: Rows, at: int) -> str:
    """The kind of all but a few of a column's fields."""
    kinds = Counter(_kind(row[at].strip()) for row in rest if at < len(row))
    kinds.pop("none", None)
    kind, times = kinds.most_common(1)[0] if kinds else ("none", 0)
    return kind if times >= 0.9 * sum(kinds.values()) else "text"


def _decimal(rows: Rows) -> str:
    """ "," where a column has numbers with commas, and none has points."""
    commas = False
    for at in range(max(map(len, rows), default=0)):
        column = [row[at].strip() for row in rows if at < len(row) and row[at].strip()]
        if column and all(map(_COMMAS.fullmatch, column)):
            commas |= any("," in field for field in column)
        elif column and any("." in field for field in column) and all(map(_NUMBER.fullmatch, column)):
            return "."
    return "," if commas else "."


def _shown(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "...")
