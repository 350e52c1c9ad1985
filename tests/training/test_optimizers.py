"""Trainings by each optimizer: they learn, go on exactly, and are refused where they cannot be had."""

import dataclasses

import pytest
import ranks
import torch

import fastgcn_rec as fgr
from fastgcn_rec.cli import main
from fastgcn_rec.core.world import World
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.experiments.estimate import bytes_sent, estimate_memory
from fastgcn_rec.ops.optimizers import OPTIMIZERS
from fastgcn_rec.system.archives import load_arrays
from fastgcn_rec.training import Interrupted, TrainConfig

ROWS_ALONE = {"lazy_adam": 0.02, "adagrad": 0.2, "sgd": 20.0}
STATES = {
    "adam": {"exp_avg", "exp_avg_sq"},
    "lazy_adam": {"exp_avg", "exp_avg_sq", "last_step"},
    "adagrad": {"row_sum"},
    "sgd": set(),
}


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(300, 200, 6000, dim=8, seed=2)


@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
@pytest.mark.parametrize(("optimizer", "lr"), ROWS_ALONE.items())
def test_it_learns(data, optimizer, lr, storage):
    model = fgr.LightGCN(data, 16, num_layers=0) if storage == "bfloat16" else fgr.MF(data, 16)
    options = {"epochs": 60, "batch_size": 256, "optimizer": optimizer, "lr": lr, "storage": storage}
    history = fgr.fit(model, data, protocol="none", progress=False, **options)
    assert history.epochs[-1]["loss"] < 0.6 * history.epochs[0]["loss"]
    assert fgr.evaluate(model, data.test)["recall@20"] > fgr.evaluate(fgr.Popularity(data), data.test)["recall@20"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_goes_on_from_the_middle_of_an_epoch_to_the_same_bits(data, tmp_path, optimizer, monkeypatch):
    path, options = tmp_path / "c.npz", {"epochs": 4, "batch_size": 256, "eval_every": 2, "progress": False}
    options |= {"optimizer": optimizer, "lr": ROWS_ALONE.get(optimizer, 0.02), "reg": 0.01}
    straight = fgr.MF(data, 16)
    expected = fgr.fit(straight, data, **options)
    advance, steps = fgr.training.state.State.advance, []

    def stopped(state, bar):
        advance(state, bar)
        steps.append(state.step)
        if len(steps) == 2 * state.steps_per_epoch + 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("fastgcn_rec.training.state.State.advance", stopped)
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        fgr.fit(fgr.MF(data, 16), data, checkpoint=path, **options)
    monkeypatch.undo()
    meta, arrays = load_arrays(path, "checkpoint")
    assert meta["step"] == steps[-1]
    own = {n.partition(".")[0] for n in arrays} - {"now", "best", "steps"}
    assert own == STATES[optimizer]
    resumed = fgr.MF(data, 16)
    history = fgr.fit(resumed, data, checkpoint=path, **options)
    assert all(map(torch.equal, resumed.parameters(), straight.parameters()))
    assert [e["loss"] for e in history.epochs] == [e["loss"] for e in expected.epochs]
    other = {"sgd": "adagrad"}.get(optimizer, "sgd")
    with pytest.raises(ValueError, match="was made with another config"):
        fgr.fit(fgr.MF(data, 16), data, checkpoint=path, **options | {"optimizer": other})


def trained_on(world, optimizer, path, epochs):
    data = synthetic_interactions(100, 80, 900, seed=1)
    model = fgr.MF(data, 50)
    options = {"batch_size": 256, "eval_every": 1, "optimizer": optimizer, "reg": 0.01, "lr": 0.05, "progress": False}
    history = fgr.fit(model, data, epochs=epochs, checkpoint=path, **options)
    return [record["loss"] for record in history.epochs], model.get_embedding().detach().clone()


@pytest.mark.parametrize("optimizer", ROWS_ALONE)
def test_on_several_ranks_and_from_one_number_of_them_to_another(optimizer, tmp_path):
    straight, whole = trained_on(World(), optimizer, None, 3)
    path = tmp_path / "c.npz"
    ranks.on_ranks(2, trained_on, optimizer, path, 1)
    trained_on(World(), optimizer, path, 2)
    for losses, table in ranks.on_ranks(3, trained_on, optimizer, path, 3):
        assert losses == straight
        assert torch.equal(table, whole)


@pytest.mark.parametrize("optimizer", ROWS_ALONE)
def test_where_every_row_has_a_gradient_or_more_than_the_table_is_trained(data, optimizer):
    options = {"epochs": 1, "optimizer": optimizer, "progress": False}
    with pytest.raises(ValueError, match="with 2 layers every row has a gradient; take optimizer='adam'"):
        fgr.fit(fgr.LightGCN(data, 8, 2), data, **options)
    with pytest.raises(ValueError, match=r"embedding table alone is trained.*got NGCF; take optimizer='adam'"):
        fgr.fit(fgr.NGCF(data, 8, 1), data, **options)


def test_settings():
    with pytest.raises(
        ValueError, match=r"optimizer must be one of \('adam', 'lazy_adam', 'adagrad', 'sgd'\), got 'Adam'"
    ):
        TrainConfig(optimizer="Adam")
    with pytest.raises(TypeError, match="optimizer must be"):
        TrainConfig(optimizer=1)
    assert TrainConfig().optimizer == "adam"


def test_what_is_estimated(data):
    n = 1000 + 2000
    parameters = {
        name: estimate_memory(1000, 2000, 50_000, dim=64, n_layers=0, config=TrainConfig(optimizer=name)).parameters
        for name in OPTIMIZERS
    }
    table = 4 * n * 64
    assert parameters == {
        "adam": 4 * table,
        "lazy_adam": 4 * table + 8 * n,
        "adagrad": 2 * table + 4 * n,
        "sgd": 2 * table,
    }
    plain, squares = (bytes_sent(100, 64, 2, TrainConfig(optimizer=name)) for name in ("sgd", "adagrad"))
    assert [a - b for a, b in zip(squares, plain, strict=True)] == [8 * 100 * 2] * 2


def test_command_line_and_recipe_file(tmp_path, capsys):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        '[recipe]\nmodel = "MF"\n[recipe.options]\nembedding_dim = 8\n[train]\noptimizer = "adagrad"\nepochs = 1\n'
    )
    lines = "\n".join(f"{u},{(u * 7 + k) % 30}" for u in range(40) for k in range(8))
    (tmp_path / "pairs.csv").write_text(f"user,item\n{lines}\n")
    train = ["train", str(tmp_path / "pairs.csv"), "--quiet"]
    for out, more in (
        ("a", ["--recipe", str(recipe)]),
        ("b", ["--recipe", "mf", "--epochs", "1", "--optimizer", "sgd"]),
    ):
        assert main([*train, *more, "--out", str(tmp_path / out)]) == 0, capsys.readouterr().err
    found = [(tmp_path / out / "run.toml").read_text() for out in "ab"]
    assert 'optimizer = "adagrad"' in found[0]
    assert 'optimizer = "sgd"' in found[1]
    assert main([*train, "--recipe", "mf", "--optimizer", "lion", "--out", str(tmp_path / "c")]) == 2
    assert dataclasses.asdict(TrainConfig(optimizer="sgd"))["optimizer"] == "sgd"
