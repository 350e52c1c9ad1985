"""The random masks of a training step."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..ops.uniform_rows import uniform_rows

Tensor = torch.Tensor


class Chance(NamedTuple):
    """Step ``step`` of the training that ``seed`` names. What is drawn depends on (seed, step, place, id) alone, so that a training
    goes on exactly from a checkpoint that holds the step's number."""

    seed: int
    step: int

    def kept(self, ids: Tensor, dim: int, drop: float, place: int, dtype: torch.dtype) -> Tensor:
        """[len(ids), dim]: 0 with probability ``drop``, else 1 / (1 - drop)."""
        u = uniform_rows(ids, dim, seed=self.seed, step=self.step, place=place)
        return (u >= drop).to(dtype).mul_(1 / (1 - drop))


def check_dropout(who: str, **rates: float) -> None:
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(f"{who}: {name} is the probability of dropping, 0 <= {name} < 1, got {rate}")
