"""Features of items: columns of several kinds, fitted once, applied to items never seen.

    features = Features({"title": Text(), "price": Numeric(log=True), "genres": Categorical(separator="|")}).fit(columns)
    encoded = features.transform(columns_of_new_items)

Whatever the kind, a column gives an item dense numbers, or tokens with weights: rows of one embedding table. So an item's input is
dense @ W + sum_t weights[t] table[tokens[t]].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.ids import is_missing
from .columns import Categorical, Column, Numeric, Text, Vector

_NUMBERS = int, float, np.integer, np.floating
MOST_TOKENS = 1 << 24
"""The most rows that a table of tokens may have: files hold tokens as float32."""


class Encoded(NamedTuple):
    """What :meth:`Features.transform` gives for n items.

    Attributes
    ----------
    dense : float32 [n, n_dense]
    tokens : int64 [n, L], rows of the table, -1 = none
    weights : float32 [n, L], 0 for none; a column's m tokens have 1 / sqrt(m) each

    Examples
    --------
    >>> Features({"price": Numeric()}).fit({"price": [1.0, 3.0]}).transform({"price": [2.0]})
    Encoded(dense=array([[0., 0.]], dtype=float32), tokens=array([], shape=(1, 0), dtype=int64), weights=array([], shape=(1, 0), dtype=float32))
    """

    dense: NDArray[np.float32]
    tokens: NDArray[np.int64]
    weights: NDArray[np.float32]


def guess_columns(columns: Mapping[str, Any]) -> dict[str, Column]:
    """How each column is probably meant, by its values alone, for :class:`Features`; look at it before you rely on it.

    Arrays [n, width] of numbers are :class:`Vector`; numbers, also as text with decimal points, :class:`Numeric`, by their logarithm if none is
    negative and the greatest is above 20 times the median; lists, and texts of which a tenth have a "|", :class:`Categorical` with several
    values; truth values :class:`Categorical`; texts most of which are different :class:`Text` with pairs of words; other texts
    :class:`Categorical`.

    >>> guess_columns({"title": ["red mug", "blue mug"], "price": [1.5, 2.0], "genres": ["a|b", "a"], "maker": ["m", "m"]})
    {'title': Text(buckets=4096, words=2, letters=None), 'price': Numeric(log=False), 'genres': Categorical(separator='|', min_count=1), \
'maker': Categorical(separator='', min_count=1)}
    """
    return {name: _guess(columns[name]) for name in columns}


def _guess(values: Any) -> Column:
    if getattr(values, "ndim", 1) == 2 and np.asarray(values).dtype.kind in "iuf":
        return Vector()
    if any(isinstance(v, (list, tuple, set, frozenset, np.ndarray)) for v in values):
        return Categorical("|")
    known = [v for v in values if not is_missing(v) and not (isinstance(v, str) and not v)]
    if all(isinstance(v, (bool, np.bool_)) for v in known):
        return Categorical()
    numbers = _numbers(known)
    if numbers is not None:
        return Numeric(log=bool(numbers.min() >= 0 and numbers.max() > 20 * np.median(numbers)))
    texts = [str(v) for v in known]
    if 10 * sum("|" in text for text in texts) >= len(texts):
        return Categorical("|")
    return Text(words=2) if 2 * len(set(texts)) > len(texts) else Categorical()


def _numbers(known: Sequence[Any]) -> NDArray[np.float64] | None:
    """Numbers, or texts that all are numbers and of which some have a decimal point (others may be codes); None for anything else."""
    as_text = all(isinstance(v, str) for v in known) and any("." in v for v in known)
    if not as_text and not all(isinstance(v, _NUMBERS) and not isinstance(v, np.timedelta64) for v in known):
        return None
    try:
        numbers = np.array([float(v) for v in known])
    except (ValueError, OverflowError):
        return None
    return numbers if np.isfinite(numbers).all() else None


class Features:
    """Named columns and how they are read; other columns are not looked at.

    Parameters
    ----------
    columns : mapping of names to :class:`Numeric`, :class:`Categorical`, :class:`Text`, :class:`Embedding` or :class:`Vector`

    Examples
    --------
    >>> items = {"genre": ["a|b", "b", ""], "price": [1.0, 3.0, float("nan")]}
    >>> features = Features({"genre": Categorical("|"), "price": Numeric()}).fit(items)
    >>> new = features.transform({"genre": ["b|z"], "price": [2.0]})
    >>> new.tokens.tolist(), new.dense.tolist()  # row 0: not seen before
    ([[0, 2]], [[0.0, 0.0]])
    >>> Features.from_json(features.to_json()).n_tokens
    3
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        if not columns:
            raise ValueError("Features: name at least one column")
        for name, column in columns.items():
            if not isinstance(name, str):
                raise TypeError(f"Features: names of columns must be texts, got {name!r}; rename it")
            if not isinstance(column, Column):
                kinds = ", ".join(sorted(Column.kinds))
                raise TypeError(f"Features: column {name!r} must be one of {kinds}, got {type(column).__name__}")
        self.columns = dict(columns)
        self.learnt: dict[str, Any] | None = None

    def fit(self, columns: Mapping[str, Any], rows: Any = None) -> Features:
        """Learns means and values from the items of training, ``rows`` of them (indices or a mask) if given; returns itself."""
        taken = self._take(columns, rows)
        learnt = {name: _naming(name, column.fit, taken[name]) for name, column in self.columns.items()}
        self._take_over(learnt)
        return self

    def _take_over(self, learnt: Mapping[str, Any]) -> None:
        if learnt.keys() != self.columns.keys():
            raise ValueError(f"Features: {list(learnt)} are learnt of the columns {list(self.columns)}")
        for name, column in self.columns.items():
            _naming(name, column.check, learnt[name])
        n_tokens = sum(column.n_tokens(learnt[name]) for name, column in self.columns.items())
        if n_tokens > MOST_TOKENS:
            raise ValueError(f"Features: all columns have {n_tokens} tokens, more than 2^24; use fewer buckets")
        self.learnt = dict(learnt)

    @property
    def n_dense(self) -> int:
        return sum(column.n_dense(self._of(name)) for name, column in self.columns.items())

    @property
    def n_tokens(self) -> int:
        """Rows of the embedding table."""
        return sum(column.n_tokens(self._of(name)) for name, column in self.columns.items())

    def unknown_tokens(self) -> list[int]:
        """The rows for values that were not among the fitted items."""
        first, rows = 0, []
        for name, column in self.columns.items():
            rows += [first] if isinstance(column, Categorical) else []
            first += column.n_tokens(self._of(name))
        return rows

    def transform(self, columns: Mapping[str, Any]) -> Encoded:
        """The items' numbers; ValueError names a column that is missing, of another length or not as its kind needs it."""
        taken = self._take(columns, None)
        n = len(next(iter(taken.values())))
        dense: list[NDArray[np.float32]] = []
        lists: list[list[int]] = [[] for _ in range(n)]
        scales: list[list[float]] = [[] for _ in range(n)]
        first = 0
        for name, column in self.columns.items():
            learnt = self._of(name)
            dense.append(_naming(name, column.dense, taken[name], learnt))
            for row, found in enumerate(_naming(name, column.tokens, taken[name], learnt)):
                lists[row] += [first + t for t in found]
                scales[row] += [max(1, len(found)) ** -0.5] * len(found)
            first += column.n_tokens(learnt)
        longest = max(map(len, lists), default=0)
        tokens, weights = np.full((n, longest), -1, np.int64), np.zeros((n, longest), np.float32)
        for row, (found, scale) in enumerate(zip(lists, scales, strict=True)):
            tokens[row, : len(found)], weights[row, : len(found)] = found, scale
        return Encoded(np.concatenate(dense, 1), tokens, weights)

    def as_new(self, encoded: Encoded) -> Encoded:
        """The same items as :meth:`transform` would give them, had each not been among those fitted: a value that no other item has, such
        as its id, is unknown then. (So is one that ``min_count`` would take for unknown; means and deviations stay as they are.)

        >>> features = Features({"id": Categorical(), "kind": Categorical()}).fit({"id": [7, 8], "kind": ["a", "a"]})
        >>> features.as_new(features.transform({"id": [7, 8], "kind": ["a", "a"]})).tokens.tolist()
        [[0, 4], [0, 4]]
        """
        tokens, weights, first = encoded.tokens.copy(), encoded.weights.copy(), 0
        count = np.bincount(tokens[tokens >= 0], minlength=self.n_tokens)
        for name, column in self.columns.items():
            n = column.n_tokens(self._of(name))
            if isinstance(column, Categorical):
                own = (tokens >= first) & (tokens < first + n)
                unknown = own & ((tokens == first) | (count[tokens] <= column.min_count))
                again = unknown & (unknown.cumsum(1) > 1)  # several unknown values of an item are one
                own &= ~again
                tokens[unknown], tokens[again], weights[again] = first, -1, 0
                scale = np.maximum(1, own.sum(1, keepdims=True)) ** -0.5
                weights = np.where(own, scale, weights).astype(np.float32)
            first += n
        return Encoded(encoded.dense, tokens, weights)

    def to_json(self) -> dict[str, Any]:
        """All there is to know, as JSON values."""
        kinds = {name: [type(c).__name__, dataclasses.asdict(c)] for name, c in self.columns.items()}  # type: ignore[call-overload]
        return {"columns": kinds, "learnt": self.learnt}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Features:
        """The way back; ValueError for what ``to_json`` does not give, TypeError for no mapping."""
        if not isinstance(value, Mapping):
            raise TypeError(f"Features: must be Features, or what their to_json() gives, got {value!r:.80}")
        if not {"columns", "learnt"} <= value.keys():
            raise ValueError(
                f"Features: what to_json() gives has columns and learnt, got {', '.join(map(repr, value)) or 'nothing'}; of columns make Features(columns)"
            )
        kinds = {kind for kind, _ in value["columns"].values()}
        if not kinds <= Column.kinds.keys():
            raise ValueError(
                f"Features: the kinds of columns are {', '.join(Column.kinds)}, got {', '.join(sorted(kinds))}"
            )
        features = Features({name: Column.kinds[kind](**options) for name, (kind, options) in value["columns"].items()})
        if value["learnt"] is not None:
            features._take_over(value["learnt"])
        return features

    def _of(self, name: str) -> Any:
        if self.learnt is None:
            raise ValueError("Features: call fit(columns) with the items of training first")
        return self.learnt[name]

    def _take(self, columns: Mapping[str, Any], rows: Any) -> dict[str, Any]:
        missing = [name for name in self.columns if name not in columns]
        if missing:
            raise ValueError(f"Features: no column {missing[0]!r}; there are {', '.join(map(repr, columns)) or 'none'}")
        lengths = {name: length_of(name, columns[name]) for name in self.columns}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Features: columns must have one length, got {lengths}")
        taken = {name: columns[name] for name in self.columns}
        if rows is None:
            return taken
        which = np.asarray(rows)
        index = np.flatnonzero(which) if which.dtype == bool else which
        return {name: [values[i] for i in index.tolist()] for name, values in taken.items()}


def length_of(name: str, values: Any) -> int:
    """How many rows a column has; a TypeError names one without a length, such as a sparse matrix."""
    try:
        return len(values)
    except TypeError:
        raise TypeError(
            f"Features: column {name!r}: must be a list or an array with a value a row, got a {type(values).__name__}; of a sparse matrix pass toarray()"
        ) from None


def _naming(name: str, run: Any, *args: Any) -> Any:
    try:
        return run(*args)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Features: column {name!r}: {error}") from None
