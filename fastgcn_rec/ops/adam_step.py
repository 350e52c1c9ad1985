"""Fused dense Adam."""

from __future__ import annotations

from typing import Any

import torch

from ..core import native
from .registration import check_float, number_of, register, scalar

Tensor = torch.Tensor


def _adam_step(
    param: Tensor, grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, step: Tensor, lr: Tensor,
    beta1: float, beta2: float, eps: float, weight_decay: float,
) -> None:  # fmt: skip
    native.call(
        "adam_step", param.device, native.DTYPE_CODE[param.dtype], param, grad.contiguous(), exp_avg, exp_avg_sq, param.numel(),
        step, lr, beta1, beta2, eps, weight_decay,
    )  # fmt: skip


_op = register(
    "adam_step(Tensor(a!) param, Tensor grad, Tensor(b!) exp_avg, Tensor(c!) exp_avg_sq, Tensor step, Tensor lr, "
    "float beta1, float beta2, float eps, float weight_decay) -> ()",
    _adam_step,
    lambda *args: None,
)


def adam_step(
    param: Tensor, grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, step: int | Tensor, lr: float | Tensor = 1e-3,
    beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0,
) -> None:  # fmt: skip
    """One step of Adam in one pass over memory, in place (Kingma & Ba 2015, algorithm 1; the same update as torch.optim.Adam).

    g = grad + weight_decay * param; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    param -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps).

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq : float32 or float64, one shape, contiguous (grad may be any layout)
    step : t >= 1, the number of this step: an int, or a one-element int64 tensor on the device
    lr : float, or a one-element float64 tensor on the device
    beta1, beta2, eps, weight_decay : floats, b1 and b2 of the formulas

    Raises
    ------
    TypeError, ValueError : wrong dtype, shape, device or layout; a step < 1.

    Examples
    --------
    >>> import torch
    >>> p, m, v = torch.zeros(2), torch.zeros(2), torch.zeros(2)
    >>> adam_step(p, torch.ones(2), m, v, step=1, lr=0.1)
    >>> p
    tensor([-0.1000, -0.1000])
    """
    op, floats = "adam_step", (torch.float32, torch.float64)
    tensors = {"param": param, "grad": grad, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    for name, t in tensors.items():
        if not isinstance(t, Tensor):
            raise TypeError(f"{op}: {name} must be a tensor, got {type(t).__name__}")
        check_float(op, name, t, floats, in_place=True)
    for name, t in (("grad", grad), ("exp_avg", exp_avg), ("exp_avg_sq", exp_avg_sq)):
        if t.shape != param.shape or t.dtype != param.dtype or t.device != param.device:
            raise ValueError(
                f"adam_step: {name} must be like param, {list(param.shape)} {param.dtype} on {param.device}, "
                f"got {list(t.shape)} {t.dtype} on {t.device}"
            )
    if not all(t.is_contiguous() and not t.is_neg() for t in (param, exp_avg, exp_avg_sq)):
        raise ValueError("adam_step: param, exp_avg and exp_avg_sq are updated in place and must be contiguous")
    grad = grad.resolve_neg()
    if isinstance(step, int) and step < 1:
        raise ValueError(f"adam_step: step counts from 1, got {step}")
    step = scalar(step, torch.int64, param.device, op, "step")
    lr = scalar(lr, torch.float64, param.device, op, "lr")
    options = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    beta1, beta2, eps, weight_decay = (number_of(op, name, value) for name, value in options.items())
    _op(param, grad, exp_avg, exp_avg_sq, step, lr, beta1, beta2, eps, weight_decay)


class Adam(torch.optim.Optimizer):
    """torch.optim.Adam for dense float parameters, by :func:`adam_step`; the same parameters.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay : as torch.optim.Adam's
    capturable : bool
        Whether the number of the step is a tensor on the device, so that a CUDA graph that captures :meth:`step` counts on when it is replayed. A
        number as ``lr`` is part of the graph; a one-element float64 tensor on the device, of which the graph reads the value, can be changed.

    Raises
    ------
    ValueError : lr, betas or eps out of range. RuntimeError : :meth:`step` is captured, and not ``capturable``.

    Examples
    --------

    >>> import torch
    >>> p = torch.nn.Parameter(torch.ones(2)); opt = Adam([p], lr=0.1); p.sum().backward(); opt.step(); p.data
    tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        capturable: bool = False,
    ) -> None:
        if not (lr >= 0 and 0 <= betas[0] < 1 and 0 <= betas[1] < 1 and eps > 0):
            raise ValueError(f"Adam: needs lr >= 0, betas in [0, 1) and eps > 0, got {lr}, {betas}, {eps}")
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "capturable": capturable}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not group["capturable"] and native.is_captured(p.device):
                    raise RuntimeError(
                        "Adam: step() is captured in a CUDA graph, whose replays would all be the same step; make it by Adam(..., capturable=True), or "
                        "call adam_step with a tensor as step"
                    )
                if not state:
                    state["step"] = torch.zeros((), dtype=torch.int64, device=p.device) if group["capturable"] else 0
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
                state["step"] += 1
                moments = state["exp_avg"], state["exp_avg_sq"]
                beta1, beta2 = group["betas"]
                rest = {"eps": group["eps"], "weight_decay": group["weight_decay"]}
                adam_step(p, p.grad, *moments, state["step"], group["lr"], beta1, beta2, **rest)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            for p in group["params"]:
                if state := self.state.get(p):  # torch makes a captured step a float32, which ends at 2^24
                    step = int(state["step"])
                    state["step"] = torch.tensor(step, device=p.device) if group["capturable"] else step
