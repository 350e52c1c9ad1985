"""The second key of every ranking, for orders that are made outside the kernels (csrc/common/tie.h)."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Ids = TypeVar("Ids", torch.Tensor, NDArray[np.int64])
_LOW = 0xFFFFFFFF


def tie_key(ids: Ids) -> Ids:
    """Numbers in [0, 2^32), distinct for distinct ids below 2^31: of equal scores that of the smaller one goes first.

    Ids go by descending popularity, so their own order would favour what is popular.

    >>> tie_key(np.arange(5)).argsort().tolist()
    [3, 2, 0, 1, 4]
    """
    x = (ids + 0x1FE5DF5B) & _LOW
    x = ((x ^ x >> 16) * 0x7FEB352D) & _LOW  # wraps in 64 bits, which the lower 32 do not feel
    x = ((x ^ x >> 15) * 0x846CA68B) & _LOW
    return x ^ x >> 16
