"""Pairs of internal ids: a part of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.ids import Array

_INT32_MAX = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Edges:
    """Pairs of internal ids: `users` and `items`, int32 [E], with a `time` [E] and a `weight` float32 [E], > 0, or None.

    `ids` are the raw ids that the internal ones stand for, (of users, of items), where the edges are those of a `Dataset`, which sets it;
    else None. By them `fit` and `evaluate` notice edges that mean others than the model's.

    Examples
    --------
    >>> from fastgcn_rec.data import Edges
    >>> edges = Edges([0, 0, 1], [2, 3, 3])
    >>> len(edges), edges.users.dtype.name
    (3, 'int32')
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    time: Array | None = None
    weight: NDArray[np.float32] | None = None
    ids: tuple[Array, Array] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # Any integers are taken, so that callers need not cast; they are int32 from here on.
        for name in ("users", "items"):
            ids = np.asarray(getattr(self, name))
            if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
                raise TypeError(f"{name} must be integers [E], got dtype {ids.dtype} and shape {list(ids.shape)}")
            if ids.size and not 0 <= ids.min() <= ids.max() <= _INT32_MAX:
                raise ValueError(f"{name} must lie in [0, 2**31), got {ids.min()} to {ids.max()}")
            object.__setattr__(self, name, ids.astype(np.int32, copy=False))
        if self.users.size != self.items.size:
            raise ValueError(f"users and items must have one length, got {self.users.size} and {self.items.size}")
        if self.time is not None and self.time.shape != self.users.shape:
            raise ValueError(f"time must have shape [{self.users.size}], got {list(self.time.shape)}")
        if self.weight is not None:
            object.__setattr__(self, "weight", _weights(self.weight, self.users.size))

    def __len__(self) -> int:
        return int(self.users.size)

    def select(self, which: Array) -> Edges:
        """Return the edges that a boolean mask [E] or an index array picks."""
        time, weight = (None if column is None else column[which] for column in (self.time, self.weight))
        return replace(self, users=self.users[which], items=self.items[which], time=time, weight=weight)


def joined(parts: Sequence[Edges]) -> Edges:
    """The edges of all parts, in their order, with what all that are not empty have: times, ids, weights; a ValueError where some have weights and others none."""
    some = [part for part in parts if len(part)] or list(parts[:1])
    if len(some) == 1:
        return some[0]
    columns: dict[str, Any] = {}
    for name in ("time", "weight"):
        given = [getattr(part, name) for part in some]
        if name == "weight" and 0 < sum(column is None for column in given) < len(given):
            raise ValueError(
                "edges with weights and edges without are of no one graph; give all of them weights, or none"
            )
        columns[name] = None if any(column is None for column in given) else np.concatenate(given)
    users, items = (np.concatenate([getattr(part, side) for part in some]) for side in ("users", "items"))
    return Edges(users, items, **columns, ids=some[0].ids)


def _weights(given: Any, n_edges: int) -> NDArray[np.float32]:
    values = np.asarray(given)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"weight must be numbers [E], got dtype {values.dtype}")
    if values.shape != (n_edges,):
        raise ValueError(f"weight must have shape [{n_edges}], got {list(values.shape)}")
    with np.errstate(over="ignore"):
        weight = values.astype(np.float32, copy=False)
    bad = ~(np.isfinite(weight) & (weight > 0))
    if bad.any():
        at = int(bad.argmax())
        raise ValueError(
            f"weight must be positive and finite in float32, got {values[at]} at edge {at}; leave such edges out"
        )
    return weight
