"""How a GPU shares out the rows of a hop (csrc/cuda/hop.cuh)."""

from __future__ import annotations

import torch

from . import native


def schedule_of(degree: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """(split, heavy) of rows of these numbers of edges, int64 [rows]; None on the CPU, which balances by edges.

    split : int32 [2, n_split], each row of more than PART_EDGES edges once for every part, and the part's number
    heavy : int32 [n_heavy], the other rows of more than HEAVY_DEGREE edges
    Both by degree, descending.
    """
    if not native.runs_cuda(degree.device):
        return None, None
    long = torch.nonzero(degree > native.HEAVY_DEGREE).flatten()
    long = long[degree[long].argsort(descending=True, stable=True)]
    parts = (degree[long] - 1) // native.PART_EDGES + 1
    n_split = int((parts > 1).sum())
    parts = parts[:n_split]
    first = (parts.cumsum(0) - parts).repeat_interleave(parts)
    part = torch.arange(len(first), device=degree.device) - first
    split = torch.stack([long[:n_split].repeat_interleave(parts), part])
    return split.to(torch.int32), long[n_split:].to(torch.int32)
