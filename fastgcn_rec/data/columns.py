"""What a user gives for the columns of `Interactions`: ratings, times and infos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from numbers import Real
from typing import Any

import numpy as np

from ..core.ids import Array, Ints, as_texts, is_missing, is_text
from .rows import BadValue
from .timeforms import formatted_seconds, hint
from .times import iso_seconds, moments, seconds_of, seconds_of_numbers


def ratings(rating: Iterable[Any] | Array | None, n: int) -> Array | None:
    """float32 [n] where given in it (or as float16 or truth values), otherwise float64: so a threshold means what was given."""
    if rating is None:
        return None
    values = _numbers(_given(rating, "rating", n), "rating")
    return values.astype(np.float32 if values.dtype in (np.float32, np.float16, np.bool_) else np.float64, copy=False)


def times(time: Iterable[Any] | Array | None, n: int, unit: str | None = None, form: str | None = None) -> Array | None:
    """int64 or float64 [n]: numbers as they are or of a `unit`, dates as seconds since 1970, texts of a `form`."""
    if time is None:
        return None
    values = _given(time, "time", n)
    if form is not None and values.dtype.kind in "OUTiu" and not _are_dates(values):
        try:
            return formatted_seconds([str(value) for value in values.tolist()], form)
        except BadValue as bad:
            raise ValueError(f"time: {bad.reason}, at position {bad.row}") from None
    if values.dtype.kind == "M":
        return seconds_of(values, "time")
    listed = values.tolist() if is_text(values) else []
    if listed and all(isinstance(value, str) for value in listed):
        try:
            return iso_seconds(listed)
        except BadValue as bad:
            raise ValueError(
                f"time: {bad.reason}, at position {bad.row}{hint(listed[bad.row]) or '; pass numbers or dates'}"
            ) from None
    if listed and any(isinstance(value, str) for value in listed):
        raise TypeError("time must be all numbers or all dates, got texts and others")
    try:
        when = moments(listed) if listed else None
    except BadValue as bad:
        raise ValueError(f"time: {bad.reason}, at position {bad.row}; leave it out, or pass numbers") from None
    if when is not None:
        return seconds_of(when, "time")
    values = _numbers(values, "time")
    if values.dtype == np.bool_:
        raise TypeError("time must be numbers or dates, got dtype bool")
    if values.dtype == np.uint64 and values.size and int(values.max()) >= 2**63:
        raise ValueError(
            f"time must be below 2**63 where it is of integers, got {values.max()} at position {values.argmax()}; pass float64"
        )
    values = values.astype(np.int64 if values.dtype.kind in "iu" else np.float64, copy=False)
    return values if unit is None else seconds_of_numbers(values, unit)


def _are_dates(values: Array) -> bool:
    return values.dtype == object and bool(values.size) and isinstance(values[0], (date, np.datetime64))


def _given(values: Iterable[Any] | Array, name: str, n: int) -> Array:
    """The values as an array [n], of objects where they are texts or other things than numbers."""
    if not hasattr(values, "__array__"):
        values = list(values)
        if any(isinstance(value, str) for value in values):  # NumPy would make fixed-width unicode of all
            listed = np.empty(len(values), object)
            listed[:] = values
            values = listed
    column = np.asarray(values)
    if column.shape != (n,):
        raise ValueError(f"{name} must have one value an event = [{n}], got shape {list(column.shape)}")
    return column


def _numbers(values: Array, name: str) -> Array:
    if values.dtype == object and values.size:  # Decimal, pandas.NA, ...
        listed = [np.nan if is_missing(value) else value for value in values.tolist()]
        other = next(
            (value for value in listed if not isinstance(value, Real) and type(value).__name__ != "Decimal"), None
        )
        if other is not None:
            raise TypeError(f"{name} must be numbers, got {type(other).__name__}")
        values = np.array([float(value) for value in listed])
    if values.size and values.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numbers, got dtype {values.dtype}")
    finite = np.isfinite(values.astype(np.float64, copy=False))
    if not finite.all():
        at = int((~finite).argmax())
        raise ValueError(f"{name} must be finite, got {values[at]} at position {at}; drop those events first")
    return values


def infos(info: Mapping[str, Any] | None, order: Ints | None, one: str) -> dict[str, Array]:
    """The columns of `one`'s ("an item", "a user") ids, given in the order of its ids, in sorted order."""
    side, columns = one.split()[1], {}
    if info is not None and hasattr(info, "column_names"):  # an Arrow table
        info = dict(zip(info.column_names, info.columns, strict=True))  # type: ignore[attr-defined]
    given = {} if info is None else dict(info.items())  # a pandas DataFrame has no truth value
    if not given:
        return {}
    if order is None:
        raise ValueError(
            f"{side}_info needs {side}_ids: its columns are aligned with them; pass {side}_ids=[...] as well"
        )
    for name, column in given.items():
        values = as_column(column, f"{side}_info[{name!r}]")
        if values.shape[:1] != order.shape:
            raise ValueError(
                f"{side}_info[{name!r}] must have one row {one} id = {order.size}, got {list(values.shape)}"
            )
        columns[name] = values[order]
    return columns


def as_column(values: Iterable[Any] | Array, name: str) -> Array:
    """Return a column of an info: numbers, truth values and dates (datetime64, in UTC) as they are, texts as an object array of str.

    A missing value is "" among texts, NaN among numbers and NaT among dates. `name` is the column's in errors.
    """
    column: Array
    if hasattr(values, "__array__"):
        column = np.asarray(values)
        if not is_text(column):
            return column
        if column.ndim != 1:
            raise ValueError(f"{name} must be one-dimensional where it holds texts, got shape {list(column.shape)}")
        values = column.tolist()
    values = list(values)
    kinds = {"str" if isinstance(value, str) else type(value).__name__ for value in values if not is_missing(value)}
    if kinds <= {"str"}:
        return as_texts("" if is_missing(value) else value for value in values)
    if "str" in kinds:
        raise TypeError(
            f"{name} must be all numbers or all strings, got {', '.join(sorted(kinds))}; convert them with str()"
        )
    try:
        when = moments([np.datetime64("NaT", "us") if is_missing(value) else value for value in values])
    except BadValue as bad:
        raise ValueError(f"{name}: {bad.reason}, at position {bad.row}; take an array of another unit") from None
    column = np.asarray([np.nan if is_missing(value) else value for value in values]) if when is None else when
    if column.dtype.kind not in "biufM":
        raise TypeError(f"{name} must hold numbers or strings, got {', '.join(sorted(kinds))}")
    return column
