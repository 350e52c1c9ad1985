"""What a step is to the loop, and the names in its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch

Tensor = torch.Tensor
MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam
TAKEN = "steps"  # of the optimizer: a parameter without a gradient takes none


class Step(Protocol):
    """All that the loop knows of how, and on which devices, a model is trained.

    Step t is a function of (seed, t), the learning rate, the trained parameters and :meth:`state` alone. On several ranks every one draws the same
    batch t and updates the columns that it holds, of which ``state`` and ``resume`` speak, too.
    """

    def __call__(self, t: int, lr: float) -> Tensor:
        """Draws batch t = 0, 1, ... of the config's stream, updates the parameters in place, and returns the loss before that: a scalar, for
        which the host need not wait."""
        ...

    def state(self) -> dict[str, Tensor]:
        """The optimizer's state by "<name>.<parameter>", of Adam "exp_avg.<parameter>" and "exp_avg_sq.<parameter>", and "steps.<parameter>"; the sampler's
        by "negatives.<name>"."""
        ...

    def resume(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Goes on after ``step`` steps, from such a state; the parameters are the model's, which are in place already."""
        ...


@runtime_checkable
class ManySteps(Step, Protocol):
    """One that takes many steps at a time for less than one by one."""

    @property
    def at_once(self) -> int:
        """How many that is now; one is possible, too."""
        ...

    def many(self, t: int, rates: Sequence[float], loss_sum: Tensor) -> None:
        """Takes steps t, t + 1, ..., one for each of the learning rates, and adds their losses to ``loss_sum``, float64 [], one after the other: the same
        bits as one by one. That is always the same tensor."""
        ...
