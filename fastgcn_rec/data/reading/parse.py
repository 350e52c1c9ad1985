"""Fields of a text file to arrays; BadValue names the first that cannot be read."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np

from ...core.ids import Array, as_texts
from ..rows import BadValue
from ..timeforms import formatted_seconds, hint
from ..times import is_date, iso_seconds, seconds_of_numbers

Ids = Literal["auto", "integer", "text"]
MISSING = (
    "nan",
    "NaN",
    "NAN",
    "null",
    "NULL",
    "Null",
    "None",
    "none",
    "\\N",
    "<NA>",
    "NA",
    "N/A",
    "#N/A",
    "NaT",
)  # what other programs write for nothing
MARK = "\ufeff"  # a byte order mark, which is no part of a text
_WHOLE = re.compile(r"([+-]?\d+)(?:\.0*)?", re.ASCII)
_DECIMALS = re.compile(r"[+-]?\d+\.\d+", re.ASCII)
_DECIMAL = re.compile(r"(-?\d+)\.0+", re.ASCII)


def shown(value: str) -> str:
    """A value as errors show it."""
    return repr(value if len(value) <= 60 else value[:57] + "...")


def parse_ids(
    values: Sequence[str], what: str, ids: Ids = "auto", strip: bool | None = None, missing: Collection[str] = MISSING
) -> Array:
    """int64 where every value is an integer as `str` writes it, otherwise texts; `ids` asks for one of the two."""
    taken = ids != "text" and not any(map(is_canonical, missing))  # "-1" may stand for none
    whole = _canonical_integers(values) if taken else None
    if whole is not None:
        return whole
    marked = next((row for row, value in enumerate(values) if value[0:1] == MARK), None)
    if marked is not None:
        raise BadValue(
            marked,
            f"the {what} {shown(values[marked])} begins with a byte order mark, as where files were joined; take it away",
        )
    plain = [value.strip() for value in values]
    if strip:
        values = plain
        whole = _canonical_integers(values) if taken else None
        if whole is not None:
            return whole
    elif strip is None and plain != list(values):
        row = next(n for n, (value, own) in enumerate(zip(values, plain, strict=True)) if value != own)
        raise BadValue(
            row,
            f"the {what} {shown(values[row])} has a blank at an end; read_csv's strip=True takes such blanks away, strip=False keeps them",
        )
    if not {*missing, ""}.isdisjoint(plain):
        row = next(n for n, value in enumerate(plain) if value in missing or not value)
        raise BadValue(row, _missing(what, values[row]))
    if ids == "integer":
        return _whole_numbers(values, what)
    whole = _canonical_integers(values) if ids == "auto" and not taken else None
    return as_texts(values) if whole is None else whole


def _missing(what: str, value: str) -> str:
    if not value.strip():
        return f"the {what} is empty; bad_lines='skip' of read_csv (--skip-bad-lines) leaves such lines out"
    return f"the {what} {shown(value)} stands for a missing value; bad_lines='skip' of read_csv (--skip-bad-lines) leaves such lines out, missing=() takes it as an id"


def is_canonical(text: str) -> bool:
    """Whether a text is an integer as Python writes it, of 64 bits."""
    return _canonical_integers([text]) is not None


def _canonical_integers(values: Sequence[str]) -> Array | None:
    """int64 where str(int(v)) == v for all of them ("007", "+7" and "7.0" are not), else None."""
    try:
        whole = list(map(int, values))
        return np.array(whole, np.int64) if list(map(str, whole)) == values else None
    except (ValueError, OverflowError):
        return None


def _whole_numbers(values: Sequence[str], what: str) -> Array:
    """ "007", "+7" and "7.0" are 7."""
    whole = np.zeros(len(values), np.int64)
    for row, value in enumerate(values):
        match = _WHOLE.fullmatch(value)
        if match is None or len(value) > 40 or not -(2**63) <= int(match[1]) < 2**63:
            raise BadValue(row, f"the {what} {shown(value)} is not an integer below 2**63; ids='text' takes any")
        whole[row] = int(match[1])
    return whole


def twice_written(distinct: Collection[str]) -> str | None:
    """A text such as "7.0" of which the integer is there too, so that it may be one id in two forms; None if there is none."""
    for text in distinct:
        match = _DECIMAL.fullmatch(text)
        if match is not None and match[1] in distinct:
            return text
    return None


def parse_numbers(values: Sequence[str], what: str, decimal: str = ".") -> Array:
    """float64, finite; `decimal` is the mark before fractions."""
    plain = values if decimal == "." else [_pointed(value, decimal) for value in values]
    try:
        numbers = np.array(list(map(float, plain)))
        if "_" not in (joined := "".join(plain)) and joined.isascii() and np.isfinite(numbers).all():
            return numbers
    except ValueError:
        pass
    row = next(n for n, value in enumerate(plain) if not _is_number(value))
    value = values[row]
    if not value.strip():
        raise BadValue(
            row, f"the {what} is empty; bad_lines='skip' of read_csv (--skip-bad-lines) leaves such lines out"
        )
    raise BadValue(row, f"the {what} {shown(value)} is not a finite number{_way_out(value, decimal)}")


def _pointed(value: str, decimal: str) -> str:
    return (
        value if "." not in value and decimal not in value else value.replace(decimal, ".") if "." not in value else ""
    )


def _way_out(value: str, decimal: str) -> str:
    other = "." if decimal == "," else ","
    if _DECIMALS.fullmatch(value.strip().replace(other, ".")) and other in value:
        return f", unless decimal={other!r} is given"
    return f" such as 4 or 4{decimal}5"


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value)) and value.isascii() and "_" not in value
    except ValueError:
        return False


def parse_times(
    values: Sequence[str], what: str, dates: bool, unit: str | None = None, form: str | None = None, decimal: str = "."
) -> Array:
    """Numbers as they are (int64 where all are integers) or of a `unit`, or seconds since 1970 where the column holds `dates`, or of a `form`."""
    plain = [value.strip() for value in values]
    if form is not None:
        try:
            return formatted_seconds(plain, form)
        except BadValue as bad:
            raise BadValue(bad.row, f"the {what} {bad.reason}") from None
    try:
        if dates:
            return iso_seconds(plain)
        whole = _canonical_integers(plain)
        numbers = parse_numbers(plain, what, decimal) if whole is None else whole
        return numbers if unit is None else seconds_of_numbers(numbers, unit)
    except BadValue as bad:
        value = plain[bad.row]
        if not value:
            raise
        if _is_number(value) if dates else is_date(value):
            forms = ("a number", "dates") if dates else ("a date", "numbers")
            reason = f"the {what} {shown(value)} is {forms[0]} while those before are {forms[1]}; use one form"
        else:
            reason = f"the {what} {shown(value)} is not a number or an ISO date such as 2011-12-09 12:50:00" + hint(
                value
            )
        raise BadValue(bad.row, reason) from None
