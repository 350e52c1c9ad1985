"""Files of one's own on the command line: from a CSV to recommendations by commands alone, and runs that are repeated from their folder."""

import argparse
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import code_of

from fastgcn_rec import Recommender, evaluate
from fastgcn_rec.data import DataSpec, load_dataset
from fastgcn_rec.data.reading import files
from fastgcn_rec.experiments.project import FILE, Project
from fastgcn_rec.experiments.runs import KS, METRICS

COLUMNS = ["--user", "listener", "--item", "song", "--time", "at"]
QUICK = ["--epochs", "2", "--dim", "8", "--quiet"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with plays.csv."""
    rows = [f"u{k * k % 97},s{k * 7 % 61},{1500000000 + k * 3600}" for k in range(1500)]
    (tmp_path / "plays.csv").write_text("\n".join(["listener,song,at", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # no pictures: they take longest
    return tmp_path


def fails(capsys, *words):
    """The one line that says why a command ends with 2."""
    capsys.readouterr()
    assert code_of(*words) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


def test_a_csv_becomes_recommendations_by_commands_alone_and_python_gives_the_same(folder, capsys):
    assert (
        code_of("train", "plays.csv", *COLUMNS, "--split", "temporal-user", "--test", ".3", "--k-core", 2, *QUICK) == 0
    )
    assert capsys.readouterr().out.startswith("plays.csv: user=listener, item=song, time=at")
    run = Path("runs/plays-default")
    data = load_dataset("plays.csv", user="listener", item="song", time="at", split="temporal-user", test=0.3, k_core=2)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["fingerprint"] == data.fingerprint()
    model = Recommender.load(run)  # or its model.npz
    assert code_of("recommend", run, "u0", "-k", 5) == 0
    ids, scores = model.recommend(["u0"], 5)
    assert capsys.readouterr().out == "user u0: " + ", ".join(f"{i} ({s:.4g})" for i, s in zip(ids[0], scores[0], strict=True)) + "\n"  # fmt: skip
    found = evaluate(model, data.test, ks=KS, metrics=METRICS)
    os.chdir("/")
    for more in ([], [folder / "plays.csv", *COLUMNS, "--split", "temporal-user", "--test", ".3", "--k-core", "2,2"]):
        assert code_of("evaluate", folder / run, *more) == 0
        assert f"recall@20          {found['recall@20']:.4f}\n" in capsys.readouterr().out


def test_a_run_is_repeated_from_its_file_alone(folder, capsys):
    train = ["train", "plays.csv", *COLUMNS, "--recipe", "softmax", *QUICK, "--out", "one"]
    assert code_of(*train) == 0
    whole = Project.read(folder / "one" / FILE)
    assert whole.data.source == (str(folder / "plays.csv"),)
    assert whole.data.columns | {"rating": ""} == {"user": "listener", "item": "song", "time": "at", "rating": ""}
    assert (whole.name, whole.recipe.model_options["embedding_dim"], whole.recipe.train.epochs) == ("softmax", 8, 2)
    os.chdir("/")
    capsys.readouterr()
    assert code_of("train", folder / "one", "--quiet") == 0  # the folder
    said = capsys.readouterr().out
    assert said.endswith("model.npz: the same bits\n")
    assert re.search(r"^ +one +one-again$", said, re.MULTILINE)
    figures = json.loads((folder / "one-again" / "metrics.json").read_text())
    assert f"recall@20          {figures['recall@20']:10.4f} {figures['recall@20']:10.4f}\n" in said
    assert code_of("train", folder / "one" / FILE, "--quiet", "--out", folder / "two", "--epochs", 1) == 0  # the file
    said = capsys.readouterr().out
    assert re.search(r"^best_epoch +2 +1$", said, re.MULTILINE)
    assert "model.npz: other bits in state." in said
    assert Project.read(folder / "two" / FILE).recipe.train.epochs == 1


def test_a_run_is_repeated_on_what_came_since_and_on_all_of_it(folder, capsys):
    (folder / "all").mkdir()
    (folder / "plays.csv").rename(folder / "all" / "1.csv")
    assert code_of("train", "all/*.csv", *COLUMNS, "--recipe", "itemknn", "--out", "one") == 0
    (folder / "all" / "2.csv").write_bytes((folder / "all" / "1.csv").read_bytes().replace(b"u1", b"v1"))
    capsys.readouterr()
    assert code_of("train", "one") == 0
    said = capsys.readouterr().out
    then, now = (json.loads((folder / run / "metrics.json").read_text()) for run in ("one", "one-again"))
    assert said.endswith(f"data: other ones or another split, {then['fingerprint']} there, {now['fingerprint']} here\n")
    assert f"recall@20          {then['recall@20']:10.4f} {now['recall@20']:10.4f}\n" in said
    assert code_of("train", "one", "--split", "none", "--out", "whole") == 0
    said = capsys.readouterr().out
    whole = json.loads((folder / "whole" / "metrics.json").read_text())
    assert said.endswith(
        f"data: other ones or another split, {then['fingerprint']} there, {whole['fingerprint']} here\n"
    )
    assert "@" not in said.split("files:")[1]
    model = Recommender.load(folder / "whole")
    assert model.graph.n_edges == len(load_dataset("all/*.csv", user="listener", item="song", split="none").train)


def test_a_file_written_by_hand_takes_what_is_near_it(folder, capsys, monkeypatch):
    (folder / "deep").mkdir()
    (folder / "deep" / "mine.toml").write_text(
        '[data]\nsource = "../plays.csv"\nuser = "listener"\nitem = "song"\ntime = ""\n[split]\nsplit = "random"\nseed = 3\n'
        '[recipe]\nname = "mf"\n[recipe.options]\nembedding_dim = 4\n[train]\nepochs = 1\n'
    )
    os.chdir("/")
    assert code_of("train", folder / "deep" / "mine.toml", "--quiet", "--out", folder / "run") == 0
    written = Project.read(folder / "run" / FILE)
    assert Path(written.data.source[0]).resolve() == folder / "plays.csv"
    assert (written.data.columns["time"], written.data.split) == ("", {"split": "random", "seed": 3, "test": 0.2})
    assert (written.recipe.model, written.recipe.model_options["embedding_dim"]) == ("MF", 4)
    monkeypatch.chdir(folder)
    assert code_of("train", "deep/mine.toml", "--quiet", "--seed-split", 4, "--dim", 2, "--recipe", "popularity") == 2
    assert code_of("train", "deep/mine.toml", "--quiet", "--seed-split", 4, "--recipe", "popularity") == 0
    assert Project.read(folder / "runs" / "plays-popularity" / FILE).data.split["seed"] == 4


def test_a_finished_run_is_not_lost_without_a_word(folder, capsys):
    train = ["train", "plays.csv", *COLUMNS, "--recipe", "popularity", "--out", "run"]
    assert code_of(*train) == 0
    before = (folder / "run" / "model.npz").stat().st_ino
    capsys.readouterr()
    assert code_of(*train) == 0
    assert "run holds this run already, finished" in capsys.readouterr().out
    assert (folder / "run" / "model.npz").stat().st_ino == before
    assert code_of(*train, "--split", "random", "--test", ".2") == 0  # the defaults by name are the same run
    said = fails(capsys, *train, "--split", "random", "--test", ".5")
    assert said == ("fastgcn-rec: run holds another run: split.test is 0.2 there, 0.5 here; "
                    "name another folder by --out, or take --overwrite to lose what is there")  # fmt: skip
    (folder / "plays.csv").write_text((folder / "plays.csv").read_text() + "u1,s59,1600000000\n")
    assert "the run in run was made on other data of the name plays: " in fails(capsys, *train)
    assert "the run in run was made on other data of the name plays: " in fails(capsys, "evaluate", "run")
    assert (folder / "run" / "model.npz").stat().st_ino == before
    assert code_of(*train, "--overwrite") == 0
    assert (folder / "run" / "model.npz").stat().st_ino != before
    (folder / "run" / FILE).unlink()
    assert f"run holds a model, and no {FILE} that says how it was made; " in fails(capsys, *train)


@pytest.mark.parametrize("name", [FILE, "items.npz"])
def test_what_no_run_wrote_stays(folder, name, capsys):
    (folder / name).write_text("mine")
    said = fails(capsys, "train", "./plays.csv", *COLUMNS, "--recipe", "popularity", "--out", ".")
    assert f"{name} was not written by a run" in said
    assert (folder / name).read_text() == "mine"


WRONG = {
    "a = 1": "there is no key 'a'; its keys are version, device, data, split, recipe, train",
    "[dta]\nx = 1": "there is no key 'dta'; did you mean 'data'?",
    "data = 1": "[data] must be a table, got 1",
    "[data]\nuser = 'a'": "[data] needs source",
    "[data]\nsource = 5": "[data] needs source",
    "[data]\nsource = 'plays.csv'\nusr = 'a'": "[data] has no key 'usr'; did you mean 'user'?",
    "[data]\nsource = 'plays.csv'\nmin_rating = 4": "[data] has no key 'min_rating'; it belongs to [split]",
    "[data]\nsource = 'plays.csv'\n[split]\nsplt = 'random'": "[split] has no key 'splt'; did you mean 'split'?",
    "[data]\nsource = 'plays.csv'\n[recipe]\nname = 'sofmax'": "got 'sofmax'; did you mean 'softmax'?",
    "[data]\nsource = 'plays.csv'\n[recipe]\nmodel = 'LightGNC'": "got 'LightGNC'; did you mean 'LightGCN'?",
    "[data]\nsource = 'plays.csv'\n[recipe.options]\nembeding_dim = 4": "[recipe.options] has no key 'embeding_dim'; did you mean 'embedding_dim'?",
    "[data]\nsource = 'plays.csv'\n[train]\nepoch = 4": "[train] has no key 'epoch'; did you mean 'epochs'?",
    "[data]\nsource = 'plays.csv'\n[train]\nlr = 0.0": "lr must be > 0 and finite, got 0.0",
    "[data]\nsource = 'plays.csv'\n[train]\nepochs = 2.5": "epochs must be",
    "[data]\nsource = 'plays.csv'\n[recipe]\nname = 'popularity'\n[train]\nepochs = 2": "[train] does not apply to recipe 'popularity'",
    "device = 1\n[data]\nsource = 'plays.csv'": "device must be a text, got 1",
    "[data]\nsource = plays.csv": "is no TOML: ",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_in_a_project_file_is_named_with_file_and_key(folder, text, capsys):
    (folder / "mine.toml").write_text(text.replace("'", '"'))
    capsys.readouterr()
    assert code_of("train", "mine.toml") == 2
    said = capsys.readouterr().err
    assert said.startswith("fastgcn-rec: mine.toml")
    assert WRONG[text] in said


def test_an_interrupted_run_goes_on_by_the_same_command_or_by_its_folder(folder, capsys):
    train = ["train", "plays.csv", *COLUMNS, "--epochs", "4", "--dim", "8", "--quiet"]
    assert code_of(*train, "--out", "whole") == 0
    script = (
        "import sys, os, signal, threading; sys.modules['matplotlib'] = None\n"
        "import fastgcn_rec.training.loop as loop\nfrom fastgcn_rec.cli import main\n"
        "import fastgcn_rec.experiments.runs as runs\nplain = runs.fit\n"
        "def fit(*a, on_epoch=None, **k):\n"
        "    return plain(*a, on_epoch=lambda record: record['epoch'] == 2 and os.kill(os.getpid(), signal.SIGINT), **k)\n"
        "runs.fit = fit\nsys.exit(main(sys.argv[1:]))"
    )
    for out, again in (("a", [*train, "--out", "a"]), ("b", ["train", "b", "--quiet"])):
        done = subprocess.run([sys.executable, "-c", script, *train, "--out", out], capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 128 + signal.SIGINT, done.stderr
        assert (folder / out / "checkpoint.npz").exists()
        assert (folder / out / FILE).exists()
        assert code_of(*again) == 0
        assert (folder / out / "model.npz").read_bytes() == (folder / "whole" / "model.npz").read_bytes()


def test_compare_and_estimate_take_files(folder, capsys):
    assert code_of("compare", "plays.csv", *COLUMNS, "--split", "random", "--models", "popularity", "--quiet") == 0
    row = json.loads(Path("runs/plays-compare/comparison.json").read_text())
    assert row["data"]["columns"]["user"] == "listener"
    data = load_dataset("plays.csv", user="listener", item="song", time="at", split="random")
    assert code_of("train", "plays.csv", *COLUMNS, "--split", "random", "--recipe", "popularity") == 0
    metrics = json.loads(Path("runs/plays-popularity/metrics.json").read_text())
    assert row["rows"][0]["recall"] == metrics["recall@20"]
    capsys.readouterr()
    for source in (["plays.csv", *COLUMNS, "--split", "random"], ["runs/plays-popularity"]):
        assert code_of("estimate", *source) == 0
        assert f"{data.n_users} users, {data.n_items} items, {len(data.train):,} pairs" in capsys.readouterr().out


def test_inspect_counts_what_is_there(folder, capsys):
    assert code_of("inspect", "plays.csv", *COLUMNS, "--split", "leave-k-out", "--k", 2, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    events = DataSpec.of("plays.csv", user="listener", item="song", time="at").interactions()
    data = load_dataset("plays.csv", user="listener", item="song", time="at", split="leave-k-out", k=2)
    pairs = set(zip(events.users.tolist(), events.items.tolist(), strict=True))
    assert (found["events"], found["pairs"], found["repeated"]) == (1500, len(pairs), 1500 - len(pairs))
    for side, codes in (("users", [u for u, _ in pairs]), ("items", [i for _, i in pairs])):
        degrees = np.bincount(codes)
        assert found[side]["n"] == degrees.size
        assert found[side]["quantiles"]["median"] == np.median(degrees)
        assert sum(n for _, n in found[side]["degrees"]) == degrees.size
    assert found["time"]["first"] == "2017-07-14 02:40:00"
    assert sum(n for _, n in found["time"]["bins"]) == 1500
    assert (found["split"]["train"], found["split"]["test"]) == (len(data.train), len(data.test))
    assert code_of("inspect", "plays.csv", *COLUMNS) == 0
    said = capsys.readouterr().out
    assert said.isascii()
    assert "items of a user: " in said
    assert "####" in said
    assert (
        code_of("inspect", "plays.csv", "--user", "listener", "--item", "song", "--time", "", "--split", "temporal")
        == 0
    )
    assert "refused" in capsys.readouterr().out


def test_every_option_of_load_dataset_has_a_flag_and_a_sentence(capsys):
    from fastgcn_rec.cli.data_options import add_data, given
    from fastgcn_rec.data.make import BESIDE
    from fastgcn_rec.data.reading.sources import ROLES
    from fastgcn_rec.data.spec import OPTIONS, SPLIT

    parser = argparse.ArgumentParser()
    add_data(parser)
    flags = {action.dest.removeprefix("data_"): action for action in parser._actions if action.dest.startswith("data_")}
    python_only = {"root", "download", "bad_lines"}  # of known names; any number of bad lines
    assert set(flags) == {*ROLES, *BESIDE, *OPTIONS, *SPLIT} - python_only
    assert all(action.help for action in flags.values())
    assert given(parser.parse_args(["x.csv"])) == {}
    words = ["x.csv", "--user", "0", "--time", "", "--no-header", "--sep", "tab", "--k-core", "5,3", "--test", ".2", "--valid", "v.csv", "--min-rating", "4"]  # fmt: skip
    assert given(parser.parse_args(words)) == {"user": 0, "time": "", "header": False, "sep": "\t", "k_core": [5, 3], "test": 0.2, "valid": "v.csv", "min_rating": 4}  # fmt: skip
    for words, said in ((["--k-core", "x"], "must be a whole number >= 0, or USERS,ITEMS, got 'x'"), (["--min-rating", "y"], "must be a number, got 'y'"), (["--split", "z"], "invalid choice: 'z'")):  # fmt: skip
        with pytest.raises(SystemExit):
            parser.parse_args(["x.csv", *words])
        assert said in capsys.readouterr().err


def test_a_part_is_evaluated_by_its_name(folder, capsys):
    split = ["--split", "random", "--valid", ".1", "--test", ".2"]
    assert code_of("train", "plays.csv", *COLUMNS, *split, *QUICK, "--out", "run") == 0
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    data = load_dataset("plays.csv", user="listener", item="song", time="at", split="random", valid=0.1, test=0.2)
    assert len(data.valid) > 0
    model = Recommender.load(folder / "run" / "model.npz")
    for part in ("train", "valid", "test"):
        capsys.readouterr()
        assert code_of("evaluate", "run", "--part", part) == 0
        said = capsys.readouterr().out
        assert f"recall@20          {evaluate(model, data, part=part)['recall@20']:.4f}\n" in said
    assert f"recall@20          {metrics['recall@20']:.4f}\n" in said
    assert code_of("train", "plays.csv", *COLUMNS, "--split", "random", "--recipe", "popularity", "--out", "none") == 0
    assert "valid" in fails(capsys, "evaluate", "none", "--part", "valid")


def test_standard_input_is_trained_on_compared_and_gone_on_with(folder, capsys, monkeypatch):
    content = (folder / "plays.csv").read_bytes()

    def piped(*words, content=content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        files.spooled.cache_clear()  # as in a process of its own
        capsys.readouterr()
        return code_of(*words), capsys.readouterr().out

    for out in ("one", "two"):
        code, said = piped("train", "-", *COLUMNS, "--recipe", "mf", *QUICK, "--out", out)
        assert code == 0
        assert said.startswith("-: user=listener, item=song, time=at")
    assert (folder / "one/model.npz").read_bytes() == (folder / "two/model.npz").read_bytes()
    assert Project.read(folder / "one" / FILE).data.source == ("-",)
    assert "holds this run already, finished" in piped("train", "-", *COLUMNS, "--recipe", "mf", *QUICK, "--out", "one")[1]  # fmt: skip
    assert piped("evaluate", "one")[0] == 0
    assert piped("train", "one", "--quiet")[1].endswith("model.npz: the same bits\n")
    assert piped("compare", "-", *COLUMNS, "--models", "popularity", "--quiet", "--out", "c")[0] == 0
    (row,) = json.loads((folder / "c" / "comparison.json").read_text())["rows"]
    assert row["error"] is None
    assert piped("train", "-", content=b"")[0] == 2
    files.spooled.cache_clear()


ERRORS = {
    "no such file": (["plays.cvs"], "plays.cvs does not exist"),
    "no such name": (["gowala"], " must be one of gowalla, "),
    "no such column": (["plays.csv", "--user", "listner"], "no column 'listner' for user; the columns are listener, song, at"),
    "no column for users": (["odd.csv"], "which column is the user? user= (--user) names it; the columns and their first values are a ("),
    "a column for two roles": (["plays.csv", "--user", "song", "--item", "song"], "the column 'song' cannot be both user and item; item= (--item) names another"),
    "a share beyond 1": (["plays.csv", "--test", "2"], "test must lie strictly between 0 and 1, got 2"),
    "an option of another split": (["plays.csv", "--split", "none", "--test", ".5"], "split='none' has no option 'test'"),
    "times that are not there": (["plays.csv", "--time", "", "--split", "temporal"], "use a random split"),
    "ratings that are not there": (["plays.csv", "--min-rating", "4"], "min_rating=4 needs ratings"),
    "nothing left": (["plays.csv", "--k-core", "1000"], "leave none of 1500 events of plays; relax them"),
    "another encoding": (["plays.csv", "--encoding", "klingon"], "encoding must be one that Python knows, such as 'latin-1'"),
    "an option of another format": (["plays.csv", "--format", "npz", "--sep", "tab"], "sep"),
    "a bad line": (["bad.csv"], "bad.csv, line 3"),
    "options for a published split": (["gowalla", "--k-core", "5"], "gowalla comes with its published split and takes no options, got k_core"),
    "no project": (["mine.toml"], "mine.toml"),
    "items of others": (["plays.csv", "--items", "odd.csv"], "odd.csv"),
}  # fmt: skip


@pytest.mark.usefixtures("small_gowalla")
@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("command", ["train", "inspect", "estimate"])
def test_an_error_is_one_line_that_names_what_is_wrong(name, command, folder, capsys):
    (folder / "odd.csv").write_text("a,b\n" + "".join(f"{k / 3},{k / 7}\n" for k in range(50)))
    (folder / "bad.csv").write_text("user,item\n1,2\n3\n" + "".join(f"{k % 7},{k % 3}\n" for k in range(50)))
    words, said = ERRORS[name]
    if command == "inspect" and name in ("a share beyond 1", "an option of another split", "times that are not there", "ratings that are not there", "nothing left"):  # fmt: skip
        assert code_of(command, *words) == 0  # told in its place: what a split would hold
        assert said in " ".join(capsys.readouterr().out.split())
        return
    capsys.readouterr()
    assert code_of(command, *words) == 2
    found = capsys.readouterr().err
    assert said in found
    assert len(found.splitlines()) == 1, found
    assert not (folder / "runs").exists()
