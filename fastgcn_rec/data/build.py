"""The one way a `Dataset` comes to be: repeats dropped, ids numbered by degree."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..core.ids import Array, Ints, among, as_ids, pair_keys
from .dataset import Dataset
from .edges import Edges
from .interactions import Interactions
from .rows import DRAWN, first_events


def build_dataset(
    name: str,
    train: Edges,
    test: Edges,
    user_ids: Array,
    item_ids: Array,
    item_info: Mapping[str, Array] | None = None,
    distinct: bool = False,
    user_info: Mapping[str, Array] | None = None,
    valid: Edges | None = None,
) -> Dataset:
    """Make a `Dataset`: drop repeated pairs within a part and number users and items by descending training degree.

    Parameters
    ----------
    name : str
    train, test, valid : Edges
        Without `valid` there is no validation part. Pairs of positions in `user_ids` and `item_ids`. Of a repeated pair the earliest event is kept (the first row where
        times tie or are not there), with its weight: add weights up beforehand where their sum is meant. Pairs of `valid` that are training pairs too are left out of it.
    user_ids, item_ids : int64, or str (dtype object) [U], [I]
        Raw ids, sorted and unique.
    item_info : mapping of str to array [I], optional
        Columns aligned with `item_ids`.
    distinct : bool
        The caller vouches that no pair repeats within a part or in both `train` and `valid`, which saves a sort of the edges.
    user_info : mapping of str to array [U], optional
        Columns aligned with `user_ids`.

    Raises
    ------
    ValueError
        Ids that are not sorted and unique, edges outside them, columns of another length.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgcn_rec.data import Edges, build_dataset
    >>> data = build_dataset("toy", Edges([0, 1, 1], [0, 0, 1]), Edges([0], [1]), np.array([5, 8]), np.array([1, 2]))
    >>> data.user_ids.tolist()
    [8, 5]
    """
    valid = Edges(np.zeros(0, np.int32), np.zeros(0, np.int32)) if valid is None else valid
    spaces = {"users": as_ids(user_ids, "user_ids"), "items": as_ids(item_ids, "item_ids")}
    for side, ids in spaces.items():
        if not (ids[1:] > ids[:-1]).all():
            raise ValueError(f"{side[:-1]}_ids must be sorted and unique; np.unique makes them so")
        for part_name, part in (("train", train), ("valid", valid), ("test", test)):
            codes = getattr(part, side)
            if codes.size and not 0 <= codes.min() <= codes.max() < ids.size:
                raise ValueError(
                    f"{part_name}.{side} must lie in [0, {ids.size}), the positions of {side[:-1]}_ids, "
                    f"got {codes.min()} to {codes.max()}"
                )
    for side, one, info in (("items", "an item", item_info), ("users", "a user", user_info)):
        for column_name, column in (info or {}).items():
            if column.shape[:1] != spaces[side].shape:
                raise ValueError(
                    f"{side[:-1]}_info[{column_name!r}] must have one row {one} = {spaces[side].size}, got {list(column.shape)}"
                )
    shape = spaces["users"].size, spaces["items"].size
    rows = len(train) + len(valid) + len(test)
    if not distinct:
        train, valid, test = (_without_repeats(part, *shape) for part in (train, valid, test))
        known, wanted = (pair_keys(part.users, part.items, *shape) for part in (train, valid))
        valid = valid.select(~among(np.sort(known), wanted)) if wanted.size else valid
    dropped, columns = rows - len(train) - len(valid) - len(test), (dict(item_info or {}), dict(user_info or {}))
    data = Dataset(name, train, test, spaces["users"], spaces["items"], columns[0], dropped, columns[1], valid=valid)
    degrees = degrees_of(train.users, data.n_users), degrees_of(train.items, data.n_items)
    return data.renumbered(*map(by_degree, degrees))


def check_positive(name: str, inter: Interactions, min_rating: float | None) -> None:
    """ValueError: there are ratings of 0 and below, and it is not said which are wanted."""
    if min_rating is None and inter.rating is not None and len(inter) and not inter.rating.min() > 0:
        at = int(inter.rating.argmin())
        raise ValueError(
            f"{name}: min_rating must be given where ratings are not all above 0, since every event becomes a positive edge; the lowest is "
            f"{inter.rating[at]:g}, of user {inter.user_ids[inter.users[at]]} and item {inter.item_ids[inter.items[at]]}; "
            "min_rating=1 (--min-rating 1) leaves out what is below, such as returns and dislikes, min_rating=-math.inf takes all"
        )


def _without_repeats(part: Edges, n_users: int, n_items: int) -> Edges:
    rows = first_events(part.users, part.items, n_users, n_items, part.time).rows
    return part if rows.size == len(part) else part.select(np.sort(rows))


def degrees_of(codes: NDArray[np.int32], n: int) -> Ints:
    """How often each code below n occurs."""
    degrees = np.zeros(n, np.int64)
    for begin in range(0, codes.size, DRAWN):  # bincount counts a copy in int64
        degrees += np.bincount(codes[begin : begin + DRAWN], minlength=n)
    return degrees


def by_degree(degrees: Ints) -> Ints:
    """Return the codes by descending degree, ties ascending."""
    return np.argsort(-degrees, kind="stable").astype(np.int64, copy=False)
