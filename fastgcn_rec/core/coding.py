"""Ids that come in batches, as codes into the sorted ids that occur: a code a row is kept, and every distinct id once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .. import _C
from . import native
from .blocks import Blocks
from .ids import Array, Codes, Ints, factorize, texts_array


class IdCoder:
    """Takes batches of int64 ids, or of texts, and gives what `factorize` gives of them all, the codes as int32."""

    def __init__(self) -> None:
        self._integers: _C.IntegerTable | None = None
        self._texts: _C.TextTable | None = None
        self._codes = Blocks(np.int32)  # into what the table holds, in the order in which it came

    def add_integers(self, ids: Ints) -> None:
        if self._integers is None:
            self._integers = _C.IntegerTable()
        ids, codes = np.ascontiguousarray(ids), self._codes.room(ids.size)
        self._integers.add(ids.ctypes.data, ids.size, codes.ctypes.data, native.threads())

    def add_texts(self, offsets: Array, data: NDArray[np.uint8], indices: Array | None = None) -> None:
        """Take texts in Arrow's form: text n is the UTF-8 data[offsets[n] : offsets[n + 1]], offsets int32 or int64; with indices [n],
        rows of such texts, of which each is used."""
        if self._texts is None:
            self._texts = _C.TextTable()
        offsets, n = np.ascontiguousarray(offsets), offsets.size - 1
        codes = np.empty(n, np.int32) if indices is not None else self._codes.room(n)
        wide, addresses = offsets.dtype == np.int64, (offsets.ctypes.data, data.ctypes.data)
        self._texts.add(wide, *addresses, n, codes.ctypes.data, native.threads())
        if indices is not None:
            self._codes.room(indices.size)[:] = codes[indices]

    def last(self, n: int) -> Codes:
        """Of the n ids that came last, how many distinct ones had come before each."""
        return self._codes.last(n)

    def thin(self, n: int, kept: NDArray[np.bool_]) -> None:
        """Of the n ids that came last give codes for those alone that ``kept`` [n] names; all count among the distinct ones."""
        self._codes.thin(n, kept)

    def is_mixed(self) -> bool:
        """Whether some of the ids are integers and others texts."""
        return self._integers is not None and self._texts is not None

    def row_of(self, number: int) -> int:
        """The first row of the text that came as the ``number``-th distinct one, counted from 0."""
        before = 0
        for codes in self._codes.parts():
            at = np.flatnonzero(codes == number)
            if at.size:
                return before + int(at[0])
            before += codes.size
        raise IndexError(f"no text came as number {number}")

    def finish(self, parse: Callable[[_C.TextTable], Array | None] | None = None) -> tuple[Array, Codes]:
        """(sorted distinct ids, int32 code of every id); ``parse`` makes ids of the distinct texts, in the order in which they came, or None
        where they are ids as they stand. The memory of the batches goes on the way, unless ``parse`` raises."""
        if self._texts is not None:
            ids = None if parse is None else parse(self._texts)
            if ids is None:
                ranks = np.empty(len(self._texts), np.int32)
                space = texts_array(self._texts.sorted(ranks.ctypes.data))
            else:
                space, wide = factorize(ids)
                ranks = wide.astype(np.int32)
        elif self._integers is not None:
            space, ranks = np.empty(len(self._integers), np.int64), np.empty(len(self._integers), np.int32)
            self._integers.sorted(space.ctypes.data, ranks.ctypes.data)
        else:
            space, ranks = np.zeros(0, np.int64), np.zeros(0, np.int32)
        self._texts = self._integers = None
        out, at, parts = np.empty(self._codes.size, np.int32), 0, self._codes.taken()
        while parts:
            codes = parts.pop()
            part = out[at : at + codes.size]
            _C.take(ranks.ctypes.data, codes.ctypes.data, codes.size, False, part.ctypes.data, native.threads())
            at += codes.size
            del codes
        return space, out
