"""Checkpoints that several ranks write together: whole or the one from before, and read by any number of others."""

import os
import signal

import pytest
import ranks
import torch
from every_model import small_data

import fastgcn_rec as fgr
from fastgcn_rec.core.world import World
from fastgcn_rec.system import shards
from fastgcn_rec.training import checkpoint
from fastgcn_rec.training.checkpoint import Checkpoint, remove_checkpoint

DIM = 70  # the last panel of 16 is not a whole one
TABLES = ("now.embedding.weight", "best.embedding.weight", "exp_avg.embedding.weight", "negatives.3")


def model_on(world):
    data = small_data()
    return fgr.LightGCN(data, DIM, 1, world=None if world.size == 1 else world), data


def state_of(model, step):
    """What a training might hold: tables of which every number is another one, with a few that all ranks have; its fields."""
    n, first = model.graph.n_nodes, 1000.0 * step
    whole = {name: torch.arange(n * DIM).view(n, DIM) / 8 + first + 10 * k for k, name in enumerate(TABLES)}
    tables = whole if model.columns is None else {name: model.columns.own(table) for name, table in whole.items()}
    fields = {"step": step, "loss_sum": 0.1 * step, "seconds": 0.5, "history": {"epochs": []}, "reported": 0}
    return fields, tables | {"now.alpha": torch.tensor([0.25, step]), "steps.embedding.weight": torch.tensor(step)}


def file_of(world, path, lr=0.01):
    model, data = model_on(world)
    return model, Checkpoint.of(path, model, fgr.TrainConfig(lr=lr, protocol="none"), data)


def write(world, path, step):
    model, file = file_of(world, path)
    file.write(*state_of(model, step))


def read(world, path, step):
    """On every rank it is exactly what was written of it."""
    model, file = file_of(world, path)
    fields, wanted = state_of(model, step)
    assert file.exists()
    expected = {name: torch.empty_like(t) for name, t in wanted.items() if not name.startswith("negatives.")}
    found, tensors = file.read(expected, model.graph.n_nodes)
    assert {name: found[name] for name in fields} == fields
    assert tensors.keys() == wanted.keys()
    for name, t in tensors.items():
        assert t.dtype == wanted[name].dtype
        assert torch.equal(t, wanted[name]), name


def read_and_write(world, path, step):
    read(world, path, step - 1)
    write(world, path, step)


def on(size, function, *args):
    return [function(World(), *args)] if size == 1 else ranks.on_ranks(size, function, *args)


def files(path):
    return sorted(p.name for p in path.parent.iterdir())


def of_shards(number, size):
    return [*(f"c.{number}-{rank}of{size}.npz" for rank in range(size)), "c.npz"]


def test_any_number_of_ranks_goes_on_from_what_any_other_wrote(tmp_path):
    path = tmp_path / "c.npz"
    on(2, write, path, 0)
    assert files(path) == of_shards(1, 2)
    for step, (size, number) in enumerate([(4, 2), (1, 0), (3, 1), (2, 2)], 1):
        on(size, read_and_write, path, step)
        assert files(path) == (of_shards(number, size) if number else ["c.npz"])
    remove_checkpoint(path)
    assert files(path) == []


def killed_at(world, path, step, place, when):
    """Writes ``step``; rank 0 is killed, without a word, before ("before") it writes the manifest, or after that and before the old shards go."""
    model, file = file_of(world, path)

    def kill(*args):
        if when == "after":
            save(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    save = checkpoint.save_arrays
    if place == "manifest" and world.first:
        checkpoint.save_arrays = kill
    if place == "shard" and world.rank == 1:
        checkpoint.write_shard = kill
    file.write(*state_of(model, step))


@pytest.mark.parametrize(
    ("place", "when", "step"),
    [
        ("manifest", "before", 1),
        pytest.param("manifest", "after", 2, marks=pytest.mark.slow),
        pytest.param("shard", "before", 1, marks=pytest.mark.slow),
    ],
)
def test_a_writer_that_is_killed_leaves_a_whole_checkpoint(place, when, step, tmp_path):
    path = tmp_path / "c.npz"
    on(2, write, path, 1)
    assert any(isinstance(one, ranks.Ended) for one in ranks.outcomes(2, killed_at, path, 2, place, when))
    assert len(files(path)) > 3  # shards of both
    for size in (1, 2):
        on(size, read, path, step)
    on(2, write, path, 3)
    assert len(files(path)) == 3
    on(4, read, path, 3)


def fails_to_write(world, path, step, rank, what):
    model, file = file_of(world, path)

    def full(*args):
        raise OSError(28, "No space left on device", str(path))

    if world.rank == rank:
        setattr(checkpoint, what, full)
    try:
        file.write(*state_of(model, step))
    except OSError as error:
        return error.errno, str(error)


@pytest.mark.parametrize(
    ("rank", "what"),
    [
        (1, "write_shard"),
        pytest.param(0, "write_shard", marks=pytest.mark.slow),
        pytest.param(0, "save_arrays", marks=pytest.mark.slow),
    ],
)
def test_what_one_rank_cannot_write_is_an_error_on_all_and_the_old_one_stays(rank, what, tmp_path):
    path = tmp_path / "c.npz"
    on(2, write, path, 1)
    for code, text in on(2, fails_to_write, path, 2, rank, what):
        assert code == 28
        assert "No space left" in text
    on(2, read, path, 1)
    on(2, write, path, 3)
    assert files(path) == of_shards(2, 2)


def test_a_manifest_that_was_damaged_is_written_over(tmp_path):
    path = tmp_path / "c.npz"
    on(2, write, path, 1)
    path.write_bytes(path.read_bytes()[:-100])
    on(2, write, path, 2)
    assert files(path) == of_shards(2, 2)
    read(World(), path, 2)


def refused(world, path, lr=0.01):
    model, file = file_of(world, path, lr)
    expected = {name: t for name, t in state_of(model, 1)[1].items() if not name.startswith("negatives.")}
    before = {name: t.clone() for name, t in expected.items()}
    with pytest.raises((ValueError, OSError)) as error:
        file.read(expected, model.graph.n_nodes)
    assert all(torch.equal(t, before[name]) for name, t in expected.items())
    return str(error.value)


def test_what_one_rank_finds_damaged_missing_or_of_another_training_is_refused_by_all(tmp_path):
    path = tmp_path / "c.npz"
    on(4, write, path, 1)
    last = tmp_path / "c.1-3of4.npz"
    good = last.read_bytes()
    last.write_bytes(good[:-2000] + bytes([good[-2000] ^ 1]) + good[-1999:])
    for text in on(2, refused, path):  # only rank 1 of 2 reads it
        assert last.name in text
        assert "rank 1" in text
    last.unlink()
    for size in (1, 2):
        for text in on(size, refused, path):
            assert last.name in text
    last.write_bytes(good)
    on(2, read, path, 1)
    for text in on(2, refused, path, 0.1):
        assert "made with another config" in text


def blind(world, folder):
    """Rank 1's folder is another one: as of a machine that has a disk of its own there."""
    checkpoint._SEEN_WITHIN = 1
    own = folder / str(world.rank)
    own.mkdir()
    with pytest.raises(ValueError, match=r"rank 1 of 2 does not see .*/c\.npz") as error:
        file_of(world, own / "c.npz")
    return str(error.value), files(own / "c.npz")


def other_name(world, path):
    with pytest.raises(ValueError, match="all ranks must have the same name of checkpoint"):
        file_of(world, path.with_name(f"{world.rank}.npz"))


def unwritable(world, path):
    """Rank 1 alone finds a folder where the file should be."""
    with pytest.raises(IsADirectoryError, match="is a folder"):
        file_of(world, path if world.first else path.parent)


def test_ranks_that_do_not_share_a_file_system_are_refused_by_number_before_training(tmp_path):
    for _, left in on(2, blind, tmp_path):
        assert left == []
    on(2, other_name, tmp_path / "c.npz")
    on(2, unwritable, tmp_path / "c.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "1"]


def frozen(world):
    model, data = model_on(world)
    model.embedding.weight.requires_grad_(False)
    return checkpoint.identity_of(model, fgr.TrainConfig(), data)


def test_a_training_of_a_frozen_table_is_the_same_on_any_number_of_ranks():
    (one,), two = on(1, frozen), on(2, frozen)
    assert two == [one, one]
    assert (
        one["untrained"] != checkpoint.identity_of(model_on(World())[0], fgr.TrainConfig(), small_data())["untrained"]
    )


def test_shards_whose_manifest_names_something_else_are_no_checkpoint(tmp_path):
    path = tmp_path / "c.npz"
    on(2, write, path, 1)
    meta, arrays = checkpoint.load_arrays(path, "checkpoint", 2)
    for wrong in (meta["shards"][:1], meta["shards"] * 2, [{}, {}], [meta["shards"][1], meta["shards"][1]]):
        checkpoint.save_arrays(path, meta | {"shards": wrong}, arrays)
        assert "c.npz" in refused(World(), path)
    swapped = [one | {"file": two["file"]} for one, two in zip(meta["shards"], meta["shards"][::-1], strict=True)]
    checkpoint.save_arrays(path, meta | {"shards": swapped}, arrays)
    assert "not the file that was written with those that name it" in refused(World(), path)
    assert shards.next_number(path) == 2
