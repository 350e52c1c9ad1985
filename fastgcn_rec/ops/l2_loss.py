"""The ridge penalty on the rows of a batch."""

from __future__ import annotations

from typing import Any

import torch

from .. import _C
from ..core import native
from ..core.tensors import check_ids
from .registration import accepts_arrays, check_float, check_matrix, register
from .scatter_rows import scatter_into

Tensor = torch.Tensor


def _l2_loss(emb: Tensor, ids: Tensor) -> Tensor:
    emb, ids = emb.contiguous(), ids.contiguous()
    loss = emb.new_empty((), dtype=native.accumulator(emb.dtype))
    space = native.workspace(_C.l2_loss_workspace_bytes(ids.numel()), emb.device)
    native.call(
        "l2_loss",
        emb.device,
        native.DTYPE_CODE[emb.dtype],
        emb,
        emb.shape[0],
        emb.shape[1],
        ids,
        ids.numel(),
        loss,
        space,
    )
    return loss


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
)


@accepts_arrays
def l2_loss(emb: Any, ids: Any) -> Any:
    """1/2 sum_n |emb[ids[n]]|^2: repeated ids count as often as they occur, -1 is skipped.

    LightGCN's regulariser on a batch is lambda / B times this, of the ego embeddings of users, positives and negatives.

    Parameters
    ----------
    emb : float32, float64 or bfloat16 [n_rows, dim]
    ids : integer ids [N]

    Returns
    -------
    A scalar (float32; float64 for float64), differentiable once in emb.

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
    return _op(emb, check_ids("l2_loss", "ids", ids, (None,), emb))
