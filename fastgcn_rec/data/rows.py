"""Rows of events: which are bad, first, last or held out."""

from __future__ import annotations

import numpy as np

from ..core.ids import Array, Ints


class BadValue(Exception):
    """One of many values is not what it should be: which, counted from 0, and why."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


def first_events(keys: Ints, time: Array | None = None) -> Ints:
    """Return the row of each distinct key's earliest event (the first row where times tie), in key order."""
    if not keys.size:
        return np.zeros(0, np.int64)
    order = np.argsort(keys, kind="stable") if time is None else np.lexsort((time, keys))
    ordered = keys[order]
    first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    return order[first].astype(np.int64, copy=False)


def last_ranks(users: Array, rank_by: Array, n_users: int) -> Ints:
    """Return every row's rank [E] within its user, counted from the last in the order of `rank_by` (0 = last)."""
    order = np.lexsort((rank_by, users))
    ends = np.cumsum(np.bincount(users, minlength=n_users))
    ranks = np.empty(users.size, np.int64)
    ranks[order] = ends[users[order]] - 1 - np.arange(users.size)
    return ranks


def held_out(degrees: Array, fraction: float) -> Ints:
    """Return how many of each user's edges to hold out: the share, halves up, but never all of them."""
    share = np.floor(degrees * fraction + 0.5).astype(np.int64)
    quota: Ints = np.minimum(share, np.maximum(degrees - 1, 0))
    return quota
