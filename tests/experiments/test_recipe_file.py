"""Files of recipes: what is written is read as the same recipe, what is wrong in one is named, and commands take them."""

import pytest
from commands import code_of
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec import Recommender, TrainConfig
from fastgcn_rec.data import DataSpec
from fastgcn_rec.experiments import RECIPES, Recipe, read_recipe, write_recipe
from fastgcn_rec.experiments.project import Project
from fastgcn_rec.experiments.recipe_file import named_recipe, recipe_text
from fastgcn_rec.experiments.recipes import SETTINGS, learns

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
TRAINS = sorted(name for name, recipe in RECIPES.items() if recipe.train is not None)
OPTIONS = st.fixed_dictionaries(
    {}, optional={"embedding_dim": st.integers(1, 999), "init_std": st.floats(0, 9), "similarity": TEXTS}
)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_comes_back_from_its_file(tmp_path, name):
    write_recipe(RECIPES[name], tmp_path / "x.toml")
    assert read_recipe(tmp_path / "x.toml") == RECIPES[name]
    assert named_recipe(str(tmp_path / "x.toml")) == ("x.toml", RECIPES[name])
    assert named_recipe(name) == (name, RECIPES[name])


@given(st.sampled_from(["LightGCN", "MF"]), OPTIONS, TEXTS, st.floats(1e-9, 1e9), st.sampled_from(["", "dynamic(1)"]))
def test_a_recipe_comes_back_from_its_file(tmp_path_factory, model, options, expected, lr, negatives):
    path = tmp_path_factory.mktemp("recipe") / "x.toml"
    recipe = Recipe(model, options, TrainConfig(lr=lr, negatives=negatives), expected)
    write_recipe(recipe, path)
    assert read_recipe(path) == recipe
    assert path.read_text(encoding="utf-8") == recipe_text(recipe, "x.toml")


def test_a_file_may_change_a_named_recipe_and_a_run_is_a_file_of_its_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[recipe]\nname = "softmax"\noptions = {embedding_dim = 8}\n[train]\nepochs = 2\n')
    softmax, mine = RECIPES["softmax"], read_recipe(path)
    assert mine.model_options == {**softmax.model_options, "embedding_dim": 8}
    assert mine.train == softmax.train.replaced(epochs=2)
    path.write_text(Project(DataSpec.of("a.csv", split="random"), "softmax", mine).text())
    assert read_recipe(path) == mine
    path.write_text('[recipe]\nmodel = "EASE"\n')
    assert read_recipe(path) == Recipe("EASE", {}, None, "")  # what "default" is known to give is of another model


def test_what_learns_is_what_has_settings():
    for recipe in RECIPES.values():
        assert learns(Recommender.registry[recipe.model]) == (recipe.train is not None)


WRONG = {
    "": "there is no recipe in it: [recipe] needs a name, out of best, ",
    "[train]\nlr = 0.1": "there is no recipe in it",
    "recipe = 1": "[recipe] must be a table, got 1",
    "train = 1\n[recipe]\nname = 'mf'": "[train] must be a table, got 1",
    "lr = 0.1\n[recipe]\nname = 'mf'": "there is no key 'lr'; it belongs to [train]",
    "[recipe]\nname = 'sofmax'": "got 'sofmax'; did you mean 'softmax'?",
    "[recipe]\nname = 'other.toml'": "[recipe] name 'other.toml' is that of a file, whose recipe needs its model",
    "[recipe]\nname = 1": "[recipe] name must be a text, got 1",
    "[recipe]\nmodel = 'LightGNC'": "got 'LightGNC'; did you mean 'LightGCN'?",
    "[recipe]\nmodel = 'MF'\nepochs = 3": "[recipe] has no key 'epochs'; it belongs to [train]",
    "[recipe]\nmodel = 'MF'\noptions = {num_layers = 1}": "[recipe.options] has no key 'num_layers'",
    "[recipe]\nmodel = 'MF'\n[train]\nlr = 0.0": "[train] TrainConfig: lr must be > 0 and finite, got 0.0",
    "[recipe]\nmodel = 'EASE'\n[train]\nlr = 0.1": "[train] does not apply to model EASE, which is made without training",
    "[recipe]\nname = 'ease'\n[train]\nlr = 0.1": "[train] does not apply to recipe 'ease'",
    "[recipe]\nmodel = 'LightGCN'\noptions = {world = 3}": "[recipe.options] has no key 'world'",
    "[recipe]\nname = 'best'\n[recipe.parts.a]\nname = 'best'": "[recipe.parts.a] is a Blend itself; put its parts beside",
    "[recipe]\nmodel = 'Blend'\n[recipe.parts.a]\nmodel = 'Blend'\n[recipe.parts.a.parts.b]\nname = 'mf'": "[recipe.parts.a] is a Blend itself",
    "[recipe]\nname = 'best'\n[recipe.parts.'../a']\nname = 'mf'": "[recipe.parts] must have names that files can have too",
    "x = " + "[" * 9999: "its tables or lists stand in one another too often",
    "[recipe": "is no TOML",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_in_a_file_is_named_with_file_and_key(tmp_path, text, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.toml").write_text(text.replace("'", '"'))
    with pytest.raises((TypeError, ValueError)) as caught:
        read_recipe("x.toml")
    assert str(caught.value).startswith("x.toml")
    assert WRONG[text] in str(caught.value)


def test_a_name_that_is_neither_a_recipe_nor_a_file_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"or a \.toml file, got 'sofmax'; did you mean 'softmax'"):
        named_recipe("sofmax")
    with pytest.raises(ValueError, match="got 'lightgcn', which is a model; its recipes are default, "):
        named_recipe("lightgcn")
    assert code_of("train", "a.csv", "--recipe", "sofmax") == 2
    assert "argument --recipe: recipe must be one of best, " in capsys.readouterr().err
    assert code_of("train", "a.csv", "--recipe", "no.toml") == 2
    assert "no.toml" in capsys.readouterr().err


def test_train_takes_a_file_and_the_run_repeats_it_without(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f"{user},{(user * 7 + place) % 20}" for user in range(20) for place in range(8)]
    (tmp_path / "plays.csv").write_text("\n".join(["user,item", *rows]))
    write_recipe(Recipe("MF", {"embedding_dim": 4}, TrainConfig(epochs=1, lr=0.5, seed=3), ""), "mine.toml")
    assert code_of("train", "plays.csv", "--split", "random", "--recipe", "mine.toml", "--lr", 0.25, "--quiet") == 0
    run = Project.read(tmp_path / "runs" / "plays-mine" / "run.toml")
    assert (run.name, run.recipe.model_options["embedding_dim"]) == ("mine.toml", 4)
    assert run.recipe.train == TrainConfig(epochs=1, lr=0.25, seed=3)
    assert sorted(run.to_dict()["train"]) == sorted(SETTINGS)
    (tmp_path / "mine.toml").unlink()
    capsys.readouterr()
    assert code_of("train", "runs/plays-mine", "--quiet") == 0
    assert "model.npz: the same bits" in capsys.readouterr().out
    assert read_recipe("runs/plays-mine/run.toml").train == run.recipe.train
    assert code_of("estimate", "9,9,9", "--recipe", "runs/plays-mine/run.toml") == 0
    assert "dim 4, recipe run.toml" in capsys.readouterr().out


def test_a_blend_has_no_blend_in_it_and_a_file_is_of_a_recipe(tmp_path):
    with pytest.raises(ValueError, match="is a Blend itself"):  # whose own parts nothing would train
        Recipe("Blend", {}, None, "", {"a": RECIPES["best"], "b": RECIPES["ease"]})
    with pytest.raises(TypeError, match="recipe must be a Recipe, got str"):
        write_recipe("mf", tmp_path / "x.toml")
