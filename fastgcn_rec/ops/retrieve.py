"""Exact retrieval: the best items of every query by inner product or cosine, without the matrix of scores."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import scipy.sparse as sp
import torch

from ..core import native
from ..core.graph import Graph, row_of_each_edge
from ..core.tensors import check_device, check_ids, check_range
from .registration import accepts_arrays, check_float, check_matrix, count_of, mask_of, register, same_float

Tensor = torch.Tensor
SIMILARITIES = ("dot", "cosine")
_FEW_QUERIES, _CACHED = 48, 1 << 20  # of up to so many queries all scores of some items are held, in so many bytes
_FEW = 1024  # queries or items: cutting the work up further would cost more time than it saves memory


def unit(vectors: Tensor) -> Tensor:
    """Rows of length 1, whose inner products are the cosines that models rank by; a row of zeros stays one."""
    return torch.nn.functional.normalize(vectors, dim=1)


class TopK(NamedTuple):
    """What :func:`retrieve` returns."""

    ids: Tensor
    scores: Tensor


def _retrieve(
    queries: Tensor, items: Tensor, k: int, cosine: bool, subset: Tensor | None, indptr: Tensor | None, indices: Tensor | None,
    rows: Tensor | None, memory_budget: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    queries, items = queries.contiguous(), items.contiguous()
    subset, rows = (None if t is None else t.contiguous() for t in (subset, rows))
    inputs = queries, items, cosine, subset, indptr, indices, rows, k
    queries_at_once, items_at_once, n_bytes = plan(*inputs, memory_budget)
    ids, scores = _outputs(queries, items, k)
    space = native.workspace(n_bytes, queries.device)
    job = native.retrieval(*inputs, queries_at_once, items_at_once)
    try:
        native.call("retrieve", queries.device, native.DTYPE_CODE[queries.dtype], job, ids, scores, space)
        if native.runs_cuda(queries.device) and not native.is_captured(queries.device):
            _check_nan(int(space[:8].view(torch.int64)), len(items))
    except ValueError as error:
        raise ValueError(
            f"retrieve: {error}, so there is no ranking: queries or items hold NaN, or infinities that cancel; "
            "replace them with torch.nan_to_num"
        ) from None
    return ids, scores


def _check_nan(first: int, n_items: int) -> None:
    """Raises what the CPU's kernel does, by what a GPU's leaves at the beginning of its workspace (csrc/include/fgr/retrieve.h)."""
    if first >= 0:
        raise ValueError(f"the score of query {first // n_items} and item {first % n_items} is NaN")


def _outputs(queries: Tensor, items: Tensor, k: int, *rest: Any) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return queries.new_empty(shape, dtype=torch.int64), queries.new_empty(shape)


_op = register(
    "retrieve(Tensor queries, Tensor items, int k, bool cosine, Tensor? subset, Tensor? indptr, Tensor? indices, Tensor? rows, "
    "int memory_budget) -> (Tensor, Tensor)",
    _retrieve,
    _outputs,
)


def plan(
    queries: Tensor, items: Tensor, cosine: bool, subset: Tensor | None, indptr: Tensor | None, indices: Tensor | None,
    rows: Tensor | None, k: int, memory_budget: int,
) -> tuple[int, int, int]:  # fmt: skip
    """(queries at once, items at once, bytes of workspace), so that the workspace fits the budget."""
    code = native.DTYPE_CODE[queries.dtype]
    n, m = max(len(queries), 1), max(len(items) if subset is None else len(subset), 1)
    if n <= _FEW_QUERIES:
        m = min(m, max(_FEW, _CACHED // (n * items.element_size())))

    def bytes_of(n: int, m: int) -> int:
        job = native.retrieval(queries, items, cosine, subset, indptr, indices, rows, k, n, m)
        return native.size("retrieve", queries.device, code, job)

    if native.runs_cuda(queries.device) and m > 1 and bytes_of(min(n, _FEW), m) > memory_budget:
        m = (m + 1) // 2  # there is no room for a copy of all items
    while True:
        n_bytes = bytes_of(n, m)
        if n_bytes <= memory_budget:
            return n, m, n_bytes
        if n == m == 1:
            raise ValueError(
                f"retrieve: memory_budget must be >= {n_bytes / 2**20:.3g} MiB, what one query takes with k = {k}, got "
                f"{memory_budget / 2**20:.3g} MiB; raise it"
            )
        if n > 1 and (n > _FEW or m <= _FEW):
            n = (n + 1) // 2
        else:
            m = (m + 1) // 2


@accepts_arrays
def retrieve(
    queries: Any,
    items: Any,
    k: int,
    exclude: Any = None,
    *,
    exclude_rows: Any = None,
    items_subset: Any = None,
    metric: Literal["dot", "cosine"] = "dot",
    memory_budget: int = 1 << 30,
) -> Any:
    """The k items of the highest score for every query q, exact: score(q, i) = <q, i>, or <q, i> / (|q| |i|) for "cosine".

    Scores are compared where they are made; the matrix [Q, I] never exists. A norm is taken as max(norm, 1e-12).

    Parameters
    ----------
    queries, items : float32 or float64 [Q, dim], [I, dim]; shorter floats are taken as float32
    k : int >= 0
        May exceed the number of items.
    exclude : Graph, SciPy sparse matrix or array [R, I], or (indptr [R + 1], indices [E])
        Row r lists items that are left out; any order, repeated ones allowed, stored zeros of a matrix do not count.
    exclude_rows : integer ids [Q]
        The row of ``exclude`` that holds for each query. Default: row q for query q; then R must be Q.
    items_subset : integer ids
        Only these items are ranked, each once; or bool [I], which of them are. Default: all.
    metric : "dot" or "cosine"
    memory_budget : bytes
        For what is needed beside the result, which takes 12 Q k bytes (16 in float64). A small one takes fewer queries at a time, and more
        passes over the items.

    Returns
    -------
    TopK
        ids : int64 [Q, k], score descending, ties as in :func:`topk`; -1 where fewer than k items are left.
        scores : [Q, k], float32 (float64 for float64); -inf where ids is -1.

    Raises
    ------
    TypeError, ValueError : wrong kind, dtype, shape, device or option; a budget too small; a score that is NaN, as a NaN in the vectors
        makes it, or inf - inf. IndexError : an id out of range.

    Notes
    -----
    Not differentiable. A score depends on its two vectors alone: the same bits for any number of threads, any batching and any budget.

    For a NaN to be an error the host waits for a GPU. While a CUDA graph is captured it cannot: then, and in every replay, a query with such a
    score gets ids of -1 and scores of NaN.

    Examples
    --------
    >>> import torch
    >>> items = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    >>> retrieve(torch.tensor([[1.0, 0.0]]), items, 3, exclude=([0, 1], [1]))
    TopK(ids=tensor([[3, 0, 2]]), scores=tensor([[1., 1., 0.]]))
    """
    op = "retrieve"
    floats = torch.float32, torch.float64
    queries, items = check_float(op, "queries", queries, floats), check_float(op, "items", items, floats)
    check_matrix(op, "queries", queries, None, "n_queries")
    check_matrix(op, "items", items, None, "n_items", queries.shape[1])
    check_device(op, "items", items, queries)
    queries, items = same_float(op, queries, items, "queries and items")
    if len(items) >= 2**31:
        raise ValueError(f"{op}: items must have less than 2**31 rows, got {len(items)}")
    k, memory_budget = count_of(op, "k", k), count_of(op, "memory_budget", memory_budget, most=2**63 - 1)
    if metric not in SIMILARITIES:
        raise ValueError(f"{op}: metric must be one of {SIMILARITIES}, got {metric!r}")
    if exclude is None and exclude_rows is not None:
        raise ValueError(f"{op}: exclude_rows names rows of exclude, which is None; pass both or none")
    indptr, indices = (None, None) if exclude is None else _exclusion(exclude, queries, len(items))
    if exclude_rows is not None:
        exclude_rows = check_ids(op, "exclude_rows", exclude_rows, (len(queries),), queries)
    elif indptr is not None and len(indptr) - 1 != len(queries):
        raise ValueError(
            f"{op}: exclude must have a row for each of the {len(queries)} queries, got {len(indptr) - 1} rows; pass "
            "exclude_rows=, the row of every query"
        )
    if items_subset is not None:
        mask = mask_of(op, "items_subset", items_subset, len(items), queries.device)
        if mask is None:
            items_subset = torch.unique(check_ids(op, "items_subset", items_subset, (None,), queries))
        else:
            items_subset = torch.nonzero(mask).flatten()
    if k == 0:
        return TopK(*_outputs(queries, items, 0))
    found = _op(queries, items, k, metric == "cosine", items_subset, indptr, indices, exclude_rows, memory_budget)
    return TopK(*found)


def _exclusion(exclude: Any, queries: Tensor, n_items: int) -> tuple[Tensor, Tensor]:
    """(indptr int64, indices int32), ascending within a row, on the device of ``queries``."""
    op = "retrieve"
    if isinstance(exclude, Graph):
        if exclude.n_items != n_items:
            raise ValueError(f"{op}: exclude must have n_items = {n_items} columns, got {exclude.n_items}")
        check_device(op, "exclude", exclude.indptr, queries)
        return exclude.indptr, exclude.indices
    if sp.issparse(exclude):
        if exclude.ndim != 2 or exclude.shape[1] != n_items:
            raise ValueError(f"{op}: exclude must have shape [n_queries, {n_items}], got {list(exclude.shape)}")
        csr = exclude.tocsr()
        if not csr.data.all():
            csr = csr.copy()
            csr.eliminate_zeros()
        exclude = tuple(torch.from_numpy(t).to(queries.device) for t in (csr.indptr, csr.indices))
    if not isinstance(exclude, tuple | list) or len(exclude) != 2:
        raise TypeError(
            f"{op}: exclude must be a Graph, a SciPy sparse matrix or (indptr, indices), got {type(exclude).__name__}"
        )
    indptr, indices = (
        check_ids(op, f"exclude's {name}", t, (None,), queries)
        for name, t in zip(("indptr", "indices"), exclude, strict=True)
    )
    sizes = indptr.diff()
    if not len(indptr) or int(indptr[0]) != 0 or int(indptr[-1]) != len(indices) or bool((sizes < 0).any()):
        raise ValueError(f"{op}: exclude's indptr must rise from 0 to the number of indices, {len(indices)}")
    check_range(op, "exclude's indices", indices, n_items)
    keys = row_of_each_edge(sizes) * n_items + indices
    if bool((keys.diff() < 0).any()):
        indices = keys.sort().values % n_items
    return indptr, indices.to(torch.int32)
