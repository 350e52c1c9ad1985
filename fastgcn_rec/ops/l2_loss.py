"""The ridge penalty on the rows of a batch."""

from __future__ import annotations

from typing import Any

import torch

from .. import _C
from ..core import native
from ..core.columns import PANEL, Columns
from ..core.tensors import check_ids
from .registration import accepts_arrays, check_columns, check_float, check_matrix, register
from .scatter_rows import scatter_into

Tensor = torch.Tensor


def _run(emb: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the squares added up in each panel of columns: float64 [panels]."""
    emb, ids = emb.contiguous(), ids.contiguous()
    code, (n_rows, dim), n = native.DTYPE_CODE[emb.dtype], emb.shape, ids.numel()
    loss = emb.new_empty((), dtype=native.accumulator(emb.dtype))
    panels = emb.new_empty(-(-dim // PANEL), dtype=torch.float64)
    space = native.workspace(_C.l2_loss_workspace_bytes(n, dim), emb.device)
    native.call("l2_loss", emb.device, code, emb, n_rows, dim, ids, n, panels, loss, space)
    return loss, panels


def _l2_loss(emb: Tensor, ids: Tensor) -> Tensor:
    return _run(emb, ids)[0]


def _l2_panels(emb: Tensor, ids: Tensor) -> Tensor:
    return _run(emb, ids)[1]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, None]:
    emb, ids = ctx.saved_tensors
    return scatter_into(emb, ids, emb, grad, src_index=ids.clamp(min=0)), None


_op = register(
    "l2_loss(Tensor emb, Tensor ids) -> Tensor",
    _l2_loss,
    lambda emb, ids: emb.new_empty((), dtype=native.accumulator(emb.dtype)),
    _backward,
    _setup,
    twice=False,
)


_panels_op = register(
    "l2_panels(Tensor emb, Tensor ids) -> Tensor",
    _l2_panels,
    lambda emb, ids: emb.new_empty(-(-emb.shape[1] // PANEL), dtype=torch.float64),
)


class _Shared(torch.autograd.Function):
    """Of rows whose columns several ranks share out: the same value on each, the gradient of its own columns."""

    @staticmethod
    def forward(ctx: Any, emb: Tensor, ids: Tensor, columns: Columns) -> Tensor:
        ctx.save_for_backward(emb, ids)
        whole: Tensor = 0.5 * columns.sum(_panels_op(emb, ids)[None])[0]
        return whole.to(native.accumulator(emb.dtype))

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return (*_backward(ctx, *grads), None)


@accepts_arrays
def l2_loss(emb: Any, ids: Any, columns: Columns | None = None) -> Any:
    """1/2 sum_n |emb[ids[n]]|^2: repeated ids count as often as they occur, -1 is skipped.

    LightGCN's regulariser on a batch is lambda / B times this, of the ego embeddings of users, positives and negatives.

    Parameters
    ----------
    emb : float32, float64 or bfloat16 [n_rows, dim]
    ids : integer ids [N]
    columns : Columns, optional
        ``emb`` is [n_rows, columns.width], this rank's columns of rows that several ranks share out. Collective: every rank calls with the same
        ids, and gets the same bits as one process does of all columns.

    Returns
    -------
    A scalar (float32; float64 for float64), differentiable once in emb. Squares are added up in float64 by panels of 16 columns, and panels in
    order.

    Raises
    ------
    TypeError, ValueError : wrong dtype, shape or device. IndexError : an id out of range (CPU).

    Examples
    --------
    >>> import torch
    >>> l2_loss(torch.ones(3, 2), torch.tensor([0, 0]))
    tensor(2.)
    """
    emb = check_float("l2_loss", "emb", emb)
    check_matrix("l2_loss", "emb", emb, None, "n_rows")
    ids = check_ids("l2_loss", "ids", ids, (None,), emb)
    shared = check_columns("l2_loss", "emb", emb, columns)
    return _op(emb, ids) if shared is None else _Shared.apply(emb, ids, shared)
