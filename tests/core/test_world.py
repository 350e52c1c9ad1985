"""What processes say to each other, on one rank and on several."""

import os
import signal
import sys
import time

import numpy as np
import pytest
import ranks
import torch

from fastgcn_rec.core.columns import Columns
from fastgcn_rec.core.world import World

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool)


def every_kind(world):
    """What comes of each way to speak, and the bytes sent."""
    own = [(torch.arange(6).view(2, 3) + 10 * world.rank).to(dtype) for dtype in DTYPES]
    gathered = [world.gather(t) for t in own]
    sent = world.sent
    parts = [torch.full((world.rank + 1, q + 2), 10.0 * world.rank + q) for q in range(world.size)]
    taken = world.exchange(parts, [(q + 1, world.rank + 2) for q in range(world.size)])
    values = world.values({"rank": world.rank}), world.of_first(f"of {world.rank}"), world.any(world.rank == 1)
    return gathered, sent, taken, values


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ranks_hear_each_other(size):
    for rank, (gathered, sent, taken, values) in enumerate(ranks.on_ranks(size, every_kind)):
        for dtype, t in zip(DTYPES, gathered, strict=True):
            expected = torch.stack([(torch.arange(6).view(2, 3) + 10 * q).to(dtype) for q in range(size)])
            assert t.dtype == dtype
            assert torch.equal(t, expected)
        assert sent == (size - 1) * 6 * (4 + 8 + 2 + 8 + 1)
        for q, t in enumerate(taken):
            assert torch.equal(t, torch.full((q + 1, rank + 2), 10.0 * q + rank))
        assert values == ([{"rank": q} for q in range(size)], "of 0", size > 1)


def joining(world):
    bounds = world.shares(23, 4)
    whole = torch.arange(23 * 3).view(23, 3)
    assert torch.equal(world.joined(whole[bounds[world.rank] : bounds[world.rank + 1]], bounds), whole)
    return bounds


@pytest.mark.parametrize(("size", "bounds"), [(1, [0, 23]), (2, [0, 12, 23]), (4, [0, 4, 12, 16, 23])])
def test_shares_are_of_whole_units_and_come_together(size, bounds):
    assert ranks.on_ranks(size, joining) == [bounds] * size
    if size == 1:
        assert World().shares(0) == [0, 0]


class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(a)


def apart(world, kind):
    with world.together():
        if world.rank:
            raise {"plain": ValueError("no"), "odd": Odd("no", 1), "of two": OSError(2, "gone", "x")}[kind]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("plain", ValueError("no (on rank 1)")),
        ("odd", RuntimeError("Odd: no (on rank 1)")),
        ("of two", FileNotFoundError(2, "gone (on rank 1)", "x")),
    ],
)
def test_what_fails_on_some_ranks_is_raised_on_all(kind, error):
    found = ranks.outcomes(3, apart, kind)
    assert [(repr(one), str(one)) for one in found] == [(repr(error), str(error))] * 3
    assert ranks.on_ranks(1, apart, kind) == [None]


def agreeing(world, value):
    world.agree("fit", name="same", number=value if world.rank else 1)


def test_what_differs_is_named_on_every_rank():
    assert ranks.on_ranks(2, agreeing, 1) == [None, None]
    for error in ranks.outcomes(3, agreeing, 7):
        assert isinstance(error, ValueError)
        assert "fit: all ranks must have the same number, and rank 1 has 7, rank 0 1" in str(error)


def shared_out(world, dim):
    columns = Columns(world, dim)
    whole = torch.arange(5.0 * dim).view(5, dim)
    own = columns.own(whole)
    bounds = [5 * r // world.size for r in range(world.size + 1)]
    rows = columns.rows(own, bounds)
    assert torch.equal(rows, whole[bounds[world.rank] : bounds[world.rank + 1]])
    assert torch.equal(columns.of_rows(rows, bounds), own)
    return columns.width, columns.whole(own)


@pytest.mark.parametrize(("size", "dim", "widths"), [(2, 40, [16, 24]), (3, 40, [16, 16, 8]), (3, 64, [16, 16, 32])])
def test_columns_go_by_whole_panels_and_come_together(size, dim, widths):
    found = ranks.on_ranks(size, shared_out, dim)
    assert [width for width, _ in found] == widths
    assert all(torch.equal(whole, torch.arange(5.0 * dim).view(5, dim)) for _, whole in found)


def test_more_ranks_than_panels_are_refused():
    world = World()
    world.size = 3
    with pytest.raises(
        ValueError,
        match=r"3 ranks share 24 columns in panels of 16, of which there are 2; start at most 2 ranks, or take .* >= 33",
    ):
        Columns(world, 24)


# --- the helper itself ------------------------------------------------------------------------------------------------


def failing(world, how):
    if world.rank == 1:
        if how == "raises":
            raise KeyError("of rank 1")
        if how == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(3) if how == "exits" else time.sleep(60)
    world.barrier()
    return "done"


@pytest.mark.parametrize(("how", "kind"), [("raises", KeyError), ("is killed", ranks.Ended), ("exits", SystemExit)])
def test_the_rank_that_fails_is_the_one_that_is_raised(how, kind):
    with pytest.raises(kind, match=r"1|3"):
        ranks.on_ranks(2, failing, how)
    first, second = ranks.outcomes(2, failing, how)
    assert isinstance(first, RuntimeError)  # gloo's, of the broken connection
    assert isinstance(second, kind)


def test_ranks_that_take_too_long_are_ended():
    found = ranks.outcomes(2, failing, "sleeps", seconds=2.0)
    assert [type(error) for error in found] == [ranks.Ended, ranks.Ended] or isinstance(found[0], RuntimeError)


def _sends_parts_of_any_stride(world):
    """None, one and several numbers, of arrays whose strides are any."""
    rows = torch.arange(6).view(3, 2)
    parts = [rows[:n, 0] if n else torch.from_numpy(np.zeros((0, 3))[:, 0]).long() for n in range(world.size)]
    if world.rank:
        parts[0] = torch.as_strided(rows, (1,), (0,))
    found = world.exchange(parts, [(world.rank if q == 0 or world.rank else 1,) for q in range(world.size)])
    return [part.tolist() for part in found]


def test_parts_of_any_stride_are_sent():
    assert ranks.on_ranks(2, _sends_parts_of_any_stride) == [[[], [0]], [[0], [0]]]
