"""Which reader a file or folder is for, by its content."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile, ZipFile

Format = Literal["csv", "parquet", "npz", "recbole", "movielens", "lightgcn"]
_RATINGS = ("u.data", "ratings.dat")


def format_of(path: Path) -> Format:
    """The format of a file or folder that exists; "csv" stands for delimited text of any kind."""
    return _of_folder(path) if path.is_dir() else _of_file(path)


def _of_folder(folder: Path) -> Format:
    names = {entry.name for entry in folder.iterdir()}
    if not names.isdisjoint(_RATINGS) or {"ratings.csv", "movies.csv"} <= names:
        return "movielens"
    if {"train.txt", "test.txt"} <= names:
        return "lightgcn"
    suffixes = {Path(name).suffix for name in names if not name.startswith((".", "_"))}
    return "recbole" if ".inter" in suffixes else "parquet" if ".parquet" in suffixes else "csv"


def _of_file(path: Path) -> Format:
    if path.name in _RATINGS:
        return "movielens"
    with open(path, "rb") as file:
        head = file.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        return "npz" if _holds_arrays(path) else "csv"
    line = head.split(b"\n", 1)[0].strip()
    typed = re.fullmatch(
        rb"[^\t:]+:(token|float|token_seq|float_seq)(\t[^\t:]+:(token|float|token_seq|float_seq))*", line
    )
    return "recbole" if typed else "csv"


def _holds_arrays(path: Path) -> bool:
    try:
        with ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except (BadZipFile, OSError):
        return path.suffix == ".npz"
