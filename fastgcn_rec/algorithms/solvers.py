"""The linear algebra that is left to a library (LAPACK, as torch brings it), and what is made of it.

LAPACK gets small matrices only, on one thread, so that its bits do not depend on their number; they do depend on the library and the processor.
All that takes time is products by :func:`fastgcn_rec.dense` and :func:`fastgcn_rec.outer_sum`, on all threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from ..ops.dense import dense

Tensor = torch.Tensor
BLOCK = 512  # rows and columns that LAPACK factors at once, at most


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch's linear algebra runs on one thread."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


def eigh(a: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix, by LAPACK."""
    with one_thread():
        values, vectors = torch.linalg.eigh(a)
    return values, vectors


def solve(a: Tensor, b: Tensor) -> Tensor:
    """x [n, dim] of a [n, dim, dim] x = b, one system after the other, by LAPACK."""
    with one_thread():
        x: Tensor = torch.linalg.solve(a, b)
    return x


def inverse_factor(a: Tensor) -> Tensor:
    """L^-1 of a = L L^T, positive definite, by LAPACK."""
    with one_thread():
        factor = torch.linalg.cholesky(a)
        one = torch.eye(len(a), dtype=a.dtype, device=a.device)
        inverse: Tensor = torch.linalg.solve_triangular(factor, one, upper=False)
    return inverse


def invert_(a: Tensor, block: int | None = None) -> bool:
    """Puts the inverse of a positive definite matrix [n, n] in its place; False, with a spoilt, if it is not positive definite.

    Reads the diagonal blocks and what is right of them. The symmetric sweep of block after block (Goodnight 1979, "A tutorial on the SWEEP
    operator"), for columns K and all others i, j:

        A_KK <- -A_KK^-1,   A_iK <- A_iK A_KK^-1,   A_ij <- A_ij - A_iK A_KK^-1 A_Kj

    after which A is -A^-1. n^3 multiplications and additions, as Cholesky and its inverse take, 4 n ``block`` (512 at most) numbers beside the matrix, and LAPACK inverts
    blocks only: some of its parallel versions crash on large matrices (OpenBLAS 0.3.30 from 16,000 rows on).

    >>> a = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    >>> invert_(a), (3 * a).round().tolist()
    (True, [[2.0, -1.0], [-1.0, 2.0]])
    """
    n = len(a)
    block = block or min(BLOCK, max(64, n // 8))  # products with an inverse are n^2 block of the n^3 / 2
    cuts = [(first, min(first + block, n)) for first in range(0, n, block)]
    for begin, end in cuts:
        with one_thread():
            factor, info = torch.linalg.cholesky_ex(a[begin:end, begin:end])
            if info:
                return False
            inverse = torch.cholesky_inverse(factor)
        sent = torch.cat([a[:begin, begin:end], a.new_zeros(end - begin, end - begin), a[begin:end, end:].T])
        solved = dense(sent, inverse)
        for first, last in cuts:
            a[first:last, first:] -= dense(solved[first:last], sent[first:])
        a[:begin, begin:end], a[begin:end, end:] = solved[:begin], solved[end:].T
        a[begin:end, begin:end] = -inverse
    for first, last in cuts:
        square = a[first:last, first:last]
        square.copy_(-(square.triu() + square.triu(1).T))
        a[first:last, last:].neg_()
        a[last:, first:last] = a[first:last, last:].T
    return True
