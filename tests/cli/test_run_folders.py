"""Folders of runs over time: later versions, other flags, moved folders, what was edited and what was killed."""

import io
import math
import shutil
import sys

import pytest
from commands import code_of

from fastgcn_rec.data import DataSpec, load_dataset
from fastgcn_rec.data.reading import files
from fastgcn_rec.data.splits import SPLITS
from fastgcn_rec.experiments.project import FILE, Project
from fastgcn_rec.system.files import locked
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


RANDOM = SPLITS["random"]


def other_defaults(inter, test=0.5, seed=7, valid=None):
    return RANDOM(inter, test, seed, valid)


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


def test_a_folder_is_one_runs_at_a_time(folder, capsys):
    with locked(folder / "run"):
        assert code_of(*TRAIN) == 1
    assert (
        capsys.readouterr().err
        == "fastgcn-rec: run is being written by another run; wait for its end, or name another folder\n"
    )
    assert list((folder / "run").iterdir()) == []
    assert code_of(*TRAIN) == 0


def test_folders_that_are_moved_and_named_otherwise_are_the_same_runs(folder, capsys, monkeypatch):
    odd = folder / "a b'\"\u00fc"
    odd.mkdir()
    shutil.move("plays.csv", odd / "pl ays.csv")
    train = ["train", odd / "pl ays.csv", *TRAIN[2:-1], odd / "run"]
    assert code_of(*train) == 0
    shutil.move(odd / "run", folder / "moved")
    (folder / "link").symlink_to("moved")
    for name in ("moved", "link", "link/../moved", "moved/model.npz"):
        assert code_of("evaluate", name) == 0
        assert "recall@20" in capsys.readouterr().out
    (folder / "deep").mkdir()
    monkeypatch.setenv("HOME", str(odd))
    for path in ("deep/../a b'\"\u00fc/pl ays.csv", "~/pl ays.csv"):
        assert code_of("train", path, *TRAIN[2:-1], "link") == 0
        assert "link holds this run already" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["train", "compare", "inspect", "estimate", "evaluate"])
@pytest.mark.parametrize("left", ["model.npz", "checkpoint.npz"])
def test_a_folder_without_a_project_file_says_so(folder, capsys, command, left):
    (folder / "old").mkdir()
    (folder / "old" / left).touch()
    words = [command, *([folder / "model.npz"] if command == "evaluate" else []), "old"]
    if command == "evaluate":
        assert code_of(*TRAIN) == 0
        shutil.copy(folder / "run" / "model.npz", folder)
    capsys.readouterr()
    assert code_of(*words) == 2
    assert (
        capsys.readouterr().err
        == f"fastgcn-rec: old holds a run and no {FILE} that says how it was made; name the data and the options of its train\n"
    )


def test_an_empty_folder_is_no_unknown_name(folder):
    (folder / "plays").mkdir()
    with pytest.raises(FileNotFoundError, match="plays holds no files of data"):
        load_dataset("plays")


WRONG = [True, -1, 10**30, 1.5, math.nan, math.inf, "", "x", [], ["a", 1], [[]], {"a": 1}]


def error_of(project):
    """What is wrong with a project file; "" where nothing is, so that it makes its model."""
    try:
        read = Project.read(project)
        read.recipe.make_model(read.data.load())
    except (TypeError, ValueError, FileNotFoundError) as error:
        return str(error)
    return ""


def test_each_value_of_a_wrong_kind_is_named_by_its_key(folder, capsys):
    assert code_of(*TRAIN) == 0
    values = read_toml(folder / "run" / FILE)
    keys = [("device",), *((table, key) for table in ("data", "split", "recipe", "train") for key in values[table])]
    for table, *key in keys:
        for wrong in WRONG:
            edited = {**values, table: {**values[table], key[0]: wrong} if key else wrong}
            (folder / "edited.toml").write_text(toml_text(edited))
            said = error_of(folder / "edited.toml")
            named = (key or [table])[0] in said or isinstance(
                wrong, str
            )  # a text is told by its value, or as a file's name
            assert not said or named, (table, key, wrong, said)
            assert not any(words in said for words in ("unhashable", "object has no", "expected str")), (
                key,
                wrong,
                said,
            )


def test_standard_input_that_is_empty_is_said(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    files.spooled.cache_clear()
    assert code_of("inspect", "-") == 2
    assert (
        capsys.readouterr().err
        == "fastgcn-rec: standard input is empty; pipe the data into the command: zcat plays.gz | ...\n"
    )
    files.spooled.cache_clear()
