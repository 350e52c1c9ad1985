"""Rows of a table by their numbers, whose gradient is added up in order: torch's own is not on a GPU, where it depends on which thread came first."""

from __future__ import annotations

from typing import Any

import torch

from .registration import register
from .scatter_rows import scatter_rows

Tensor = torch.Tensor


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.n_rows = inputs[0].shape[0]


def _gather_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return sum_rows_op(grad, ctx.saved_tensors[0], ctx.n_rows), None


def _sum_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return gather_rows_op(grad, ctx.saved_tensors[0]), None, None


gather_rows_op: Any = register(
    "gather_rows(Tensor x, Tensor ids) -> Tensor",
    lambda x, ids: x.index_select(0, ids),
    lambda x, ids: x.new_empty((ids.shape[0], x.shape[1])),
    _gather_backward,
    _save,
)
sum_rows_op: Any = register(
    "sum_rows(Tensor src, Tensor ids, SymInt n_out) -> Tensor",
    lambda src, ids, n_out: scatter_rows(ids, None, src, None, None, n_out, src.dtype),
    lambda src, ids, n_out: src.new_empty((n_out, src.shape[1])),
    _sum_backward,
    _save,
)


def gather_rows(x: Tensor, ids: Tensor) -> Tensor:
    """Rows ``ids``, int64 [n], of x [n_rows, dim]: [n, dim], differentiable in x. The gradients of equal ids are added in the order of ids: the same bits
    on every run, and for any number of threads."""
    rows: Tensor = gather_rows_op(x, ids.long())
    return rows
