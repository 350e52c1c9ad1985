"""Folders of runs over time: later versions, other flags, moved folders, what was edited and what was killed."""

import sys

import pytest
from commands import code_of

from fastgcn_rec.data import DataSpec, split_random
from fastgcn_rec.data.splits import SPLITS
from fastgcn_rec.experiments.project import FILE, Project
from fastgcn_rec.system.toml import read_toml, toml_text

TRAIN = ["train", "plays.csv", "--recipe", "mf", "--epochs", "1", "--dim", "4", "--quiet", "--out", "run"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with plays.csv."""
    rows = [f"u{k * k % 97},s{k * 7 % 61},{1500000000 + k * 3600}" for k in range(1500)]
    (tmp_path / "plays.csv").write_text("\n".join(["listener,song,at", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # no pictures: they take longest
    return tmp_path


def other_defaults(inter, test=0.5, seed=7, valid=None):
    return split_random(inter, test, seed, valid)


def test_a_run_holds_the_defaults_of_its_split_so_that_others_change_nothing(folder, capsys, monkeypatch):
    assert code_of(*TRAIN) == 0
    assert read_toml(folder / "run" / FILE)["split"] == {"split": "random", "test": 0.2, "seed": 0}
    monkeypatch.setitem(SPLITS, "random", other_defaults)
    capsys.readouterr()
    assert code_of("train", "run", "--quiet") == 0
    assert capsys.readouterr().out.endswith("model.npz: the same bits\n")
    assert code_of("evaluate", "run") == 0
    assert code_of(*TRAIN) == 2
    assert "split.test is 0.2 there, 0.5 here, split.seed is 0 there, 7 here" in capsys.readouterr().err


def test_a_run_of_a_version_that_did_not_write_them_is_still_the_same_run(folder, capsys):
    assert code_of(*TRAIN) == 0
    values = read_toml(folder / "run" / FILE)
    del values["split"]
    (folder / "run" / FILE).write_text("# Written by fastgcn-rec\n" + toml_text(values))
    assert code_of(*TRAIN) == 0
    assert "run holds this run already" in capsys.readouterr().out
    assert code_of(*TRAIN, "--test", ".3") == 2
    assert "split.test is 0.2 there, 0.3 here" in capsys.readouterr().err


def test_another_split_by_a_flag_takes_what_it_has_of_the_one_before(folder):
    assert code_of(*TRAIN, "--test", ".3", "--min-rating", "0", "--rating", "at") == 0
    project = Project.read(folder / "run" / FILE)
    assert project.with_data(split="temporal-user").data.split == {
        "split": "temporal-user",
        "test": 0.3,
        "min_rating": 0,
    }
    assert code_of("train", "run", "--split", "leave-k-out", "--by", "random", "--quiet", "--out", "other") == 0
    split = read_toml(folder / "other" / FILE)["split"]
    assert split == {"split": "leave-k-out", "k": 1, "by": "random", "seed": 0, "min_rating": 0}


@pytest.mark.parametrize("split", sorted(SPLITS))
def test_the_completed_record_loads_the_same_data(folder, split):
    spec = DataSpec.of("plays.csv", split=split)
    data = spec.load()
    whole = spec.completed(data)
    assert whole.completed(data) == whole
    assert whole.load().fingerprint() == data.fingerprint()
    assert whole.split["split"] == split
