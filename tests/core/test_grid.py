import pytest
import torch
from ranks import on_ranks, outcomes

from fastgcn_rec.core.grid import Grid
from fastgcn_rec.core.world import World


def place(world, row_groups):
    grid = Grid.of(world, row_groups)
    whole = torch.full((7, 2), -1.0, dtype=torch.bfloat16)
    bounds = [0, *(7 * (r + 1) // grid.rows.size for r in range(grid.rows.size))]
    whole[bounds[grid.rows.rank] : bounds[grid.rows.rank + 1]] = world.rank
    grid.rows.fill(whole, bounds)
    return (
        grid.columns.rank,
        grid.rows.rank,
        grid.columns.values(world.rank),
        grid.rows.values(world.rank),
        whole[:, 0].tolist(),
        grid.rows.sent,
    )


def test_ranks_are_in_one_column_group_and_one_row_group_each():
    found = on_ranks(4, place, 2)
    assert [f[:2] for f in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [f[2] for f in found] == [[0, 2], [1, 3], [0, 2], [1, 3]]
    assert [f[3] for f in found] == [[0, 1], [0, 1], [2, 3], [2, 3]]
    for column, _, _, _, whole, _ in found:
        assert whole == [2.0 * column] * 3 + [2.0 * column + 1] * 4
    assert [f[5] for f in found] == [3 * 2 * 2, 4 * 2 * 2] * 2  # own rows of 2 bfloat16, to one other


@pytest.mark.parametrize(("row_groups", "expected"), [(1, ([0, 1], [0])), (2, ([0], [0, 1]))])
def test_a_grid_of_one_row_or_one_column(row_groups, expected):
    columns, rows = on_ranks(2, place, row_groups)[0][2:4]
    assert (columns, rows) == expected


def test_a_group_alone_needs_no_others():
    assert place(World(), 1)[:4] == (0, 0, [0], [0])


def test_row_groups_that_do_not_divide_the_ranks_are_refused():
    for error in outcomes(3, place, 2):
        assert isinstance(error, ValueError)
        assert "row_groups=2 and 3 ranks; start 4 ranks" in str(error)
    with pytest.raises(ValueError, match="row_groups must be >= 1, got 0"):
        Grid.of(World(), 0)


def test_what_is_no_world_is_refused():
    with pytest.raises(TypeError, match=r"Grid: world must be a World, such as World.current\(\), got NoneType"):
        Grid.of(None, 1)
