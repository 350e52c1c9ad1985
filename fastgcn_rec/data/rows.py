"""Rows of events: which are bad, first, last or held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .. import _C
from ..core import native
from ..core.ids import Array, Ints, check_pairs

DRAWN = 1 << 22  # rows that are worked at at a time, where their number would be one of bytes to spare


class BadValue(Exception):
    """One of many values is not what it should be: which, counted from 0, and why."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


class Distinct(NamedTuple):
    """An event for each distinct pair: ``rows`` [D], int32 or int64, in the order of the pairs, of which user u's are those from indptr[u] to
    indptr[u + 1] (int64 [n_users + 1])."""

    rows: Array
    indptr: Ints

    @property
    def degrees(self) -> Ints:
        return np.diff(self.indptr)


def first_events(users: Array, items: Array, n_users: int, n_items: int, time: Array | None = None) -> Distinct:
    """Return each distinct pair's earliest event (the first row where times tie, or there are none).

    `users` and `items` [E], int32 or int64, lie in [0, n_users) and [0, n_items), else an IndexError.
    """
    check_pairs(n_users, n_items)
    wide = users.dtype == np.int64 or items.dtype == np.int64
    users, items = (np.ascontiguousarray(side, np.int64 if wide else np.int32) for side in (users, items))
    many = users.size >= 2**31
    rows, indptr = np.empty(users.size, np.int64 if many else np.int32), np.empty(n_users + 1, np.int64)
    with _ordered(time) as (whole, real):
        n = _C.first_events(
            wide, users.ctypes.data, items.ctypes.data, whole, real, users.size, n_users, n_items, many,
            rows.ctypes.data, indptr.ctypes.data, native.threads(),
        )  # fmt: skip
    return Distinct(rows if n == rows.size else rows[:n].copy(), indptr)


def share_out(
    found: Distinct, n_events: int, quotas: Sequence[Array], by: Array | Callable[[int], Array] | None = None
) -> tuple[Ints, ...]:
    """Share out each user's events: the last `quotas[0][u]` of user u's go to the last part, those before them to the one before, what is
    left to the first. Returns as many sorted arrays of rows, and one more.

    The order of a user's events is that of `by` [n_events], ties in the order of rows, or of numbers that ``by(n)`` draws for the next n
    of `found.rows`.
    """
    rows, indptr = found
    most, n_users = np.cumsum([np.zeros_like(indptr[1:]), *quotas], axis=0, dtype=np.int64)[1:], indptr.size - 1
    part = np.zeros(n_events, np.uint8)
    ends = np.searchsorted(indptr, np.arange(0, rows.size, DRAWN), side="left").tolist() if callable(by) else [0]
    for begin, end in pairwise([*ends, n_users]):
        of = rows[indptr[begin] : indptr[end]]
        own, quota = np.ascontiguousarray(indptr[begin : end + 1]), np.ascontiguousarray(most[:, begin:end])
        with _ordered(by(of.size) if callable(by) else by) as (whole, real):
            _C.share_out(
                own.ctypes.data, end - begin, whole, real, callable(by), rows.dtype == np.int64, of.ctypes.data,
                quota.ctypes.data, len(quotas), part.ctypes.data, native.threads(),
            )  # fmt: skip
    return tuple(np.flatnonzero(part == 1 + number) for number in reversed(range(1 + len(quotas))))


@contextmanager
def _ordered(values: Array | None) -> Iterator[tuple[int | None, int | None]]:
    """The addresses of values by which events are ordered, as (int64, float64), of which one is None."""
    if values is None:
        yield None, None
        return
    if values.dtype.kind not in "biuf" or values.dtype == np.uint64 or values.dtype.itemsize > 8:
        values = np.unique(values, return_inverse=True)[1]
    real = values.dtype.kind == "f"
    kept = np.ascontiguousarray(values, np.float64 if real else np.int64)
    yield (None, kept.ctypes.data) if real else (kept.ctypes.data, None)


def taken(values: Array, rows: Array, dtype: type[np.generic]) -> Array:
    """values[rows] in another dtype, without a copy in their own."""
    out = np.empty(rows.size, dtype)
    for begin in range(0, rows.size, DRAWN):
        out[begin : begin + DRAWN] = values[rows[begin : begin + DRAWN]]
    return out


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
