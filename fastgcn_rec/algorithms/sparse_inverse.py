"""The inverse of R^T R + reg I by a sparse factor, for more items than a dense one has room for."""

from __future__ import annotations

from typing import TypeAlias, cast

import numpy as np
import torch

from ..core import native
from ..core.csr import Csr, transposed
from ..system.available import available_memory

Tensor = torch.Tensor
Factor: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""A Csr with weights."""
_ENTRY = 8  # bytes of one of a sparse matrix


def inverse_factor(r: Csr, n_items: int, reg: float, neighbours: int, candidates: int | None = None) -> Factor:
    """F [n_items, n_items], sparse, with F^T F ~ A^-1, A = R^T R + reg I.

    Items are taken in the order of their number of entries, the largest first. With A = L L^T in this order A^-1 = L^-T L^-1, and row i of L^-1 is,
    up to its scale, the regression of item i on all before it. Row i of F is that on ``neighbours`` of them alone: those with the largest
    |A_ij| / sqrt(A_jj), then the first others. Of all lower triangular F with these entries it makes |I - F L|_F least, up to the scale of its
    rows, which makes (F A F^T)_ii = 1 (Kolotilina & Yeremin 1993, "Factorized sparse approximate inverse preconditionings I").

    An incomplete Cholesky factor that is inverted approximately (Spišák et al. 2023) comes to the same place by two approximations, of which the
    first goes item after item and may break down; rows of F are made by themselves, on all threads, and F^T F is always positive definite.

    Parameters
    ----------
    r : Csr
        R [n_users, n_items] on the CPU; weights positive, None for ones.
    reg : float > 0
    neighbours : int >= 0
        Entries of a row beside the diagonal; from n_items - 1 on F is L^-1.
    candidates : int >= 1 or None
        At most so many entries of R^T R are kept of an item, those that ``neighbours`` takes first; None for all. What is left out counts as 0.

    Returns
    -------
    indptr int64, indices int32, values float32
        F as a CSR: its columns are items, sorted within a row; its rows are in the order above.

    Raises
    ------
    MemoryError : R^T R does not fit into the memory that is free; names a number of candidates that does.

    Notes
    -----
    Time O(sum of the squares of the users' degrees + n_items neighbours^3 / 6). Memory beside R: 8 bytes for each pair of items that a user has both of, or
    8 n_items ``candidates``; 16 n_items ``neighbours``. The same bits for any number of threads.

    Examples
    --------
    >>> from fastgcn_rec import Graph
    >>> graph = Graph.from_edges([0, 0, 1], [0, 1, 1])
    >>> _, items, values = inverse_factor((graph.indptr, graph.indices, graph.weight), 2, 1.0, 1)
    >>> items.tolist(), (30 * values**2).round().int().tolist()  # item 1; then item 0, regressed on it: A^-1 = F^T F = [[3, -1], [-1, 2]] / 5
    ([1, 0, 1], [10, 18, 2])
    """
    indptr, items, weight = r
    order = torch.sort(torch.bincount(items, minlength=n_items), descending=True, stable=True).indices.int()
    place = torch.empty_like(order)
    place[order.long()] = torch.arange(n_items, dtype=torch.int32, device="cpu")
    by_item = transposed(indptr, place[items.long()], weight, n_items)
    lower, diagonal = _gram(transposed(*by_item, indptr.numel() - 1), by_item, reg, n_items, candidates)
    before = torch.arange(n_items, dtype=torch.int64, device="cpu")
    sizes = torch.where(lower[0].diff() > 0, before.clamp_max(neighbours), 0) + 1
    bounds, columns, values = _rows_of(sizes)
    native.inverse_factor(lower, diagonal, reg, neighbours, bounds, columns, values)
    del lower
    return turned(turned((bounds, order[columns.long()], values), n_items), n_items)


def turned(factor: Factor, n_columns: int) -> Factor:
    """The transpose."""
    return cast(Factor, transposed(*factor, n_columns))


def _rows_of(sizes: Tensor) -> Factor:
    """A CSR with rows of these sizes, its entries undefined."""
    bounds = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    n = int(bounds[-1])
    return bounds, torch.empty(n, dtype=torch.int32, device="cpu"), torch.empty(n, dtype=torch.float32, device="cpu")


def _gram(by_user: Csr, by_item: Csr, reg: float, n_items: int, candidates: int | None) -> tuple[Factor, Tensor]:
    """R^T R below the diagonal as CSR, and the diagonal of R^T R + reg I, float64."""
    rows = np.repeat(np.arange(n_items, dtype=np.int32), by_item[0].diff().numpy())
    squares = None if by_item[2] is None else by_item[2].double().square_().numpy()
    diagonal = torch.from_numpy(np.bincount(rows, squares, n_items) + reg)
    del rows, squares
    graph = native.graph(*by_user, *by_item)
    sizes = torch.empty(n_items, dtype=torch.int64, device="cpu")
    native.gram_sizes(graph, n_items if candidates is None else candidates, sizes)
    _check_memory(sizes)
    lower = _rows_of(sizes)
    native.gram_rows(graph, diagonal, *lower)
    return lower, diagonal


def _check_memory(sizes: Tensor) -> None:
    """MemoryError unless rows of these sizes fit."""
    free, needed = available_memory(), _ENTRY * int(sizes.sum())
    if free is None or needed <= free:
        return
    most = int(sizes.max())
    while most > 1 and _ENTRY * int(sizes.clamp_max(most).sum()) > free // 2:
        most //= 2
    raise MemoryError(
        f"inverse_factor: R^T R has {int(sizes.sum())} entries below its diagonal, which take {needed / 2**30:.1f} GiB, "
        f"{free / 2**30:.1f} GiB are free; pass candidates={most}, which keeps the largest of each item, or fewer"
    )


def factor_scores(rows: Csr, factor: Factor, factor_t: Factor, before: Tensor, after: Tensor, own: Tensor) -> Tensor:
    """Scores float32 [b, n_items]: after * (F^T F (before * r)) + own * r for each row r of a CSR; all on the CPU.

    The same bits for any number of threads.

    >>> one, f = torch.ones(2), (torch.tensor([0, 1, 3]), torch.tensor([0, 0, 1], dtype=torch.int32), torch.tensor([1.0, 2.0, 1.0]))
    >>> factor_scores((torch.tensor([0, 1]), torch.tensor([1], dtype=torch.int32), None), f, turned(f, 2), one, one, 0 * one)
    tensor([[2., 1.]])
    """
    n_items = len(before)
    scores = torch.empty((rows[0].numel() - 1, n_items), dtype=torch.float32, device="cpu")
    asked = native.rows(*rows, n_items)
    native.factor_scores(asked, native.graph(*factor, *factor_t), before, after, own, scores)
    return scores
