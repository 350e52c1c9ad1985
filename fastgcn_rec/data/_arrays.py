"""Array helpers of the data layer: raw ids, codes and pairs. Nothing here is public."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Ints: TypeAlias = NDArray[np.int64]


def is_text(ids: Array) -> bool:
    """Whether ids are texts: an object array of str."""
    return ids.dtype.kind in "OU"


def as_ids(values: Iterable[Any] | Array, name: str) -> Array:
    """Return raw ids as an int64 or unicode array [n]; `name` is the argument named in errors."""
    if not isinstance(values, np.ndarray) and not hasattr(values, "__array__"):
        values = list(values)
        kinds = {"str" if isinstance(v, str) else type(v).__name__ for v in values}
        if "str" in kinds and len(kinds) > 1:  # np.asarray would turn the numbers into strings silently
            raise TypeError(_mixed(name, kinds))
        ids: Array = np.asarray(values) if values else np.zeros(0, np.int64)
    else:
        ids = np.asarray(values)
    if ids.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {list(ids.shape)}")
    if ids.dtype == object:
        kinds = {"str" if isinstance(v, str) else type(v).__name__ for v in ids.tolist()}
        if kinds <= {"str"}:
            return ids.astype(np.str_)
        if not kinds <= {"int"}:
            raise TypeError(_mixed(name, kinds))
        ids = np.array([int(v) for v in ids], dtype=np.int64)
    if ids.dtype.kind == "T":  # NumPy 2 StringDType
        return ids.astype(np.str_)
    if ids.dtype.kind == "U":
        return ids
    if ids.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be integers or strings, got dtype {ids.dtype}; convert them with "
            f".astype(np.int64) or .astype(str)"
        )
    if ids.dtype == np.uint64 and ids.size and int(ids.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must fit int64, got {int(ids.max())}; pass such ids as strings")
    return ids.astype(np.int64, copy=False)


def _mixed(name: str, kinds: set[str]) -> str:
    return f"{name} must be all integers or all strings, got {', '.join(sorted(kinds))}; convert them with str()"


def factorize(ids: Array) -> tuple[Array, Ints]:
    """Return (sorted distinct ids, int64 code of every id)."""
    if ids.dtype.kind != "U":
        unique, codes = np.unique(ids, return_inverse=True)
        return unique, codes.astype(np.int64, copy=False).reshape(-1)
    # A hash table beats sorting fixed-width unicode by a wide margin; code points sort alike in both.
    values = ids.tolist()
    ordered = sorted(set(values))
    index = {value: code for code, value in enumerate(ordered)}
    unique = np.array(ordered, dtype=np.str_) if ordered else np.zeros(0, "U1")
    return unique, np.fromiter(map(index.__getitem__, values), np.int64, len(values))


def sorted_index(ids: Array) -> tuple[Ints, Array]:
    """Return (order, ids[order]), sorted: what `codes_of` looks ids up in; order[code] is the position in `ids`."""
    order = np.argsort(ids, kind="stable").astype(np.int64, copy=False)
    return order, ids[order]


def codes_of(ids: Array, space: Array, name: str, what: str) -> Ints:
    """Return the positions of `ids` in the sorted `space`; a ValueError names the first unknown ids."""
    if ids.size and space.size and (ids.dtype.kind == "U") != (space.dtype.kind == "U"):
        raise TypeError(f"{name} must be {_kind(space)} as the {what} are, got {_kind(ids)}")
    if not space.size:
        found = np.zeros(ids.shape, bool)
        position: Ints = np.zeros(ids.shape, np.int64)
    else:
        position = np.searchsorted(space, ids).astype(np.int64, copy=False)
        found = space[np.minimum(position, space.size - 1)] == ids
    if not found.all():
        unknown = np.unique(ids[~found])
        shown = ", ".join(repr(v) for v in unknown[:5].tolist()) + (", ..." if unknown.size > 5 else "")
        raise ValueError(f"{name} holds {unknown.size} ids that are not among the {space.size} {what}: {shown}")
    return position


def among(ordered: Array, wanted: Array) -> NDArray[np.bool_]:
    """Return which of `wanted` (any shape) are in the sorted `ordered`."""
    if not ordered.size:
        return np.zeros(wanted.shape, bool)
    found: NDArray[np.bool_] = ordered[np.minimum(np.searchsorted(ordered, wanted), ordered.size - 1)] == wanted
    return found


def _kind(ids: Array) -> str:
    return "strings" if ids.dtype.kind == "U" else "integers"


def pair_keys(users: Array, items: Array, n_users: int, n_items: int) -> Ints:
    """Return user * n_items + item as int64 [E]: one number a pair, sorted by user, then item."""
    if n_users * n_items > np.iinfo(np.int64).max:
        raise ValueError(f"n_users * n_items must be below 2**63, got {n_users} * {n_items}")
    keys = users.astype(np.int64)
    keys *= n_items
    keys += items
    return keys


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


def check_fraction(value: float, name: str) -> float:
    """Return a share strictly between 0 and 1 as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number between 0 and 1, got {type(value).__name__}")
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")
    return float(value)


def check_count(value: int, name: str, least: int) -> int:
    """Return an integer that is at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def generator(seed: int, stream: int = 0) -> np.random.Generator:
    """Return the Philox generator keyed by (seed, stream): streams are independent of one another."""
    check_count(seed, "seed", 0)
    if seed >= 2**64:
        raise ValueError(f"seed must be below 2**64, got {seed}")
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)))
