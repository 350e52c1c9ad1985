"""Text files by a kernel: a fast way where nothing in a file is doubtful, with what the reader of `text` gives; that one reads all others, and says
what is wrong with them.

A block is doubtful where the two might differ: lone quotation marks, quoted line ends, lone carriage returns, NUL, lines as long as the csv module's
fields may be, bytes that are no text. The kernel splits lines into Arrow's texts alone; what they mean is decided by `parse`, which sees each
distinct one, unless nothing about them needs a decision.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from ... import _C
from ...core.ids import Array, is_text
from ..interactions import Interactions
from ..rows import BadValue
from ..times import is_date, seconds_of_numbers
from .arrow import buffers_of, events_of
from .compressed import archive_of, open_bytes
from .events import read_events
from .lines import encoding_of
from .parse import is_canonical, parse_ids, parse_numbers, parse_times, twice_written
from .text import TextFormat

BLOCK = 1 << 22
SMALL = 1 << 20  # bytes of files that are read before Arrow is imported
_WINDOW = 1 << 16
_LIMIT = 1 << 17  # the csv module's for a field, unless it was changed


def text_events(
    paths: Path | Sequence[Path], form: TextFormat, at: dict[str, int], width: int, names: Sequence[str | int] = ()
) -> Interactions:
    """The events of text files of one table, by the faster of two ways that give the same; parameters as of `events.read_events`."""
    paths = [paths] if isinstance(paths, Path) else list(paths)
    events = _by_kernel(paths, form, at, width, names) if _may_be_plain(paths, form, width) else None
    return read_events(paths, form, at, width, names) if events is None else events


def _may_be_plain(paths: list[Path], form: TextFormat, width: int) -> bool:
    if form.newlines or form.comment or form.sep is None or width < 2:
        return False
    if "\0" in form.sep or (form.quoted and (len(form.sep) > 1 or form.sep == '"' or csv.field_size_limit() < _LIMIT)):
        return False
    if form.sep.isspace() and form.strip:
        return False
    if sum((archive_of(path) or path).stat().st_size for path in paths) < SMALL:
        return False
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


def _by_kernel(
    paths: list[Path], form: TextFormat, at: dict[str, int], width: int, names: Sequence[str | int]
) -> Interactions | None:
    """None where something is doubtful or bad."""
    import pyarrow

    texts = {"user", "item"} if form.ids == "text" or any(map(is_canonical, form.missing)) else set()
    while True:
        table = _Table(form, at, width, texts, names)
        ids = {role: partial(table.ids, role=role) for role in ("user", "item")}
        try:
            events = events_of(table.batches(paths), {role: role for role in at}, ids=ids)
        except _Mixed as mixed:
            texts = {*texts, mixed.role}
        except (_Doubtful, ValueError, TypeError, OSError, pyarrow.ArrowException):
            return None
        else:
            return events if len(events) else None


class _Doubtful(Exception):
    pass


class _Mixed(Exception):
    """Ids that were integers so far, and are no more."""

    def __init__(self, role: str) -> None:
        super().__init__(role)
        self.role = role


class _Table:
    def __init__(
        self, form: TextFormat, at: dict[str, int], width: int, texts: set[str], names: Sequence[str | int]
    ) -> None:
        self.form, self.at, self.width, self.names = form, at, width, names
        self.texts = texts  # the roles of ids that are not integers
        self.whole: set[str] = set()  # those that were so far
        self.dates: bool | None = None

    def ids(self, texts: _C.TextTable, role: str) -> Array | None:
        name = str(self.names[self.at[role]]) if self.form.header else None
        if name is not None and texts.has(name):  # perhaps the header again
            raise _Doubtful
        blank, decimal, other = texts.forms()
        own = self.form.ids == "text" or (self.form.ids == "auto" and other and not decimal)
        if own and not blank and not any(map(texts.has, ("", *self.form.missing))):
            return None
        ids = parse_ids(texts.texts(), role, self.form.ids, self.form.strip, self.form.missing)
        if self.form.ids == "auto" and is_text(ids) and twice_written(set(ids.tolist())) is not None:
            raise _Doubtful
        return ids

    def batches(self, paths: list[Path]) -> Iterator[Any]:
        """Record batches of the roles: ids int64 or texts, ratings float64, times numbers or texts of dates."""
        import pyarrow

        places = sorted(set(self.at.values()))
        for path in paths:
            with open_bytes(path) as stream:
                header = self.form.header
                for block in _blocks(stream, encoding_of(path, self.form.encoding, whole=False)):
                    texts = _split(block, self.form, self.width, places)
                    if header:
                        texts, header = {place: column[1:] for place, column in texts.items()}, False
                    if len(texts[places[0]]):
                        columns = {role: self._column(role, texts[place]) for role, place in self.at.items()}
                        yield pyarrow.RecordBatch.from_pydict(columns)

    def _column(self, role: str, column: Any) -> Any:
        import pyarrow

        if role in ("user", "item"):
            whole = None if role in self.texts else _integers(column)
            if whole is not None:
                self.whole.add(role)
                return whole
            if role in self.whole:
                raise _Mixed(role)
            self.texts.add(role)
            return column
        if role == "rating":
            numbers = _floats(column) if self.form.decimal == "." else None
            return (
                _each(column, lambda texts: parse_numbers(texts, role, self.form.decimal))
                if numbers is None
                else numbers
            )
        unit, own = self.form.time_unit, self.form.time_format
        if self.dates is None:
            self.dates = own is None and is_date(column[0].as_py().strip())
        if self.dates:
            return column
        numbers = _integers(column) if own is None else None
        if numbers is None and own is None and self.form.decimal == ".":
            numbers = _floats(column)
        if numbers is None:
            return _each(column, lambda texts: parse_times(texts, role, False, unit, own, self.form.decimal))
        return pyarrow.array(seconds_of_numbers(numbers.to_numpy(), unit)) if unit else numbers


def _integers(column: Any) -> Any:
    """int64 where all texts are integers as Python writes them, else None."""
    return _numbers(column, np.int64, _C.whole_numbers)


def _floats(column: Any) -> Any:
    """float64 where Arrow takes all texts for finite numbers, else None. What it takes, Python takes for the same."""
    import pyarrow

    short = _numbers(column, np.float64, _C.short_decimals)
    if short is not None:
        return short
    try:
        numbers = column.cast(pyarrow.float64())
    except pyarrow.ArrowInvalid:
        return None
    if not np.isfinite(numbers.to_numpy()).all():
        raise _Doubtful
    return numbers


def _numbers(column: Any, kind: type[np.generic], parse: Callable[[int, int, int, int], bool]) -> Any:
    import pyarrow

    offsets, data = buffers_of(column)
    numbers = np.empty(len(column), kind)
    whole = parse(offsets.ctypes.data, data.ctypes.data, numbers.size, numbers.ctypes.data)
    return pyarrow.array(numbers) if whole else None


def _each(column: Any, parse: Callable[[list[str]], Array]) -> Any:
    """The values of texts, of which each distinct one is parsed once."""
    import pyarrow

    coded = column.dictionary_encode()
    try:
        values = parse(coded.dictionary.to_pylist())
    except BadValue:
        raise _Doubtful from None
    return pyarrow.array(values[coded.indices.to_numpy()])


def _blocks(stream: IO[bytes], encoding: str) -> Iterator[bytes]:
    """Whole lines in UTF-8, without a byte order mark."""
    recoded = codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig")
    decoder = codecs.getincrementaldecoder(encoding)()
    rest, begun, raw = b"", False, b" "
    while raw:
        raw = stream.read(BLOCK)
        more = raw
        if recoded or not raw.isascii() or decoder.getstate()[0]:
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeError:
                raise _Doubtful from None
            more = text.encode() if recoded else raw
        if not begun and not recoded:
            more = more.removeprefix(codecs.BOM_UTF8)
        begun = True
        block = rest + more
        cut = block.rfind(b"\n") + 1 if raw else len(block)
        block, rest = block[:cut], block[cut:]
        if len(rest) > max(BLOCK, _LIMIT):
            raise _Doubtful
        if codecs.BOM_UTF8 in block:
            raise _Doubtful
        if block:
            yield block


def _split(block: bytes, form: TextFormat, width: int, places: list[int]) -> dict[int, Any]:
    """The texts at some places of all lines that are not blank; `_Doubtful` where the csv module might divide them otherwise."""
    import pyarrow

    most = len(block) // width + 2
    kept = [(np.empty(most, np.int32), np.empty(len(block), np.uint8)) for _ in places]
    columns = [
        (place, offsets.ctypes.data, data.ctypes.data) for place, (offsets, data) in zip(places, kept, strict=True)
    ]
    n_rows = _C.split_lines(
        np.frombuffer(block, np.uint8).ctypes.data, len(block), str(form.sep).encode(), form.quoted, width,
        _WINDOW if form.quoted else len(block), np.array(columns, np.int64).ctypes.data, len(columns),
    )  # fmt: skip
    if n_rows < 0:
        raise _Doubtful
    return {
        place: pyarrow.Array.from_buffers(pyarrow.string(), n_rows, [None, *map(pyarrow.py_buffer, texts)])
        for place, texts in zip(places, kept, strict=True)
    }
