"""Which random numbers of a training are drawn where, so that no two things share one."""

from __future__ import annotations

# places of uniform_rows, beyond those of dropped edges and masks
COLD_ITEMS, WINDOWS, COLD_USERS = ((1 << 18) + n for n in range(3))


def mixed(seed: int, number: int) -> int:
    """A seed of its own for every number."""
    return (seed * 0x9E3779B97F4A7C15 + number) % 2**63
