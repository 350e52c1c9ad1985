"""What the optimizers of a training step hold, and which of them there are."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch

from ..core import native

Tensor = torch.Tensor
Optimizer = Literal["adam", "lazy_adam", "adagrad", "sgd"]
OPTIMIZERS = {"adam": 0, "lazy_adam": 1, "adagrad": 2, "sgd": 3}  # StepOptimizer of csrc/include/fgr/train_step.h


class OptimizerState(NamedTuple):
    """``tensors`` are all of it, by name; ``native`` the three that the kernel takes, of which these are parts."""

    tensors: dict[str, Tensor]
    native: tuple[Tensor | None, Tensor | None, Tensor | None]

    @classmethod
    def of(cls, optimizer: str, table: Tensor) -> OptimizerState:
        """Before the first step on ``table`` [n, dim]."""
        n, dim = table.shape
        if optimizer == "adam":
            first, second = (native.in_huge_pages(torch.empty_like(table)).zero_() for _ in range(2))
            return cls({"exp_avg": first, "exp_avg_sq": second}, (first, second, None))
        if optimizer == "lazy_adam":  # both moments of a row side by side
            moments = native.in_huge_pages(table.new_empty((n, 2 * dim))).zero_()
            last = torch.zeros(n, dtype=torch.int64, device=table.device)
            tensors = {"exp_avg": moments[:, :dim], "exp_avg_sq": moments[:, dim:], "last_step": last}
            return cls(tensors, (moments, None, last))
        if optimizer == "adagrad":
            sums = table.new_zeros(n)
            return cls({"row_sum": sums}, (sums, None, None))
        return cls({}, (None, None, None))


def check_optimizer(who: str, optimizer: Any, hops: int) -> None:
    """Raises unless there is this optimizer, and it can train a table whose vectors go through so many hops."""
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"{who}: optimizer must be one of {tuple(OPTIMIZERS)}, got {optimizer!r}")
    if optimizer != "adam" and hops > 0:
        raise ValueError(
            f"{who}: optimizer={optimizer!r} moves the rows of a batch's nodes alone, and with {hops} layers every row has a gradient; take "
            "optimizer='adam', or no layers (MF, or LightGCN with num_layers=0)"
        )
