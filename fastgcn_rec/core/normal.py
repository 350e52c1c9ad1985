"""A table of normal numbers, block by block: who needs a part of its columns never holds the whole."""

from __future__ import annotations

from collections.abc import Iterator

import torch

Tensor = torch.Tensor
_GROUP = 16  # numbers that torch draws together
_AT_ONCE = 1 << 20  # numbers drawn at once


def normal_rows(n_rows: int, dim: int, seed: int) -> Iterator[tuple[int, Tensor]]:
    """(first row, rows [n, dim]) of ``torch.randn(n_rows, dim)`` by a generator of this seed, float32 on the CPU.

    >>> blocks = torch.cat([rows for _, rows in normal_rows(5, 3, seed=1)])
    >>> torch.equal(blocks, torch.randn(5, 3, generator=torch.Generator().manual_seed(1)))
    True
    """
    generator = torch.Generator().manual_seed(seed)
    step = (
        max(1, _AT_ONCE // (_GROUP * max(dim, 1))) * _GROUP
    )  # whole groups of rows, so that every block begins with a group of numbers
    at = 0
    while at < n_rows:
        # torch draws the last group of a table again so that it is whole: the last block must hold it
        n = step if (n_rows - at - step) * dim >= _GROUP else n_rows - at
        yield at, torch.randn(n, dim, generator=generator, device="cpu")
        at += n
