"""Raw ids, int64 or texts, and the internal ids that stand for them; pairs of ids as one number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import _C
from . import native

Array: TypeAlias = NDArray[Any]
Ints: TypeAlias = NDArray[np.int64]
Codes: TypeAlias = NDArray[np.int32]


def is_text(ids: Array) -> bool:
    """Whether ids are texts: an object array of str, as all texts of this package are; of what a user gave, NumPy's own kinds too."""
    return ids.dtype.kind in "OUT"


def as_texts(values: Iterable[str]) -> Array:
    """Return texts as an object array [n] of str. Unlike fixed-width unicode it costs no more than they do and keeps a NUL at an end."""
    return texts_array(list(map(str.__str__, values)))


def texts_array(texts: list[str]) -> Array:
    """A list of str as an object array."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def is_missing(value: object) -> bool:
    """Whether a value stands for none: None, NaN, NaT, pandas.NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (Number, np.datetime64, np.timedelta64)) and bool(value != value)


def as_ids(values: Iterable[Any] | Array, name: str) -> Array:
    """Return raw ids [n], int64 or an object array of str; `name` is the argument named in errors."""
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{name} must be a sequence of ids, got one text; write [{values!r}]")
    if isinstance(values, (set, frozenset)):
        raise TypeError(f"{name} must be a list or an array, whose order counts, got a set; pass sorted(...)")
    if isinstance(values, Mapping) or not (hasattr(values, "__array__") or isinstance(values, Iterable)):
        raise TypeError(f"{name} must be a list or an array of ids, got {values!r:.80}")
    if np.ma.is_masked(values):
        raise TypeError(f"{name} must be ids throughout, got masked ones; drop those rows first")
    text = False
    if hasattr(values, "__array__"):
        ids: Array = np.asarray(values)
        if ids.ndim != 1:
            raise ValueError(f"{name} must be one-dimensional, got shape {list(ids.shape)}")
        if not is_text(ids):
            return _integers(ids, name)
        values, text = ids.tolist(), True
    values = list(values)
    kinds = {"str" if isinstance(value, str) else type(value).__name__ for value in values}
    if kinds == {"str"} or (text and not kinds):
        return as_texts(values)
    missing = next((n for n, value in enumerate(values) if is_missing(value)), None)
    if missing is not None:
        raise TypeError(
            f"{name} must be ids throughout, got the missing value {values[missing]!r} at position {missing}; drop those rows first"
        )
    if "str" in kinds or (
        "bool" in kinds and len(kinds) > 1
    ):  # np.asarray would make texts or numbers of them silently
        raise TypeError(
            f"{name} must be all integers or all strings, got {', '.join(sorted(kinds))}; convert them with str()"
        )
    return _integers(np.asarray(values) if values else np.zeros(0, np.int64), name)


def _integers(ids: Array, name: str) -> Ints:
    if ids.dtype == object:  # integers beyond 64 bits, or other things than numbers
        raise TypeError(
            f"{name} must be integers below 2**63 or strings, got {ids.ravel()[0]!r}; convert them with str()"
        )
    if ids.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {list(ids.shape)}")
    if ids.dtype.kind not in "iu" and ids.size:  # an array of nothing is of floats by itself
        cause = " (pandas makes floats of integers where values are missing)" if ids.dtype.kind == "f" else ""
        raise TypeError(
            f"{name} must be integers or strings, got dtype {ids.dtype}{cause}; convert them with "
            f".astype(np.int64) or .astype(str)"
        )
    if ids.dtype == np.uint64 and ids.size and int(ids.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must fit int64, got {int(ids.max())}; pass such ids as strings")
    return ids.astype(np.int64, copy=False)


def factorize(ids: Array) -> tuple[Array, Ints]:
    """Return (sorted distinct ids, int64 code of every id)."""
    if not is_text(ids):
        ids, table, threads = np.ascontiguousarray(ids, np.int64), _C.IntegerTable(), native.threads()
        numbers = np.empty(ids.size, np.int32)
        table.add(ids.ctypes.data, ids.size, numbers.ctypes.data, threads)
        unique, ranks = np.empty(len(table), np.int64), np.empty(len(table), np.int32)
        table.sorted(unique.ctypes.data, ranks.ctypes.data)
        codes = np.empty(ids.size, np.int64)
        _C.take(ranks.ctypes.data, numbers.ctypes.data, ids.size, True, codes.ctypes.data, threads)
        return unique, codes
    ordered = as_texts(sorted(set(ids.tolist())))
    return ordered, _hashed(ordered, ids)[0]


class IdIndex(NamedTuple):
    """Raw ids and their sorted order, ``ordered`` = ids[order], so that others are looked up fast and as often as needed."""

    ids: Array
    order: Ints
    ordered: Array

    @classmethod
    def of(cls, ids: Array) -> IdIndex:
        if is_text(ids):
            order = np.array(sorted(range(ids.size), key=ids.tolist().__getitem__), np.int64)
        else:
            order = np.argsort(ids, kind="stable").astype(np.int64, copy=False)
        return cls(ids, order, ids[order])

    def rows(self, raw_ids: Array, name: str, what: str) -> Ints:
        """Return the positions of raw ids [n] in ``ids``; errors as of `codes_of`."""
        return self.order[codes_of(raw_ids, self.ordered, name, what)]


class UnknownIds(ValueError):
    """Raw ids that are not among those that are known."""


def codes_of(ids: Array, space: Array, name: str, what: str) -> Ints:
    """Return the positions of `ids` in the sorted `space`; UnknownIds, a ValueError, names the first unknown ids."""
    check_kind(ids, space, name, what)
    if is_text(space) and 16 * ids.size > space.size:  # a binary search by Python's comparisons takes longer
        position, found = _hashed(space, ids)
    else:
        position, found = _searched(space, ids)
    if not found.all():
        unknown = np.unique(ids[~found])
        shown = ", ".join(repr(v) for v in unknown[:5].tolist()) + (", ..." if unknown.size > 5 else "")
        ids_are = "1 id that is" if unknown.size == 1 else f"{unknown.size} ids that are"
        raise UnknownIds(f"{name} holds {ids_are} not among the {space.size} {what}: {shown}")
    return position


def check_kind(ids: Array, space: Array, name: str, what: str) -> None:
    """Raise TypeError where some of `ids` and `space` are texts and the others integers."""
    if ids.size and space.size and is_text(ids) != is_text(space):
        raise TypeError(f"{name} must be {_kind(space)} as the {what} are, got {_kind(ids)}")


def _hashed(space: Array, ids: Array) -> tuple[Ints, NDArray[np.bool_]]:
    """As `_searched`, for texts, in a space of any order."""
    wanted = ids.tolist()
    place = dict.fromkeys(wanted, -1)
    place.update((value, code) for code, value in enumerate(space.tolist()) if value in place)
    position = np.fromiter(map(place.__getitem__, wanted), np.int64, ids.size)
    return position, position >= 0


def _searched(space: Array, ids: Array) -> tuple[Ints, NDArray[np.bool_]]:
    if not space.size:
        return np.zeros(ids.shape, np.int64), np.zeros(ids.shape, bool)
    position = np.searchsorted(space, ids).astype(np.int64, copy=False)
    return position, (space[np.minimum(position, space.size - 1)] == ids).astype(bool, copy=False)


def among(ordered: Array, wanted: Array) -> NDArray[np.bool_]:
    """Return which of `wanted` (any shape) are in the sorted `ordered`."""
    return _searched(ordered, wanted)[1]


def ids_at(space: Array, positions: NDArray[np.int64]) -> Array:
    """Return the ids at positions (any shape); where one is -1, the id's "none": -1 or the empty string."""
    found = np.full(positions.shape, "" if is_text(space) else -1, space.dtype)
    known = positions >= 0
    found[known] = space[positions[known]]
    return found


def _kind(ids: Array) -> str:
    return "strings" if is_text(ids) else "integers"


def check_pairs(n_users: int, n_items: int) -> None:
    """ValueError unless every pair has a number."""
    if n_users * n_items > np.iinfo(np.int64).max:
        raise ValueError(f"n_users * n_items must be below 2**63, got {n_users} * {n_items}")


def pair_keys(users: Array, items: Array, n_users: int, n_items: int) -> Ints:
    """Return user * n_items + item as int64 [E]: one number a pair, sorted by user, then item."""
    check_pairs(n_users, n_items)
    keys = users.astype(np.int64)
    keys *= n_items
    keys += items
    return keys
