"""Rows of events: which are bad, first, last or held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    rows.resize(n, refcheck=False)  # gives the rest back in place
    return Distinct(rows, indptr)


class Parts(NamedTuple):
    """Which of `n_parts` parts each event is in: ``labels`` [E], uint8, is `n_parts` of the first part's, ..., 1 of the last one's, 0 of those in none."""

    labels: NDArray[np.uint8]
    n_parts: int

    def rows(self) -> tuple[Ints, ...]:
        """The rows of every part, sorted."""
        return tuple(np.flatnonzero(self.labels == label) for label in range(self.n_parts, 0, -1))

    @property
    def sizes(self) -> list[int]:
        blocks = (self.labels[begin : begin + DRAWN] for begin in range(0, self.labels.size, DRAWN))
        found: Ints = sum(
            (np.bincount(block, minlength=1 + self.n_parts) for block in blocks), np.zeros(1 + self.n_parts, np.int64)
        )
        return found[:0:-1].tolist()  # type: ignore[no-any-return]

    def cut(self, values: Array) -> list[Array]:
        """The values [E] of every part's events, in the order of their rows."""
        found = [np.empty(size, values.dtype) for size in self.sizes]
        at = [0] * self.n_parts
        for begin in range(0, values.size, DRAWN):
            labels, block = self.labels[begin : begin + DRAWN], values[begin : begin + DRAWN]
            for part, out in enumerate(found):
                own = block[labels == self.n_parts - part]
                out[at[part] : at[part] + own.size] = own
                at[part] += own.size
        return found


def share_out(
    found: Distinct, n_events: int, quotas: Sequence[Array], by: Array | Callable[[int], Array] | None = None
) -> Parts:
    """Share out each user's events: the last `quotas[0][u]` of user u's go to the last part, those before them to the one before, what is
    left to the first. There are as many parts, and one more.

    The order of a user's events is that of `by` [n_events], ties in the order of rows, or of numbers that ``by(n)`` draws for the next n
    of `found.rows`.
    """
    rows, indptr = found
    most, n_users = np.cumsum([np.zeros_like(indptr[1:]), *quotas], axis=0, dtype=np.int64)[1:], indptr.size - 1
    labels = np.zeros(n_events, np.uint8)
    ends = np.searchsorted(indptr, np.arange(0, rows.size, DRAWN), side="left").tolist() if callable(by) else [0]
    for begin, end in pairwise([*ends, n_users]):
        of = rows[indptr[begin] : indptr[end]]
        own, quota = np.ascontiguousarray(indptr[begin : end + 1]), np.ascontiguousarray(most[:, begin:end])
        with _ordered(by(of.size) if callable(by) else by) as (whole, real):
            _C.share_out(
                own.ctypes.data, end - begin, whole, real, callable(by), rows.dtype == np.int64, of.ctypes.data,
                quota.ctypes.data, len(quotas), labels.ctypes.data, native.threads(),
            )  # fmt: skip
    return Parts(labels, 1 + len(quotas))


def latest(first: Parts, time: Array, quotas: Sequence[int]) -> Parts:
    """Of the events of one part cut those with the latest `time` [n_events], ties in the order of rows: as `share_out`, of all users together."""
    values = first.cut(time)[0]
    labels = first.labels * np.uint8(1 + len(quotas))
    for label, most in reversed([*enumerate(np.cumsum(quotas, dtype=np.int64).tolist(), 1)]):
        if most == 0:
            continue
        values.partition(values.size - most)
        held = values[values.size - most :]
        cut = held[0]
        left = most - int(np.count_nonzero(held > cut))  # of those at the cut
        for begin in range(
            (labels.size - 1) // DRAWN * DRAWN, -1, -DRAWN
        ):  # the last rows first, which have those at the cut
            own, when = labels[begin : begin + DRAWN], time[begin : begin + DRAWN]
            ties = np.flatnonzero((when == cut) & (own > 0))
            ties = ties[max(ties.size - left, 0) :]
            left -= ties.size
            own[(when > cut) & (own > 0)] = label
            own[ties] = label
    return Parts(labels, 1 + len(quotas))


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
