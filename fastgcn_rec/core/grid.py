"""Processes that share out columns of the embedding and rows of it: a grid of column groups and row groups (docs/ranks.md)."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch.distributed as dist

from .arguments import check_count
from .world import World, check_world


@dataclasses.dataclass(frozen=True)
class Grid:
    """C column groups times R row groups, C R ranks: rank c R + r holds columns c of rows r. Made by :meth:`of`.

    Ranks beside each other hold the same columns, since what they send each other is most: a side's layer in every half-hop.

    Attributes
    ----------
    world : World
        All ranks.
    columns : World
        Those with this rank's rows, which share out the columns; its rank is c, its size C.
    rows : World
        Those with this rank's columns, which share out the rows; its rank is r, its size R.

    Examples
    --------
    >>> grid = Grid.of(World(), row_groups=1)
    >>> grid.columns.size, grid.rows.size
    (1, 1)
    """

    world: World
    columns: World
    rows: World

    @classmethod
    def of(cls, world: World, row_groups: int) -> Grid:
        """Collective. ValueError: ``row_groups`` does not divide the number of ranks."""
        check_world(world, "Grid")
        row_groups = check_count(row_groups, "Grid: row_groups", 1)
        if world.size % row_groups:
            raise ValueError(
                f"Grid: row_groups must divide the number of ranks, got row_groups={row_groups} and {world.size} ranks; start "
                f"{row_groups * -(-world.size // row_groups)} ranks"
            )
        column_groups = world.size // row_groups
        of_columns = [[c * row_groups + r for c in range(column_groups)] for r in range(row_groups)]
        of_rows = [[c * row_groups + r for r in range(row_groups)] for c in range(column_groups)]
        return cls(world, _part(world, of_columns), _part(world, of_rows))


def check_grid(grid: Any, who: str) -> Grid:
    if not isinstance(grid, Grid):
        raise TypeError(
            f"{who}: grid must be a Grid, such as Grid.of(World.current(), row_groups=1), got {type(grid).__name__}"
        )
    return grid


def _part(world: World, parts: list[list[int]]) -> World:
    """The one of these parts of the world that this rank is in; every rank makes all of them."""
    if len(parts) == 1:
        return world
    if len(parts) == world.size:
        return World()
    assert world.group is not None
    number = [dist.get_global_rank(world.group, rank) for rank in range(world.size)]
    own, _ = dist.new_subgroups_by_enumeration([[number[rank] for rank in part] for part in parts])
    return World(own)
