"""Lists as text and tables: CSV, JSON lines and Parquet, block by block."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.frames import arrow_table
from ..core.ids import as_texts, is_text

Columns = dict[str, Any]  # NumPy arrays, or pyarrow's


class Lists(NamedTuple):
    """Lists of some users: raw ids [b], internal item ids [b, k], -1 for none, scores [b, k]; and what is said of all items: columns [n_items], the raw
    ids as "item" first."""

    users: NDArray[Any]
    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    of_items: Columns

    def columns(self) -> Columns:
        """A row a recommendation: user, rank from 1, item, score, and the items' columns."""
        row, rank = np.nonzero(self.ids >= 0)
        items = self.ids[row, rank]
        its = {name: column[items] for name, column in self.of_items.items()}
        return {
            "user": self.users[row],
            "rank": rank + 1,
            "item": its.pop("item"),
            "score": self.scores[row, rank],
            **its,
        }


Writer = Callable[[IO[bytes], Iterator[Lists]], None]


class Whole(io.RawIOBase):
    """An unbuffered file, whose ``write`` may take a part, as one that takes all or says that it cannot."""

    def __init__(self, file: io.RawIOBase) -> None:
        self.file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        while left:
            taken = self.file.write(left)
            if not taken:
                raise BlockingIOError(errno.EAGAIN, "the file takes no more now; open one that waits")
            left = left[taken:]
        return memoryview(data).nbytes


def write_csv(file: IO[bytes], blocks: Iterator[Lists]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)

    class Lines:
        @staticmethod
        def write(row: str) -> None:
            buffer.append(row.removesuffix("\r\n") + "\n")

    buffer: list[str] = []
    rows = csv.writer(Lines, lineterminator="\r\n")  # before Python 3.13 it quotes a CR only if lines end so
    try:
        for number, block in enumerate(blocks):
            columns = block.columns()
            if number == 0:
                rows.writerow(columns)
            rows.writerows(zip(*map(_texts, columns.values()), strict=True))
            text.write("".join(buffer))
            text.flush()
            buffer.clear()
    finally:
        text.detach()


def _texts(column: NDArray[Any]) -> Iterable[Any]:
    if column.dtype.kind == "f":
        return map(str, column)  # float32's shortest text, not float64's
    return np.datetime_as_string(column).tolist() if column.dtype.kind == "M" else column.tolist()


def write_json_lines(file: IO[bytes], blocks: Iterator[Lists]) -> None:
    """A line a user: {"user": ..., "items": [...], "scores": [...]}, and the items' columns under their names; null for what JSON has no number for."""
    texts: dict[str, NDArray[Any]] = {}  # of all items, each made once
    for block in blocks:
        texts = texts or {name: as_texts(map(_json, _plain(column))) for name, column in block.of_items.items()}
        real = block.ids >= 0
        items, sizes = block.ids[real], real.sum(1)
        lists = {"items": texts["item"][items].tolist(), "scores": list(map(_number, block.scores[real]))}
        lists |= {name: column[items].tolist() for name, column in texts.items() if name != "item"}
        lines = []
        for user, size, end in zip(block.users.tolist(), sizes.tolist(), sizes.cumsum().tolist(), strict=True):
            own = (f"{json.dumps(name)}: [{', '.join(values[end - size : end])}]" for name, values in lists.items())
            lines.append(f'{{"user": {_json(user)}, {", ".join(own)}}}\n')
        file.write("".join(lines).encode())
        file.flush()


def _plain(column: NDArray[Any]) -> list[Any]:
    return np.datetime_as_string(column).tolist() if column.dtype.kind == "M" else column.tolist()


def _json(value: Any) -> str:
    return "null" if isinstance(value, float) and not math.isfinite(value) else json.dumps(value, ensure_ascii=False)


def _number(score: np.floating[Any]) -> str:
    return str(score) if math.isfinite(score) else "null"


def write_parquet(file: IO[bytes], blocks: Iterator[Lists]) -> None:
    write_tables(file, (block.columns() for block in blocks))


def write_tables(file: IO[bytes], blocks: Iterator[Columns]) -> None:
    """Columns, a row group a block, as Parquet."""
    parquet = pyarrow().parquet
    first = arrow_table(next(blocks))
    with parquet.ParquetWriter(file, first.schema) as writer:
        writer.write_table(first)
        for columns in blocks:
            writer.write_table(arrow_table(columns).cast(first.schema))
    file.flush()


def compressed(writer: Writer) -> Writer:
    """The same through gzip; the same lists are the same bytes."""

    def write(file: IO[bytes], blocks: Iterator[Lists]) -> None:
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            writer(packed, blocks)  # type: ignore[arg-type]

    return write


FORMATS: dict[str, Writer] = {"csv": write_csv, "jsonl": write_json_lines, "parquet": write_parquet}
SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")


def writer_of(name: str) -> Writer:
    """By the suffix of a file, one of ``SUFFIXES``, or by a format, one of ``FORMATS``. ImportError where pyarrow is needed and missing."""
    kind, *gz = name.removeprefix(".").split(".")
    if kind == "parquet":
        pyarrow()
    return compressed(FORMATS[kind]) if gz else FORMATS[kind]


def suffix_of(path: PurePath, known: tuple[str, ...]) -> str:
    """The longest one of ``known`` that the file's name ends with; ValueError where it is none."""
    for suffix in sorted(known, key=len, reverse=True):
        if path.name.endswith(suffix):
            return suffix
    raise ValueError(f"{path}: the suffix must be one of {', '.join(known)}, got {path.suffix!r}")


def check_utf8(ids: NDArray[Any], name: str, where: str) -> None:
    """ValueError for a text that UTF-8 does not have."""
    if not is_text(ids):
        return
    for text in ids.tolist():
        try:
            str(text).encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{where}: the {name} {text!a} holds half of a surrogate pair, which UTF-8 does not have; name it otherwise"
            ) from None


def pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            "a .parquet file needs pyarrow: pip install 'fastgcn_rec[parquet]', or write a .csv or .npz"
        ) from None
    return pyarrow
