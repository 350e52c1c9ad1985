"""Rows of a table whose columns ranks share out: gathered, with gradients, and put together."""

import pytest
import ranks
import torch

from fastgcn_rec.core.columns import Columns
from fastgcn_rec.core.world import World

N_USERS, DIM = 4, 40


def whole_table():
    return torch.randn(9, DIM, generator=torch.Generator().manual_seed(1))


def gathered(world):
    """What each way to gather gives on this rank, beside what it is to give."""
    columns, table = Columns(world, DIM), whole_table().requires_grad_()
    own = columns.own(table.detach()).requires_grad_()
    nodes, weight = torch.tensor([7, 0, 3]), whole_table()[:3]
    found, expected = columns.at(own, nodes), table[nodes]
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    yield found, expected
    yield own.grad, columns.own(table.grad)
    users, items = torch.tensor([3, 0, 3]), torch.tensor([4, -1, 2, 2])
    of_users, of_items, users_at, items_at = columns.pairs(own, N_USERS, users, items)
    yield of_users[users_at], table[users]
    yield of_items[items_at.clamp(min=0)][items >= 0], table[N_USERS:][items[items >= 0]]
    yield items_at < 0, items < 0
    yield columns.table(own.detach()), table
    yield columns.table(own.detach(), to=0), table[: len(table) if world.rank == 0 else 0]


def all_gathered(world):
    return [torch.equal(found, expected) for found, expected in gathered(world)]


def test_rows_are_gathered_with_the_gradients_of_own_columns():
    assert ranks.on_ranks(2, all_gathered) == [[True] * 7] * 2
    assert all_gathered(World()) == [True] * 7


def bytes_sent(world):
    columns, own = Columns(world, DIM), Columns(world, DIM).own(whole_table())
    before = world.sent
    columns.at(own, torch.tensor([1, 2]))
    return world.sent - before


def test_a_row_is_sent_once_to_every_other_rank():
    assert ranks.on_ranks(3, bytes_sent) == [2 * 2 * width * 4 for width in (16, 16, 8)]


@pytest.mark.parametrize(
    ("world", "dim", "message"),
    [
        (None, 40, "Columns: world must be a World"),
        (World(), "40", "Columns: dim must be an int"),
        (World(), 3.5, "Columns: dim must be an int"),
    ],
)
def test_columns_are_of_a_world_and_an_int(world, dim, message):
    with pytest.raises(TypeError, match=message):
        Columns(world, dim)
