"""Weighted sums of neighbours' rows: the aggregation over importance neighbourhoods, and an embedding bag."""

from __future__ import annotations

from typing import Any

import torch

from ..core import native
from ..core.tensors import check_ids, check_range
from .registration import accepts_arrays, check_float, check_matrix, register
from .scatter_rows import scatter_rows_op

Tensor = torch.Tensor


def _neighbor_pool(x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    x, ids, weights = x.contiguous(), ids.contiguous(), weights.contiguous()
    code = native.DTYPE_CODE[x.dtype]
    out = x.new_empty(ids.shape[0], x.shape[1])
    native.call("neighbor_pool", x.device, code, x, *x.shape, ids, weights, *ids.shape, out)
    return out


def _rows(ids: Tensor) -> Tensor:
    """The row of every entry of ids [n, T], flat."""
    return torch.arange(ids.shape[0], device=ids.device)[:, None].expand(ids.shape).reshape(-1)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ids, weights = inputs
    ctx.save_for_backward(ids, weights)
    ctx.n_rows, ctx.dtype = x.shape[0], x.dtype


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    ids, weights = ctx.saved_tensors
    return (
        scatter_rows_op(ids.reshape(-1), weights.reshape(-1), grad, _rows(ids), None, ctx.n_rows, ctx.dtype),
        None,
        None,
    )


_op = register(
    "neighbor_pool(Tensor x, Tensor ids, Tensor weights) -> Tensor",
    _neighbor_pool,
    lambda x, ids, weights: x.new_empty((ids.shape[0], x.shape[1])),
    _backward,
    _setup,
    twice=False,
)


@accepts_arrays
def neighbor_pool(x: Any, ids: Any, weights: Any) -> Any:
    """out[i] = sum_t weights[i, t] x[ids[i, t]]: the importance pooling of PinSAGE (Ying et al. 2018, section 3.1); -1 is skipped.

    Parameters
    ----------
    x : float32, float64 or bfloat16 [n_rows, dim]
    ids : integer ids [n, T] in [0, n_rows), or -1 = none, as :func:`fastgcn_rec.random_walk_neighbors` pads
    weights : [n, T], floating; taken as constants, of a skipped id whatever they are

    Returns
    -------
    [n, dim] in the dtype of x, differentiable once in x.

    Raises
    ------
    ValueError, TypeError : wrong shape, dtype or device. IndexError : an id out of range (CPU).

    Notes
    -----
    Terms are added in the order of t, those of the gradient in the order of (i, t): the same bits for any number of threads.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> neighbor_pool(x, [[0, 1], [1, -1]], torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    tensor([[2., 3.],
            [3., 4.]])
    """
    op = "neighbor_pool"
    x = check_float(op, "x", x)
    check_matrix(op, "x", x, None, "n_rows")
    ids = check_ids(op, "ids", ids, (None, None), x)
    if ids.device.type == "cpu" and not torch.compiler.is_compiling():
        check_range(op, "ids", ids, x.shape[0], low=-1)  # the kernel knows them by other names
    weights = check_float(op, "weights", weights)
    if weights.shape != ids.shape:
        raise ValueError(f"{op}: weights must have the shape of ids, {list(ids.shape)}, got {list(weights.shape)}")
    if weights.device != x.device:
        raise ValueError(f"{op}: weights are on {weights.device}, but x is on {x.device}; move one with .to(...)")
    return _op(x, ids, weights.detach().to(native.accumulator(x.dtype)))
