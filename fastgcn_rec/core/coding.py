"""Ids that come in batches, as codes into the sorted ids that occur: a code a row is kept, and every distinct id once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .ids import Array, Ints, as_texts, factorize

Codes = NDArray[np.int32]


class IdCoder:
    """Takes batches of int64 ids, or of texts, and gives what `factorize` gives of them all."""

    def __init__(self) -> None:
        self._batches: list[tuple[Ints, Codes]] = []  # of integers: a batch's distinct ids, sorted, and codes into them
        self._known: dict[str, int] = {}
        self._codes: list[Codes] = []  # of texts, into those known
        self.n_rows = 0

    def add_integers(self, ids: Ints) -> None:
        distinct, codes = factorize(ids)
        self._batches.append((distinct, codes.astype(np.int32)))
        self.n_rows += ids.size

    def add_texts(self, distinct: list[str], codes: Codes) -> None:
        """Take texts [n], given as codes into a list of them, of which each is used."""
        known = self._known
        place = np.fromiter((known.setdefault(text, len(known)) for text in distinct), np.int32, len(distinct))
        self._codes.append(place[codes])
        self.n_rows += codes.size

    def is_mixed(self) -> bool:
        """Whether some of the ids are integers and others texts."""
        return bool(self._batches) and bool(self._codes)

    def row_of(self, number: int) -> int:
        """The first row of the text that came as the ``number``-th distinct one."""
        before = 0
        for codes in self._codes:
            at = np.flatnonzero(codes == number)
            if at.size:
                return before + int(at[0])
            before += codes.size
        raise IndexError(f"no text came as number {number}")

    def texts(self) -> list[str]:
        """The distinct texts as they came."""
        return list(self._known)

    def finish(self, parse: Callable[[list[str]], Array] = as_texts) -> tuple[Array, Ints]:
        """(sorted distinct ids, int64 code of every id); ``parse`` makes ids of the distinct texts. Can be asked once."""
        if self._codes:
            space, rank = factorize(parse(self.texts()))
            codes = _joined(self._codes, self.n_rows)
            return space, rank[codes]
        space = np.unique(np.concatenate([np.zeros(0, np.int64), *(distinct for distinct, _ in self._batches)]))
        out = np.empty(self.n_rows, np.int64)
        at = 0
        while self._batches:
            distinct, part = self._batches.pop(0)
            out[at : at + part.size] = np.searchsorted(space, distinct)[part]
            at += part.size
        return space, out


def _joined(parts: list[Codes], n_rows: int) -> Codes:
    out, at = np.empty(n_rows, np.int32), 0
    while parts:
        part = parts.pop(0)
        out[at : at + part.size] = part
        at += part.size
    return out
