"""What a run keeps of its items beside their ids: titles and other columns, for lists that people read."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.ids import as_texts, is_text
from ..data import Dataset
from ..system.archives import load_arrays, name_of, refusing, save_arrays
from ..system.contents import check_keys

FILE = "items.npz"
_COLUMN = "column."


def write_items(data: Dataset, folder: Path) -> None:
    """FILE with the columns of the items, where there are any; dates become texts."""
    if data.item_info:
        meta = {"kind": "items", "format": 1, "columns": list(data.item_info)}
        columns = {f"{_COLUMN}{n}": _written(column) for n, column in enumerate(data.item_info.values())}
        save_arrays(folder / FILE, meta, {"item_ids": data.item_ids, **columns})


def read_items(folder: Path, item_ids: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The columns, aligned with ``item_ids``, the model's; none where the run kept none.

    Raises
    ------
    ValueError : the file is damaged, or of other items than the model.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    meta, arrays = load_arrays(path, "items")
    with refusing(path):
        check_keys(meta, columns=list)
        names = {f"{_COLUMN}{n}": str(name) for n, name in enumerate(meta["columns"])}
        ids = arrays.pop("item_ids", np.zeros(0, np.int64))
        wrong = [n for n in {**names, **arrays} if n not in names or n not in arrays or arrays[n].shape[:1] != ids.shape]  # fmt: skip
        if wrong:
            raise ValueError(f"its array {wrong[0]} must be a column of {len(ids)} items, one that it names")
    if ids.dtype != item_ids.dtype or not np.array_equal(ids, item_ids):
        raise ValueError(f"{name_of(path)} is of other items than the model beside it; repeat the run, or move the file away")  # fmt: skip
    return {name: arrays[array] for array, name in names.items()}


def chosen(columns: dict[str, NDArray[Any]], names: Sequence[str] | None) -> dict[str, NDArray[Any]]:
    """The columns that are shown: those that are named, nothing for "none"; by default the title, where there is one.

    >>> list(chosen({"title": np.zeros(2), "year": np.zeros(2)}, None))
    ['title']
    """
    if names is None:
        return {name: column for name, column in columns.items() if name == "title"}
    if list(names) == ["none"]:
        return {}
    for name in names:
        if name not in columns:
            near = get_close_matches(name, columns, 1)
            there = f"its columns are {', '.join(columns)}" if columns else f"the run kept no columns of items ({FILE})"
            raise ValueError(f"there is no column {name!r} to show" + (f"; did you mean {near[0]!r}?" if near else f"; {there}"))  # fmt: skip
    return {name: columns[name] for name in names}


def _written(column: NDArray[Any]) -> NDArray[Any]:
    if column.dtype.kind == "M":
        return as_texts("" if np.isnat(date) else str(date) for date in column)
    return as_texts(column.tolist()) if is_text(column) else column
