"""A dense layer and sums over rows: the products that models are made of, with sums in an order of their own."""

from __future__ import annotations

from typing import Any

import torch

from ..core import native
from ..core.tensors import check_device
from .registration import accepts_arrays, check_float, check_matrix, register, same_float

Tensor = torch.Tensor


def _dense(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    wide = native.accumulator(x.dtype)
    n, (outputs, inputs) = x.shape[0], w.shape
    x, w = x.to(wide).contiguous(), w.to(wide)
    if 1 not in w.stride() or 0 in w.stride():
        w = w.contiguous()
    b = None if b is None else b.to(wide).contiguous()
    y = x.new_empty(n, outputs)
    space = native.workspace(native.size("dense", x.device, inputs, outputs, x.element_size()), x.device)
    code = native.DTYPE_CODE[wide]
    native.call("dense", x.device, code, x, w, *w.stride(), b, n, inputs, outputs, y, space)
    return y


def _outer_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    wide = native.accumulator(a.dtype)
    a, b = a.to(wide).contiguous(), b.to(wide).contiguous()
    (n, m), k = a.shape, b.shape[1]
    product, sums = a.new_empty(m, k), a.new_empty(m)
    space = native.workspace(native.size("outer_sum", a.device, n, m, k, a.element_size()), a.device)
    native.call("outer_sum", a.device, native.DTYPE_CODE[wide], a, b, n, m, k, product, sums, space)
    return product, sums


def _rounded(kernel: Any) -> Any:
    """Results of the accumulator's dtype in that of the first argument."""

    def run(first: Tensor, *rest: Any) -> Any:
        out = kernel(first, *rest)
        return out.to(first.dtype) if isinstance(out, Tensor) else tuple(t.to(first.dtype) for t in out)

    return run


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:2])


def _dense_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, w = ctx.saved_tensors
    dx = _op(grad, w.t(), None) if ctx.needs_input_grad[0] else None
    dw, db = outer_sum_op(grad, x) if any(ctx.needs_input_grad[1:]) else (None, None)
    return dx, dw, db if ctx.needs_input_grad[2] else None


def _outer_sum_backward(ctx: Any, d_product: Tensor, d_sums: Tensor) -> tuple[Tensor | None, ...]:
    a, b = ctx.saved_tensors
    da = _op(b, d_product, d_sums) if ctx.needs_input_grad[0] else None
    return da, _op(a, d_product.t(), None) if ctx.needs_input_grad[1] else None


_op = register(
    "dense(Tensor x, Tensor w, Tensor? b) -> Tensor",
    _rounded(_dense),
    lambda x, w, b: x.new_empty((x.shape[0], w.shape[0])),
    _dense_backward,
    _save,
)
outer_sum_op = register(
    "outer_sum(Tensor a, Tensor b) -> (Tensor, Tensor)",
    _rounded(_outer_sum),
    lambda a, b: (a.new_empty((a.shape[1], b.shape[1])), a.new_empty(a.shape[1])),
    _outer_sum_backward,
    _save,
)


@accepts_arrays
def dense(x: Any, w: Any, b: Any = None) -> Any:
    """y = x w^T + b, a linear layer: y[r, o] = b[o] + sum_i w[o, i] x[r, i].

    Parameters
    ----------
    x : float32, float64 or bfloat16 [n, inputs]
    w : [outputs, inputs], as ``torch.nn.Linear.weight``
    b : [outputs], optional

    Returns
    -------
    y : [n, outputs], like x. Differentiable in all three, any number of times.

    Raises
    ------
    TypeError, ValueError : for a wrong or another dtype, shape or device.

    Notes
    -----
    A BLAS adds in an order that depends on the processor and, on some, on the number of threads. Here a row of y depends on its row of x, on w and on b alone,
    and the gradients' sums over the rows run in parts whose sizes depend on the shapes alone (:func:`outer_sum`): the same
    bits for any number of threads, which are all put to use. bfloat16 is added up in float32 and rounded once.

    Examples
    --------
    >>> import torch
    >>> dense(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.tensor([0.5, 0.0]))
    tensor([[3.5000, 2.0000]])
    """
    x, w = check_float("dense", "x", x), check_float("dense", "w", w)
    x, w = same_float("dense", x, w, "x and w")
    check_matrix("dense", "x", x, None, "n")
    if w.dim() != 2 or w.shape[1] != x.shape[1]:
        raise ValueError(f"dense: w must have shape [outputs, inputs] = [any, {x.shape[1]}], got {list(w.shape)}")
    check_device("dense", "w", w, x)
    if b is not None:
        b = check_float("dense", "b", b)
        x, b = same_float("dense", x, b, "x and b")
        w = w.to(x.dtype)
        if b.shape != w.shape[:1]:
            raise ValueError(f"dense: b must have shape [outputs] = [{w.shape[0]}], got {list(b.shape)}")
        check_device("dense", "b", b, x)
    return _op(x, w, b)


@accepts_arrays
def outer_sum(a: Any, b: Any) -> Any:
    """(a^T b, the sums of a's columns): sum_r a[r, :]^T b[r, :] and sum_r a[r, :], over rows that may be many.

    What :func:`dense` has for a gradient in w and b, and, for b = a, a Gram matrix.

    Parameters
    ----------
    a, b : float32, float64 or bfloat16 [n, m], [n, k]

    Returns
    -------
    [m, k], [m], like a. Differentiable any number of times.

    Raises
    ------
    TypeError, ValueError : for a wrong or another dtype, shape or device.

    Notes
    -----
    Rows are added in a fixed order within parts, then the parts in order, whose number depends on n, m and k alone: the same bits for any number of threads.

    Examples
    --------
    >>> import torch
    >>> outer_sum(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 0.0], [4.0, 1.0]]))
    (tensor([[11.,  2.]]), tensor([3.]))
    """
    a, b = check_float("outer_sum", "a", a), check_float("outer_sum", "b", b)
    a, b = same_float("outer_sum", a, b, "a and b")
    check_matrix("outer_sum", "a", a, None, "n")
    check_matrix("outer_sum", "b", b, a.shape[0], "n")
    check_device("outer_sum", "b", b, a)
    return outer_sum_op(a, b)
