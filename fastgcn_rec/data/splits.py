"""Splits of events into a training and a test part.

Every split looks at distinct pairs: of a repeated pair only the earliest event takes part (the first row where times tie or
are not there), the others belong to neither side. So a pair never stands on both sides. A split returns two sorted int64
arrays of rows, (train, test).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from ..core.arguments import check_count, check_fraction
from ..core.ids import Array, Ints
from ..core.philox import generator
from .interactions import Interactions
from .rows import held_out, last_ranks


def split_random(inter: Interactions, test: float = 0.2, seed: int = 0) -> tuple[Ints, Ints]:
    """Hold out a random share of each user's items.

    A user gives the share `test`, halves rounded up, and keeps at least one. The outcome depends on `seed` and on the set of
    pairs, not on the order of rows.

    Parameters
    ----------
    inter : Interactions
    test : float
        Share strictly between 0 and 1.
    seed : int

    Returns
    -------
    (train, test) : int64 arrays of rows

    Raises
    ------
    TypeError, ValueError : a share outside (0, 1); a seed that is no int or out of range.

    Examples
    --------
    >>> from fastgcn_rec.data import Interactions, split_random
    >>> train, test = split_random(Interactions.from_raw([1] * 10, range(10)))
    >>> len(train), len(test)
    (8, 2)
    """
    fraction = check_fraction(test, "test")
    rows = inter.first_events()
    order = generator(seed).random(rows.size)  # rows come in the order of pairs, whatever their order in the file
    return _per_user(inter, rows, order, held_out(_degrees(inter, rows), fraction))


def split_temporal(
    inter: Interactions, test: float = 0.2, by: Literal["global", "user"] = "global"
) -> tuple[Ints, Ints]:
    """Hold out the latest events.

    Parameters
    ----------
    inter : Interactions
        With times. Ties in time are broken by the order of rows.
    test : float
        Share strictly between 0 and 1, halves rounded up.
    by : "global" or "user"
        One cut in time for all, so that training data is older than all test data (users and items may be cold), or each
        user's latest share, of which a user keeps at least one for training.

    Returns
    -------
    (train, test) : int64 arrays of rows

    Raises
    ------
    TypeError, ValueError : a share outside (0, 1); another ``by``; no times.

    Examples
    --------
    >>> from fastgcn_rec.data import Interactions, split_temporal
    >>> events = Interactions.from_raw([1, 1, 2, 2, 2], [5, 6, 5, 6, 7], time=[4, 1, 2, 3, 9])
    >>> [part.tolist() for part in split_temporal(events, test=0.4)]
    [[1, 2, 3], [0, 4]]
    """
    fraction = check_fraction(test, "test")
    time = _times(inter, "split_temporal")
    rows = np.sort(inter.first_events())
    if by == "user":
        return _per_user(inter, rows, time[rows], held_out(_degrees(inter, rows), fraction))
    if by != "global":
        raise ValueError(f"by must be 'global' or 'user', got {by!r}")
    rows = rows[np.argsort(time[rows], kind="stable")]
    cut = rows.size - int(held_out(np.array([rows.size]), fraction)[0])
    return np.sort(rows[:cut]), np.sort(rows[cut:])


def split_leave_k_out(
    inter: Interactions, k: int = 1, by: Literal["time", "random"] = "time", seed: int = 0
) -> tuple[Ints, Ints]:
    """Hold out `k` items of every user that has more than `k`; the others stay in the training part.

    Parameters
    ----------
    inter : Interactions
    k : int
    by : "time" or "random"
        The latest `k` (ties by the order of rows), or any `k`.
    seed : int
        For ``by="random"``.

    Returns
    -------
    (train, test) : int64 arrays of rows

    Raises
    ------
    TypeError, ValueError : k < 1; another ``by``; no times for ``by="time"``; a seed that is no int or out of range.

    Examples
    --------
    >>> from fastgcn_rec.data import Interactions, split_leave_k_out
    >>> events = Interactions.from_raw([1, 1, 2], [5, 6, 5], time=[2, 1, 3])
    >>> [part.tolist() for part in split_leave_k_out(events)]
    [[1, 2], [0]]
    """
    k = check_count(k, "k", 1)
    rows = inter.first_events()
    order: Array
    if by == "time":
        rows = np.sort(rows)
        order = _times(inter, "split_leave_k_out(by='time')")[rows]
    elif by == "random":
        order = generator(seed).random(rows.size)
    else:
        raise ValueError(f"by must be 'time' or 'random', got {by!r}")
    degrees = _degrees(inter, rows)
    return _per_user(inter, rows, order, np.where(degrees > k, k, 0))


def split_new_items(inter: Interactions, test: float = 0.1, seed: int = 0) -> tuple[Ints, Ints]:
    """Hold out all events of a random share of the items: items that training never sees (cold), for inductive models.

    Parameters
    ----------
    inter : Interactions
    test : float
        Share strictly between 0 and 1 of the items with events, halves rounded up; one item at least stays.
    seed : int

    Returns
    -------
    (train, test) : int64 arrays of rows

    Raises
    ------
    TypeError, ValueError : a share outside (0, 1); a seed that is no int or out of range.

    Examples
    --------
    >>> from fastgcn_rec.data import Interactions, split_new_items
    >>> train, test = split_new_items(Interactions.from_raw([1, 2, 3, 1], [5, 6, 7, 6]), test=0.3)
    >>> len(train) + len(test)
    4
    """
    fraction = check_fraction(test, "test")
    rows = np.sort(inter.first_events())
    items = np.unique(inter.items[rows])
    quota = int(held_out(np.array([items.size]), fraction)[0])
    held = np.zeros(inter.n_items, bool)
    held[items[np.argsort(generator(seed).random(items.size))[:quota]]] = True
    new = held[inter.items[rows]]
    return rows[~new], rows[new]


def _times(inter: Interactions, who: str) -> Array:
    if inter.time is None:
        raise ValueError(f"{who} needs times, but these interactions have none; use a random split")
    return inter.time


def _degrees(inter: Interactions, rows: Ints) -> Ints:
    return np.bincount(inter.users[rows], minlength=inter.n_users)


def _per_user(inter: Interactions, rows: Ints, order: Array, quota: Ints) -> tuple[Ints, Ints]:
    """Hold out the last `quota[u]` of user u's rows in the given order."""
    users = inter.users[rows]
    held = last_ranks(users, order, inter.n_users) < quota[users]
    return np.sort(rows[~held]), np.sort(rows[held])


def _split_none(inter: Interactions) -> tuple[Ints, Ints]:
    return np.sort(inter.first_events()), np.zeros(0, np.int64)


def _split_temporal_user(inter: Interactions, test: float = 0.2) -> tuple[Ints, Ints]:
    return split_temporal(inter, test, by="user")


def _split_temporal_global(inter: Interactions, test: float = 0.2) -> tuple[Ints, Ints]:
    return split_temporal(inter, test, by="global")


SPLITS: dict[str, Callable[..., tuple[Ints, Ints]]] = {
    "random": split_random,
    "temporal": _split_temporal_global,
    "temporal-user": _split_temporal_user,
    "leave-k-out": split_leave_k_out,
    "new-items": split_new_items,
    "none": _split_none,
}
