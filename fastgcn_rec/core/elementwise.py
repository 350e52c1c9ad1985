"""torch's functions of elements, and their means, with bits that do not depend on the number of threads."""

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


def mean(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """The mean of what ``function`` makes of the elements of tensors of one shape: sums of pieces, then of these."""
    pieces = zip(*(t.reshape(-1).split(_PIECE) for t in tensors), strict=True)
    sums = torch.stack([function(*piece).sum() for piece in pieces])
    while len(sums) > 1:
        sums = torch.stack([piece.sum() for piece in sums.split(_PIECE)])
    return sums[0] / tensors[0].numel()
