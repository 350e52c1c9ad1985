"""Project files: what is written is read as the same run."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec import TrainConfig
from fastgcn_rec.data import DataSpec
from fastgcn_rec.experiments.project import Project, project_file
from fastgcn_rec.experiments.recipes import RECIPES
from fastgcn_rec.system.toml import read_toml, toml_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
COLUMN = TEXTS | st.integers(0, 99)
OPTIONS = st.fixed_dictionaries(
    {"user": COLUMN, "item": COLUMN},
    optional={
        "time": COLUMN | st.just(""),
        "rating": COLUMN | st.just(""),
        "sep": TEXTS,
        "header": st.booleans(),
        "format": st.just("csv"),
        "missing": st.lists(TEXTS, min_size=1),
        "items": TEXTS,
        "item_columns": st.lists(TEXTS),
        "split": st.sampled_from(["random", "none"]),
        "test": st.floats(0.1, 0.9),
        "seed": st.integers(0, 2**40),
        "min_rating": st.floats(allow_nan=False) | st.integers(-9, 9),
        "k_core": st.integers(0, 9) | st.lists(st.integers(0, 9), min_size=2, max_size=2),
    },
)
CONFIGS = st.builds(
    TrainConfig,
    lr=st.floats(1e-9, 1e3),
    epochs=st.integers(0, 10**6),
    loss=st.sampled_from(["bpr", "softmax"]),
    refit=st.booleans(),
)


@given(st.lists(TEXTS, min_size=1, max_size=3, unique=True), OPTIONS, st.sampled_from(sorted(RECIPES)), CONFIGS)
def test_a_run_comes_back_from_its_file(tmp_path_factory, source, options, name, config):
    recipe = RECIPES[name]
    if recipe.train is not None:
        recipe = dataclasses.replace(recipe, train=config)
    project = Project(DataSpec.of(source, **options), name, recipe)
    path = tmp_path_factory.mktemp("p") / "run.toml"
    path.write_text(project.text(), encoding="utf-8", newline="")
    read = Project.from_dict(read_toml(path))
    assert read.same_work(project) == []
    assert read == project
    own = Project.read(path)
    assert own.data.split == project.data.split
    if not project.data.known and source != ["-"]:
        assert [Path(one) for one in own.data.source] == [path.parent / one for one in source]


def test_what_differs_is_named_by_its_key():
    one = Project(DataSpec.of("a.csv", user="u", item="i"), "mf", RECIPES["mf"])
    assert one.same_work(dataclasses.replace(one, version="9")) == []
    assert one.same_work(one.with_data(user="v")) == ["data.user"]
    assert one.same_work(dataclasses.replace(one, device="cuda")) == ["device"]
    other = Project(one.data, "mf", dataclasses.replace(one.recipe, train=TrainConfig(lr=3.0)))
    assert "train.lr" in one.same_work(other)
    assert other.value("train.lr") == "3.0"


def test_a_file_without_options_of_its_model_has_the_recipes():
    text = toml_text({"data": {"source": "a.csv"}, "recipe": {"name": "softmax", "options": {"embedding_dim": 3}}})
    assert "[recipe.options]" in text
    values = {"data": {"source": "a.csv"}, "recipe": {"name": "softmax", "options": {"embedding_dim": 3}}, "train": {"epochs": 1}}  # fmt: skip
    recipe = Project.from_dict(values).recipe
    assert recipe.model_options == {**RECIPES["softmax"].model_options, "embedding_dim": 3}
    assert recipe.train == RECIPES["softmax"].train.replaced(epochs=1)
    values["recipe"]["model"] = "MF"
    assert Project.from_dict(values).recipe.model_options == {"embedding_dim": 3}


def test_where_a_project_file_is(tmp_path):
    assert project_file(tmp_path / "x.toml") == tmp_path / "x.toml"
    assert project_file(tmp_path) is None
    (tmp_path / "run.toml").touch()
    assert project_file(tmp_path) == tmp_path / "run.toml"
    with pytest.raises(FileNotFoundError):
        Project.read(tmp_path / "x.toml")
