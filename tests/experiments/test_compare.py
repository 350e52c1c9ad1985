"""The command compare, and the recipes without training."""

import json
import os
import sys

import numpy as np
import pytest
import torch

from fastgcn_rec import Recommender, cli, evaluate
from fastgcn_rec.data import load_dataset, synthetic_interactions
from fastgcn_rec.experiments import RECIPES, Recipe, compare
from fastgcn_rec.experiments.compare import NAMES
from fastgcn_rec.experiments.compare_one import als, run
from fastgcn_rec.experiments.rows import Row, table
from fastgcn_rec.features import Categorical, Numeric, Text

WITHOUT_TRAINING = [name for name, recipe in RECIPES.items() if recipe.train is None]


def test_rows_are_what_the_evaluator_says_and_a_failure_does_not_stop_the_others(ml_100k, monkeypatch, capsys):
    (ml_100k / "implicit").mkdir()
    (ml_100k / "implicit" / "__init__.py").write_text("raise ValueError('no least squares here')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ml_100k), *sys.path]))
    out = ml_100k / "out"
    names = ["als", "filter"]
    assert (
        cli.main(["compare", "ml-100k", "--split", "temporal-user", "--models", *names, "--out", str(out), "--quiet"])
        == 0
    )
    rows = json.loads((out / "comparison.json").read_text())["rows"]
    assert [row["model"] for row in rows] == names
    assert "no least squares here" in rows[0]["error"]
    data = load_dataset("ml-100k", split="temporal-user")
    found, row = evaluate(RECIPES["filter"].make_model(data), data.test), rows[1]
    assert (row["recall"], row["ndcg"]) == (found["recall@20"], found["ndcg@20"])
    assert row["seconds_train"] > 0
    assert row["seconds_rank"] > 0
    assert row["error"] is None
    assert (out / "comparison.png").stat().st_size > 1000
    shown = capsys.readouterr().out
    assert "Recall@20" in shown
    assert "no least squares here" in shown


def test_models_that_train(ml_100k):
    row = run("ml-100k", "lightgcn", "temporal-user", epochs=1)
    assert 0 <= row.recall <= 1
    assert row.peak_bytes is None or row.peak_bytes >= 0  # of a process that may have held more before


def test_a_missing_package_is_said_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(ImportError, match=r"als needs implicit: pip install 'fastgcn_rec\[compare\]'"):
        als(synthetic_interactions(40, 30, 200))


def test_als_ranks_better_than_chance():
    pytest.importorskip("implicit", reason="an extra")
    data = synthetic_interactions(200, 100, 4000, seed=1)
    chance = torch.rand(200, 100, generator=torch.Generator().manual_seed(0))
    by_chance = evaluate(lambda ids: chance[ids], data.test, data.graph())["recall@20"]
    assert evaluate(als(data, 8), data.test)["recall@20"] > by_chance


@pytest.mark.parametrize(("models", "text"), [(["bert"], "got bert"), ([], "got none")])
def test_unknown_names(models, text):
    with pytest.raises(ValueError, match=text):
        compare("ml-100k", models)


def test_the_table_and_the_names():
    text = table([Row("a", 0.25, 0.5, 1.0, 2.0, None), Row("b", error="broken")])
    assert text.splitlines()[1].split() == ["a", "0.2500", "0.5000", "1.0", "2.0", "-"]
    assert text.splitlines()[2].split() == ["b", "broken"]
    assert set(RECIPES) <= set(NAMES)


@pytest.mark.parametrize("name", [name for name in WITHOUT_TRAINING if name != "filter"])
def test_the_command_train_makes_what_needs_no_training(ml_100k, name):
    out = ml_100k / "run"
    assert cli.main(["train", "ml-100k", "--recipe", name, "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    model, data = Recommender.load(out / "model.npz"), load_dataset("ml-100k")
    assert metrics["recall@20"] == evaluate(model, data.test)["recall@20"]
    assert metrics["model"]["class"] == RECIPES[name].model
    assert cli.main(["evaluate", str(out), "ml-100k"]) == 0


def test_the_recipe_pinsage_takes_the_columns_that_the_items_have(ml_100k, capsys):
    out = ml_100k / "run"
    assert (
        cli.main(
            [
                "train",
                "ml-100k",
                "--recipe",
                "pinsage",
                "--epochs",
                "2",
                "--dim",
                "8",
                "--layers",
                "1",
                "--out",
                str(out),
                "--quiet",
            ]
        )
        == 0
    )
    model = Recommender.load(out / "model.npz")
    assert model.features.columns == {
        "title": Text(words=2),
        "year": Numeric(),
        "genres": Categorical(),
        "id": Categorical(),
    }
    assert (model.options["embedding_dim"], model.options["num_layers"]) == (8, 1)
    assert cli.main(["similar", str(out), str(model.item_ids[0]), "-k", "3"]) == 0
    assert cli.main(["estimate", "ml-100k", "--recipe", "pinsage"]) == 2
    assert "the memory of LightGCN and MF is known, not that of PinSAGE" in capsys.readouterr().err
    assert cli.main(["train", "ml-100k", "--recipe", "pinsage", "--model", "MF"]) == 2
    assert "--model MF cannot take the options of recipe 'pinsage', a PinSAGE" in capsys.readouterr().err


def test_the_recipe_pinsage_needs_no_columns():
    data = synthetic_interactions(30, 20, 100)
    assert list(RECIPES["pinsage"].make_model(data).features.columns) == ["id"]


def test_the_recipe_pinsage_keeps_a_column_of_that_name_and_takes_year_0_for_unknown():
    data = synthetic_interactions(30, 20, 100)
    data.item_info.update(id=np.array(["x", "y"] * 10), year=np.array([0] + [1990] * 19, np.int32))
    features = RECIPES["pinsage"].make_model(data).features
    assert features.columns == {"id": Categorical(), "year": Numeric(), "id_": Categorical()}
    assert features.learnt["year"][0] == 1990


def test_a_recipe_of_a_model_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match=r"Recipe: model must be one of .*LightGCN.*, got 'LightGNC'"):
        Recipe("LightGNC", {}, None, "").make_model(synthetic_interactions(30, 20, 100))


def test_options_of_training_are_refused_where_nothing_is_trained(ml_100k, capsys):
    assert cli.main(["train", "ml-100k", "--recipe", "filter", "--lr", "0.1", "--dim", "8"]) == 2
    assert "recipe 'filter' is made without training, --lr, --dim does not apply" in capsys.readouterr().err
    assert cli.main(["estimate", "ml-100k", "--recipe", "ease"]) == 2
    assert "EASE is made without training" in capsys.readouterr().err
