"""The best columns of every row of a score matrix, seen items left out."""

from __future__ import annotations

from typing import Any

import torch

from ..core import native
from ..core.graph import Graph
from ..core.tensors import check_ids
from .registration import accepts_arrays, check_float, check_graph_device, check_matrix, count_of, register

Tensor = torch.Tensor


def _topk(
    scores: Tensor, indptr: Tensor, indices: Tensor, indptr_t: Tensor, rows: Tensor | None, k: int
) -> tuple[Tensor, Tensor]:
    scores = scores.contiguous()
    ids, values = _outputs(scores, indptr, indices, indptr_t, rows, k)
    g = native.graph(indptr, indices, None, indptr_t, indices, None)
    code = native.DTYPE_CODE[scores.dtype]
    rows = None if rows is None else rows.contiguous()
    space = native.workspace(native.size("topk", scores.device, code, *scores.shape, k), scores.device)
    native.call("topk", scores.device, code, scores, *scores.shape, g, rows, k, ids, values, space)
    return ids, values


def _outputs(
    scores: Tensor, indptr: Tensor, indices: Tensor, indptr_t: Tensor, rows: Tensor | None, k: int
) -> tuple[Tensor, Tensor]:
    shape = (scores.shape[0], k)
    return scores.new_empty(shape, dtype=torch.int64), scores.new_empty(shape)


_op = register(
    "topk(Tensor scores, Tensor indptr, Tensor indices, Tensor indptr_t, Tensor? rows, int k) -> (Tensor, Tensor)",
    _topk,
    _outputs,
)


@accepts_arrays
def topk(graph: Graph, scores: Any, k: int, users: Any = None) -> Any:
    """The k items with the highest score in every row: (ids int64 [B, k], values [B, k]).

    Score descending; ties by a fixed order of the ids (csrc/common/tie.h) that has nothing to do with their own, which goes by popularity in a
    :class:`Dataset`: a scorer that tells nothing apart ranks by chance, and every function that ranks agrees. Items that users[b] has an edge
    to are left out of row b (``users=None``: nothing is). Rows with fewer than k items left are padded with -1 and -inf; NaN scores are left out.

    Parameters
    ----------
    graph : Graph
    scores : float32 or float64 [B, n_items]; shorter floats are taken as float32
    k : int >= 1
    users : integer ids [B] or None

    Raises
    ------
    TypeError, ValueError : wrong dtype, shape, device or k. IndexError : a user out of range (CPU).

    Examples
    --------
    >>> import torch
    >>> topk(Graph.from_edges([0], [1], n_items=3), torch.tensor([[1., 9., 1.]]), 2, users=[0])[0]
    tensor([[2, 0]])
    """
    scores = check_float("topk", "scores", scores, (torch.float32, torch.float64))
    check_matrix("topk", "scores", scores, None, "batch", graph.n_items)
    check_graph_device("topk", "scores", scores, graph)
    k = count_of("topk", "k", k, 1)
    if users is not None:
        users = check_ids("topk", "users", users, (scores.shape[0],), scores)
    return _op(scores, graph.indptr, graph.indices, graph.indptr_t, users, k)


def best_columns(graph: Graph, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """:func:`topk` of a matrix with any columns, none left out but NaN; unchecked."""
    result: tuple[Tensor, Tensor] = _op(scores, graph.indptr, graph.indices, graph.indptr_t, None, k)
    return result
