"""The command compare."""

import json
import os
import sys

import pytest
import torch

from fastgcn_rec import cli, evaluate
from fastgcn_rec.data import DataSpec, load_dataset, synthetic_interactions
from fastgcn_rec.experiments import RECIPES, compare
from fastgcn_rec.experiments.als import als
from fastgcn_rec.experiments.compare import NAMES
from fastgcn_rec.experiments.compare_one import run
from fastgcn_rec.experiments.rows import Row, table


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
    row = run(DataSpec.of("ml-100k", split="temporal-user").to_dict(), "lightgcn", epochs=1)
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
