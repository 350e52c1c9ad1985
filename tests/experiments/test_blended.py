"""Recipes with parts: what is held out, what is trained on all of it, and what the commands make of them."""

import dataclasses
import json

import numpy as np
import pytest

from fastgcn_rec import Recommender, TrainConfig, cli, evaluate
from fastgcn_rec.data import Edges, load_dataset, synthetic_interactions
from fastgcn_rec.data.spec import DataSpec
from fastgcn_rec.experiments import RECIPES, Recipe, read_recipe, write_recipe
from fastgcn_rec.experiments.blended import blended, fitted
from fastgcn_rec.experiments.contenders import How, of_recipe
from fastgcn_rec.experiments.project import Project
from fastgcn_rec.experiments.runs import blend_and_write
from fastgcn_rec.training import Interrupted

SMALL = TrainConfig(
    epochs=4, loss="softmax", temperature=0.15, lr=0.02, batch_size=512, valid_fraction=0.2, eval_every=2
)
RECIPE = Recipe(
    "Blend",
    {"normalize": "z"},
    None,
    "small",
    {
        "filter": Recipe("GraphFilter", {"rank": 16}, None, ""),
        "light": Recipe("LightGCN", {"embedding_dim": 16, "num_layers": 1}, SMALL, ""),
    },
)


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(300, 200, 6000, dim=8, seed=2)


@pytest.fixture(scope="module")
def made(data):
    return blended(RECIPE, data, progress=False)


def edges(part):
    return set(zip(part.users.tolist(), part.items.tolist(), strict=True))


def test_weights_are_chosen_on_what_is_held_out_and_parts_trained_on_all(data, made):
    _, held = data.split_valid(0.2, seed=SMALL.seed)
    chosen = data.with_valid(held)
    parts = [RECIPE.parts["filter"].make_model(chosen), fitted(dataclasses.replace(RECIPE.parts["light"], train=dataclasses.replace(SMALL, refit=False)), chosen, progress=False)]  # fmt: skip
    alone = [evaluate(part, chosen, part="valid")["ndcg@20"] for part in parts]
    assert made.weighed.alone == pytest.approx(alone, abs=1e-6)
    assert made.weighed.value >= max(made.weighed.alone)
    assert made.model.graph.n_edges == len(data.train)
    light = fitted(
        dataclasses.replace(RECIPE.parts["light"], train=dataclasses.replace(SMALL, refit=True)), data, progress=False
    )
    assert list(made.epochs) == ["light"]
    assert np.array_equal(light.get_embedding().detach(), list(made.model.models)[1].get_embedding().detach())
    assert evaluate(made.model, data)["recall@20"] > 0


def test_a_validation_part_of_the_data_chooses_and_is_trained_on(data, made):
    own = data.with_valid(data.split_valid(0.2, seed=SMALL.seed)[1])
    found = blended(RECIPE, own, progress=False)
    assert found.weighed == made.weighed
    assert edges(Edges(*(t.numpy() for t in found.model.graph.edges()))) == edges(own.train) | edges(own.valid)
    assert evaluate(found.model, own)["n_users_evaluated"] > 0


def test_the_test_part_chooses_nothing(data, made):
    rng = np.random.default_rng(0)
    other = dataclasses.replace(data, test=data.test.select(rng.permutation(len(data.test))[:50]))
    again = blended(RECIPE, other, progress=False)
    assert (again.weighed, again.epochs) == (made.weighed, made.epochs)


@pytest.mark.parametrize("stopped_in", [1, 2])
def test_an_interruption_in_either_half_changes_no_bit(data, made, tmp_path, monkeypatch, stopped_in):
    made.model.save(tmp_path / "whole.npz")
    calls = []

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) == stopped_in:
            options["checkpoint"].parent.mkdir(exist_ok=True)
            fit(*args, **options, on_epoch=lambda record: stop(record))
        return fit(*args, **options)

    def stop(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    from fastgcn_rec.experiments import blended as module

    fit = module.fit
    monkeypatch.setattr(module, "fit", interrupted)
    with pytest.raises(Interrupted):
        blend_and_write(RECIPE, data, tmp_path / "run", progress=False)
    monkeypatch.setattr(module, "fit", fit)
    assert list((tmp_path / "run").glob("checkpoint-light-*.npz"))
    blend_and_write(RECIPE, data, tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "model.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not list((tmp_path / "run").glob("checkpoint*"))


def test_parts_without_training_are_weighed_too(data):
    recipe = dataclasses.replace(RECIPE, parts={name: RECIPES[name] for name in ("popularity", "itemknn")})
    found = blended(recipe, data, progress=False)
    assert (found.epochs, found.model.graph.n_edges) == ({}, len(data.train))
    assert fitted(recipe, data).config() == found.model.config()


def test_data_of_which_nothing_can_be_held_out_are_refused():
    data = synthetic_interactions(300, 200, 300)
    data = dataclasses.replace(data, train=data.train.select(np.unique(data.train.users, return_index=True)[1]))
    with pytest.raises(
        ValueError, match=r"weights are chosen on edges held out of train, and 0\.2 of a user's, rounded, is none"
    ):
        blended(RECIPE, data, progress=False)


def test_settings_go_to_the_parts_that_train():
    other = RECIPE.trained_with(epochs=7, seed=3)
    assert other.parts["filter"] == RECIPE.parts["filter"]
    assert (other.parts["light"].train.epochs, other.parts["light"].train.seed) == (7, 3)
    assert RECIPES["mf"].trained_with(lr=0.5).train.lr == 0.5
    assert (RECIPE.trains, RECIPES["ease"].trains, RECIPES["best"].trains) == (True, False, True)
    with pytest.raises(ValueError, match="EASE is made without training"):
        RECIPES["ease"].trained_with(epochs=1)
    with pytest.raises(ValueError, match="Blend has the parts filter, light, each with a training of its own or none"):
        RECIPE.training()
    with pytest.raises(ValueError, match="Blend: its parts are trained one after the other in one process"):
        RECIPE.check_ranks(2)


def test_the_commands_know_the_recipe_best(ml_100k, capsys):
    out = ml_100k / "run"
    assert cli.main(["train", "ml-100k", "--recipe", "best", "--epochs", "1", "--quiet", "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    model, data = Recommender.load(out), load_dataset("ml-100k")
    assert metrics["recall@20"] == evaluate(model, data.test)["recall@20"]
    assert [part["class"] for part in metrics["model"]["parts"]] == ["GraphFilter", "LightGCN"]
    assert len(metrics["weighed"]["weights"]) == 2
    assert "ndcg@20 on what was held out: " in capsys.readouterr().out
    assert cli.main(["train", "ml-100k", "--recipe", "best", "--epochs", "1", "--quiet", "--out", str(out)]) == 0
    assert "holds this run already, finished" in capsys.readouterr().out
    assert cli.main(["recommend", str(out), str(model.user_ids[0]), "-k", "3"]) == 0
    assert cli.main(["evaluate", str(out)]) == 0
    assert cli.main(["train", "ml-100k", "--recipe", "best", "--dim", "8"]) == 2
    assert "recipe 'best' blends filter and gowalla, --dim does not apply" in capsys.readouterr().err
    assert cli.main(["estimate", "ml-100k", "--recipe", "best"]) == 2
    assert "Blend has the parts filter, gowalla" in capsys.readouterr().err


def test_a_file_of_a_blend_has_its_parts_whole(tmp_path):
    path = tmp_path / "x.toml"
    mine = RECIPE.trained_with(seed=5)
    write_recipe(mine, path)
    assert read_recipe(path) == mine
    project = Project(DataSpec.of("a.csv"), "best", mine)
    assert Project.from_dict(project.to_dict()).same_work(project) == []
    assert "recipe.parts.light.train.seed" in project.same_work(dataclasses.replace(project, recipe=RECIPE))
    path.write_text('[recipe]\nmodel = "Blend"\n[recipe.parts.a]\nname = "filter"\n[recipe.parts.b]\nname = "ease"\n')
    assert read_recipe(path).parts == {"a": RECIPES["filter"], "b": RECIPES["ease"]}
    path.write_text('[recipe]\nname = "best"\n')
    assert read_recipe(path) == RECIPES["best"]
    for text, message in {
        'model = "Blend"': r"\[recipe.parts\] are what a Blend is made of, one table or more, and model is Blend; give them",
        'model = "EASE"\n[recipe.parts.a]\nname = "mf"': "and model is EASE; leave them out",
        'model = "Blend"\nparts = 3': r"\[recipe.parts\] must be a table, got 3",
        'model = "Blend"\n[recipe.parts]\na = 3': r"\[recipe.parts.a\] must be a table, got 3",
        'model = "Blend"\n[recipe.parts.a]\nname = "eas"': r"\[recipe.parts.a\]: \[recipe\] name must be one of",
        'name = "best"\n[recipe.options]\nweights = [1.0, 2.0]': "has no key 'weights'",
    }.items():
        path.write_text(f"[recipe]\n{text}\n")
        with pytest.raises((TypeError, ValueError), match=message):
            read_recipe(path)


def test_a_comparison_gives_each_part_its_seed_and_epochs(data):
    one = of_recipe("mine", RECIPE)
    assert (one.seeded, one.trained) == (True, True)
    models = [one.make(data, How(seed=seed, epochs=1))[0] for seed in (0, 0, 1)]
    tables = [list(model.models)[1].get_embedding().detach() for model in models]
    assert np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])
    untrained = of_recipe("two", dataclasses.replace(RECIPE, parts={"ease": RECIPES["ease"]}))
    assert (untrained.seeded, untrained.trained) == (False, False)
