"""Times as people have them, to seconds since 1970 (UTC)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timezone
from typing import Any

import numpy as np

from ..core.ids import Array
from .rows import DRAWN, BadValue

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?))?(?: ?(Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?))?",
    re.ASCII | re.IGNORECASE,
)
_YEARS = 292_000  # before and after 1970, in which microseconds fit int64


def is_date(text: str) -> bool:
    """Whether a text has the form of an ISO date, with or without a time of day and a zone."""
    return _ISO.fullmatch(text) is not None


def iso_seconds(texts: Sequence[str]) -> Array:
    """Seconds since 1970 of ISO dates: UTC unless an offset says otherwise. BadValue names the first that is none.

    >>> iso_seconds(["1970-01-02", "1970-01-01T02:00:00.5+02:00", "1970-01-01 00:01Z"]).tolist()
    [86400.0, 0.5, 60.0]
    """
    plain: list[str] = []
    offsets = np.zeros(len(texts), np.int64)
    for row, text in enumerate(texts):
        match = _ISO.fullmatch(text)
        if match is None:
            raise BadValue(row, f"{text[:60]!r} is no ISO date such as 2011-12-09 12:50:00")
        day, clock, zone = match.groups()
        plain.append(day if clock is None else f"{day}T{clock.replace(',', '.')[:15]}")
        if zone and zone not in "Zz":
            digits = zone[1:].replace(":", "")
            offsets[row] = int(zone[0] + "1") * (3600 * int(digits[:2]) + 60 * int(digits[2:] or 0))
    try:
        moments = np.array(plain, np.str_).astype("datetime64[us]")
    except ValueError:  # one that has the form, but is none, such as the 31st of June
        moments = np.array([_moment(row, text) for row, text in enumerate(plain)], "datetime64[us]")
    return _seconds(moments - offsets.astype("timedelta64[s]"))


def _moment(row: int, text: str) -> np.datetime64:
    try:
        return np.datetime64(text, "us")
    except ValueError as error:
        raise BadValue(row, f"{text!r} is not a date ({error})") from None


def moments(values: Sequence[Any]) -> Array | None:
    """datetime64 [n] in UTC of datetime objects, with or without a zone, and dates; None where a value is something else. BadValue: one too far from 1970."""
    if not all(
        isinstance(value, (date, np.datetime64)) for value in values
    ):  # a datetime and a pandas.Timestamp are dates
        return None
    plain = [
        value.astimezone(timezone.utc).replace(tzinfo=None) if isinstance(value, datetime) and value.tzinfo else value
        for value in values
    ]
    for row, value in enumerate(values):  # Python's own end with the year 9999
        if not isinstance(value, np.datetime64) or np.isnat(value):
            continue
        if abs(int(value.astype("datetime64[Y]").astype(np.int64))) > _YEARS:
            raise BadValue(row, f"{value} does not fit int64 as microseconds since 1970")
    return np.array(plain, "datetime64[us]")


def seconds_of(moments: Array, name: str) -> Array:
    """Seconds since 1970 of datetime64 [n]: int64, or float64 where there are fractions of a second."""
    if np.isnat(moments).any():
        raise ValueError(
            f"{name} must not hold NaT, got it at position {int(np.isnat(moments).argmax())}; drop those events first"
        )
    if np.datetime_data(moments.dtype)[0] in "YMWDhm" and not _fits_seconds(moments):
        at = next(n for n in range(len(moments)) if not _fits_seconds(moments[n : n + 1]))
        raise ValueError(f"{name} must fit int64 as seconds since 1970, got year {moments[at]} at position {at}")
    return _seconds(moments)


def _fits_seconds(moments: Array) -> bool:
    try:
        return bool((moments.astype("datetime64[s]").astype(moments.dtype) == moments).all())  # NumPy before 2.5 wraps
    except OverflowError:
        return False


def _seconds(moments: Array) -> Array:
    whole = np.empty(moments.size, np.int64)
    for begin in range(0, moments.size, DRAWN):
        piece = moments[begin : begin + DRAWN]
        seconds = piece.astype("datetime64[s]")
        if not (seconds == piece).all():
            break
        whole[begin : begin + DRAWN] = seconds.astype(np.int64)
    else:
        return whole
    parts = whole.view(np.float64)
    for begin in range(0, moments.size, DRAWN):
        parts[begin : begin + DRAWN] = moments[begin : begin + DRAWN].astype("datetime64[us]").astype(np.int64) / 1e6
    return parts


UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # that numbers count, and how many a second has
_FROM = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"), (1e8, "s"))


def seconds_of_numbers(values: Array, unit: str) -> Array:
    """Seconds of numbers [n] in a unit of `UNITS`: int64 where all are whole seconds, else float64 to the microsecond."""
    if values.dtype.kind == "f":
        scaled: Array = values if unit == "s" else values / UNITS[unit]
        return scaled
    return _seconds(values.astype(np.int64, copy=False).view(f"datetime64[{unit}]"))


def unit_of(values: Iterable[float]) -> str | None:
    """The unit of `UNITS` that numbers count since 1970, by their size (from 1973 on); None where it does not say.

    >>> unit_of([1e9, 1.5e9]), unit_of([1_700_000_000_000]), unit_of([1, 2, 3]), unit_of([1e9, 1e12])
    ('s', 'ms', None, None)
    """
    units = {next((unit for least, unit in _FROM if value >= least), None) for value in values}
    return units.pop() if len(units) == 1 else None


def joined_seconds(parts: list[Array]) -> Array:
    """Parts of seconds, each int64 or float64, as `seconds_of` would give them of all moments at once; empties the list."""
    out = np.empty(
        sum(part.size for part in parts), np.int64 if all(p.dtype == np.int64 for p in parts) else np.float64
    )
    at = 0
    parts.reverse()
    while parts:
        part = parts.pop()
        out[at : at + part.size] = part * 1_000_000 / 1e6 if part.dtype != out.dtype else part
        at += part.size
        del part
    return out
