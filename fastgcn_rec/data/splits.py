"""Splits of events into a training and a test part, and a validation part between them where one is asked for.

Every split looks at distinct pairs: of a repeated pair only the earliest event takes part (the first row where times tie or
are not there), the others belong to no part. So a pair never stands in two. A split returns sorted int64 arrays of rows:
(train, test), or with `valid` (train, valid, test), where the test part is the same as without. Shares are of all that is split,
so that test=0.1, valid=0.1 is 8:1:1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from ..core.arguments import check_count, check_fraction
from ..core.ids import Array, Ints
from ..core.philox import generator
from .interactions import Interactions
from .rows import Distinct, Parts, first_events, held_out, latest, share_out


def split_random(inter: Interactions, test: float = 0.2, seed: int = 0, valid: float | None = None) -> tuple[Ints, ...]:
    """Hold out a random share of each user's items.

    A user gives the share `test`, halves rounded up, then the share `valid`, and keeps at least one. The outcome depends on `seed` and on
    the set of pairs, not on the order of rows.

    Parameters
    ----------
    inter : Interactions
    test : float
        Share strictly between 0 and 1.
    seed : int
    valid : float, optional
        Share of a validation part, likewise; both together below 1.

    Returns
    -------
    (train, test), or (train, valid, test) where `valid` is given : int64 arrays of rows

    Raises
    ------
    TypeError, ValueError : shares outside (0, 1), or 1 and more together; a seed that is no int or out of range.

    Examples
    --------
    >>> from fastgcn_rec.data import Interactions, split_random
    >>> events = Interactions.from_raw([1] * 10, range(10))
    >>> [len(part) for part in split_random(events)], [len(part) for part in split_random(events, 0.1, valid=0.1)]
    ([8, 2], [8, 1, 1])
    """
    return _random(inter, test, seed, valid).rows()


def split_temporal(
    inter: Interactions, test: float = 0.2, by: Literal["global", "user"] = "global", valid: float | None = None
) -> tuple[Ints, ...]:
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
    valid : float, optional
        Share of a validation part: the latest of what is left, a second cut in time or each user's; both together below 1.

    Returns
    -------
    (train, test), or (train, valid, test) where `valid` is given : int64 arrays of rows

    Raises
    ------
    TypeError, ValueError : shares outside (0, 1), or 1 and more together; another ``by``; no times.

    Examples
    --------
    >>> from fastgcn_rec.data import Interactions, split_temporal
    >>> events = Interactions.from_raw([1, 1, 2, 2, 2], [5, 6, 5, 6, 7], time=[4, 1, 2, 3, 9])
    >>> [part.tolist() for part in split_temporal(events, test=0.4)]
    [[1, 2, 3], [0, 4]]
    """
    if by not in ("global", "user"):
        raise ValueError(f"by must be 'global' or 'user', got {by!r}")
    return (_temporal_user if by == "user" else _temporal)(inter, test, valid).rows()


def split_leave_k_out(
    inter: Interactions,
    k: int = 1,
    by: Literal["time", "random"] = "time",
    seed: int = 0,
    valid: int | None = None,
) -> tuple[Ints, ...]:
    """Hold out `k` items of every user that has more than `k`; the others stay in the training part.

    Parameters
    ----------
    inter : Interactions
    k : int
    by : "time" or "random"
        The latest `k` (ties by the order of rows), or any `k`.
    seed : int
        For ``by="random"``.
    valid : int, optional
        How many items beside these go to a validation part, of every user that has more than `k + valid`: the latest of what is left, or any.

    Returns
    -------
    (train, test), or (train, valid, test) where `valid` is given : int64 arrays of rows

    Raises
    ------
    TypeError, ValueError : k or valid < 1; another ``by``; no times for ``by="time"``; a seed that is no int or out of range.

    Examples
    --------
    >>> from fastgcn_rec.data import Interactions, split_leave_k_out
    >>> events = Interactions.from_raw([1, 1, 2], [5, 6, 5], time=[2, 1, 3])
    >>> [part.tolist() for part in split_leave_k_out(events)]
    [[1, 2], [0]]
    """
    return _leave_k_out(inter, k, by, seed, valid).rows()


def split_new_items(
    inter: Interactions, test: float = 0.1, seed: int = 0, valid: float | None = None
) -> tuple[Ints, ...]:
    """Hold out all events of a random share of the items: items that training never sees (cold), for inductive models.

    Parameters
    ----------
    inter : Interactions
    test : float
        Share strictly between 0 and 1 of the items with events, halves rounded up; one item at least stays.
    seed : int
    valid : float, optional
        Share of the items whose events go to a validation part, likewise; both together below 1.

    Returns
    -------
    (train, test), or (train, valid, test) where `valid` is given : int64 arrays of rows

    Raises
    ------
    TypeError, ValueError : shares outside (0, 1), or 1 and more together; a seed that is no int or out of range.

    Examples
    --------
    >>> from fastgcn_rec.data import Interactions, split_new_items
    >>> train, test = split_new_items(Interactions.from_raw([1, 2, 3, 1], [5, 6, 7, 6]), test=0.3)
    >>> len(train) + len(test)
    4
    """
    return _new_items(inter, test, seed, valid).rows()


Draw = Callable[[Distinct, int], Callable[[int], Array]]
"""Of the first events of some users, and a seed: what draws the numbers of the next n of them."""


def _drawn(found: Distinct, seed: int) -> Callable[[int], Array]:
    return generator(seed).random


def _random(
    inter: Interactions, test: float = 0.2, seed: int = 0, valid: float | None = None, *, draw: Draw = _drawn
) -> Parts:
    shares = _shares(test, valid)
    found = _distinct(inter)  # in the order of pairs, whatever their order in the file
    return share_out(found, len(inter), _quotas(found.degrees, shares), draw(found, seed))


def _temporal(inter: Interactions, test: float = 0.2, valid: float | None = None) -> Parts:
    shares, time = _shares(test, valid), _times(inter, "split_temporal")
    first = share_out(_distinct(inter), len(inter), [])
    quotas = [int(quota[0]) for quota in _quotas(np.array(first.sizes), shares)]
    return latest(first, time, quotas)


def _temporal_user(inter: Interactions, test: float = 0.2, valid: float | None = None) -> Parts:
    shares, time = _shares(test, valid), _times(inter, "split_temporal")
    found = _distinct(inter)
    return share_out(found, len(inter), _quotas(found.degrees, shares), time)


def _leave_k_out(
    inter: Interactions,
    k: int = 1,
    by: Literal["time", "random"] = "time",
    seed: int = 0,
    valid: int | None = None,
    *,
    draw: Draw = _drawn,
) -> Parts:
    counts = [check_count(k, "k", 1), *([] if valid is None else [check_count(valid, "valid", 1)])]
    if by not in ("time", "random"):
        raise ValueError(f"by must be 'time' or 'random', got {by!r}")
    time = _times(inter, "split_leave_k_out(by='time')") if by == "time" else None
    found, most = _distinct(inter), np.cumsum(counts)
    quotas = [np.where(found.degrees > m, n, 0) for n, m in zip(counts, most, strict=True)]
    return share_out(found, len(inter), quotas, draw(found, seed) if time is None else time)


def _new_items(inter: Interactions, test: float = 0.1, seed: int = 0, valid: float | None = None) -> Parts:
    shares, first = _shares(test, valid), _none(inter).labels
    occurs = np.zeros(inter.n_items, bool)
    occurs[inter.items] = True
    items = np.flatnonzero(occurs)
    drawn = items[np.argsort(generator(seed).random(items.size))]
    label_of = np.zeros(inter.n_items, np.uint8)
    for number, part in enumerate(_cut(drawn[::-1], shares)):
        label_of[part] = 1 + len(shares) - number
    labels = label_of[inter.items]
    labels[first == 0] = 0
    return Parts(labels, 1 + len(shares))


def _none(inter: Interactions) -> Parts:
    """All distinct pairs in the first part, and an empty test part."""
    return Parts(2 * share_out(_distinct(inter), len(inter), []).labels, 2)


def _times(inter: Interactions, who: str) -> Array:
    if inter.time is None:
        raise ValueError(
            f"{who} needs times, but these interactions have none; use a random split, or name their column by time= (--time)"
        )
    return inter.time


def _distinct(inter: Interactions) -> Distinct:
    return first_events(inter.users, inter.items, inter.n_users, inter.n_items, inter.time)


def _shares(test: float, valid: float | None) -> list[float]:
    """The shares to hold out, the test part's first."""
    if valid is None:
        return [check_fraction(test, "test")]
    shares = [check_fraction(test, "test"), check_fraction(valid, "valid")]
    if sum(shares) >= 1:
        raise ValueError(f"test + valid must be below 1, got {test} + {valid}: nothing would be left to train on")
    return shares


def _quotas(degrees: Array, shares: Sequence[float]) -> list[Ints]:
    """How many each user (or whatever has a degree) gives for each share: halves up, but never all it has."""
    quotas: list[Ints] = []
    for share in shares:
        left = degrees - sum(quotas, np.zeros_like(degrees))
        quotas.append(np.minimum(held_out(degrees, share), np.maximum(left - 1, 0)))
    return quotas


def _cut(rows: Ints, shares: Sequence[float]) -> list[Ints]:
    """The rows as they come, in parts: training first, the test part last."""
    quotas = [int(quota[0]) for quota in _quotas(np.array([rows.size]), shares)]
    return np.split(rows, rows.size - np.cumsum(quotas)[::-1])


SPLITS: dict[str, Callable[..., Parts]] = {
    "random": _random,
    "temporal": _temporal,
    "temporal-user": _temporal_user,
    "leave-k-out": _leave_k_out,
    "new-items": _new_items,
    "none": _none,
}
