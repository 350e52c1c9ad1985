"""Tables that lie in several files: a block of their rows and columns in each, and a manifest, written last, that names these shards.

A shard is a file of its own beside the manifest, whose name has a number that no shard there had before: so what a writer that was killed leaves
is never taken for a part of anything, and the manifest of before stays whole until the next one takes its place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .archives import load_arrays, refusing, save_arrays
from .contents import check_arrays
from .files import StrPath
from .npz import Sink, Sinks

Interval = tuple[int, int]
Tables = Mapping[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Block:
    """Some rows and columns of a table: disjoint intervals of rows in rising order, and an interval of columns.

    >>> Block(((0, 3), (10, 12)), (16, 32)).shape
    (5, 16)
    """

    rows: tuple[Interval, ...]
    columns: Interval

    def __post_init__(self) -> None:
        ends = [end for interval in self.rows for end in interval]
        if not (0 <= self.columns[0] < self.columns[1] and all(end >= 0 for end in ends) and ends == sorted(ends)):
            raise ValueError(
                f"a block's rows must be disjoint intervals in order, its columns one of at least one, got {self}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        return sum(b - a for a, b in self.rows), self.columns[1] - self.columns[0]

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Block:
        return cls(((0, shape[0]),), (0, shape[1]))

    def meets(self, other: Block) -> bool:
        """Whether they have an entry in common."""
        return bool(_common(self.columns, other.columns) and next(self.runs(other), None))

    def runs(self, other: Block) -> Iterator[tuple[int, int, int]]:
        """Of the rows that both have: the number of the first within this one, within the other, and how many follow one another in both."""
        for (a, b), at in zip(self.rows, _starts(self.rows), strict=True):
            for (c, d), there in zip(other.rows, _starts(other.rows), strict=True):
                if n := _common((a, b), (c, d)):
                    first = max(a, c)
                    yield at + first - a, there + first - c, n

    def sink(self, source: Block, out: NDArray[Any]) -> Sink:
        """Puts what it is given of ``source`` into ``out``, which is of this block."""
        runs, width = list(source.runs(self)), _common(self.columns, source.columns)
        first = max(self.columns[0], source.columns[0])
        here, there = (slice(first - start, first - start + width) for start in (self.columns[0], source.columns[0]))

        def put(begin: int, rows: NDArray[Any]) -> None:
            for theirs, own, n in runs if width else ():
                a, b = max(theirs, begin), min(theirs + n, begin + len(rows))
                if a < b:
                    out[own + a - theirs : own + b - theirs, here] = rows[a - begin : b - begin, there]

        return put


def _starts(intervals: Sequence[Interval]) -> list[int]:
    return [0, *itertools.accumulate(b - a for a, b in intervals)][:-1]


def _common(one: Interval, other: Interval) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


@dataclasses.dataclass(frozen=True)
class Shard:
    """What a manifest says of one: the file's name beside it, its checksum, and the block that its tables are of."""

    file: str
    checksum: str
    block: Block

    def as_json(self) -> dict[str, Any]:
        return {"file": self.file, "checksum": self.checksum, "rows": self.block.rows, "columns": self.block.columns}

    @classmethod
    def of_json(cls, value: Any) -> Shard:
        """ValueError for what :meth:`as_json` does not write."""
        try:
            rows, columns = (
                [tuple(map(_integer, pair)) for pair in pairs] for pairs in (value["rows"], [value["columns"]])
            )
            file, checksum = value["file"], value["checksum"]
            if {len(pair) for pair in rows + columns} <= {2} and file == Path(file).name and isinstance(checksum, str):
                return cls(file, checksum, Block(tuple(rows), columns[0]))  # type: ignore[arg-type]
        except (KeyError, TypeError):
            pass
        raise ValueError(f"its shard {value!r:.200} is none")


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no integer")
    return value


def check_cover(blocks: Sequence[Block], shape: tuple[int, int]) -> None:
    """ValueError unless every entry of a table of this shape is in exactly one of the blocks."""
    rows = sorted({0, shape[0], *(end for block in blocks for interval in block.rows for end in interval)})
    columns = sorted({0, shape[1], *(end for block in blocks for end in block.columns)})
    times = np.zeros((len(rows), len(columns)), np.int64)
    for block in blocks:
        left, right = np.searchsorted(columns, block.columns)
        for a, b in block.rows:
            times[slice(*np.searchsorted(rows, (a, b))), left:right] += 1
    if rows[-1] > shape[0] or columns[-1] > shape[1] or (times[:-1, :-1] != 1).any():
        raise ValueError(f"its shards' blocks do not make a table of shape {list(shape)}: they leave a gap, or overlap")


# --- files ------------------------------------------------------------------------------------------------------------


def next_number(manifest: StrPath) -> int:
    """One that no shard beside ``manifest`` has."""
    return 1 + max((number for number, _ in _shards(manifest)), default=0)


def write_shard(
    manifest: StrPath, number: int, rank: int, size: int, meta: Mapping[str, Any], block: Block, tables: Tables
) -> Shard:
    """Rank's shard of ``size``: a file with ``meta`` ("kind" and "format" among it) and ``tables``, which are of ``block``."""
    real = _real(manifest)
    file = real.with_name(f"{real.stem}.{number}-{rank}of{size}{real.suffix}")
    own = Shard(file.name, "", block)
    checksum = save_arrays(file, {**meta, **{key: own.as_json()[key] for key in ("rows", "columns")}}, tables)
    return dataclasses.replace(own, checksum=checksum)


class Collector:
    """Puts the parts that files have of tables of the shape ``whole`` together to the block ``own`` of each, by names and dtypes: beside these no more
    than some rows of a file lie in memory."""

    def __init__(self, own: Block, whole: tuple[int, int], dtypes: Mapping[str, str]) -> None:
        self.own, self.whole = own, whole
        self.tables = {name: np.empty(own.shape, dtype) for name, dtype in dtypes.items()}

    def of(self, source: Block) -> Sinks:
        """Takes the tables of a file that has this block of each; what has another shape is left to the reader, as other arrays are."""

        def sink(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Sink | None:
            fits = name in self.tables and shape == source.shape
            return self.own.sink(source, self.tables[name]) if fits else None

        return sink

    def read(self, manifest: StrPath, kind: str, shards: Sequence[Shard]) -> None:
        """From the shards that have a part of it. ValueError where they are no whole tables, or one is not what the manifest names; OSError where one
        cannot be read. Both name the file."""
        with refusing(manifest):
            check_cover([shard.block for shard in shards], self.whole)
        for shard in shards:
            if shard.block.meets(self.own):
                path, sinks = _real(manifest).with_name(shard.file), self.of(shard.block)
                _, found = load_arrays(path, kind, sinks=sinks, checksum=shard.checksum)
                with refusing(path):
                    check_arrays(found, {name: (str(t.dtype), shard.block.shape) for name, t in self.tables.items()})


def remove_shards(manifest: StrPath, but: Container[str] = ()) -> None:
    """All shards beside ``manifest``, those of killed writers too, except the files of these names."""
    for _, path in list(_shards(manifest)):
        if path.name not in but:
            path.unlink(missing_ok=True)


def _shards(manifest: StrPath) -> Iterator[tuple[int, Path]]:
    real = _real(manifest)
    form = re.compile(re.escape(real.stem) + r"\.([0-9]+)-[0-9]+of[0-9]+" + re.escape(real.suffix))
    with contextlib.suppress(OSError):  # a folder may be written and not read
        for name in os.listdir(real.parent):
            if found := form.fullmatch(name):
                yield int(found[1]), real.with_name(name)


def _real(manifest: StrPath) -> Path:
    return Path(os.path.realpath(manifest))
