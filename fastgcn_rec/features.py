"""Features of items: columns of several kinds, fitted once, applied to items never seen.

    features = Features({"title": Text(), "price": Numeric(log=True), "genres": Categorical(separator="|")}).fit(columns)
    encoded = features.transform(columns_of_new_items)

Whatever the kind, a column gives an item dense numbers, or tokens with weights: rows of one embedding table. So an item's input is
dense @ W + sum_t weights[t] table[tokens[t]].
"""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .data._arrays import is_missing

MOST_TOKENS = 1 << 24  # rows of the table: files hold tokens as float32
_WORD = re.compile(r"[^\W_]+")


class Encoded(NamedTuple):
    """What :meth:`Features.transform` gives for n items.

    Attributes
    ----------
    dense : float32 [n, n_dense]
    tokens : int64 [n, L], rows of the table, -1 = none
    weights : float32 [n, L], 0 for none; a column's m tokens have 1 / sqrt(m) each
    """

    dense: NDArray[np.float32]
    tokens: NDArray[np.int64]
    weights: NDArray[np.float32]


class Column:
    """One kind of column; subclasses are frozen dataclasses whose fields are JSON values. ``fit`` returns what was learnt, JSON too;
    ``check`` is a ValueError unless it could have returned that."""

    kinds: ClassVar[dict[str, type[Column]]] = {}

    def __init_subclass__(cls) -> None:
        Column.kinds[cls.__name__] = cls

    def fit(self, values: Sequence[Any]) -> Any:
        return None

    def check(self, learnt: Any) -> None:
        if learnt is not None:
            raise ValueError(f"{type(self).__name__} learns nothing, got {learnt!r}")

    def n_dense(self, learnt: Any) -> int:
        return 0

    def n_tokens(self, learnt: Any) -> int:
        return 0

    def dense(self, values: Sequence[Any], learnt: Any) -> NDArray[np.float32]:
        return np.zeros((len(values), 0), np.float32)

    def tokens(self, values: Sequence[Any], learnt: Any) -> list[list[int]]:
        return [[]] * len(values)


@dataclasses.dataclass(frozen=True)
class Numeric(Column):
    """A number, standardised by the mean and standard deviation of the fitted items, and whether it is missing (NaN, then 0).

    Parameters
    ----------
    log : bool
        Take log(1 + x) first; x > -1.
    """

    log: bool = False

    def _values(self, values: Sequence[Any]) -> NDArray[np.float64]:
        x = np.array([np.nan if is_missing(v) or (isinstance(v, str) and not v) else v for v in values], np.float64)
        if x.ndim != 1 or np.isinf(x).any():
            raise ValueError("must be finite numbers [n], or NaN where missing")
        if self.log and (x <= -1).any():
            raise ValueError(f"log needs values > -1, got {np.nanmin(x)}; leave log off")
        return np.log1p(x) if self.log else x

    def fit(self, values: Sequence[Any]) -> list[float]:
        x = self._values(values)
        known = x[~np.isnan(x)]
        return [float(known.mean()), float(known.std()) or 1.0] if known.size else [0.0, 1.0]

    def check(self, learnt: Any) -> None:
        _check_scaling("Numeric", learnt, 2)

    def n_dense(self, learnt: Any) -> int:
        return 2

    def dense(self, values: Sequence[Any], learnt: Any) -> NDArray[np.float32]:
        x = (self._values(values) - learnt[0]) / learnt[1]
        missing = np.isnan(x)
        return np.stack([np.where(missing, 0, x), missing], 1).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Categorical(Column):
    """A value, or several: a row of the table each, and one row for all that were not among the fitted items.

    A column of the item ids makes an embedding by id, which is the unknown row for a new item.

    Parameters
    ----------
    separator : str
        Splits a text into several values, such as "|"; "": the text is one value. Lists need none.
    min_count : int >= 1
        Rarer values are taken for unknown, so that its row is trained. A row that is never trained stays 0.
    """

    separator: str = ""
    min_count: int = 1

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise ValueError(f"Categorical: min_count must be >= 1, got {self.min_count}")

    def _values(self, value: Any) -> list[str]:
        if is_missing(value) or (isinstance(value, str) and not value):
            return []
        if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
            return sorted({str(v) for v in value if not is_missing(v)})
        return sorted(set(filter(None, str(value).split(self.separator)))) if self.separator else [str(value)]

    def fit(self, values: Sequence[Any]) -> list[str]:
        counts = Counter(v for value in values for v in self._values(value))
        return sorted(v for v, n in counts.items() if n >= self.min_count)

    def check(self, learnt: Any) -> None:
        texts = isinstance(learnt, list) and all(isinstance(v, str) for v in learnt)
        if not texts or sorted(set(learnt)) != learnt:
            raise ValueError("Categorical learns sorted, distinct texts")

    def n_tokens(self, learnt: Any) -> int:
        return len(learnt) + 1

    def tokens(self, values: Sequence[Any], learnt: Any) -> list[list[int]]:
        row = {value: n + 1 for n, value in enumerate(learnt)}  # 0: unknown
        return [sorted({row.get(v, 0) for v in self._values(value)}) for value in values]


@dataclasses.dataclass(frozen=True)
class Text(Column):
    """The n-grams of words and of the letters in them, hashed (CRC-32) to rows of the table; nothing is learnt.

    Parameters
    ----------
    buckets : int >= 1
    words : int >= 0
        n-grams of 1 to ``words`` words, in lower case.
    letters : (int, int) or None
        The lengths of the n-grams of a word between its ends, as in fastText (Bojanowski et al. 2017); they make misspelt and
        inflected words alike.
    """

    buckets: int = 4096
    words: int = 1
    letters: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.buckets < 1 or self.words < 0:
            raise ValueError(f"Text: buckets must be >= 1 and words >= 0, got {self.buckets} and {self.words}")
        if self.letters is not None:
            object.__setattr__(self, "letters", tuple(self.letters))  # a list in JSON
            if len(self.letters) != 2 or not 1 <= self.letters[0] <= self.letters[1]:
                raise ValueError(f"Text: letters must be (shortest, longest), got {self.letters}")

    def grams(self, text: str) -> list[str]:
        words = _WORD.findall(text.lower())
        found = [" ".join(words[i : i + n]) for n in range(1, self.words + 1) for i in range(len(words) - n + 1)]
        if self.letters is not None:
            shortest, longest = self.letters
            for word in (f"<{w}>" for w in words):
                found += [word[i : i + n] for n in range(shortest, longest + 1) for i in range(len(word) - n + 1)]
        return found

    def n_tokens(self, learnt: Any) -> int:
        return self.buckets

    def tokens(self, values: Sequence[Any], learnt: Any) -> list[list[int]]:
        texts = ("" if is_missing(v) else str(v) for v in values)
        return [
            sorted({zlib.crc32(gram.encode("utf-8", "surrogatepass")) % self.buckets for gram in self.grams(text)})
            for text in texts
        ]


@dataclasses.dataclass(frozen=True)
class Vector(Column):
    """A vector given as it is, [n, width]: an embedding of an image or a text; shifted and scaled by the fitted items' mean and
    standard deviation over all entries."""

    def _values(self, values: Sequence[Any]) -> NDArray[np.float64]:
        x = np.asarray(values, np.float64)
        if x.ndim != 2 or not np.isfinite(x).all():
            raise ValueError(f"must be finite numbers [n, width], got shape {list(x.shape)}")
        return x

    def fit(self, values: Sequence[Any]) -> list[float]:
        x = self._values(values)
        return [float(x.mean()), float(x.std()) or 1.0, x.shape[1]] if x.size else [0.0, 1.0, x.shape[1]]

    def check(self, learnt: Any) -> None:
        _check_scaling("Vector", learnt, 3)
        if type(learnt[2]) is not int or learnt[2] < 0:
            raise ValueError(f"Vector learns a width >= 0, got {learnt[2]!r}")

    def n_dense(self, learnt: Any) -> int:
        return int(learnt[2])

    def dense(self, values: Sequence[Any], learnt: Any) -> NDArray[np.float32]:
        x = self._values(values)
        if x.shape[1] != learnt[2]:
            raise ValueError(f"must have width {int(learnt[2])} as the fitted items, got {x.shape[1]}")
        return ((x - learnt[0]) / learnt[1]).astype(np.float32)


def _check_scaling(kind: str, learnt: Any, length: int) -> None:
    numbers = isinstance(learnt, list) and len(learnt) == length and all(type(v) in (int, float) for v in learnt)
    if not numbers or not np.isfinite(learnt).all() or learnt[1] <= 0:
        raise ValueError(f"{kind} learns {length} numbers, a mean and a deviation > 0 first, got {learnt!r}")


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
    if not as_text and not all(isinstance(v, (int, float, np.integer, np.floating)) for v in known):
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
    columns : mapping of names to :class:`Numeric`, :class:`Categorical`, :class:`Text` or :class:`Vector`

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
        dense, lists, scales, first = [], [[] for _ in range(n)], [[] for _ in range(n)], 0  # type: ignore[var-annotated]
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
        """The way back; ValueError for what ``to_json`` does not give."""
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
        lengths = {name: len(columns[name]) for name in self.columns}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Features: columns must have one length, got {lengths}")
        taken = {name: columns[name] for name in self.columns}
        if rows is None:
            return taken
        which = np.asarray(rows)
        index = np.flatnonzero(which) if which.dtype == bool else which
        return {name: [values[i] for i in index.tolist()] for name, values in taken.items()}


def _naming(name: str, run: Any, *args: Any) -> Any:
    try:
        return run(*args)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Features: column {name!r}: {error}") from None
