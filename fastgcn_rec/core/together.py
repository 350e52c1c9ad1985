"""Several tensors sent to a rank as one: what a message costs beside its bytes is paid once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .world import World

Tensor = torch.Tensor
_ALIGNED = 8  # bytes: a multiple of every element's size


def exchange_together(
    world: World, parts: Sequence[Sequence[Tensor]], shapes: Sequence[Sequence[Sequence[int]]]
) -> list[tuple[Tensor, ...]]:
    """``world.exchange`` of several tensors: ``parts[q]`` go to rank q, and come from it with the shapes ``shapes[q]``, in the dtypes of the parts.
    Each takes its bytes, rounded up to a multiple of 8.

    Examples
    --------
    >>> exchange_together(World(), [(torch.ones(1), torch.zeros(1, dtype=torch.int64))], [[(1,), (1,)]])
    [(tensor([1.]), tensor([0]))]
    """
    dtypes = [part.dtype for part in parts[0]]
    taken = [
        [_rounded(torch.Size(shape).numel() * dtype.itemsize) for shape, dtype in zip(row, dtypes, strict=True)]
        for row in shapes
    ]
    found = world.exchange([_packed(row) for row in parts], [(sum(sizes),) for sizes in taken])
    return [
        tuple(
            piece[: torch.Size(shape).numel() * dtype.itemsize].view(dtype).view(tuple(shape))
            for piece, shape, dtype in zip(whole.split(sizes), row, dtypes, strict=True)
        )
        for whole, sizes, row in zip(found, taken, shapes, strict=True)
    ]


def _rounded(n_bytes: int) -> int:
    return n_bytes + -n_bytes % _ALIGNED


def _packed(row: Sequence[Tensor]) -> Tensor:
    pieces = []
    for part in row:
        piece = part.contiguous().view(-1).view(torch.uint8)
        pieces += [piece, piece.new_zeros(-len(piece) % _ALIGNED)]
    return torch.cat(pieces)
