"""Readers of the file formats that recommender data comes in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..core.ids import Array, as_texts, factorize, is_text
from ._parse import MISSING, Ids
from ._sparse import stored_entries
from ._text import Kind, TextFormat, read_columns, read_header
from .interactions import Interactions

Path_ = str | PathLike[str]


def read_csv(
    path: Path_,
    user: str | int = "user",
    item: str | int = "item",
    rating: str | int | None = None,
    time: str | int | None = None,
    sep: str | None = ",",
    header: bool = True,
    *,
    quoted: bool = True,
    newlines: bool = False,
    comment: str | None = None,
    strip: bool | None = None,
    ids: Ids = "auto",
    missing: Collection[str] = MISSING,
    bad_lines: Literal["error", "skip"] = "error",
    encoding: str | None = None,
) -> Interactions:
    """Read events from a delimited text file.

    Times may be numbers or ISO dates (``2011-12-09 12:50:00``, ``2011-12-09T12:50:00Z``, ``...+02:00``; without a zone UTC), one form a file.
    Lines end in LF, CR LF or CR. A file that gzip compressed is read as it is.

    Parameters
    ----------
    path : path
    user, item, rating, time : str or int
        Column names, or positions counted from 0 (the only way without a header).
    sep : str or None
        The separator; with more than one character ("::") nothing can be quoted. None: any run of blanks.
    header : bool
        Whether the first line names the columns.
    quoted : bool
        Whether ``"`` quotes a field that it begins and ends, in which ``""`` is one; False: it stands for itself.
    newlines : bool
        Whether a quoted field may hold line ends. False makes an error of a quotation mark that lost its partner.
    comment : str, optional
        Lines that begin with it are left out, unless a quoted field of the line before goes on in them.
    strip : bool or None
        Blanks at the ends of ids and names: True takes them away, False keeps them, None makes an error of them.
    ids : "auto", "integer" or "text"
        "auto": int64 where every id of a column is an integer as Python writes it ("7", not "07"), otherwise texts, among which "7" and "7.0"
        are an error. "integer": "7", "07" and "7.0" are 7, anything else an error. "text": as they stand.
    missing : texts
        What stands for a missing id, which is an error; default: "nan", "None", "NULL", "\\N", "NA" and their like.
    bad_lines : "error" or "skip"
        Lines with another number of fields, or with a value that is missing or cannot be read: an error, or left out, with a warning that
        counts them.
    encoding : str, optional
        Default: what a byte order mark says (UTF-8, UTF-16, UTF-32), UTF-8 where the file is valid, or else Latin-1.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    ValueError
        A column that is not there, or a malformed line, which is shown with the file and its number.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastgcn_rec.data import read_csv
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "plays.csv"
    >>> _ = path.write_text("who,song,when\\nann,7,10\\nbob,7,11\\n")
    >>> events = read_csv(path, user="who", item="song", time="when")
    >>> events.user_ids.tolist(), events.item_ids.tolist()
    (['ann', 'bob'], [7])
    """
    path = _existing(path)
    if sep == "" or (isinstance(sep, str) and set(sep) & {"\r", "\n"}):
        raise ValueError(f"sep must be a text without line ends, or None for blanks, got {sep!r}")
    for name, value, known in (("ids", ids, get_args(Ids)), ("bad_lines", bad_lines, ("error", "skip"))):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    if isinstance(missing, str):
        raise TypeError(f"missing must be a collection of texts, got one; write [{missing!r}]")
    quoted = quoted and sep is not None and len(sep) == 1
    form = TextFormat(sep, header, quoted, newlines, comment, strip, ids, missing, bad_lines == "skip", encoding)
    names = read_header(path, form)
    if not names:
        raise ValueError(f"{path}: the file is empty; it must have a row with the columns {user!r} and {item!r}")
    at = {
        argument: _position(path, names, column, argument, header)
        for argument, column in {"user": user, "item": item, "rating": rating, "time": time}.items()
        if column is not None
    }
    return _read_events(path, form, at, len(names))


def _read_events(path: Path, form: TextFormat, at: dict[str, int], width: int) -> Interactions:
    kinds: dict[str, Kind] = {"user": "id", "item": "id", "rating": "number", "time": "time"}
    wanted = {position: kinds[argument] for argument, position in at.items()}
    columns = read_columns(path, form, wanted, width, {position: argument for argument, position in at.items()})
    read = {argument: columns[position] for argument, position in at.items()}
    with _naming(path):
        return Interactions.from_raw(read["user"], read["item"], read.get("rating"), read.get("time"))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors from within name the file."""
    try:
        yield
    except TypeError as error:
        raise TypeError(f"{path}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _position(path: Path, names: Sequence[str], column: str | int, argument: str, header: bool = True) -> int:
    if isinstance(column, str):
        if not header:
            raise ValueError(f"{argument}={column!r} is a name but header=False; give a position such as {argument}=0")
        if column not in names:
            way_out = (
                "; strip=True takes blanks around names away" if column in [name.strip() for name in names] else ""
            )
            raise ValueError(
                f"{path}: no column {column!r} for {argument}; the columns are {', '.join(names)[:1000]}{way_out}"
            )
        if list(names).count(column) > 1:
            raise ValueError(f"{path}: several columns are named {column!r}; give the position of {argument}")
        return list(names).index(column)
    if isinstance(column, bool) or not isinstance(column, (int, np.integer)):
        raise TypeError(f"{argument} must be a column's name or position, got {type(column).__name__}")
    if not 0 <= column < len(names):
        raise ValueError(f"{path}: {argument}={column} is outside the columns 0 to {len(names) - 1}")
    return int(column)


def read_parquet(
    path: Path_, user: str = "user", item: str = "item", rating: str | None = None, time: str | None = None
) -> Interactions:
    """Read events from a Parquet file or a folder of them; needs pyarrow.

    Parameters
    ----------
    path : path
    user, item, rating, time : str
        Column names. Ids are integers or strings; times are numbers or timestamps.

    Raises
    ------
    ImportError
        pyarrow is not installed: ``pip install fastgcn_rec[parquet]``.
    ValueError
        A column that is not there or that holds nulls.

    Examples
    --------
    >>> from fastgcn_rec.data import read_parquet
    >>> events = read_parquet("plays.parquet", user="who", item="song")  # doctest: +SKIP
    """
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ImportError("read_parquet needs pyarrow: pip install fastgcn_rec[parquet]") from error
    path = _existing(path)
    wanted = {"user": user, "item": item, "rating": rating, "time": time}
    wanted_columns = {argument: column for argument, column in wanted.items() if column is not None}
    with _parquet_errors(path, pyarrow.ArrowException):
        names = parquet.ParquetDataset(path).schema.names
    for argument, column in wanted_columns.items():
        _position(path, names, column, argument)
    with _parquet_errors(path, pyarrow.ArrowException):
        table = parquet.read_table(path, columns=list(dict.fromkeys(wanted_columns.values())))
        nulls = {argument: table.column(column).null_count for argument, column in wanted_columns.items()}
        read = {
            argument: table.column(column).to_numpy()
            for argument, column in wanted_columns.items()
            if not nulls[argument]
        }
    for argument, count in nulls.items():
        if count:
            raise ValueError(
                f"{path}: column {wanted_columns[argument]!r} for {argument} holds {count} nulls; drop those rows"
            )
    with _naming(path):
        return Interactions.from_raw(read["user"], read["item"], read.get("rating"), read.get("time"))


@contextmanager
def _parquet_errors(path: Path, own: type[Exception]) -> Iterator[None]:
    try:
        yield
    except (own, OSError, ValueError, KeyError, NotImplementedError, MemoryError) as error:
        if isinstance(error, (FileNotFoundError, IsADirectoryError, PermissionError)):  # not the content
            raise
        raise ValueError(f"{path}: not a Parquet file that can be read ({error})") from error


def read_npz(path: Path_) -> Interactions:
    """Read a SciPy sparse matrix saved by `scipy.sparse.save_npz`: rows are users, columns items.

    Every row and column is an id, with or without entries. Stored zeros are no events. The values become ratings unless
    all of them are 1: `make_dataset` asks for `min_rating` where some are negative.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    ValueError
        The file holds no sparse matrix, is damaged, or its numbers do not make one.

    Examples
    --------
    >>> import pathlib, scipy.sparse, tempfile
    >>> from fastgcn_rec.data import read_npz
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "plays.npz"
    >>> scipy.sparse.save_npz(path, scipy.sparse.csr_matrix([[0, 2], [1, 0]]))
    >>> read_npz(path).rating.tolist()
    [2.0, 1.0]
    """
    path = _existing(path)
    with _naming(path):
        users, items, values, shape = stored_entries(path)
        rating = None if (values == 1).all() else values
        rows, columns = (np.arange(extent, dtype=np.int64) for extent in shape)
        return Interactions.from_raw(users, items, rating, user_ids=rows, item_ids=columns)


def _existing(path: Path_) -> Path:
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    return path


def with_item_info(events: Interactions, item_ids: Array, info: dict[str, Array]) -> Interactions:
    """Attach columns given for `item_ids` (any order, other items allowed); items left out get 0 or ""."""
    return replace(events, item_info=_aligned(events.item_ids, item_ids, info))


def with_user_info(events: Interactions, user_ids: Array, info: dict[str, Array]) -> Interactions:
    """Attach columns given for `user_ids`, as `with_item_info`."""
    return replace(events, user_info=_aligned(events.user_ids, user_ids, info))


def _aligned(own: Array, ids: Array, info: dict[str, Array]) -> dict[str, Array]:
    if is_text(ids) != is_text(own):
        ids, own = (as_texts(map(str, kind.tolist())) for kind in (ids, own))
    catalogue, codes = factorize(np.concatenate((own, ids)))
    row_of = np.full(catalogue.size, -1, np.int64)
    row_of[codes[own.size :]] = np.arange(ids.size)
    rows = row_of[codes[: own.size]]
    columns: dict[str, Array] = {}
    for name, column in info.items():
        aligned = np.full(own.size, "" if is_text(column) else 0, column.dtype)
        aligned[rows >= 0] = column[rows[rows >= 0]]
        columns[name] = aligned
    return columns
