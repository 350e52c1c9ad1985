"""Parquet files, one or many, as one stream of Arrow's batches of a few columns."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .arrow import BadRow
from .compressed import archive_of, kind_of
from .events import naming
from .files import Source, files_of, places_of

BATCH_ROWS = 1 << 17


class _Nulls(ValueError):
    """More rows with nulls than may be left out; it names its file."""


class ParquetFiles:
    """The files that a path, a pattern, a folder or a list of them stands for."""

    def __init__(self, path: Source) -> None:
        try:
            import pyarrow
            import pyarrow.dataset as dataset
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise ImportError("read_parquet needs pyarrow: pip install 'fastgcn_rec[parquet]'") from error
        self._parquet, self._arrow = parquet, pyarrow
        files_of(path)  # refuses what is named twice
        self._sets: list[tuple[Any, Any]] = []  # schema, files
        for place in places_of(path):
            files = files_of(place)
            for one in files:
                packed = "zip" if archive_of(one) else kind_of(one)
                if packed is not None:
                    raise ValueError(
                        f"{one} is compressed by {packed}; Parquet compresses its own columns, so unpack it first"
                    )
            with naming(place), self._errors():
                if place.is_dir():  # folders in it that are named column=value are a column
                    whole = dataset.dataset([*map(str, files)], format="parquet", partitioning="hive", partition_base_dir=str(place))  # fmt: skip
                    self._sets.append((whole.schema, list(whole.get_fragments())))
                else:
                    self._sets += [(one.schema, one.fragments) for one in map(parquet.ParquetDataset, files)]
        self.path = Path(self._sets[0][1][0].path)
        self.names: list[str] = self._sets[0][0].names
        self._at = self.path  # the file that is being read, and the first row of each that was begun
        self._starts: list[tuple[int, Path]] = []
        self._left_out: list[int] = []  # rows, counted over all files

    def name(self, column: str | int) -> str:
        return column if isinstance(column, str) else self.names[column]

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Errors from within name the file, and rows are counted in it."""
        try:
            yield
        except BadRow as bad:
            path, row = self._place(self._counted(bad.row))
            raise ValueError(f"{path}: {BadRow(row, bad.reason)}") from None
        except _Nulls as error:
            raise ValueError(str(error)) from None
        except TypeError as error:
            raise TypeError(f"{self._at}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{self._at}: {error}") from error

    def batches(self, columns: Mapping[str, str | int]) -> Iterator[Any]:
        """The rows of all files, in their order, with the columns that are named or counted."""
        wanted = list(dict.fromkeys(map(self.name, columns.values())))
        n_rows = 0
        for schema, fragments in self._sets:
            for fragment in fragments:
                self._at = Path(fragment.path)
                self._starts.append((n_rows, self._at))
                for batch in self._of_file(fragment, wanted, schema):
                    n_rows += batch.num_rows
                    yield batch
        self._at = self.path

    def whole_batches(self, columns: Mapping[str, str | int], most: int) -> Iterator[Any]:
        """`batches` without the rows that have a null, of which there may be so many; a warning counts them."""
        import pyarrow.compute as compute

        nulls, n_rows, count = dict.fromkeys(columns, 0), 0, 0
        for batch in self.batches(columns):
            missing = np.zeros(batch.num_rows, bool)
            for role, column in columns.items():
                found = batch.column(self.name(column))
                nulls[role] += found.null_count
                if found.null_count:
                    missing |= compute.is_null(found).to_numpy(zero_copy_only=False)
            count += int(missing.sum())
            if count <= most or not self._left_out:
                self._left_out += (n_rows + np.flatnonzero(missing)).tolist()
            n_rows += batch.num_rows
            if count <= most:
                yield batch.filter(~missing) if missing.any() else batch
        if not self._left_out:
            return
        path, row = self._place(self._left_out[0])
        held = " and ".join(f"column {self.name(columns[role])!r} for {role} holds {n} nulls" for role, n in nulls.items() if n)  # fmt: skip
        if count > most:
            raise _Nulls(f"{path}: {held}, the first at row {row}; skip_bad_lines={count} (--skip-bad-lines) leaves those rows out, and says so")  # fmt: skip
        place = f"{path}" if len(self._starts) == 1 else f"{path} and {len(self._starts) - 1} more"
        warnings.warn(f"{place}: {count} rows are left out, the first is row {row}: {held}", stacklevel=5)

    def _place(self, row: int) -> tuple[Path, int]:
        start, path = [begun for begun in self._starts if begun[0] <= row][-1]
        return path, row - start

    def _counted(self, row: int) -> int:
        """A row in the files of one that is counted without those that are left out."""
        for other in self._left_out:
            if other > row:
                break
            row += 1
        return row

    def _of_file(self, fragment: Any, wanted: list[str], schema: Any) -> Iterator[Any]:
        """A file's batches; columns that its folders' names hold are the same in every row."""
        from pyarrow.dataset import get_partition_keys

        with self._errors():
            file = self._parquet.ParquetFile(fragment.path, pre_buffer=False)
            own = file.schema_arrow
            keys = get_partition_keys(fragment.partition_expression)
            constant = [name for name in wanted if name in keys and name not in own.names]
            stored = [name for name in wanted if name not in constant]
            batches = file.iter_batches(BATCH_ROWS, columns=stored)
        lacking = [name for name in stored if name not in own.names]
        if lacking:
            raise ValueError(
                f"there is no column {lacking[0]!r}, which the first file has; the columns are {', '.join(own.names)[:1000]}"
            )
        with file:
            while True:
                with self._errors():
                    batch = next(batches, None)
                if batch is None:
                    return
                if constant:
                    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
                    for name in constant:
                        value = self._arrow.scalar(keys[name], schema.field(name).type)
                        arrays[name] = self._arrow.repeat(value, batch.num_rows)
                    batch = self._arrow.RecordBatch.from_arrays([arrays[name] for name in wanted], names=wanted)
                yield batch

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._arrow.ArrowException, OSError, ValueError, KeyError, NotImplementedError, MemoryError) as error:
            if isinstance(error, (FileNotFoundError, IsADirectoryError, PermissionError)):  # not the content
                raise
            raise ValueError(f"not a Parquet file that can be read ({error})") from error
