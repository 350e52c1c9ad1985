"""In-batch softmax on cosine scores, fused with its gradient."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..core import native
from ..core.tensors import check_device
from .registration import accepts_arrays, check_float, check_pairs, number_of, register
from .scatter_rows import scatter_into

Tensor = torch.Tensor


def _softmax_loss(
    user_emb: Tensor,
    item_emb: Tensor,
    users: Tensor,
    pos: Tensor,
    temperature: float,
    negative_weight: float,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    user_emb, item_emb, users, pos = (t.contiguous() for t in (user_emb, item_emb, users, pos))
    out = _outputs(user_emb, item_emb, users)
    bias = None if bias is None else bias.to(out[0].dtype).contiguous()
    batch, dim = users.numel(), user_emb.shape[1]
    n_bytes = native.size("softmax_loss", user_emb.device, batch, dim, out[0].element_size())
    native.call(
        "softmax_loss", user_emb.device, native.DTYPE_CODE[user_emb.dtype], user_emb, user_emb.shape[0], item_emb,
        item_emb.shape[0], dim, users, pos, batch, temperature, negative_weight, bias, *out, native.workspace(n_bytes, user_emb.device),
    )  # fmt: skip
    return out


def _outputs(user_emb: Tensor, item_emb: Tensor, users: Tensor, *unused: Any) -> tuple[Tensor, Tensor, Tensor]:
    dtype, rows = native.accumulator(user_emb.dtype), (users.shape[0], user_emb.shape[1])
    return (
        user_emb.new_empty((), dtype=dtype),
        user_emb.new_empty(rows, dtype=dtype),
        user_emb.new_empty(rows, dtype=dtype),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:4], *output[1:])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)  # which would be zeros for these


def _backward(ctx: Any, grad: Tensor | None, *unused: Any) -> tuple[Any, ...]:
    if grad is None:
        return (None,) * 7
    user_emb, item_emb, users, pos, user_rows, item_rows = ctx.saved_tensors
    d_user = scatter_into(user_emb, users, user_rows, grad) if ctx.needs_input_grad[0] else None
    d_item = scatter_into(item_emb, pos, item_rows, grad) if ctx.needs_input_grad[1] else None
    return d_user, d_item, None, None, None, None, None


_op = register(
    "softmax_loss(Tensor user_emb, Tensor item_emb, Tensor users, Tensor pos, float temperature, float negative_weight, Tensor? bias) "
    "-> (Tensor, Tensor, Tensor)",
    _softmax_loss,
    _outputs,
    _backward,
    _setup,
    twice=False,
)


@accepts_arrays
def softmax_loss(
    user_emb: Any,
    item_emb: Any,
    users: Any,
    pos: Any,
    temperature: float = 0.1,
    negative_weight: float = 1.0,
    bias: Any = None,
) -> Any:
    """In-batch softmax on cosine scores: 1/B sum_b (w log sum_j exp s(b, j) - s(b, b)), s(b, j) = cos(u_b, p_j)/t + bias[j].

    Every other positive of the batch serves as a negative (Wu et al. 2022, "On the effectiveness of sampled softmax loss for item
    recommendation", eq. 7). Such negatives come as often as they are positives; bias[j] = -log q, q the probability that a
    positive is the item p_j, corrects for it (Yi et al. 2019, "Sampling-bias-corrected neural modeling", eq. 4: logQ). With a weight
    w other than 1 positives and negatives are smoothed apart, as the bilateral softmax does (Wu et al. 2024, "BSL", whose code has
    it as a power of the denominator, and leaves j = b out of that). The scores are taken 192 rows at a time (on a GPU
    2^22 scores, where these are more rows): memory grows with B, not with B^2.

    Parameters
    ----------
    user_emb, item_emb : float32, float64 or bfloat16 [n_users, dim], [n_items, dim]
    users, pos : integer ids [B]
    temperature : float > 0, t
    negative_weight : float >= 0, w
    bias : float [B], optional
        Of each positive as a candidate; it gets no gradient.

    Returns
    -------
    A scalar (float32; float64 for float64 embeddings), differentiable once in both tables; the same bits for any number of threads.

    Raises
    ------
    TypeError, ValueError : wrong dtype, shape, device or temperature. IndexError : an id out of range (CPU).

    Examples
    --------
    >>> import torch
    >>> softmax_loss(torch.eye(2), torch.eye(2), torch.tensor([0, 1]), torch.tensor([0, 1]), 1.0)
    tensor(0.3133)
    """
    op = "softmax_loss"
    user_emb, item_emb, users, pos = check_pairs(op, user_emb, item_emb, users, pos)
    temperature, negative_weight = check_temperature(op, temperature), check_negative_weight(op, negative_weight)
    if bias is not None:
        bias = check_bias(op, "bias", bias, users.shape[0], "B", item_emb).detach()
    return _op(user_emb, item_emb, users, pos, temperature, negative_weight, bias)[0]


def check_temperature(op: str, temperature: float) -> float:
    temperature = number_of(op, "temperature", temperature)
    if not 0 < temperature < math.inf:
        raise ValueError(f"{op}: temperature must be > 0 and finite, got {temperature}")
    return temperature


def check_negative_weight(op: str, weight: float) -> float:
    weight = number_of(op, "negative_weight", weight)
    if not 0 <= weight < math.inf:
        raise ValueError(f"{op}: negative_weight must be >= 0 and finite, got {weight}")
    return weight


def check_bias(op: str, name: str, bias: Any, n: int, of: str, like: Tensor) -> Tensor:
    bias = check_float(op, name, bias)
    if bias.shape != (n,):
        raise ValueError(f"{op}: {name} must have shape [{of}] = [{n}], got {list(bias.shape)}")
    check_device(op, name, bias, like)
    return bias
