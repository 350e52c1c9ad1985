"""Readers of the file formats that recommender data comes in."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ...core.arguments import check_count
from ..interactions import Interactions
from ..timeforms import check_times, formatted_seconds
from .arrow import events_of
from .events import existing, naming, position
from .files import FilePath, Source, files_of
from .lines import check_encoding
from .parquet import ParquetFiles
from .parse import MISSING, Ids
from .plain_text import text_events
from .sparse import stored_entries
from .text import TextFormat, read_header


def read_csv(
    path: Source,
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
    skip_bad_lines: int = 0,
    encoding: str | None = None,
    time_unit: str | None = None,
    time_format: str | None = None,
    decimal: str = ".",
) -> Interactions:
    """Read events from a delimited text file, or from several that are one table.

    Times may be numbers or ISO dates (``2011-12-09 12:50:00``, ``2011-12-09T12:50:00Z``, ``...+02:00``; without a zone UTC), one form a file.
    Lines end in LF, CR LF or CR. What gzip, bzip2, xz, zstd or zip compressed is read as it is.

    Parameters
    ----------
    path : path or list of paths
        A file, a glob (``plays-*.csv.gz``), a folder, a zip archive, a file in one (``plays.zip/may.csv``), "-" for standard input. Of several files
        each must have the same header, or none.
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
        counts them and shows the first few.
    skip_bad_lines : int
        How many such lines may be left out; one more is an error.
    encoding : str, optional
        Such as "latin-1" or "cp1252". Default: what a byte order mark says (UTF-8, UTF-16, UTF-32), UTF-8 where the file is valid, or else Latin-1.
    time_unit : "s", "ms", "us", "ns" or None
        What times that are numbers count from 1970 on; they become seconds then. None: they stay as they are.
    time_format : str, optional
        The form of dates that are no ISO texts, as `datetime.strptime` has it ("%d.%m.%Y %H:%M"); UTC without an offset.
    decimal : "." or ","
        The mark before the fraction of a rating or a time.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    ImportError
        A file that zstd compressed, before Python 3.14: ``pip install 'fastgcn_rec[zstd]'``.
    ValueError
        A column that is not there, headers that differ, a damaged archive, or a malformed line, which is shown with the file and its number.

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
    paths = files_of(path)
    if bad_lines not in ("error", "skip"):
        raise ValueError(f"bad_lines must be one of 'error', 'skip', got {bad_lines!r}")
    if decimal == sep:
        raise ValueError(f"decimal={decimal!r} and sep={sep!r} must differ; sep=';' is usual with decimal commas")
    check_times(time_unit, time_format)
    check_encoding(encoding)
    skip = None if bad_lines == "skip" else check_count(skip_bad_lines, "skip_bad_lines", 0)
    quoted = quoted and sep is not None and len(sep) == 1
    form = TextFormat(
        sep,
        header,
        quoted,
        newlines,
        comment,
        strip,
        ids,
        missing,
        skip,
        encoding,
        time_unit,
        time_format,
        decimal,
    )
    paths, names = _one_table(paths, form)
    if not names:
        raise ValueError(f"{paths[0]}: the file is empty; it must have a row with the columns {user!r} and {item!r}")
    at = {
        argument: position(paths[0], names, column, argument, header)
        for argument, column in {"user": user, "item": item, "rating": rating, "time": time}.items()
        if column is not None
    }
    return text_events(paths, form, at, len(names), names if header else range(len(names)))


def _one_table(paths: list[Path], form: TextFormat) -> tuple[list[Path], list[str]]:
    """The files that are not empty, and the first row of the first; all have the same header, where they have one."""
    heads = {path: read_header(path, form) for path in paths}
    filled = [path for path in paths if heads[path]] or paths[:1]
    first = heads[filled[0]]
    for path in filled:
        if form.header and heads[path] != first:
            raise ValueError(
                f"{path} has the columns {', '.join(heads[path])[:500]}, and {filled[0]} has {', '.join(first)[:500]}; files that are read as one "
                "table must have the same header"
            )
    return filled, first


def read_parquet(
    path: Source,
    user: str | int = "user",
    item: str | int = "item",
    rating: str | int | None = None,
    time: str | int | None = None,
    *,
    time_unit: str | None = None,
    time_format: str | None = None,
    skip_bad_lines: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Interactions:
    """Read events from Parquet files; needs pyarrow.

    Row groups are read in batches, of the columns that are asked for alone, so that a file may be larger than the memory.

    Parameters
    ----------
    path : path, or list of paths
        A file, a folder of files (folders named ``column=value`` are a column), or a pattern such as "plays-*.parquet", in sorted order.
    user, item, rating, time : str or int
        Columns' names, or positions. Ids are integers or strings, ratings numbers, times numbers, dates, timestamps or ISO texts.
    time_unit : "s", "ms", "us", "ns" or None
        What times that are numbers count from 1970 on; they become seconds then. None: they stay as they are.
    time_format : str, optional
        The form of dates that are no ISO texts, as `datetime.strptime` has it ("%d.%m.%Y %H:%M"); UTC without an offset.
    skip_bad_lines : int
        How many rows with a null in one of these columns may be left out, with a warning that counts them; one more is an error.
    share : (int, int)
        (r, n): keep the events of every n-th user alone, from user r on, in the order in which they first come: together the n shares are all
        events. Memory is that of a share; codes and ids are those of all users and items.

    Raises
    ------
    ImportError
        pyarrow is not installed: ``pip install 'fastgcn_rec[parquet]'``.
    FileNotFoundError
        There is no such file, or none that the pattern fits.
    ValueError
        A column that is not there; more rows with nulls than skip_bad_lines; values that are not finite or do not fit.

    Examples
    --------
    >>> from fastgcn_rec.data import read_parquet
    >>> events = read_parquet("plays.parquet", user="who", item="song")  # doctest: +SKIP
    """
    check_times(time_unit, time_format)
    most = check_count(skip_bad_lines, "skip_bad_lines", 0)
    if not isinstance(share, (tuple, list)) or len(share) != 2:
        raise TypeError(f"share must be two ints, (r, n), got {share!r:.80}")
    n_shares = check_count(share[1], "share[1]", 1)
    share = check_count(share[0], "share[0]", 0, n_shares - 1), n_shares
    parse = {} if time_format is None else {"time": partial(formatted_seconds, form=time_format)}
    wanted = {"user": user, "item": item, "rating": rating, "time": time}
    columns = {argument: column for argument, column in wanted.items() if column is not None}
    files = ParquetFiles(path)
    for argument, column in columns.items():
        if files.names.count(files.names[position(files.path, files.names, column, argument)]) > 1:
            raise ValueError(
                f"{files.path}: several columns are named as that of {argument} is, {column!r}; rename all but one in the file"
            )
    with files.naming():
        return events_of(
            files.whole_batches(columns, most),
            {argument: files.name(c) for argument, c in columns.items()},
            time_unit=time_unit,
            parse=parse,
            share=share,
        )


def read_npz(path: FilePath) -> Interactions:
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
    path = existing(path)
    with naming(path):
        users, items, values, shape = stored_entries(path)
        rating = None if (values == 1).all() else values
        rows, columns = (np.arange(extent, dtype=np.int64) for extent in shape)
        return Interactions.from_raw(users, items, rating, user_ids=rows, item_ids=columns)
