"""Which reader files or a folder are for, by their content."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile, ZipFile

from .compressed import archive_of, is_hidden, kind_of, open_bytes
from .files import files_of, suffix_of

Format = Literal["csv", "parquet", "npz", "recbole", "movielens", "lightgcn"]
_RATINGS = ("u.data", "ratings.dat")
_LISTS = ("train.txt", "valid.txt", "test.txt")
_TYPED = rb"[^\t:]+:(token|float|token_seq|float_seq)(\t[^\t:]+:(token|float|token_seq|float_seq))*"
_HEAD = 4096  # bytes


def format_of(source: Sequence[str]) -> Format:
    """The format of a path, or of several that are one table; "csv" stands for delimited text of any kind.

    FileNotFoundError: there are no such files. ValueError: a folder holds files of several kinds.
    """
    path = Path(source[0]).expanduser()
    if len(source) == 1 and path.is_dir():
        found = _of_names({entry.name for entry in path.iterdir()})
        if found == "lightgcn":
            for name in _LISTS:
                if (path / name).is_file():
                    _of_file(path / name)
        if found is not None:
            return found
    elif len(source) == 1 and path.is_file() and kind_of(path) == "zip":
        return _of_archive(path)
    return _of_file(files_of([str(Path(one).expanduser()) if one != "-" else one for one in source])[0])


def _of_names(names: set[str]) -> Format | None:
    """What the names of a folder's files say."""
    if not names.isdisjoint(_RATINGS) or {"ratings.csv", "movies.csv"} <= names:
        return "movielens"
    if {"train.txt", "test.txt"} <= names:
        return "lightgcn"
    suffixes = {suffix_of(Path(name)) for name in names if not is_hidden(name)}
    return "recbole" if ".inter" in suffixes else "parquet" if ".parquet" in suffixes else None


def _of_archive(path: Path) -> Format:
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except BadZipFile:
        return "npz" if path.suffix == ".npz" else "csv"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "movielens" if _of_names({Path(name).name for name in names}) == "movielens" else "csv"


def _of_file(path: Path) -> Format:
    if path.name in _RATINGS:
        return "movielens"
    if archive_of(path) is None:
        with open(path, "rb") as file:
            if file.read(4) == b"PAR1":
                return "parquet"
    with open_bytes(path) as stream:
        head = stream.read(_HEAD)
    if _holds_lists(path, head):
        return "lightgcn"
    return "recbole" if re.fullmatch(_TYPED, head.split(b"\n", 1)[0].strip()) else "csv"


def _holds_lists(path: Path, head: bytes) -> bool:
    """Whether lines are a user and its items: integers between blanks, now more and now fewer, or in a file whose name says so.

    ValueError: a file whose name says so, and whose lines seem to be a user, an item and more.
    """
    lines = head.splitlines()
    lines = [line for line in (lines[:-1] if len(head) == _HEAD else lines) if line.strip()]
    rows = [line.split() for line in lines]
    width = len(rows[0]) if rows else 0
    several = len({row[0] for row in rows}) < len(rows)
    if path.name in _LISTS and width > 2 and several and all(len(row) == width for row in rows):
        raise ValueError(
            f"{path}: a line may be a user and its items, or a user, an item and more, since all have {width} words, and there are several of one user; "
            "format='lightgcn' says the first, format='csv' the second (--format)"
        )
    if not rows or not all(word.isdigit() for line in lines for word in line.split(b" ") if word):
        return False
    return path.name in _LISTS or len({len(line.split(b" ")) for line in lines}) > 1
