"""A column of unknown length, in blocks that go back to the system one by one when it is put together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .ids import Array

_BYTES = 1 << 26  # above what malloc keeps on its heap when it is freed; pages that are not written take no memory


class Blocks:
    """Rows of one dtype, to which others are appended."""

    def __init__(self, dtype: np.dtype | type[np.generic]) -> None:
        self.dtype = np.dtype(dtype)
        self.size = 0
        self._blocks: list[tuple[Array, int]] = []  # a block, and how many of its rows are there

    def room(self, n: int) -> Array:
        """Return n more rows, to be written."""
        if not self._blocks or self._blocks[-1][0].size - self._blocks[-1][1] < n:
            self._blocks.append((np.empty(max(n, _BYTES // self.dtype.itemsize), self.dtype), 0))
        block, used = self._blocks[-1]
        self._blocks[-1] = block, used + n
        self.size += n
        return block[used : used + n]

    def last(self, n: int) -> Array:
        """The n rows of the last `room`."""
        block, used = self._blocks[-1] if n else (np.empty(0, self.dtype), 0)
        return block[used - n : used]

    def thin(self, n: int, kept: NDArray[np.bool_]) -> None:
        """Of the n rows of the last `room` keep those that ``kept`` [n] names."""
        rows = self.last(n)[kept]
        if n:
            block, used = self._blocks[-1]
            block[used - n : used - n + rows.size] = rows
            self._blocks[-1] = block, used - n + rows.size
            self.size -= n - rows.size

    def parts(self) -> list[Array]:
        """The rows, block by block."""
        return [block[:used] for block, used in self._blocks]

    def whole(self) -> Array:
        """The rows as one array; this object keeps none."""
        out, at, parts = np.empty(self.size, self.dtype), 0, self.taken()
        while parts:  # what was copied goes
            part = parts.pop()
            out[at : at + part.size] = part
            at += part.size
            del part
        return out

    def taken(self) -> list[Array]:
        """As `parts`, last block first, to be popped: this object keeps none of them."""
        parts = self.parts()[::-1]
        self._blocks, self.size = [], 0
        return parts
