"""Columns of rows, put in the order of the rows' users."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.ids import Array, Ints


class RowsByUser:
    """Rows in the order of their users int32 [n], those of one in the order in which they stand; rows of the user -1 are left out.

    ``starts`` int64 [n_users + 1]: where each user's rows begin. Columns are put in order ``at_once`` rows at a time.

    >>> order = RowsByUser(np.array([1, -1, 0, 1], np.int32), 2, 10)
    >>> order.of(np.array([10, 11, 12, 13])).tolist(), order.starts.tolist(), order.left_out
    ([12, 10, 13], [0, 1, 3], 1)
    """

    def __init__(self, users: NDArray[np.int32], n_users: int, at_once: int) -> None:
        self._at_once = at_once
        runs = (
            np.concatenate(([0], np.flatnonzero(users[1:] != users[:-1]) + 1)) if users.size else np.zeros(0, np.int64)
        )
        of_runs, sizes = users[runs], np.diff(runs, append=users.size)
        order = np.argsort(of_runs, kind="stable")
        order = order[of_runs[order] >= 0]
        self._runs, self._sizes = runs[order], sizes[order]
        counts = np.zeros(n_users, np.int64)
        np.add.at(counts, of_runs[order], self._sizes)
        self.starts: Ints = np.concatenate(([0], np.cumsum(counts)))
        self.left_out = int(users.size - self.starts[-1])

    def of(self, column: Array) -> Array:
        """A column [n] in this order."""
        out, ends = np.empty(int(self.starts[-1]), column.dtype), np.cumsum(self._sizes)
        first = 0
        while first < len(ends):
            begin = int(ends[first] - self._sizes[first])
            last = max(int(np.searchsorted(ends, begin + self._at_once, "right")), first + 1)
            sizes, end = self._sizes[first:last], int(ends[last - 1])
            skips = self._runs[first:last] - (ends[first:last] - sizes)  # from a place here to one there
            out[begin:end] = column[np.repeat(skips, sizes) + np.arange(begin, end)]
            first = last
        return out
