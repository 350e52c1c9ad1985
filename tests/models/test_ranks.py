"""Models whose table is shared out by columns among ranks."""

import pytest
import ranks
import torch
from every_model import small_data

import fastgcn_rec as fgr
from fastgcn_rec.core.columns import Columns
from fastgcn_rec.core.normal import normal_rows
from fastgcn_rec.core.world import World
from fastgcn_rec.models.base import Recommender

MADE = {
    "MF": lambda world=None: fgr.MF(small_data(), 40, seed=3, init_std=0.2, world=world),
    "LightGCN": lambda world=None: fgr.LightGCN(small_data(), 40, 2, similarity="cosine", world=world),
    "float64": lambda world=None: fgr.LightGCN(small_data(), 40, 2, world=world).double(),
}


@pytest.mark.parametrize(
    ("n", "dim"),
    [(5, 3), (0, 4), (1, 1), (3, 5), (5, 4), (2**16, 16), (2**16 + 1, 16), (70_001, 15), (1_048_577, 1), (300, 9001)],
)
def test_a_table_drawn_block_by_block_is_torchs(n, dim):
    whole = torch.randn(n, dim, generator=torch.Generator().manual_seed(5))
    at = 0
    for first, rows in normal_rows(n, dim, seed=5):
        assert first == at
        assert torch.equal(rows, whole[at : at + len(rows)])
        at += len(rows)
    assert at == n


def made_and_asked(world, kind, folder):
    """A model made for these ranks says what the whole one says."""
    whole, model = MADE[kind](), MADE[kind](world)
    columns = model.columns
    assert torch.equal(model.embedding.weight, columns.own(whole.embedding.weight))
    assert torch.equal(model.get_embedding(), columns.own(whole.get_embedding()))
    assert model.config() == whole.config()
    pairs = torch.tensor([[0, 3, 3, 7], [46, 49, 46, 70]])
    users, pos, neg = torch.tensor([3, 0, 3]), torch.tensor([1, 5, 1]), torch.tensor([[2, 5], [1, -1], [0, 0]])
    losses = {
        "forward": lambda of: (of(pairs) * torch.arange(1.0, 5)).sum(),
        "bpr": lambda of: of.bpr_loss(users, pos, neg),
    }
    for name, loss in losses.items():
        found, expected = loss(model), loss(whole)
        assert torch.equal(found, expected), name
        found.backward()
        expected.backward()
        assert torch.equal(model.embedding.weight.grad, columns.own(whole.embedding.weight.grad)), name
    model.save(f"{folder}/{kind}.npz")
    other = MADE[kind](world)
    other.load_state_dict(
        {name: t + 1 for name, t in whole.state_dict().items()}
    )  # of whole tables own columns are taken
    assert torch.equal(other.embedding.weight, model.embedding.weight + 1)
    other.load_state_dict(model.state_dict())
    other.gather()
    assert other.columns is None
    assert torch.equal(other.embedding.weight, whole.embedding.weight)
    other.share_out(world)
    assert torch.equal(other.embedding.weight, model.embedding.weight)
    return columns.width


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("kind", MADE)
def test_a_model_of_several_ranks_says_what_the_whole_one_says(kind, size, tmp_path):
    widths = ranks.on_ranks(size, made_and_asked, kind, str(tmp_path))
    assert sum(widths) == 40
    MADE[kind]().save(tmp_path / "whole.npz")
    assert (tmp_path / f"{kind}.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert Recommender.load(tmp_path / f"{kind}.npz").columns is None


@pytest.mark.parametrize("kind", MADE)
def test_one_rank_holds_the_whole(kind):
    assert MADE[kind](World()).columns is None


def test_what_mixes_columns_is_refused():
    with pytest.raises(
        ValueError,
        match=r"NGCF mixes the columns of its vectors.* 2 ranks; train it in one process, or take MF or LightGCN",
    ):
        fgr.NGCF(small_data(), 40, 1).share_out(two_ranks())


def test_more_ranks_than_panels_are_refused_when_a_model_is_made():
    with pytest.raises(ValueError, match=r"2 ranks share 8 columns in panels of 16"):
        fgr.MF(small_data(), 8, world=two_ranks())


def two_ranks():
    world = World()
    world.size = 2
    return world


def test_blocks_of_a_table_come_in_order(monkeypatch):
    monkeypatch.setattr("fastgcn_rec.core.columns._AT_ONCE", 80)
    table = torch.arange(200.0).view(5, 40)
    found = list(Columns(World(), 40).blocks(table))
    assert [at for at, _ in found] == [0, 2, 4]
    assert torch.equal(torch.cat([rows for _, rows in found]), table)


def saved_where_nothing_can_be(world, folder):
    MADE["MF"](world).save(folder)


def test_what_rank_0_cannot_write_is_raised_on_all_ranks(tmp_path):
    for error in ranks.outcomes(2, saved_where_nothing_can_be, str(tmp_path)):
        assert isinstance(error, OSError)
