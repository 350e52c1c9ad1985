"""Tables in memory to `Interactions`: pandas, Polars, Arrow, DuckDB, a dict of columns.

Where pyarrow is installed they come as Arrow's batches (the Arrow PyCapsule interface), else column by column as NumPy's arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import cached_property, partial
from itertools import chain, islice
from typing import Any

import numpy as np

from ...core.ids import Array, is_missing
from ..interactions import Interactions
from ..timeforms import check_times, formatted_seconds
from .arrow import events_of, first_batches, sample_of
from .events import naming
from .guess import check_guessed_unit, guess_columns, guessed_unit
from .sample import SampledColumn

_HEAD = 1000  # rows by which columns are told apart
_BATCH_ROWS = 1 << 17


def is_frame(value: Any) -> bool:
    """Whether something is a table of columns, and no path or list of paths."""
    return isinstance(value, Mapping) or any(
        hasattr(value, name)
        for name in ("__arrow_c_stream__", "__arrow_c_array__", "iloc", "collect_schema", "fetchnumpy")
    )


def read_frame(
    frame: Any,
    user: str | int | None = None,
    item: str | int | None = None,
    rating: str | int | None = None,
    time: str | int | None = None,
    *,
    time_unit: str | None = None,
    time_format: str | None = None,
) -> Interactions:
    """Make `Interactions` of a table in memory.

    Parameters
    ----------
    frame : pandas or Polars DataFrame, Polars LazyFrame, Arrow table, batch or reader, DuckDB relation, mapping of names to columns
        Anything with ``__arrow_c_stream__``. What pandas has as an index may be named as a column.
    user, item, rating, time : str or int, optional
        Columns by name or position. Default: guessed by names and values, or an error that shows the columns; "" says that there is none.
    time_unit : "s", "ms", "us", "ns", "" or None
        What times that are numbers count from 1970 on; they become seconds. None: guessed by their size; "": they stay as they are.
    time_format : str, optional
        The form of dates that are no ISO texts, as `datetime.strptime` has it ("%d.%m.%Y %H:%M"); UTC without an offset.

    Raises
    ------
    TypeError
        Something that is no table, or a column of another kind.
    ValueError
        A column that is not there, columns that cannot be told apart, missing values, values that are not finite or do not fit.

    Examples
    --------
    >>> from fastgcn_rec.data import read_frame
    >>> read_frame({"listener": ["ann", "bob"], "song": [7, 7], "at": [1_600_000_000_000, 1_600_000_060_000]}).time.tolist()
    [1600000000, 1600000060]
    """
    check_times(time_unit or None, time_format)
    table = _table(frame)
    given = {"user": user, "item": item, "rating": rating, "time": time}
    with closing(table):
        columns = {role: table.place(column, role) for role, column in given.items() if column is not None}
        head = table.head()
        at = guess_columns(table.what, head, columns, time_unit=time_unit, time_format=time_format)
        labels = [column.name for column in head]
        places = {
            role: column if isinstance(column, int) else labels.index(column)
            for role, column in at.items()
            if column != ""
        }
        unit = time_unit
        if unit is None and time_format is None and "time" in places:
            unit = guessed_unit(table.what, head[places["time"]]) or ""
        events = table.events(places, unit or None, time_format)
    if unit is not None and time_unit is None and head[places["time"]].numbers is not None:
        check_guessed_unit(table.what, events.time, unit)
    return events


def head_of_frame(frame: Any) -> list[SampledColumn]:
    """The columns of the first rows of a table that can be read again."""
    table = _table(frame)
    with closing(table):
        return table.head()


def columns_of_frame(frame: Any) -> dict[str, Any]:
    """The columns of a table by their names, as texts, as arrays or lists."""
    table = _table(frame.collect() if hasattr(frame, "collect_schema") and hasattr(frame, "lazy") else frame)
    return {table.label(n): table.whole(n) for n in range(len(table.names))}


class _Table:
    """A table of which columns are got one by one."""

    what = "the frame"
    advice = "drop those rows"

    def close(self) -> None:
        """Give back what reads the table."""

    def __init__(self, names: Sequence[Any], column: Callable[[int], Any], what: str = "") -> None:
        self.names, self.column = list(names), column
        self.what = what or self.what

    def place(self, column: str | int, role: str) -> str | int:
        """The position of a column that is given by its name or its position; "" stays."""
        if column == "" and (role in ("rating", "time") or "" not in self.names):
            return column
        if column in self.names:
            if self.names.count(column) > 1:
                raise ValueError(f"{self.what}: several columns are named {column!r}; give the position of {role}")
            return self.names.index(column)
        if isinstance(column, str):
            shown = ", ".join(map(str, self.names))[:1000]
            raise ValueError(f"{self.what}: no column {column!r} for {role}; the columns are {shown}")
        if isinstance(column, bool) or not isinstance(column, (int, np.integer)):
            raise TypeError(f"{role} must be a column's name or position, got {type(column).__name__}")
        if not 0 <= column < len(self.names):
            raise ValueError(f"{self.what}: {role}={column} is outside the columns 0 to {len(self.names) - 1}")
        return int(column)

    def head(self) -> list[SampledColumn]:
        unnamed = self.names == list(range(len(self.names)))
        return [
            SampledColumn(n if unnamed else str(name), self.sampled(n), texts=False)
            for n, name in enumerate(self.names)
        ]

    def whole(self, at: int) -> Any:
        """All of a column, as an array or a list."""
        return self.column(at)

    def sampled(self, at: int) -> Iterable[Any]:
        column = self.column(at)
        first = column[:_HEAD] if hasattr(column, "__getitem__") else islice(column, _HEAD)
        return first.tolist() if hasattr(first, "tolist") else list(first)

    def events(self, at: Mapping[str, int], unit: str | None, form: str | None) -> Interactions:
        read = {role: self.column(place) for role, place in at.items()}
        try:
            with naming(self.what):
                return Interactions.from_raw(
                    read["user"], read["item"], read.get("rating"), read.get("time"), time_unit=unit, time_format=form
                )
        except (TypeError, ValueError):
            for role, column in read.items():  # how many are missing says more than which is the first
                self._refuse_missing(role, at[role], column)
            raise

    def label(self, at: int) -> str:
        """The name of a column in errors, one of its own."""
        name = str(self.names[at])
        return name if list(map(str, self.names)).count(name) == 1 else f"{name} (column {at})"

    def streamed(self, reader: Any, at: Mapping[str, int], unit: str | None, form: str | None) -> Interactions:
        parse = {} if form is None else {"time": partial(formatted_seconds, form=form)}
        with naming(self.what):
            return events_of(
                reader, {role: self.label(place) for role, place in at.items()}, time_unit=unit, parse=parse
            )

    def _refuse_missing(self, role: str, place: int, column: Any) -> None:
        missing = _missing(column)
        if missing.any():
            name, first = self.names[place], int(missing.argmax())
            raise ValueError(
                f"{self.what}: the column {name!r} for {role} has missing values in {int(missing.sum())} of {missing.size} rows, the first in row "
                f"{first}; {self.advice.format(name=name)}{self._cause(role, column)}"
            )

    @staticmethod
    def _cause(role: str, column: Any) -> str:
        floats = role in ("user", "item") and getattr(getattr(column, "dtype", None), "kind", "") == "f"
        return ", and .astype('int64') makes integers again of what pandas made floats for their sake" if floats else ""


class _PandasTable(_Table):
    what = "the pandas DataFrame"
    advice = "frame.dropna(subset=[{name!r}]) drops them"

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        levels = [name for name in frame.index.names if name is not None and name not in list(frame.columns)]
        if levels:
            self.advice = "frame.reset_index().dropna(subset=[{name!r}]) drops them"
        super().__init__([*frame.columns, *levels], self._column)

    def _column(self, at: int) -> Any:
        width = self.frame.shape[1]
        return self.frame.iloc[:, at] if at < width else self.frame.index.get_level_values(self.names[at]).to_series()

    def sampled(self, at: int) -> Iterable[Any]:
        return self._column(at).iloc[:_HEAD].tolist()

    def events(self, at: Mapping[str, int], unit: str | None, form: str | None) -> Interactions:
        arrow = _arrow()
        if arrow is None:
            return super().events(at, unit, form)
        read = {role: self._column(place) for role, place in at.items()}
        for role, column in read.items():
            self._refuse_missing(role, at[role], column)
        try:
            arrays = {self.label(place): arrow.array(read[role], from_pandas=True) for role, place in at.items()}
        except (arrow.ArrowException, TypeError, OverflowError):  # columns of mixed kinds: what is wrong is said there
            return super().events(at, unit, form)
        return self.streamed(arrow.table(arrays).to_reader(_BATCH_ROWS), at, unit, form)


class _ArrowTable(_Table):
    """Anything whose batches Arrow can take, once: the first is kept until then."""

    what = "the table"

    def __init__(self, arrow: Any, frame: Any, what: str = "") -> None:
        if isinstance(frame, arrow.RecordBatch):
            frame = arrow.Table.from_batches([frame])
        if isinstance(frame, arrow.Table):
            frame = frame.to_reader(_BATCH_ROWS)
        self.arrow, self.reader = arrow, self._reader(arrow, frame, what or self.what)
        self.first = first_batches(self.reader, _HEAD)
        super().__init__(self.reader.schema.names, self._column, what)

    @staticmethod
    def _reader(arrow: Any, frame: Any, what: str) -> Any:
        if isinstance(frame, arrow.RecordBatchReader):
            return frame
        if int(arrow.__version__.split(".")[0]) < 18 and hasattr(frame, "to_arrow"):
            return frame.to_arrow().to_reader(_BATCH_ROWS)  # Polars' views of texts are new to Arrow then
        if hasattr(frame, "fetchnumpy") and hasattr(frame, "project"):
            frame = frame.project("*")  # before DuckDB 1.3 a relation is streamed once
        try:
            return arrow.RecordBatchReader.from_stream(frame)
        except arrow.ArrowException as error:
            raise TypeError(
                f"{what} has a column that Arrow does not know ({error}); cast it, or leave it out"
            ) from error
        except TypeError as error:
            package = type(frame).__module__.split(".")[0]
            version = getattr(sys.modules.get(package), "__version__", "of unknown version")
            reason = str(error).partition("\n")[0]
            raise TypeError(
                f"{what} ({package} {version}) does not give its columns as Arrow asks for them: {reason}; a newer {package} may"
            ) from error

    def close(self) -> None:
        self.reader.close()  # an open one keeps a DuckDB connection from any other query

    def _column(self, at: int) -> Any:
        return [value for batch in self.first for value in sample_of(batch.column(at), _HEAD)]

    @cached_property
    def _all(self) -> Any:
        return self.arrow.Table.from_batches([*self.first, *self.reader], self.reader.schema)

    def whole(self, at: int) -> Any:
        return self._all.column(at).to_pylist()

    def events(self, at: Mapping[str, int], unit: str | None, form: str | None) -> Interactions:
        arrow, schema = self.arrow, self.reader.schema
        places = sorted(set(at.values()))
        few = arrow.schema([schema.field(n).with_name(self.label(n)) for n in places])
        batches = (
            arrow.RecordBatch.from_arrays([batch.column(n) for n in places], schema=few)
            for batch in chain(self.first, self.reader)
        )
        return self.streamed(arrow.RecordBatchReader.from_batches(few, batches), at, unit, form)


class _LazyTable(_Table):
    """A Polars LazyFrame: of its columns those are computed that are read."""

    what = "the Polars LazyFrame"

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        super().__init__(frame.collect_schema().names(), self._column)

    @cached_property
    def _first(self) -> Any:
        return self.frame.head(_HEAD).collect()

    def _column(self, at: int) -> Any:
        return self._first.to_series(at)

    def sampled(self, at: int) -> Iterable[Any]:
        return self._column(at).to_list()

    def events(self, at: Mapping[str, int], unit: str | None, form: str | None) -> Interactions:
        places = sorted(set(at.values()))
        table = _table(self.frame.select([self.names[place] for place in places]).collect(), self.what)
        return table.events({role: places.index(place) for role, place in at.items()}, unit, form)


def _table(frame: Any, what: str = "") -> _Table:
    if isinstance(frame, Mapping):
        return _Table(list(frame), [_listed(column, name) for name, column in frame.items()].__getitem__, what)
    if (
        hasattr(frame, "name")
        and not hasattr(frame, "columns")
        and (hasattr(frame, "iloc") or hasattr(frame, "to_frame"))
    ):
        raise TypeError(
            "a frame must have columns, got one alone, a Series; pass a frame, or a dict such as {'user': ..., 'item': ...}"
        )
    if hasattr(frame, "collect_schema") and hasattr(frame, "lazy") and not hasattr(frame, "__arrow_c_stream__"):
        return _LazyTable(frame)
    if hasattr(frame, "iloc"):
        return _PandasTable(frame)
    arrow = _arrow()
    takes = arrow is not None and (
        hasattr(arrow.RecordBatchReader, "from_stream") or type(frame).__module__.startswith("pyarrow")
    )
    if takes and (hasattr(frame, "__arrow_c_stream__") or isinstance(frame, arrow.RecordBatch)):
        known = {"polars": "the Polars DataFrame", "duckdb": "the DuckDB relation", "pyarrow": "the Arrow table"}
        return _ArrowTable(arrow, frame, what or known.get(type(frame).__module__.split(".")[0], ""))
    if hasattr(frame, "get_columns"):  # Polars
        return _Table(frame.columns, frame.to_series, what or "the Polars DataFrame")
    if hasattr(frame, "fetchnumpy"):  # DuckDB
        read = frame.fetchnumpy()
        return _Table(list(read), list(read.values()).__getitem__, "the DuckDB relation")
    raise TypeError(
        f"a frame must be of pandas, Polars, Arrow or DuckDB, or a dict of columns, got {type(frame).__name__}"
        + (
            "; this kind needs pyarrow: pip install 'fastgcn_rec[parquet]'"
            if hasattr(frame, "__arrow_c_stream__")
            else ""
        )
    )


def _listed(column: Any, name: Any) -> Any:
    """A column that can be read more than once."""
    if hasattr(column, "__len__") or (hasattr(column, "__array__") and getattr(column, "ndim", 0) > 0):
        return column
    if not isinstance(column, Iterable):
        raise TypeError(f"the frame: the column {name!r} must be a list or an array, got {type(column).__name__}")
    return list(column)


def _missing(column: Any) -> Array:
    """Which values of a column stand for none, bool [n]."""
    if hasattr(column, "isna"):  # pandas
        return np.asarray(column.isna(), bool)
    if hasattr(column, "is_null"):  # Polars and Arrow
        return np.asarray(column.is_null(), bool)
    if isinstance(column, np.ma.MaskedArray):
        return np.ma.getmaskarray(column)
    values = np.asarray(column) if hasattr(column, "__array__") else column
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuSU":
        return np.zeros(len(values), bool)
    return np.fromiter(map(is_missing, values.tolist() if isinstance(values, np.ndarray) else values), bool)


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        return None
    return pyarrow
