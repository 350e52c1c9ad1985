"""Lists of raw ids in any container, and what a caller's ``items`` and ``exclude`` say of the lists that are asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from ..core.arguments import as_python
from ..core.graph import Graph
from ..core.ids import Ints, among, as_ids, is_text
from ..data import Edges
from .filters import Filter, Rows
from .protocols import KnowsIds
from .same_data import check_same_ids

Tensor = torch.Tensor
RowsOf: TypeAlias = Callable[[NDArray[Any], str], Ints]
"""(raw ids, the argument named in errors) -> internal ids."""


@dataclass(frozen=True)
class Asked:
    """n lists that ``who`` is asked for, and how arguments that say what may stand in them are read.

    Attributes
    ----------
    n : int, or None for a stream of lists, whose number nobody knows
    space, rows_of : the raw ids of all that can be listed, and what finds some of them there
    model, users : whose lists they are, internal ids int64 [n]; where they are given, Edges may be
    """

    who: str
    n: int | None
    space: NDArray[Any]
    rows_of: RowsOf
    model: KnowsIds | None = None
    users: Tensor | None = None

    def filter(self, only: Any, exclude: Any, names: tuple[str, str] = ("items", "exclude")) -> Filter:
        """What two arguments say, by their names.

        Each is None; raw ids, for all lists; n lists of raw ids, or an array [n, m] of them whose padding, as that of recommendations, is none; a
        SciPy sparse matrix [n, n_items] of internal ids; or Edges.
        """
        within, without = (
            None if given is None else self._given(name, given)
            for name, given in zip(names, (only, exclude), strict=True)
        )
        every = within if isinstance(within, np.ndarray) else None
        if isinstance(without, np.ndarray):
            every = np.arange(len(self.space)) if every is None else every
            every = every[~among(without, every)]
        return Filter(
            len(self.space),
            every,
            within if isinstance(within, Rows) else None,
            (without,) if isinstance(without, Rows) else (),
        )

    def _given(self, name: str, value: Any) -> Ints | Rows:
        """Internal ids, ascending and distinct, of all lists; or those of each."""
        if isinstance(value, Edges):
            return self._of_edges(name, value)
        matrix = sp.issparse(value)
        value = value if matrix else in_plain(value, f"{self.who}: {name}")
        rows = value if matrix else lists_in(value, f"{self.who}: {name}")
        if rows is None:
            if not is_list(value) and not np.isscalar(value):
                raise TypeError(
                    f"{self.who}: {name} must be raw ids, lists of them, a SciPy sparse matrix or Edges, got {type(value).__name__}"
                )
            return np.unique(self.rows_of(as_ids(value if is_list(value) else [value], name), name))
        if self.n is None:
            raise ValueError(
                f"{self.who}: {name} must be raw ids, for all, or Edges, got lists of their own; pass users that are no stream, or block by block"
            )
        if matrix:
            return self._of_matrix(name, value, self.n)
        if len(rows) != self.n:
            raise ValueError(
                f"{self.who}: {name} must be raw ids, for all, or {self.n} lists of them, one for each, got {len(rows)} lists"
            )
        lists, ids = flattened(rows, name)
        if isinstance(rows, np.ndarray):
            real = ids != self._padding()
            lists, ids = lists[real], ids[real]
        return self._rows(lists, self.rows_of(ids, name), self.n)

    def _of_matrix(self, name: str, value: Any, n: int) -> Rows:
        if value.shape != (n, len(self.space)):
            raise ValueError(
                f"{self.who}: {name} must have shape [lists, n_items] = [{n}, {len(self.space)}], columns by internal ids, got {list(value.shape)}"
            )
        marked = sp.coo_array(value)
        stored = marked.data != 0
        return self._rows(marked.row[stored], marked.col[stored], n)

    def _of_edges(self, name: str, edges: Edges) -> Rows:
        if self.model is None or self.users is None:
            raise TypeError(
                f"{self.who}: {name} must be raw ids, lists of them or a SciPy sparse matrix, got Edges, whose users are not those of these lists"
            )
        check_same_ids(self.who, self.model, edges.ids, name)
        sizes = len(self.model.user_ids), len(self.model.item_ids)
        for side, ids, size in zip(("user", "item"), (edges.users, edges.items), sizes, strict=True):
            if ids.size and ids.max() >= size:
                raise IndexError(f"{self.who}: {name} must hold internal ids, {side}s below {size}, got {ids.max()}")
        return Rows(Graph.from_edges(edges.users, edges.items, *sizes, device=self.users.device), self.users)

    def _rows(self, lists: Ints, items: Ints, n: int) -> Rows:
        return Rows(Graph.from_edges(lists, items, n, len(self.space)))

    def _padding(self) -> Any:
        """The id's "none", unless it is one; then what is no id."""
        none = "" if is_text(self.space) else -1
        return None if (self.space == none).any() else none


def in_plain(value: Any, who: str) -> Any:
    """An argument that holds ids as NumPy's array, if it is one of any library; else a list, or what it is. TypeError for what names no ids."""
    if getattr(value, "ndim", None) == 0:
        return as_python(value)
    if isinstance(value, Mapping):
        raise TypeError(
            f"{who} must be raw ids, or lists of raw ids, got a {type(value).__name__}; for lists by user pass [given.get(user, []) for user in users]"
        )
    if hasattr(value, "columns") or hasattr(value, "column_names"):
        raise TypeError(
            f"{who} must be raw ids, or lists of raw ids, got a table, {type(value).__name__}; pass one of its columns"
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(f"{who} must be ids throughout, got masked ones; pass lists of those that are none")
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    elif hasattr(value, "__array__"):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        if value.dtype == bool:
            raise TypeError(
                f"{who} must be raw ids, got a mask; pass ids[mask], or scipy.sparse.csr_array(mask) for one with a row for each list"
            )
        return value
    return list(value) if is_list(value) else value


def lists_in(value: Any, who: str) -> Any:
    """What :func:`in_plain` gives as lists, one for each: a list of them or an array [n, m]; None where it is one for all."""
    if not is_list(value) or (isinstance(value, np.ndarray) and value.dtype != object and value.ndim == 1):
        return None
    if isinstance(value, np.ndarray) and value.ndim > 1:
        return value
    are = [is_list(row) for row in value]
    if not any(are):
        return None
    if not all(are):
        raise TypeError(
            f"{who} must be raw ids, or lists of raw ids, got both: {value[are.index(False)]!r:.80} among lists"
        )
    return list(value)


def is_list(value: Any) -> bool:
    """Whether it is several ids, and no id."""
    return (
        isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)) and getattr(value, "ndim", 1) > 0
    )


def flattened(rows: Any, name: str) -> tuple[Ints, NDArray[Any]]:
    """n lists of raw ids, or an array [n, m] of them, as (the number of the list, the id), a pair an entry."""
    if isinstance(rows, np.ndarray):
        if rows.ndim != 2:
            raise ValueError(f"{name} must have one or two dimensions, got shape {list(rows.shape)}")
        return np.repeat(np.arange(len(rows)), rows.shape[1]), as_ids(rows.reshape(-1), name)
    rows = [_sized(row, name) for row in rows]
    full = [row for row in rows if len(row)]
    arrays = bool(full) and all(isinstance(row, np.ndarray) for row in full)
    flat = as_ids(np.concatenate(full) if arrays else list(itertools.chain.from_iterable(full)), name)
    return np.repeat(np.arange(len(rows)), [len(row) for row in rows]), flat


def _sized(row: Any, name: str) -> Any:
    """A list of ids as one that has a length and holds ids: no tensors, nor what a mask hides."""
    if isinstance(row, (list, tuple)):
        return row
    if np.ma.is_masked(row):
        raise TypeError(f"{name} must be ids throughout, got masked ones; pass lists of those that are none")
    if hasattr(row, "__array__"):
        return row.detach().cpu().numpy() if isinstance(row, Tensor) else np.asarray(row)
    return row if hasattr(row, "__len__") else list(row)
