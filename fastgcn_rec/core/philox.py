"""NumPy's generators, by a seed and a stream."""

from __future__ import annotations

import numpy as np

from .arguments import check_count


def generator(seed: int, stream: int = 0) -> np.random.Generator:
    """Return the Philox generator keyed by (seed, stream): streams are independent of one another."""
    check_count(seed, "seed", 0)
    if seed >= 2**64:
        raise ValueError(f"seed must be below 2**64, got {seed}")
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)))
