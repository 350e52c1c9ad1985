"""Epochs that a least number of steps stretches, so that small data are trained too."""

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec import MF, TrainConfig, cli, fit
from fastgcn_rec.core.graph import Graph
from fastgcn_rec.core.grid import Grid
from fastgcn_rec.core.row_graph import RowGraph
from fastgcn_rec.core.world import World
from fastgcn_rec.experiments.project import Project
from fastgcn_rec.training.rows import fit_rows

SETTINGS = {
    "epochs": 3,
    "eval_every": 2,
    "batch_size": 128,
    "lr": 0.02,
    "loss": "softmax",
    "warmup": 0.2,
    "lr_schedule": "linear",
}


def trained(data, **options):
    model = MF(data, 8)
    history = fit(model, data, **{**SETTINGS, **options}, progress=False)
    return model.embedding.weight.detach(), [
        {k: v for k, v in record.items() if k != "seconds"} for record in history.epochs + history.refit
    ]


@given(
    n_edges=st.integers(1, 10**6),
    batch_size=st.integers(2, 4096),
    epochs=st.integers(1, 50),
    eval_every=st.integers(1, 60),
    min_steps=st.integers(0, 10**5),
)
def test_the_epochs_are_the_fewest_of_so_many_steps_and_never_fewer(n_edges, batch_size, epochs, eval_every, min_steps):
    config = TrainConfig(epochs=epochs, eval_every=eval_every, min_steps=min_steps, batch_size=batch_size)
    found, an_epoch = config.for_edges(n_edges), config.steps_per_epoch(n_edges)
    assert found.epochs >= epochs
    assert found.epochs * an_epoch >= min_steps
    assert found.epochs == epochs or (found.epochs - 1) * an_epoch < min_steps
    assert abs(found.eval_every - eval_every * found.epochs / epochs) <= 0.5
    assert found.min_steps == 0
    assert found.for_edges(n_edges) is found
    same = dataclasses.replace(found, epochs=epochs, eval_every=eval_every, min_steps=min_steps)
    assert same == config


def test_numbers_of_epochs_steps_and_edges_that_cannot_be_are_refused():
    for name in ("epochs", "min_steps", "patience", "eval_every", "n_neg"):
        with pytest.raises(ValueError, match=rf"{name} must be >= . and below 2\*\*31, got {2**31}"):
            TrainConfig(**{name: 2**31})
    with pytest.raises(ValueError, match="for_edges: n_edges must be >= 0, got -1"):
        TrainConfig().for_edges(-1)
    assert TrainConfig(epochs=1, eval_every=2**31 - 1, min_steps=2**31 - 1).for_edges(1).eval_every == 2**31 - 1


@pytest.mark.parametrize("options", [{}, {"refit": True}, {"protocol": "none"}, {"loss": "bpr", "patience": 1}])
def test_a_training_by_steps_has_the_bits_of_one_by_as_many_epochs(data, options):
    held = 0 if options.get("protocol") == "none" else len(data.split_valid(0.1)[1])
    steps = math.ceil((len(data.train) - held) / 128)
    table, records = trained(data, min_steps=11 * steps - 1, **options)
    other, expected = trained(data, **options, **{"epochs": 11, "eval_every": 7})
    assert torch.equal(table, other)
    assert records == expected
    assert len(records) > 3


def test_a_data_set_s_own_validation_part_is_no_step(data):
    own = data.with_valid(data.split_valid(0.3)[1])
    steps = math.ceil(len(own.train) / 128)
    assert steps < math.ceil(len(data.train) / 128)
    assert len(trained(own, min_steps=9 * steps)[1]) == 9
    assert len(trained(own, min_steps=9 * steps + 1)[1]) == 10


def test_an_interrupted_training_goes_on_to_the_same_bits_however_its_length_is_said(data, tmp_path):
    settings = {**SETTINGS, "min_steps": 50, "checkpoint": tmp_path / "c.npz", "progress": False}
    expected = trained(data, min_steps=50)

    def stop(record):
        if record["epoch"] == 6:
            raise KeyboardInterrupt

    model = MF(data, 8)
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, **settings, on_epoch=stop)
    with pytest.raises(ValueError, match="made with another config"):
        fit(model, data, **settings | {"min_steps": 100})
    long = TrainConfig(**{**SETTINGS, "min_steps": 50}).for_edges(len(data.train) - len(data.split_valid(0.1)[1]))
    model = MF(data, 8)
    history = fit(model, data, long, checkpoint=tmp_path / "c.npz", progress=False)
    assert torch.equal(model.embedding.weight, expected[0])
    assert len(history.epochs) == len(expected[1]) > 6


def test_rows_take_as_many_steps():
    graph = Graph.from_edges([0, 0, 1, 2], [0, 1, 1, 2])
    rows, grid = RowGraph.of(graph, (0, 3), (0, 3)), Grid.of(World(), row_groups=1)
    by_steps = fit_rows(rows, grid, embedding_dim=8, epochs=2, min_steps=9, batch_size=2)
    by_epochs = fit_rows(rows, grid, embedding_dim=8, epochs=5, eval_every=12, batch_size=2)
    assert len(by_steps.history.epochs) == 5
    assert torch.equal(by_steps.table(), by_epochs.table())


def test_epochs_that_are_named_are_meant(data):
    config = TrainConfig(**SETTINGS, min_steps=500)
    assert config.replaced(epochs=2) == dataclasses.replace(config, epochs=2, min_steps=0)
    assert config.replaced(epochs=2, min_steps=7).min_steps == 7
    assert config.replaced(lr=0.1).min_steps == 500
    assert len(fit(MF(data, 8), data, config, epochs=2, progress=False).epochs) == 2


def test_no_epochs_cannot_be_stretched():
    with pytest.raises(ValueError, match="min_steps=5 with epochs=0; give epochs, or leave min_steps at 0"):
        TrainConfig(epochs=0, min_steps=5)
    with pytest.raises(ValueError, match=r"min_steps must be >= 0 and below 2\*\*31, got -1"):
        TrainConfig(min_steps=-1)
    assert TrainConfig(min_steps=5).replaced(epochs=0).epochs == 0


def test_a_run_s_file_without_it_is_of_before_it_was_there():
    tables = {"data": {"source": "ml-100k"}, "recipe": {"name": "softmax"}}
    assert Project.from_dict({**tables, "train": {"epochs": 14, "lr": 0.001}}).recipe.training().min_steps == 0
    kept = Project.from_dict({**tables, "train": {"epochs": 14, "min_steps": 30}}).recipe.training()
    assert (kept.epochs, kept.min_steps) == (14, 30)


@pytest.mark.parametrize(("given", "epochs"), [("--epochs 2", 2), ("--epochs 2 --min-steps 25", 4)])
def test_the_command_takes_both(tmp_path, given, epochs):
    file, out = tmp_path / "a.csv", tmp_path / "run"
    file.write_text("user,item\n" + "".join(f"{n % 30},{n * n % 41}\n" for n in range(600)))
    command = f"train {file} --recipe mf --dim 4 --batch-size 50 --quiet --out {out} {given}"
    assert cli.main(command.split()) == 0
    assert len(json.loads((out / "metrics.json").read_text())["epochs"]) == epochs
