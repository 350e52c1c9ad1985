"""From events to a `Dataset`: filtered, split and numbered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.ids import Array, codes_of
from .build import build_dataset, check_positive
from .dataset import Dataset
from .edges import Edges
from .interactions import Interactions
from .reading.frames import is_frame, read_frame
from .rows import Parts
from .splits import SPLITS

BESIDE = ("items", "users", "item_columns", "user_columns", "keep_items")  # that load_dataset takes


def make_dataset(
    name: Any,
    inter: Any = None,
    split: str = "random",
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    rating: str | int | None = None,
    time: str | int | None = None,
    weight: str | int | None = None,
    time_unit: str | None = None,
    time_format: str | None = None,
    min_rating: float | None = None,
    k_core: int | tuple[int, int] | None = None,
    **options: Any,
) -> Dataset:
    """Filter, split and number events: from `Interactions`, or a table in memory, to a `Dataset`.

    Ids that lose all their events to a filter leave the id spaces; ids that had none to begin with stay unless there is a
    filter. Users and items that only the test part has stay (cold).

    Parameters
    ----------
    name : str
        May be left out: ``make_dataset(frame)`` is of the name "data".
    inter : Interactions, or a table as `read_frame` takes
    split : {"random", "temporal", "temporal-user", "leave-k-out", "new-items", "none"}
        `split_random`, `split_temporal` by "global" or "user", `split_leave_k_out`, `split_new_items`, or everything for training.
    min_rating : float, optional
        Keep events rated so or higher. Required where a rating is 0 or below, which may mean that the user did not like the item: all events that
        are kept become positive edges. What is rated lower stays at hand as `Dataset.disliked`.
    k_core : int or (int, int), optional
        Then keep the k-core, see `Interactions.k_core`.
    weight : "rating" or None, of a table also a column
        What weighs the edges, of both parts: the events' ratings or the column, which must be > 0 then, or nothing. For a weight of another kind
        (1 + alpha * rating) put it in their place: ``dataclasses.replace(events, rating=...)``. A repeated pair has its earliest event's, as it
        has its time.
    user, item, rating, time, time_unit, time_format
        The columns of a table and how its times are written, see `read_frame`: guessed where they are left out.
    **options
        Arguments of the split: `test`, `seed`, `k`, `by`, and `valid` for a validation part beside the test part, cut in the same way.

    Raises
    ------
    ValueError
        An unknown split, an option that the split does not have, or data that a filter or split needs and is not there.

    Examples
    --------
    >>> from fastgcn_rec.data import Interactions, make_dataset
    >>> events = Interactions.from_raw([1, 1, 2, 2], [5, 6, 5, 6], time=[1, 2, 3, 4])
    >>> make_dataset("toy", events, split="leave-k-out", k=1)
    Dataset('toy', 2 users, 2 items, 2 train + 2 test edges)
    """
    if not isinstance(name, str):
        name, inter, split = "data", name, inter if isinstance(inter, str) else split
    columns = {
        "user": user,
        "item": item,
        "rating": rating,
        "time": time,
        "time_unit": time_unit,
        "time_format": time_format,
    }
    if is_frame(inter):
        columns["rating"], weight = weights_of(rating, weight)
        held = [read_frame(inter, **columns)]  # type: ignore[arg-type]
        return dataset_of(name, held, split, weight=weight, min_rating=min_rating, k_core=k_core, **options)
    if not isinstance(inter, Interactions):
        raise TypeError(
            f"make_dataset: inter must be Interactions or a table, got {type(inter).__name__}; Interactions.from_raw(users, items) makes them of "
            "raw ids, read_csv and the other readers of files"
        )
    if any(value is not None for value in columns.values()):
        raise ValueError(
            f"{next(key for key, value in columns.items() if value is not None)} is of tables, but inter is Interactions, which have their columns"
        )
    return dataset_of(name, [inter], split, weight=weight, min_rating=min_rating, k_core=k_core, **options)


def dataset_of(
    name: str,
    held: list[Interactions],
    split: str = "random",
    *,
    weight: str | int | None = None,
    min_rating: float | None = None,
    k_core: int | tuple[int, int] | None = None,
    **options: Any,
) -> Dataset:
    """`make_dataset` of the one entry of ``held``, which is taken out: where nobody else holds it, its columns go one by one as the parts' are made."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, got {split!r}")
    function = SPLITS[split]
    check_options(options, split)
    if weight not in (None, "rating"):
        raise ValueError(f"weight must be 'rating' or None, got {weight!r}")
    inter = held.pop()
    if weight and inter.rating is None:
        raise ValueError(f"weight='rating' needs ratings, but {name} has none; leave weight at None")
    rows, low = len(inter), None
    check_positive(name, inter, min_rating)
    if min_rating is not None:
        low = inter.disliked(min_rating)
        inter = inter.filter_rating(min_rating).compact()
    if k_core is not None:
        inter = inter.k_core(*k_core) if isinstance(k_core, tuple) else inter.k_core(k_core)
    if rows and not len(inter):
        raise ValueError(f"min_rating={min_rating}, k_core={k_core} leave none of {rows} events of {name}; relax them")
    parts = function(inter, **options)
    duplicates = len(inter) - sum(parts.sizes)
    spaces = inter.user_ids, inter.item_ids, inter.item_info, True, inter.user_info
    columns = {"users": inter.users, "items": inter.items, "time": inter.time}
    if weight:
        columns["weight"] = inter.rating
    del inter
    train, *valid, test = edges_of_parts(columns, parts)
    del parts
    data = build_dataset(name, train, test, *spaces, *valid)
    disliked = data.disliked if low is None else _disliked(low, data)
    return replace(data, dropped_duplicates=duplicates, disliked=disliked)


def check_options(options: Iterable[str], split: str) -> None:
    """ValueError: one of the options is none of this split."""
    known = options_of(split)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ValueError(
            f"split={split!r} has no option {unknown[0]!r}; it has {', '.join(known) if known else 'none'}"
            + ("; load_dataset takes what is known beside the events, of a table too" if unknown[0] in BESIDE else "")
        )


def edges_of_parts(columns: dict[str, Array | None], parts: Parts) -> list[Edges]:
    """Each part's events; of the columns none is left."""
    cut: list[dict[str, Any]] = [{} for _ in range(parts.n_parts)]
    for name in tuple(columns):
        column = columns.pop(name)
        if column is not None:
            for own, values in zip(cut, parts.cut(column), strict=True):
                own[name] = values
        del column
    return [Edges(**own) for own in cut]


def split_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What `make_dataset` splits by where it gets these options of a split: with the defaults of those that were left out.

    >>> split_options({"split": "leave-k-out", "k": 2})
    {'split': 'leave-k-out', 'k': 2, 'by': 'time', 'seed': 0}
    """
    whole = {"split": signature(make_dataset).parameters["split"].default, **given}
    defaults = {name: value for name, value in options_of(whole["split"]).items() if value is not None}
    return {**whole, **{name: value for name, value in defaults.items() if name not in whole}}


def options_of(split: str) -> dict[str, Any]:
    """The options that a split has, and their defaults; none where there is no such split.

    >>> options_of("temporal")
    {'test': 0.2, 'valid': None}
    """
    known = signature(SPLITS[split]).parameters if split in SPLITS else {}
    return {name: one.default for name, one in known.items() if name not in ("inter", "draw")}


def weights_of(rating: str | int | None, weight: str | int | None) -> tuple[str | int | None, str | int | None]:
    """(the column that is read as ratings, "rating" or None for whether it weighs): `weight` names a column of its own, or the ratings'.

    >>> weights_of("stars", None), weights_of(None, "n"), weights_of("stars", "stars"), weights_of("stars", "rating")
    (('stars', None), ('n', 'rating'), ('stars', 'rating'), ('stars', 'rating'))
    """
    if weight is None or weight == "":
        return rating, None
    if rating is None or rating == "":
        return weight, "rating"
    if weight not in ("rating", rating):
        raise ValueError(
            f"rating={rating!r} and weight={weight!r} must be one column, whose values then are the weights; leave one out"
        )
    return rating, "rating"


def _disliked(low: Interactions, data: Dataset) -> Edges:
    """Those of the pairs whose user and item the data set has, by its ids."""
    users, items = (
        _codes_in(new, old)[codes]
        for new, old, codes in (
            (data.user_ids, low.user_ids, low.users),
            (data.item_ids, low.item_ids, low.items),
        )
    )
    known = (users >= 0) & (items >= 0)
    return Edges(users[known], items[known])


def _codes_in(new: Array, old: Array) -> NDArray[np.int32]:
    """For each of the sorted ids ``old`` its place in ``new``, which are some of them; -1 where it has none."""
    places = np.full(old.size, -1, np.int32)
    places[codes_of(new, old, "new", "ids")] = np.arange(new.size)
    return places
