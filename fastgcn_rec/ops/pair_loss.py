"""Losses on pairs of scores: BPR, binary cross-entropy and max-margin, fused with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..core import native
from ..core.tensors import check_device, check_ids, list_of
from .registration import accepts_arrays, check_pairs, number_of, register
from .scatter_rows import scatter_into

Tensor = torch.Tensor
_BPR, _BINARY, _MAX_MARGIN = 0, 1, 2


def _pair_loss(
    user_emb: Tensor,
    item_emb: Tensor,
    users: Tensor,
    pos: Tensor,
    neg: Tensor,
    mask: Tensor | None,
    kind: int,
    margin: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    user_emb, item_emb = user_emb.contiguous(), item_emb.contiguous()
    users, pos, neg = users.contiguous(), pos.contiguous(), neg.contiguous()
    mask = None if mask is None else mask.contiguous()
    out = _pair_loss_outputs(user_emb, item_emb, users, pos, neg, mask, kind, margin)
    shared = _is_shared(users, neg)
    n_bytes = native.size(
        "pair_loss", user_emb.device, users.numel(), neg.shape[1], user_emb.shape[1], shared, out[0].element_size()
    )
    native.call(
        "pair_loss", user_emb.device, native.DTYPE_CODE[user_emb.dtype], kind, margin, user_emb, user_emb.shape[0],
        item_emb, item_emb.shape[0], user_emb.shape[1], users, pos, neg, users.numel(), neg.shape[1], shared, mask, *out,
        native.workspace(n_bytes, users.device),
    )  # fmt: skip
    return out


def _is_shared(users: Tensor, neg: Tensor) -> bool:
    return neg.shape[0] == 1 and users.shape[0] != 1


def _pair_loss_outputs(
    user_emb: Tensor,
    item_emb: Tensor,
    users: Tensor,
    pos: Tensor,
    neg: Tensor,
    mask: Tensor | None,
    kind: int,
    margin: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, n_neg, dim = users.shape[0], neg.shape[1], user_emb.shape[1]
    dtype = native.accumulator(user_emb.dtype)
    shared_rows = n_neg if _is_shared(users, neg) else 0
    of: Any = {"dtype": dtype, "device": user_emb.device}
    return (
        torch.empty((), **of),
        torch.empty(batch, dim, **of),
        torch.empty(batch, **of),
        torch.empty(batch, n_neg, **of),
        torch.empty(shared_rows, dim, **of),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    user_emb, item_emb, users, pos, neg, *_ = inputs
    ctx.save_for_backward(user_emb, item_emb, users, pos, neg, *output[1:])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)  # which would be zeros for these


def _backward(ctx: Any, grad: Tensor | None, *unused: Any) -> tuple[Any, ...]:
    if grad is None:
        return (None,) * 8
    user_emb, item_emb, users, pos, neg, user_rows, pos_coef, neg_coef, neg_rows = ctx.saved_tensors
    d_user = d_item = None
    if ctx.needs_input_grad[0]:
        d_user = scatter_into(user_emb, users, user_rows, grad)
    if ctx.needs_input_grad[1]:
        if _is_shared(users, neg):
            # positives as coef * user row, materialised beside the negatives' rows
            rows = torch.cat([pos_coef[:, None] * user_emb[users].to(pos_coef.dtype), neg_rows])
            d_item = scatter_into(item_emb, torch.cat([pos, neg[0]]), rows, grad)
        else:
            ids = torch.cat([pos[:, None], neg], 1)
            coef = torch.cat([pos_coef[:, None], neg_coef], 1)
            source = users[:, None].expand_as(ids)
            d_item = scatter_into(item_emb, ids.flatten(), user_emb, grad, coef.flatten(), source.flatten())
    return d_user, d_item, None, None, None, None, None, None


_op = register(
    "pair_loss(Tensor user_emb, Tensor item_emb, Tensor users, Tensor pos, Tensor neg, Tensor? mask, int kind, float margin)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _pair_loss,
    _pair_loss_outputs,
    _backward,
    _setup,
    twice=False,
)


def _checked(
    op: str, kind: int, user_emb: Any, item_emb: Any, users: Any, pos: Any, neg: Any, mask: Any, margin: float = 0.0
) -> Any:
    user_emb, item_emb, users, pos = check_pairs(op, user_emb, item_emb, users, pos)
    neg = check_ids(op, "neg", neg, ("batch or 1", "n_neg"), user_emb)
    if neg.shape[0] not in (1, users.shape[0]):
        raise ValueError(
            f"{op}: neg must have shape [batch, n_neg] = [{users.shape[0]}, n_neg], or [1, n_neg] when the batch shares its "
            f"negatives, got {list(neg.shape)}"
        )
    neg, mask = masked(op, neg, mask, users.shape[0])
    return _op(user_emb, item_emb, users, pos, neg, mask, kind, margin)[0]


def masked(op: str, neg: Tensor, mask: Any, batch: int) -> tuple[Tensor, Tensor | None]:
    """Negatives and mask as kernels take them: a mask only beside shared negatives, else it goes into the ids."""
    if mask is None:
        return neg, None
    if isinstance(mask, (list, tuple)):
        mask = list_of(op, "mask", mask, "bools", np.bool_).to(neg.device)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.layout != torch.strided:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"{op}: mask must be a bool tensor, got {str(kind).removeprefix('torch.')}")
    if mask.shape != (batch, neg.shape[1]):
        raise ValueError(f"{op}: mask must have shape [batch, M] = [{batch}, {neg.shape[1]}], got {list(mask.shape)}")
    check_device(op, "mask", mask, neg)
    if neg.shape[0] == batch:
        return torch.where(mask, neg, -1), None
    return neg, mask


@accepts_arrays
def bpr_loss(user_emb: Any, item_emb: Any, users: Any, pos: Any, neg: Any, mask: Any = None) -> Any:
    """Bayesian personalised ranking: 1/B sum_b 1/M sum_m -log sigmoid(s(u_b, p_b) - s(u_b, n_bm)), s the inner product.

    Rendle et al. 2009, "BPR", with a set of negatives for every positive.

    Parameters
    ----------
    user_emb, item_emb : float32, float64 or bfloat16 [n_users, dim], [n_items, dim]
    users, pos : integer ids [B]
    neg : integer ids [B, M], or [1, M] when the batch shares its negatives
        -1 means "no negative": it takes no part in the mean over m; a row without any counts as 0.
    mask : bool [B, M], optional
        False takes a negative out for that row, as -1 does: an item that the batch shares and this user has an edge to. (A mask, and
        not ids [B, M], because then M rows of gradient are summed instead of B * M ids sorted.)

    Returns
    -------
    A scalar (float32; float64 for float64 embeddings), differentiable once in both tables. Empty batches give 0. Stable for
    any size of score, and the same bits for any number of threads, forward and backward.

    Raises
    ------
    TypeError, ValueError : wrong dtype, shape or device. IndexError : an id out of range (CPU).

    Examples
    --------
    >>> import torch
    >>> u, i = torch.zeros(2, 4), torch.zeros(3, 4)
    >>> bpr_loss(u, i, torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([[2], [2]]))
    tensor(0.6931)
    """
    return _checked("bpr_loss", _BPR, user_emb, item_emb, users, pos, neg, mask)


@accepts_arrays
def binary_loss(user_emb: Any, item_emb: Any, users: Any, pos: Any, neg: Any, mask: Any = None) -> Any:
    """Binary cross-entropy as two separate means: mean_b -log sigmoid(s(u_b, p_b)) + mean_b mean_m -log sigmoid(-s(u_b, n_bm)).

    CS224W 2023, "GNNs for recommender systems", binary loss. Parameters, result and errors as in :func:`bpr_loss`.

    Examples
    --------
    >>> import torch
    >>> u, i = torch.zeros(1, 4), torch.zeros(2, 4)
    >>> binary_loss(u, i, torch.tensor([0]), torch.tensor([0]), torch.tensor([[1]]))
    tensor(1.3863)
    """
    return _checked("binary_loss", _BINARY, user_emb, item_emb, users, pos, neg, mask)


@accepts_arrays
def max_margin_loss(
    user_emb: Any, item_emb: Any, users: Any, pos: Any, neg: Any, margin: float = 1.0, mask: Any = None
) -> Any:
    """Max-margin: 1/B sum_b 1/M sum_m max(0, s(u_b, n_bm) - s(u_b, p_b) + margin).

    Ying et al. 2018, "Graph convolutional neural networks for web-scale recommender systems" (PinSAGE), eq. 1. margin is a float >= 0;
    the other parameters, result and errors as in :func:`bpr_loss`. At the kink the gradient is 0.

    Examples
    --------
    >>> import torch
    >>> u, i = torch.ones(1, 2), torch.eye(2)
    >>> max_margin_loss(u, i, torch.tensor([0]), torch.tensor([0]), torch.tensor([[1]]), margin=0.5)
    tensor(0.5000)
    """
    margin = check_margin("max_margin_loss", margin)
    return _checked("max_margin_loss", _MAX_MARGIN, user_emb, item_emb, users, pos, neg, mask, margin)


def check_margin(op: str, margin: float) -> float:
    margin = number_of(op, "margin", margin)
    if not 0 <= margin < float("inf"):
        raise ValueError(f"{op}: margin must be >= 0 and finite, got {margin}")
    return margin
