"""What stands in lists, relevant or not: how little known it is, and how unlike each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core.graph import Graph
from ..core.ids import Ints, is_text
from ..data import Dataset
from .metrics import CONTENT_METRICS

Floats = NDArray[np.float64]
_AT_ONCE = 1 << 22  # numbers of sums of vectors


def novelty(ids: NDArray[np.int64], degree: NDArray[np.int64], n_users: int) -> Floats:
    """The mean self-information of each list's items, in bits (Zhou et al. 2010): of log2(n_users / degree_i), what it says that a user chosen by
    chance has item i.

    Parameters
    ----------
    ids : int64 [n, k], internal item ids, -1 for none
    degree : int [n_items], the training users of each item; one that has none counts as if it had one
    n_users : int

    Returns
    -------
    float64 [n], NaN for an empty list

    Examples
    --------
    >>> novelty(np.array([[0, 1], [1, -1]]), np.array([4, 1]), 8).tolist()
    [2.0, 3.0]
    """
    bits = np.log2(n_users / np.maximum(degree, 1))
    return _mean(np.where(ids >= 0, bits[ids], 0.0), ids)


def diversity(ids: NDArray[np.int64], vectors: Any) -> Floats:
    """The mean distance 1 - cos(v_i, v_j) between two items i != j of a list, its intra-list distance (Ziegler et al. 2005; Castells et al. 2015).

    Parameters
    ----------
    ids : int64 [n, k], internal item ids, -1 for none
    vectors : numbers [n_items, dim], an array or a SciPy sparse matrix
        Such as genres, one column each, or a model's item vectors. What has no length is unlike all others.

    Returns
    -------
    float64 [n], NaN for a list of fewer than two items

    Examples
    --------
    >>> diversity(np.array([[0, 1, -1], [0, 2, -1]]), np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])).tolist()
    [0.0, 1.0]
    """
    return _spread(ids, *_unit(vectors))


def _spread(ids: NDArray[np.int64], vectors: Any, have: Floats) -> Floats:
    """By the length of the sum of a list's vectors, which have length 1 or (``have`` = 0) 0: |sum|^2 = sum of all cosines."""
    spread, real = np.full(len(ids), np.nan), ids >= 0
    for part in _parts(ids, real, vectors):
        some, there = ids[part], real[part]
        count = there.sum(1)
        indptr = np.concatenate(([0], np.cumsum(count)))
        lists = sp.csr_array((np.ones(int(indptr[-1])), some[there], indptr), (len(some), len(have)))
        sums = lists @ vectors
        squares = sums.multiply(sums).sum(1) if sp.issparse(sums) else (sums * sums).sum(1)
        pairs = np.asarray(squares).ravel() - lists @ have
        several = count > 1
        spread[part][several] = 1 - pairs[several] / (count * (count - 1.0))[several]
    return spread


def _parts(ids: NDArray[np.int64], real: NDArray[np.bool_], vectors: Any) -> Iterator[slice]:
    """Some lists at a time, whose sums of vectors have no more numbers than ``_AT_ONCE``, but for one alone."""
    sizes = np.full(len(vectors), vectors.shape[1]) if isinstance(vectors, np.ndarray) else np.diff(vectors.indptr)
    most = np.minimum((sizes[ids] * real).sum(1), vectors.shape[1])
    ends, first = np.cumsum(most), 0
    while first < len(ids):
        before = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, before + _AT_ONCE, "right")), first + 1)
        yield slice(first, last)
        first = last


def _unit(vectors: Any) -> tuple[Any, Floats]:
    """(vectors of length 1, or 0; which have a length)."""
    if not sp.issparse(vectors):
        vectors = np.asarray(vectors, np.float64)
        lengths = np.sqrt((vectors * vectors).sum(1))
        return vectors / np.where(lengths > 0, lengths, 1)[:, None], (lengths > 0).astype(np.float64)
    vectors = sp.csr_array(vectors, dtype=np.float64)
    lengths = np.sqrt(np.asarray(vectors.multiply(vectors).sum(1)).ravel())
    scaled = vectors.data / np.repeat(np.where(lengths > 0, lengths, 1), np.diff(vectors.indptr))
    return sp.csr_array((scaled, vectors.indices, vectors.indptr), vectors.shape), (lengths > 0).astype(np.float64)


def _mean(values: Floats, ids: NDArray[np.int64]) -> Floats:
    count = (ids >= 0).sum(1)
    return np.where(count > 0, values.sum(1) / np.maximum(count, 1), np.nan)


class Contents:
    """The metrics ``names`` of lists, for items whose training users ``known`` has."""

    def __init__(self, names: Sequence[str], known: Graph, vectors: Any, data: Dataset | None) -> None:
        self.names = [name for name in names if name in CONTENT_METRICS]
        self._degree = known.item_degree.cpu().numpy() if "novelty" in self.names else np.zeros(0, np.int64)
        self._n_users = known.n_users
        if "diversity" in self.names:
            self._vectors, self._have = _unit(_item_vectors(vectors, known, data))
        elif vectors is not None:
            raise ValueError(
                f"evaluate: vectors are what 'diversity' compares items by, got metrics={list(names)}; add it, or leave vectors out"
            )

    def of(self, ids: NDArray[np.int64]) -> dict[str, Floats]:
        """float64 [n] of lists [n, k], NaN where a list has too few items."""
        found: dict[str, Floats] = {}
        for name in self.names:
            if name == "novelty":
                found[name] = novelty(ids, self._degree, self._n_users)
            else:
                found[name] = _spread(ids, self._vectors, self._have)
        return found


def _item_vectors(given: Any, known: Graph, data: Dataset | None) -> Any:
    """What items are compared by, as an array or a sparse matrix [n_items, dim] of float64: their training users in ``known``, a column of ``data``, or what
    is given. Errors: :func:`fastgcn_rec.evaluate`."""
    n_items = known.n_items
    if given is None:
        users = known.to_scipy().T.tocsr()
        return sp.csr_array((np.ones(users.nnz), users.indices, users.indptr), users.shape)
    if isinstance(given, str):
        return _of_column(given, data)
    vectors = given if sp.issparse(given) else np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    if vectors.dtype.kind not in "biuf":
        raise TypeError(
            f"evaluate: vectors must be numbers [n_items, dim] or a column of the items, got dtype {vectors.dtype}"
        )
    if vectors.ndim != 2 or vectors.shape[0] != n_items:
        raise ValueError(
            f"evaluate: vectors must be [n_items, dim] = [{n_items}, dim], by internal ids, got {list(vectors.shape)}"
        )
    if not np.isfinite(vectors.data if sp.issparse(vectors) else vectors).all():
        raise ValueError("evaluate: vectors must be finite, got NaN or infinity")
    return vectors


def _of_column(name: str, data: Dataset | None) -> Any:
    """One column for each word of a column of texts, which "|" parts."""
    if data is None:
        raise ValueError(
            f"evaluate: vectors={name!r} is a column of a Dataset's items; pass the Dataset in place of its edges"
        )
    if name not in data.item_info:
        raise ValueError(
            f"evaluate: vectors={name!r} must be a column of the items: {', '.join(data.item_info) or 'there are none'}"
        )
    column = data.item_info[name]
    if not is_text(column):
        raise ValueError(
            f"evaluate: vectors={name!r} must be a column of texts, such as genres, got numbers; pass vectors made of them"
        )
    words = [sorted(set(filter(None, text.split("|")))) for text in column.tolist()]
    every = {word: n for n, word in enumerate(sorted(set().union(*words)))}
    indptr: Ints = np.concatenate(([0], np.cumsum([len(own) for own in words])))
    at = np.fromiter((every[word] for own in words for word in own), np.int64, int(indptr[-1]))
    return sp.csr_array((np.ones(at.size), at, indptr), (len(words), max(len(every), 1)))
