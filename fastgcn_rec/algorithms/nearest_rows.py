"""The rows of a sparse matrix that are most similar to given ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from ..core import native

Floats = NDArray[np.float64]
SIMILARITIES = ("cosine", "jaccard", "tfidf", "bm25", "sapling")
COSINES = ("cosine", "tfidf")  # which may be asymmetric
DAMPED = ("cosine", "jaccard", "tfidf")  # which take a shrinkage
# As in csrc/include/fgr/nearest_rows.h.
PRODUCT, COSINE, JACCARD, SAPLING, SAPLING_TURNED = range(5)
_MOST_K1 = 1e100  # beyond it nothing changes but that products overflow
_CELLS = 1 << 23  # of a block of rows and their neighbours


class Likeness(NamedTuple):
    """What is made of the product of two rows and of a number of each, ``of_rows`` [n] and ``of_found`` [n_found]."""

    law: int
    of_rows: Floats
    of_found: Floats
    shrinkage: float = 0.0


def nearest_rows(
    rows: sp.csr_array,
    by_column: sp.csr_array,
    likeness: Likeness,
    k: int,
    first: int = -1,
    total: Floats | None = None,
) -> sp.csr_array:
    """[n, n_found] float64: of each row of ``rows`` [n, columns] the k rows of by_column^T, by_column [columns, n_found], of the greatest likeness
    above 0, ties as in :func:`fastgcn_rec.topk`.

    A product adds up in the order of the columns; the same bits for any number of threads.

    first : not -1: row r is row ``first`` + r of those to be found, and not its own neighbour
    total : [n], takes what csrc/include/fgr/nearest_rows.h says

    >>> x = sp.csr_array(np.array([[1.0, 1, 0], [0, 1, 0], [0, 0, 1]]))
    >>> nearest_rows(x, x.T.tocsr(), Likeness(PRODUCT, np.ones(3), np.ones(3)), 1, first=0).toarray().tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    (n, columns), n_found = rows.shape, by_column.shape[1]
    k = max(min(k, n_found), 1)
    indptr, indices, values = _tensors(rows)
    of_rows, of_found = (torch.from_numpy(np.ascontiguousarray(of)) for of in likeness[1:3])
    sums, turned = None if total is None else torch.from_numpy(total), (*_tensors(by_column), columns)
    found = [sp.csr_array((0, n_found), dtype=np.float64)]
    step = max(1, _CELLS // k)
    for begin in range(0, n, step):
        block = slice(begin, min(begin + step, n))
        own = (indptr[begin:], indices, values, block.stop - begin)
        ids, best = np.empty((block.stop - begin, k), np.int32), np.empty((block.stop - begin, k))
        native.nearest_rows(
            own, turned, n_found, likeness.law, of_rows[block], of_found, likeness.shrinkage,
            first if first < 0 else first + begin, k, torch.from_numpy(ids), torch.from_numpy(best),
            None if sums is None else sums[block],
        )  # fmt: skip
        real = ids >= 0
        starts = np.concatenate([np.zeros(1, np.int64), real.sum(1).cumsum()])
        found.append(sp.csr_array((best[real], ids[real], starts), shape=(len(ids), n_found)))
    return sp.vstack(found, format="csr")


class Similarity(NamedTuple):
    """How two rows are compared; the formulas are :class:`fastgcn_rec.ItemKNN`'s."""

    kind: str
    shrinkage: float = 0.0
    k1: float = 1.2
    b: float = 0.75
    asymmetry: float = 0.5


class SimilarRows:
    """Finds the rows of ``x`` [n, columns], values >= 0, that are most similar to others with the same columns.

    turned : "sapling" compares the row found with the row asked for, not the other way round

    >>> rows = SimilarRows(sp.csr_array(np.array([[1.0, 1, 0], [0, 1, 0], [0, 0, 1]])), Similarity("jaccard"))
    >>> rows.best(sp.csr_array(np.array([[0.0, 1, 0]])), 2).toarray().tolist()
    [[0.5, 1.0, 0.0]]
    """

    def __init__(self, x: sp.csr_array, similarity: Similarity, turned: bool = False) -> None:
        self.similarity = similarity
        x = x.astype(np.float64)
        n, self.n_columns = x.shape
        laws = {"jaccard": JACCARD, "bm25": PRODUCT, "sapling": SAPLING_TURNED if turned else SAPLING}
        self._law = laws.get(similarity.kind, COSINE)
        self._idf = np.log(max(n, 1)) - np.log1p(np.bincount(x.indices, minlength=self.n_columns))
        self._usual = float(x.sum()) / max(n, 1) or 1.0  # what a row holds on average
        weighed = self._weighed(x)
        self._sizes = self._sizes_of(weighed, similarity.asymmetry)
        self._by_column = weighed.T.tocsr()

    def best(self, rows: sp.csr_array, k: int, first: int = -1) -> sp.csr_array:
        """[b, n] float64: of each row of ``rows`` [b, columns] the k greatest similarities above 0; ``first`` as for :func:`nearest_rows`."""
        rows = self._weighed(rows.astype(np.float64))
        sizes, is_sapling = self._sizes_of(rows, 1 - self.similarity.asymmetry), self.similarity.kind == "sapling"
        more = float(self.n_columns) if is_sapling else self.similarity.shrinkage
        total = np.zeros(rows.shape[0]) if is_sapling else None
        found = nearest_rows(rows, self._by_column, Likeness(self._law, sizes, self._sizes, more), k, first, total)
        if total is not None:
            total += self._apart(sizes)
            found.data /= np.repeat(np.where(total > 0, total, 1), np.diff(found.indptr))
        return found

    def _weighed(self, x: sp.csr_array) -> sp.csr_array:
        """The rows as they enter the products."""
        kind, k1, b = self.similarity.kind, min(self.similarity.k1, _MOST_K1), self.similarity.b
        if kind == "cosine":
            return x
        if kind in ("jaccard", "sapling"):
            data = np.sign(x.data)
        elif kind == "tfidf":
            data = np.sqrt(x.data) * self._idf[x.indices]
        else:
            length = np.repeat(np.asarray(x.sum(1)).ravel() / self._usual, np.diff(x.indptr))
            data = x.data * (k1 + 1) / (k1 * (1 - b + b * length) + x.data) * self._idf[x.indices]
        return sp.csr_array((data, x.indices, x.indptr), shape=x.shape)

    def _sizes_of(self, weighed: sp.csr_array, power: float) -> Floats:
        """Of each row the number that the law asks for; of a cosine its share of |x|^2 by ``power``."""
        if self._law == PRODUCT:
            return np.ones(weighed.shape[0])
        squares = np.asarray(weighed.power(2).sum(1), np.float64).ravel()
        if self._law != COSINE:
            return squares
        return np.sqrt(squares) if power == 0.5 else squares**power

    def _apart(self, sizes: Floats) -> Floats:
        """For rows of these sizes the sum over the rows of x of the |sapling similarity| that they would have with nothing in common, which
        is 1 - n / (n - k_a) (1 - k_a / (n - k_b))."""
        n = float(self.n_columns)
        own, others = (s[(s > 0) & (s < n)] for s in (sizes, self._sizes))
        if self._law == SAPLING_TURNED:  # k_a are the others'
            raised = n / (n - others)
            each = (1 - raised).sum() + (others * raised).sum() / (n - own)
        else:
            each = len(others) * (1 - n / (n - own)) + n * own / (n - own) * (1 / (n - others)).sum()
        apart = np.zeros(len(sizes))
        apart[(sizes > 0) & (sizes < n)] = each
        return apart


def _tensors(x: sp.csr_array) -> tuple[Any, Any, Any]:
    """(indptr, indices, values) as the kernel takes them."""
    return (
        torch.from_numpy(x.indptr.astype(np.int64)),
        torch.from_numpy(x.indices.astype(np.int32, copy=False)),
        torch.from_numpy(x.data),
    )
