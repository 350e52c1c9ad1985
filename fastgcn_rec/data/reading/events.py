"""What all readers of events share: their file, its columns, and columns of users and items beside the events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.ids import Array, as_texts, factorize, is_text
from ..interactions import Interactions
from .compressed import exists
from .files import FilePath
from .text import Kind, TextFormat, read_columns


def read_events(
    paths: Path | Sequence[Path], form: TextFormat, at: dict[str, int], width: int, names: Sequence[str | int] = ()
) -> Interactions:
    """The events of files of one table: `at` has the positions of the roles, `names` those of the columns, for errors."""
    kinds: dict[str, Kind] = {"user": "id", "item": "id", "rating": "number", "time": "time"}
    wanted = {position: kinds[role] for role, position in at.items()}
    columns = read_columns(paths, form, wanted, width, {place: role for role, place in at.items()}, names)
    read = {role: columns[place] for role, place in at.items()}
    with naming(paths if isinstance(paths, Path) else paths[0]):
        return Interactions.from_raw(read["user"], read["item"], read.get("rating"), read.get("time"))


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Errors from within name the file."""
    try:
        yield
    except TypeError as error:
        raise TypeError(f"{path}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def position(path: Path, names: Sequence[str], column: str | int, argument: str, header: bool = True) -> int:
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


def existing(path: FilePath) -> Path:
    path = Path(path)
    if not exists(path):
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
