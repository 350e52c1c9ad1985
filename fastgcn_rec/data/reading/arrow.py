"""Arrow's columns, batch by batch, to `Interactions`: what `Interactions.from_raw` makes of whole columns, in bounded memory.

Of ids a code a row is kept and each distinct id once, of ratings and times eight bytes a row at most: no column lies in memory as a whole twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from ..._C import TextTable
from ...core.blocks import Blocks
from ...core.coding import IdCoder
from ...core.ids import Array
from ..interactions import Interactions
from ..rows import BadValue
from ..times import UNITS, iso_seconds, joined_seconds, seconds_of, seconds_of_numbers

Parse = Callable[[list[str]], Array]
ParseIds = Callable[[TextTable], Array | None]

# ISO texts of one form, which Arrow reads as `times.iso_seconds` does; without and with a zone.
_PLAIN = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?$"
_ZONED = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)$"


class BadRow(ValueError):
    """A row of many is not what it should be: ``row``, counted from 0 over all batches, and ``reason``."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"{reason}, at row {row}")
        self.row = row
        self.reason = reason


def events_of(
    batches: Any,
    columns: Mapping[str, str | int],
    *,
    time_unit: str | None = None,
    parse: Mapping[str, Parse] | None = None,
    ids: Mapping[str, ParseIds] | None = None,
    share: tuple[int, int] = (0, 1),
) -> Interactions:
    """Make `Interactions` of Arrow data, as `Interactions.from_raw` does, a batch at a time.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch, or anything with ``__arrow_c_stream__``
        A table, a reader, a pandas or Polars frame, a DuckDB relation. Columns may be dictionaries.
    columns : mapping of "user", "item", "rating", "time" to the name or the position of a column
        "user" and "item" are needed: integers of any width or texts. Ratings are numbers, truth values or decimals; times numbers, dates,
        timestamps of any unit and zone, or ISO texts.
    time_unit : "s", "ms", "us", "ns" or None
        What numbers count from 1970 on, which then become seconds. None: they stay as they are. Dates and timestamps know their own.
    parse : mapping of "rating" and "time" to functions, optional
        What makes values of a role's texts: called with the distinct texts of a batch, in the order in which they come. It may raise `BadValue`,
        counted in its list.
    ids : mapping of "user" and "item" to functions, optional
        Likewise: called once, with the table of all texts, for ids in its order, or None where the texts are ids as they stand.
    share : (int, int)
        (r, n): keep the events of the users r, r + n, r + 2n, ... alone, in the order in which they first come. The id spaces are of all.

    Raises
    ------
    ValueError
        A column that is not there, nulls, values that are not finite or do not fit: with the column, and as `BadRow` with the row.
    TypeError
        A column of another kind.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from fastgcn_rec.data.reading.arrow import events_of
    >>> table = pa.table({"who": ["ann", "bob", "ann"], "song": [7, 7, 9]})
    >>> events_of(table, {"user": "who", "item": "song"})
    Interactions(3 events, 2 users, 2 items)
    """
    if time_unit is not None and time_unit not in UNITS:
        raise ValueError(f"time_unit must be one of {', '.join(map(repr, UNITS))} or None, got {time_unit!r}")
    kinds: dict[str, Any] = {"user": IdCoder, "item": IdCoder, "rating": list, "time": list}
    if not {"user", "item"} <= set(columns) <= set(kinds):
        raise ValueError(f"columns must name user and item, and may name rating and time, got {', '.join(columns)}")
    parsers = {**(parse or {}), **(ids or {})}
    readers = {role: _Column(role, kinds[role](), parsers.get(role)) for role in columns}
    stream = iter(_batches(batches))
    n_rows = 0
    for batch in stream:
        for role, reader in readers.items():
            at = _position(batch.schema.names, columns[role], role)
            column, name = _plain(batch.column(at)), batch.schema.names[at]
            if column.null_count:
                more = chain(
                    [column], (_plain(later.column(_position(later.schema.names, name, role))) for later in stream)
                )
                count = sum(later.null_count for later in more)
                row = n_rows + column.is_null().index(True).as_py()
                raise BadRow(row, f"column {name!r} for {role} holds {count} nulls; drop those rows; the first is")
            reader.add(column, name, n_rows)
        if share[1] > 1:
            own = readers["user"].kept.last(batch.num_rows) % share[1] == share[0]
            for reader in readers.values():
                reader.thin(batch.num_rows, own)
        n_rows += batch.num_rows
    (user_ids, users), (item_ids, items) = readers["user"].ids(), readers["item"].ids()
    rating, time = (readers[role].values(time_unit) if role in readers else None for role in ("rating", "time"))
    return Interactions(users, items, user_ids, item_ids, rating, time)


def _batches(source: Any) -> Iterable[Any]:
    import pyarrow

    if isinstance(source, pyarrow.Table):
        source = source.to_reader()
    elif hasattr(source, "__arrow_c_stream__") and not isinstance(source, pyarrow.RecordBatchReader):
        source = pyarrow.RecordBatchReader.from_stream(source)
    none = True
    for batch in source:
        none = False
        yield batch
    if none and isinstance(source, pyarrow.RecordBatchReader):  # no rows have columns all the same
        yield pyarrow.RecordBatch.from_arrays(
            [pyarrow.nulls(0, field.type) for field in source.schema], schema=source.schema
        )


def first_batches(batches: Iterable[Any], rows: int) -> list[Any]:
    """The first batches, which hold `rows` rows or all that there are: the first of them may be empty."""
    found: list[Any] = []
    left = rows
    for batch in batches:
        found.append(batch)
        left -= batch.num_rows
        if left <= 0:
            break
    return found


def sample_of(column: Any, rows: int) -> list[Any]:
    """The first values of a column as Python has them; None for moments that it has not."""
    import pyarrow

    column = column.slice(0, rows)
    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except (OverflowError, ValueError):
        return [value for n in range(len(column)) for value in _safely(column[n])]


def _safely(scalar: Any) -> list[Any]:
    try:
        return [scalar.as_py()]
    except (OverflowError, ValueError):
        return [None]


def _position(names: list[str], column: str | int, role: str) -> int:
    shown = ", ".join(names)[:1000]
    if isinstance(column, str):
        if names.count(column) != 1:
            found = "several columns are named" if column in names else "there is no column"
            raise ValueError(f"{found} {column!r} for {role}; the columns are {shown}")
        return names.index(column)
    if isinstance(column, bool) or not isinstance(column, (int, np.integer)):
        raise TypeError(f"{role} must be a column's name or position, got {type(column).__name__}")
    if not 0 <= column < len(names):
        raise ValueError(f"{role}={column} is outside the columns 0 to {len(names) - 1}")
    return int(column)


class _Column:
    """One column while its batches come."""

    def __init__(self, role: str, kept: Any, parse: Any) -> None:
        self.role, self.kept, self.parse = role, kept, parse
        self.name = ""
        self.dates = False

    def add(self, column: Any, name: str, before: int) -> None:
        self.name = name
        what = f"column {name!r} for {self.role}"
        try:
            if self.role in ("user", "item"):
                self._add_ids(column, what)
            else:
                values = self._values(column, what)
                if not self.kept or self.kept[-1].dtype != values.dtype:
                    self.kept.append(Blocks(values.dtype))
                self.kept[-1].room(values.size)[:] = values
        except BadValue as bad:
            raise BadRow(before + bad.row, f"{what}: {bad.reason}") from None

    def thin(self, n: int, kept: Array) -> None:
        """Of the n rows of the last batch keep some."""
        rows = self.kept if isinstance(self.kept, IdCoder) else self.kept[-1]
        rows.thin(n, kept)

    def _add_ids(self, column: Any, what: str) -> None:
        import pyarrow

        kind = column.type
        if pyarrow.types.is_dictionary(kind) and _is_text(kind.value_type) and self.parse is None:
            used, indices = _used(column)
            self.kept.add_texts(*buffers_of(used), indices)
        elif pyarrow.types.is_dictionary(kind):
            self._add_ids(column.dictionary_decode(), what)
        elif _is_text(kind):
            self.kept.add_texts(*buffers_of(column))
        elif pyarrow.types.is_integer(kind):
            ids = column.to_numpy(zero_copy_only=False)
            if ids.dtype == np.uint64 and ids.size and int(ids.max()) >= 2**63:
                at = int(ids.argmax())
                raise BadValue(at, f"must fit int64, got {int(ids[at])}; pass such ids as strings")
            self.kept.add_integers(ids.astype(np.int64, copy=False))
        elif not pyarrow.types.is_null(kind):  # of which there is none left here
            floats = pyarrow.types.is_floating(kind)
            cause = " (pandas makes floats of integers where values are missing)" if floats else ""
            raise TypeError(f"{what} must be integers or strings, got {kind}{cause}; cast it to one of them")
        if self.kept.is_mixed():
            raise TypeError(f"{what} must be all integers or all strings, got both; cast it to one of them")

    def ids(self) -> tuple[Array, Any]:
        try:
            return self.kept.finish(self.parse)
        except BadValue as bad:
            raise BadRow(self.kept.row_of(bad.row), f"column {self.name!r} for {self.role}: {bad.reason}") from None

    def _values(self, column: Any, what: str) -> Array:
        import pyarrow

        types = pyarrow.types
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        kind = column.type
        if (
            self.role == "time" and self.parse is not None and types.is_integer(kind)
        ):  # a form of dates may be one of digits
            column = column.cast(pyarrow.string())
            kind = column.type
        if _is_text(kind):
            if self.parse is not None:
                return self._parsed(column)
            if self.role == "time":
                self.dates = True
                return _iso(column)
        numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        if self.role == "time" and (types.is_timestamp(kind) or types.is_date(kind)):
            self.dates = True
            unit = {"date32[day]": "D", "date64[ms]": "ms"}.get(str(kind)) or kind.unit
            width = np.int32 if unit == "D" else np.int64
            days = column.view(pyarrow.int32() if unit == "D" else pyarrow.int64()).to_numpy(zero_copy_only=False)
            return seconds_of(days.astype(width, copy=False).astype(f"datetime64[{unit}]", copy=False), what)
        if not numbers and not (self.role == "rating" and types.is_boolean(kind)) and not types.is_null(kind):
            raise TypeError(f"{what} must be numbers{' or dates' if self.role == 'time' else ''}, got {kind}")
        values = _decimals(column) if types.is_decimal(kind) else column.to_numpy(zero_copy_only=False)
        if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
            at = int((~finite).argmax())
            raise BadValue(at, f"must be finite, got {values[at]}; drop those events first")
        if self.role == "rating":
            small = values.dtype in (np.float32, np.float16, np.bool_)
            return values.astype(np.float32 if small else np.float64, copy=False)
        if values.dtype == np.uint64 and values.size and int(values.max()) >= 2**63:
            at = int(values.argmax())
            raise BadValue(at, f"must be below 2**63 where it is of integers, got {values[at]}; pass float64")
        return values.astype(np.int64 if values.dtype.kind in "iu" else np.float64, copy=False)

    def _parsed(self, column: Any) -> Array:
        texts, codes = _encoded(column)
        try:
            values: Array = self.parse(texts)[codes]
            return values
        except BadValue as bad:
            raise BadValue(int(np.flatnonzero(codes == bad.row)[0]), bad.reason) from None

    def values(self, time_unit: str | None) -> Array:
        kinds = [blocks.dtype for blocks in self.kept]
        parts = [part for blocks in self.kept for part in reversed(blocks.taken())]
        if self.dates:
            return joined_seconds(parts)
        out, at = np.empty(sum(part.size for part in parts), np.result_type(*kinds or [np.float64])), 0
        parts.reverse()
        while parts:  # what was copied goes
            part = parts.pop()
            out[at : at + part.size] = part
            at += part.size
            del part
        return seconds_of_numbers(out, time_unit) if self.role == "time" and time_unit else out


def _plain(column: Any) -> Any:
    """A column whose nulls Arrow counts: not in runs, nor a dictionary that has one among its values."""
    import pyarrow

    if str(column.type).startswith("run_end_encoded"):
        import pyarrow.compute as compute

        column = compute.run_end_decode(column)
    if pyarrow.types.is_dictionary(column.type) and column.dictionary.null_count:
        return column.dictionary_decode()
    return column


def _is_text(kind: Any) -> bool:
    return re.fullmatch("(large_)?string(_view)?", str(kind)) is not None


def _encoded(column: Any) -> tuple[list[str], Any]:
    """(the distinct texts in the order in which they come, codes into them [n])."""
    if str(column.type).endswith("_view"):
        column = column.cast("large_string")
    found = column.dictionary_encode()
    return found.dictionary.to_pylist(), found.indices.to_numpy(zero_copy_only=False)


def _used(column: Any) -> tuple[Any, Array]:
    """(the texts of a dictionary that rows have, codes into them [n])."""
    import pyarrow

    texts, codes = column.dictionary, column.indices.to_numpy(zero_copy_only=False)
    used = np.zeros(len(texts), bool)
    used[codes] = True
    if used.all():
        return texts, codes
    if str(texts.type).endswith("_view"):  # which have no filter
        texts = texts.cast("large_string")
    return texts.filter(pyarrow.array(used)), (np.cumsum(used) - 1)[codes]


def buffers_of(texts: Any) -> tuple[Array, Array]:
    """The offsets of texts and their bytes."""
    if str(texts.type).endswith("_view"):
        texts = texts.cast("large_string")
    _, offsets, data = texts.buffers()
    kind = np.int64 if str(texts.type).startswith("large") else np.int32
    if not len(texts):
        return np.zeros(1, kind), np.zeros(0, np.uint8)
    data = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return np.frombuffer(offsets, kind)[texts.offset : texts.offset + len(texts) + 1], data


def _iso(column: Any) -> Array:
    """Seconds of ISO texts: by Arrow where all have one form, else one by one."""
    import pyarrow
    import pyarrow.compute as compute

    if str(column.type).endswith("_view"):
        column = column.cast("large_string")
    for form, kind in ((_PLAIN, pyarrow.timestamp("us")), (_ZONED, pyarrow.timestamp("us", "UTC"))):
        if len(column) and compute.all(compute.match_substring_regex(column, form)).as_py():
            try:
                stamps = column.cast(kind)
            except pyarrow.ArrowInvalid:  # the 31st of June; what is wrong is said below
                break
            return seconds_of(
                stamps.view(pyarrow.int64()).to_numpy(zero_copy_only=False).view("datetime64[us]"), "time"
            )
    return iso_seconds(column.to_pylist())


def _decimals(column: Any) -> Array:
    """float64, each correctly rounded, as Python's float(Decimal) is."""
    import pyarrow

    whole = column.cast(pyarrow.decimal128(38, column.type.scale)) if column.type.bit_width < 128 else column
    scale, n = whole.type.scale, len(whole)
    if whole.type.bit_width == 128 and 0 <= scale <= 22 and n:
        halves = np.frombuffer(whole.buffers()[1], np.int64)[2 * whole.offset : 2 * (whole.offset + n)].reshape(n, 2)
        if (halves[:, 1] == halves[:, 0] >> 63).all() and (np.abs(halves[:, 0]) < 2**53).all():
            quotient: Array = halves[:, 0] / 10.0**scale  # both exact: one rounding
            return quotient
    return np.array([float(value) for value in column.to_pylist()], np.float64)
