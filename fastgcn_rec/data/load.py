"""One call from a name, files or a table in memory to a `Dataset`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .beside import with_beside
from .dataset import Dataset
from .make import make_dataset
from .reading.frames import is_frame
from .spec import DataSpec


def load_dataset(
    source: Any,
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    user: str | int | None = None,
    item: str | int | None = None,
    rating: str | int | None = None,
    weight: str | int | None = None,
    time: str | int | None = None,
    items: Any = None,
    users: Any = None,
    item_columns: Sequence[str] | None = None,
    user_columns: Sequence[str] | None = None,
    keep_items: bool = False,
    split: str | None = None,
    **options: Any,
) -> Dataset:
    """Load a data set: a known one, from this machine or else from the network, or one of your own files.

    Parameters
    ----------
    source : str, path, list of paths, or a table in memory
        One of `available_datasets`, or a file, folder or glob of your own. A known name wins: "./gowalla" is a path. Or what
        `read_frame` takes.
    root : path, optional
        For a known name: the folder of the files, or the folder above it. Where given, nowhere else is looked.
    download : bool
        Fetch a known data set into the cache if it is not on this machine.
    user, item, rating, time : str or int, optional
        Columns by name or position. Default: guessed, or an error that shows the columns; "" says that there is none.
    weight : str or int, optional
        The column that weighs the edges; never guessed. "rating" for a known name, or the column that `rating` names: the ratings do.
    items, users : path or a table in memory, optional
        Columns of items and of users, for `item_info` and `user_info`: the column of ids is found by its name or its values, the one of titles is
        called "title".
    item_columns, user_columns : list of str, optional
        Which of their columns are taken. Default: all.
    keep_items : bool
        Whether items of that table that have no events are items too, cold ones.
    split : str, optional
        One of `make_dataset`'s. Default: the published split where there is one; for other known names the latest 20 % of all events for the
        test ("temporal"), or 20 % of each user's at random where the files hold no times; for your own files `make_dataset`'s.
    **options
        Those of `make_dataset`: `test`, `seed`, `k`, `by`, `min_rating`, `k_core`; and `format` ("csv", "parquet", "npz", "recbole",
        "movielens", "lightgcn") with those of the format's reader, such as `sep` and `encoding`.

    Raises
    ------
    FileNotFoundError
        A file that is not there.
    ValueError
        An unknown name, options for a data set that comes with its split, and what readers and `make_dataset` raise.
    DatasetUnavailableError
        The data set is in none of the places; the message lists each of them and what to do.

    Examples
    --------
    >>> from fastgcn_rec.data import load_dataset
    >>> data = load_dataset("ml-100k", split="random", min_rating=4)  # doctest: +SKIP
    >>> plays = load_dataset("plays.csv", user="listener", item="song", k_core=5)  # doctest: +SKIP
    """
    beside: dict[str, Any] = {
        "items": items,
        "users": users,
        "item_columns": item_columns,
        "user_columns": user_columns,
    }
    beside["keep_items"] = keep_items
    if is_frame(source):
        columns: dict[str, Any] = {"user": user, "item": item, "rating": rating, "weight": weight, "time": time}
        options |= {} if split is None else {"split": split}
        return with_beside(make_dataset(source, **columns, **options), beside, columns)
    given: dict[str, Any] = {"user": user, "item": item, "rating": rating, "weight": weight, "time": time}
    given |= {"root": root, "download": None if download else False, "split": split}
    frames = {side: beside.pop(side) for side in ("items", "users") if is_frame(beside[side])}
    spec = DataSpec.of(source, **given, **beside, **options)
    data = spec.load()
    return (
        with_beside(data, {**beside, "items": None, "users": None, **frames}, spec.resolved().columns)
        if frames
        else data
    )
