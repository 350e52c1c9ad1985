"""torch's powers and logarithms with bits that do not depend on the number of threads."""

from __future__ import annotations

from collections.abc import Callable

import torch

Tensor = torch.Tensor
_PIECE = 1 << 14  # elements: torch shares out 2^15 and more among its threads


def in_pieces(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function``, which works by elements, of x: torch takes the ends of a thread's share by another formula than its
    middle, so that no share may depend on the threads."""
    return torch.cat([function(piece) for piece in x.reshape(-1).split(_PIECE)]).view(x.shape)


def power(degree: Tensor, exponent: float) -> Tensor:
    """degree^exponent, 0 for a node without edges."""
    return in_pieces(lambda d: torch.where(d > 0, d.clamp_min(1e-30).pow(exponent), torch.zeros_like(d)), degree)
