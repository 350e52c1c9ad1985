"""Text files by Arrow: a fast way where nothing in a file is doubtful, with what the reader of `text` gives; that one reads all others, and says
what is wrong with them.

A block is doubtful where the two might differ: lone quotation marks, quoted line ends, lone carriage returns, NUL, lines as long as the csv module's
fields may be, bytes that are no text. Arrow splits lines into texts alone; what they mean is decided by `parse`, which sees each distinct one.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...core.ids import Array, is_text
from ..interactions import Interactions
from ..rows import BadValue
from ..times import is_date, seconds_of_numbers
from .arrow import events_of
from .compressed import archive_of, open_bytes
from .events import read_events
from .lines import encoding_of
from .parse import is_canonical, parse_ids, parse_numbers, parse_times, twice_written
from .text import TextFormat

BLOCK = 1 << 24
SMALL = 1 << 20  # bytes of files that are read before Arrow is imported
_WINDOW = 1 << 16
_LIMIT = 1 << 17  # the csv module's for a field, unless it was changed
_LEAST = np.array([0, 0, *(10**n for n in range(1, 19))], np.uint64)  # of so many digits
_UNIT = b"\x1f"  # stands for separators of several bytes


def text_events(
    paths: Path | Sequence[Path], form: TextFormat, at: dict[str, int], width: int, names: Sequence[str | int] = ()
) -> Interactions:
    """The events of text files of one table, by the faster of two ways that give the same; parameters as of `events.read_events`."""
    paths = [paths] if isinstance(paths, Path) else list(paths)
    events = _by_arrow(paths, form, at, width, names) if _may_be_plain(paths, form, width) else None
    return read_events(paths, form, at, width, names) if events is None else events


def _may_be_plain(paths: list[Path], form: TextFormat, width: int) -> bool:
    if form.newlines or form.comment or form.sep is None or width < 2:
        return False
    if form.quoted and (len(form.sep) > 1 or form.sep == '"' or csv.field_size_limit() < _LIMIT):
        return False
    if form.sep.isspace() and form.strip:
        return False
    if sum((archive_of(path) or path).stat().st_size for path in paths) < SMALL:
        return False
    try:
        import pyarrow.csv  # noqa: F401
    except ImportError:
        return False
    return True


def _by_arrow(
    paths: list[Path], form: TextFormat, at: dict[str, int], width: int, names: Sequence[str | int]
) -> Interactions | None:
    """None where something is doubtful or bad."""
    import pyarrow

    texts = {"user", "item"} if form.ids == "text" or any(map(is_canonical, form.missing)) else set()
    while True:
        table = _Table(form, at, width, texts, names)
        parse = {role: table.ids(role) for role in ("user", "item")}
        try:
            events = events_of(table.batches(paths), {role: role for role in at}, parse=parse)
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

    def ids(self, role: str) -> Callable[[list[str]], Array]:
        name = self.names[self.at[role]] if self.form.header else None

        def parse(texts: list[str]) -> Array:
            if name in texts:  # perhaps the header again
                raise _Doubtful
            ids = parse_ids(texts, role, self.form.ids, self.form.strip, self.form.missing)
            if self.form.ids == "auto" and is_text(ids) and twice_written(set(ids.tolist())) is not None:
                raise _Doubtful
            return ids

        return parse

    def batches(self, paths: list[Path]) -> Iterator[Any]:
        """Record batches of the roles: ids int64 or texts, ratings float64, times numbers or texts of dates."""
        import pyarrow

        for path in paths:
            for texts in self._texts(path):
                columns = {role: self._column(role, texts.column(str(place))) for role, place in self.at.items()}
                yield pyarrow.RecordBatch.from_pydict(columns)

    def _texts(self, path: Path) -> Iterator[Any]:
        """Record batches of texts, named by their positions."""
        import pyarrow
        from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv

        form, sep = self.form, str(self.form.sep)
        wanted = sorted({str(place) for place in self.at.values()})
        parsing = ParseOptions(
            delimiter=sep if len(sep.encode()) == 1 else _UNIT.decode(), quote_char='"' if form.quoted else False
        )
        converting = ConvertOptions(column_types=dict.fromkeys(wanted, pyarrow.string()), include_columns=wanted)
        names = list(map(str, range(self.width)))
        header = form.header
        with open_bytes(path) as stream:
            for block in _blocks(stream, encoding_of(path, form.encoding, whole=False), sep, form.quoted):
                reading = ReadOptions(column_names=names, block_size=max(len(block) // 4, _WINDOW))
                table = read_csv(pyarrow.BufferReader(block), reading, parsing, converting)
                if table.num_rows != block.count(b"\n") + (not block.endswith(b"\n")):
                    raise _Doubtful
                yield from (table.slice(1) if header else table).combine_chunks().to_batches()
                header = False

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
    import pyarrow

    try:
        whole = column.cast(pyarrow.int64())
    except pyarrow.ArrowInvalid:
        return None
    values, n = whole.to_numpy(), len(column)
    _, offsets, data = column.buffers()
    starts = np.frombuffer(offsets, np.int32)[column.offset : column.offset + n + 1]
    signs = (values < 0).astype(np.int8)
    digits = np.diff(starts) - signs
    leads = np.frombuffer(data, np.uint8)[starts[:-1] + signs] if n else digits
    # Neither a sign, blanks nor zeros before the first digit, nor "0x": what Arrow takes has as many characters as its number needs.
    plain = (np.abs(values).view(np.uint64) >= _LEAST[digits.clip(0, 19)]) & ((digits == 1) | (leads != ord("0")))
    return whole if plain.all() else None


def _floats(column: Any) -> Any:
    """float64 where Arrow takes all texts for finite numbers, else None. What it takes, Python takes for the same."""
    import pyarrow

    try:
        numbers = column.cast(pyarrow.float64())
    except pyarrow.ArrowInvalid:
        return None
    if not np.isfinite(numbers.to_numpy()).all():
        raise _Doubtful
    return numbers


def _each(column: Any, parse: Callable[[list[str]], Array]) -> Any:
    """The values of texts, of which each distinct one is parsed once."""
    import pyarrow

    coded = column.dictionary_encode()
    try:
        values = parse(coded.dictionary.to_pylist())
    except BadValue:
        raise _Doubtful from None
    return pyarrow.array(values[coded.indices.to_numpy()])


def _blocks(stream: IO[bytes], encoding: str, sep: str, quoted: bool) -> Iterator[bytes]:
    """Whole lines in UTF-8, none of them blank, without a byte order mark; `_Doubtful` where Arrow and the csv module might divide them otherwise."""
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
        block = _checked(block, sep.encode(), quoted)
        if block:
            yield block


def _checked(block: bytes, sep: bytes, quoted: bool) -> bytes:
    if (
        block.startswith(codecs.BOM_UTF8)
        or b"\0" in block
        or (b"\r" in block and block.count(b"\r") != block.count(b"\r\n"))
    ):
        raise _Doubtful
    if block.startswith((b"\n", b"\r")) or b"\n\n" in block or b"\n\r\n" in block:
        block = b"".join(line for line in block.splitlines(keepends=True) if line.strip(b"\r\n"))
    if quoted:
        if any(block.find(b"\n", at, at + _WINDOW) < 0 for at in range(0, len(block) - _WINDOW, _WINDOW)):
            raise _Doubtful
        if b'"' in block and (len(sep) > 1 or not _pairs(block, sep)):
            raise _Doubtful
    if len(sep) > 1:
        if _UNIT in block:
            raise _Doubtful
        block = block.replace(sep, _UNIT)
    return block


def _pairs(block: bytes, sep: bytes) -> bool:
    """Whether all quotation marks of whole lines begin and end fields of one line, or stand twice in such fields."""
    text = np.frombuffer(b"\n" + block + b"\n", np.uint8)
    marks = np.flatnonzero(text == ord('"'))
    if marks.size % 2:
        return False
    begins, ends = marks[::2], marks[1::2]
    twice = begins[1:] == ends[:-1] + 1
    before, after = text[begins - 1], text[ends + 1]
    opened = (before == ord("\n")) | (before == sep[0])
    closed = (after == ord("\n")) | (after == ord("\r")) | (after == sep[0])
    opened[1:] |= twice
    closed[:-1] |= twice
    lines = np.flatnonzero(text == ord("\n"))
    return bool(
        opened.all() and closed.all() and (np.searchsorted(lines, begins) == np.searchsorted(lines, ends)).all()
    )
