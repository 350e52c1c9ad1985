"""The recipes, and what the commands make of them."""

import json

import numpy as np
import pytest

from fastgcn_rec import Popularity, Recommender, TrainConfig, cli, evaluate
from fastgcn_rec.data import load_dataset, synthetic_interactions
from fastgcn_rec.experiments import RECIPES, Recipe
from fastgcn_rec.experiments.runs import make_and_write, train_and_write
from fastgcn_rec.features import Categorical, Numeric, Text

WITHOUT_TRAINING = [name for name, recipe in RECIPES.items() if not recipe.trains]


@pytest.mark.parametrize("name", [name for name in WITHOUT_TRAINING if name != "filter"])
def test_the_command_train_makes_what_needs_no_training(ml_100k, name):
    out = ml_100k / "run"
    assert cli.main(["train", "ml-100k", "--recipe", name, "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    model, data = Recommender.load(out / "model.npz"), load_dataset("ml-100k")
    assert metrics["recall@20"] == evaluate(model, data.test)["recall@20"]
    assert metrics["model"]["class"] == RECIPES[name].model
    assert cli.main(["evaluate", str(out), "ml-100k"]) == 0


def test_a_run_stands_beside_popularity_and_says_where_it_is_no_better(tmp_path, capsys):
    data = synthetic_interactions(200, 120, 4000, dim=4, seed=3)
    bar = evaluate(Popularity(data), data.test)
    poor = Recipe("LightGCN", {"embedding_dim": 2}, TrainConfig(epochs=1, lr=1e-6, protocol="none"), "as it began")
    model = poor.make_model(data, seed=4)
    figures = train_and_write(model, data, poor.training(), tmp_path / "poor", progress=False)
    assert figures["popularity"] == {name: bar[name] for name in ("recall@20", "ndcg@20", "n_users_evaluated")}
    assert figures["recall@20"] < bar["recall@20"]
    line = f"popularity: Recall@20 {bar['recall@20']:.4f}, NDCG@20 {bar['ndcg@20']:.4f}, the same items for all users"
    assert f"{line}; this model is no better: `fastgcn-rec compare`" in capsys.readouterr().out
    figures = make_and_write(RECIPES["ease"], data, tmp_path / "ease")
    assert figures["recall@20"] > bar["recall@20"]
    assert f"{line}\n" in capsys.readouterr().out
    assert "popularity" not in make_and_write(RECIPES["popularity"], data, tmp_path / "popularity")
    assert "popularity:" not in capsys.readouterr().out


def test_the_recipe_pinsage_takes_the_columns_that_the_items_have(ml_100k, capsys):
    out = ml_100k / "run"
    command = f"train ml-100k --recipe pinsage --epochs 2 --dim 8 --layers 1 --quiet --out {out}"
    assert cli.main(command.split()) == 0
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
