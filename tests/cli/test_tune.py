"""The command tune, and what train makes of its winner."""

import json

import pytest
from commands import code_of

from fastgcn_rec import Recommender
from fastgcn_rec.experiments import read_recipe


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rows = [f"u{user},s{(user * 7 + place * place) % 40},{place}" for user in range(40) for place in range(12)]
    (tmp_path / "plays.csv").write_text("\n".join(["listener,song,when", *rows]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


PLAYS = ["plays.csv", "--user", "listener", "--item", "song", "--split", "random"]


def test_the_winner_is_a_recipe_that_train_takes_to_the_same_figure(folder, capsys):
    words = [*PLAYS, "--recipe", "mf", "--dim", 4, "--epochs", 6, "--trials", 7, "--eval-every", 2, "--patience", 0]
    assert code_of("tune", *words) == 0
    out = folder / "runs" / "plays-mf-tune"
    said = capsys.readouterr().out
    assert "7 trials; 7 trials, judged by recall@20 on the validation part:" in said
    assert (
        "`fastgcn-rec train plays.csv --recipe runs/plays-mf-tune/recipe.toml`, with the same options of the data, trains it"
        in said
    )
    study = json.loads((out / "study.json").read_text())
    best = max(trial["value"] for trial in study["trials"] if trial["state"] == "done")
    recipe = read_recipe(out / "recipe.toml")
    assert recipe.model_options["embedding_dim"] == 4
    assert "train.lr" in study["trials"][0]["params"]
    assert not {"embedding_dim", "train.epochs"} & set(study["trials"][0]["params"])
    assert code_of("train", *PLAYS, "--recipe", out / "recipe.toml", "--out", "run", "--quiet") == 0
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    assert metrics["best_recall@20"] == best
    capsys.readouterr()
    assert code_of("tune", *words) == 0  # all is there
    assert "trial 0, " not in capsys.readouterr().out


def test_a_run_is_tuned_from_its_own_recipe(folder, capsys):
    assert code_of("train", *PLAYS, "--recipe", "itemknn", "--out", "run") == 0
    assert code_of("tune", "run", "--trials", 2, "--quiet", "--out", "tuned") == 0
    recipe = read_recipe("tuned/recipe.toml")
    assert recipe.model == "ItemKNN"
    assert code_of("train", "run", "--recipe", "tuned/recipe.toml", "--out", "better") == 0
    assert Recommender.load("better").neighbours == recipe.model_options["neighbours"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "tune needs --minutes B, --trials N, or both"),
        (["--minutes", "0"], "argument --minutes: must be a number of minutes > 0, got '0'"),
        (["--trials", "0"], "argument --trials: must be a whole number >= 1"),
        (["--trials", "1", "--model", "Popularity"], "argument --model: invalid choice: 'Popularity'"),
        (["--trials", "1", "--recipe", "popularity"], "there is nothing to vary of Popularity"),
        (["--trials", "1", "--recipe", "ease", "--lr", "0.1"], "recipe 'ease' is made without training, --lr does not apply"),
        (["--trials", "1", "--recipe", "ease", "--model", "MF"], "--model MF is not what recipe 'ease' makes, a EASE"),
        (["--trials", "1", "--recipe", "ease", "--metric", "recal@20"], "metric must be NAME@K"),
        (["--trials", "1", "--recipe", "no.toml"], "no.toml"),
    ],
)  # fmt: skip
def test_what_cannot_be_tuned_is_said(folder, words, text, capsys):
    assert code_of("tune", *PLAYS, *words) == 2
    assert text in capsys.readouterr().err
