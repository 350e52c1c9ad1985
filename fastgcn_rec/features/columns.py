"""The kinds of columns that features are made of: what each learns, and the numbers and tokens that it gives."""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.ids import is_missing

_WORD = re.compile(r"[^\W_]+")


class Column:
    """One kind of column; subclasses are frozen dataclasses whose fields are JSON values. ``fit`` returns what was learnt, JSON too;
    ``check`` is a ValueError unless it could have returned that.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True)
    ... class Length(Column):
    ...     def n_dense(self, learnt):
    ...         return 1
    ...     def dense(self, values, learnt):
    ...         return np.array([[len(v)] for v in values], np.float32)
    >>> from fastgcn_rec.features import Features
    >>> Features({"title": Length()}).fit({"title": ["tea"]}).transform({"title": ["cake"]}).dense.tolist()
    [[4.0]]
    >>> del Column.kinds["Length"]
    """

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

    Examples
    --------
    >>> learnt = Numeric().fit([1.0, 3.0])
    >>> Numeric().dense([3.0, float("nan")], learnt).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
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

    Examples
    --------
    >>> genres = Categorical("|")
    >>> genres.tokens(["b|z"], genres.fit(["a|b", "b"]))  # z is unknown
    [[0, 2]]
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

    Examples
    --------
    >>> Text(words=2).grams("Red mug")
    ['red', 'mug', 'red mug']
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
    standard deviation over all entries.

    Examples
    --------
    >>> Vector().dense([[1.0, 3.0]], Vector().fit([[0.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    def _values(self, values: Sequence[Any]) -> NDArray[np.float64]:
        x = _numbers(values)
        if x.ndim != 2:
            raise ValueError(f"must be finite numbers [n, width], got shape {list(x.shape)}")
        if not (finite := np.isfinite(x)).all():
            raise ValueError(
                f"must be finite numbers [n, width], got NaN or infinity in row {np.argwhere(~finite)[0, 0]}; fill them, with the mean say"
            )
        return x

    def fit(self, values: Sequence[Any]) -> list[float]:
        x = self._values(values)
        with np.errstate(over="ignore", invalid="ignore"):
            return [float(x.mean()), _finite(x.std(), x), x.shape[1]] if x.size else [0.0, 1.0, x.shape[1]]

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


@dataclasses.dataclass(frozen=True)
class Embedding(Column):
    """A vector that an encoder gave, [n, width], such as :func:`fastgcn_rec.features.text_vectors`: minus the mean of the fitted items, divided by the
    root of the mean of what is left, squared; and whether it is missing (a row of NaN, then 0). So it weighs as a column of texts does, whatever
    the encoder's scale and width (:class:`Vector` gives every entry the deviation 1).

    Examples
    --------
    >>> learnt = Embedding().fit([[1.0, 5.0], [1.0, 1.0]])
    >>> Embedding().dense([[1.0, 5.0], [3.0, 3.0], [float("nan")] * 2], learnt).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """

    def _values(self, values: Sequence[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(vectors, which are missing)."""
        x = _numbers(values)
        if x.ndim != 2:
            raise ValueError(f"must be numbers [n, width], got shape {list(x.shape)}")
        missing: NDArray[np.bool_] = np.asarray(np.isnan(x).all(1) & bool(x.shape[1]))
        if not (finite := np.isfinite(x) | missing[:, None]).all():
            raise ValueError(
                f"must be finite numbers [n, width], or a row of NaN where missing, got NaN or infinity among numbers in row {np.argwhere(~finite)[0, 0]}"
            )
        return x, missing

    def fit(self, values: Sequence[Any]) -> list[Any]:
        x, missing = self._values(values)
        x = x[~missing]
        if not len(x):
            return [[0.0] * x.shape[1], 1.0]
        with np.errstate(over="ignore", invalid="ignore"):
            mean = x.mean(0)
            return [mean.tolist(), _finite(np.sqrt(np.square(x - mean).sum(1).mean()), x)]

    def check(self, learnt: Any) -> None:
        if not isinstance(learnt, list) or len(learnt) != 2 or not isinstance(learnt[0], list):
            raise ValueError(f"Embedding learns a mean vector and a scale, got {learnt!r:.80}")
        numbers = [*learnt[0], learnt[1]]
        if any(type(v) not in (int, float) for v in numbers) or not np.isfinite(numbers).all() or learnt[1] <= 0:
            raise ValueError(f"Embedding learns a mean vector and a scale > 0, finite, got {learnt!r:.80}")

    def n_dense(self, learnt: Any) -> int:
        return len(learnt[0]) + 1

    def dense(self, values: Sequence[Any], learnt: Any) -> NDArray[np.float32]:
        x, missing = self._values(values)
        mean, scale = learnt
        if x.shape[1] != len(mean):
            raise ValueError(
                f"must have width {len(mean)} as the fitted items, got {x.shape[1]}; take the same encoder"
            )
        x = np.where(missing[:, None], 0, (x - np.array(mean)) / scale)
        return np.concatenate([x, missing[:, None]], 1).astype(np.float32)


def _numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    try:
        x = np.asarray(values)
    except ValueError:
        raise ValueError("must be numbers [n, width], got rows of different lengths") from None
    if x.dtype.kind == "c":
        raise ValueError(f"must be real numbers, got dtype {x.dtype}")
    return x.astype(np.float64, copy=False)


def _finite(scale: Any, x: NDArray[np.float64]) -> float:
    """What divides the numbers, 1 in place of 0."""
    if not np.isfinite(scale):
        raise ValueError(f"must be numbers whose squares are finite in float64, got {np.abs(x).max():.3g}")
    return float(scale) or 1.0


def _check_scaling(kind: str, learnt: Any, length: int) -> None:
    numbers = isinstance(learnt, list) and len(learnt) == length and all(type(v) in (int, float) for v in learnt)
    if not numbers or not np.isfinite(learnt).all() or learnt[1] <= 0:
        raise ValueError(f"{kind} learns {length} numbers, a mean and a deviation > 0 first, got {learnt!r}")
