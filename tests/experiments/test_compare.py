"""The command compare."""

import dataclasses
import importlib
import json
import os
import sys

import numpy as np
import pytest
import torch

from fastgcn_rec import cli, evaluate, write_recommendations
from fastgcn_rec.data import DataSpec, load_dataset, synthetic_interactions
from fastgcn_rec.experiments import RECIPES, Comparison, compare, read_users, write_recipe
from fastgcn_rec.experiments.als import als
from fastgcn_rec.experiments.compare_one import run
from fastgcn_rec.experiments.contenders import NAMES, How, contender
from fastgcn_rec.experiments.measured import Run
from fastgcn_rec.experiments.rows import Row, differences_table, table
from fastgcn_rec.ranking import PairedTest, paired_tests
from fastgcn_rec.system.archives import load_arrays


def test_rows_are_what_the_evaluator_says_and_a_failure_does_not_stop_the_others(ml_100k, monkeypatch, capsys):
    (ml_100k / "implicit").mkdir()
    (ml_100k / "implicit" / "__init__.py").write_text("raise ValueError('no least squares here')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ml_100k), *sys.path]))
    out = ml_100k / "out"
    names = ["als", "filter"]
    assert (
        cli.main(["compare", "ml-100k", "--split", "temporal-user", "--models", *names, "--out", str(out), "--quiet"])
        == 1
    )
    printed = capsys.readouterr()
    assert "failed: als; the table says why" in printed.err
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
    shown = printed.out
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


@pytest.mark.parametrize(
    ("models", "options", "error", "text"),
    [
        (["bert"], {}, ValueError, "got bert"),
        ([], {}, ValueError, "got none"),
        (["ours="], {}, ValueError, "got none"),
        (["mf", "ease", "mf"], {}, ValueError, "different names, got mf twice"),
        (["mf", "ease"], {"baseline": "popularity"}, ValueError, "one of the models, mf, ease, got 'popularity'"),
        (["mf"], {"seeds": 0}, ValueError, "seeds"),
        (["mf"], {"confidence": 95}, ValueError, "confidence"),
        (["mf"], {"invalid": "keep"}, ValueError, "refuse, drop, miss, got 'keep'"),
        (["no-such-run/model.npz"], {}, FileNotFoundError, "model.npz does not exist"),
    ],
)
def test_what_cannot_be_compared_is_named(models, options, error, text):
    with pytest.raises(error, match=text):
        compare("ml-100k", models, **options)


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Models are measured in this process: what a process of its own does, another test sees."""

    def measured(name, task):
        try:
            row = run(**task, users=str(tmp_path / "values.npz"))
        except ValueError as error:
            return Run(Row(name, error=str(error)))
        _, arrays = load_arrays(tmp_path / "values.npz", "compared")
        return Run(dataclasses.replace(row, model=name), arrays["users"], arrays["values"])

    monkeypatch.setattr(importlib.import_module("fastgcn_rec.experiments.compare"), "measured", measured)


def test_several_seeds_give_spreads_and_a_saved_model_stands_beside_recipes(ml_100k, here):
    spec, saved, out = DataSpec.of("ml-100k", split="temporal-user"), ml_100k / "mine", ml_100k / "out"
    data = spec.load()
    RECIPES["ease"].make_model(data).save(saved / "model.npz")
    (saved / "metrics.json").write_text('{"seconds_train": 12.5}')
    models = ["popularity", "few=mf", str(saved)]
    found = compare(spec, models, out, epochs=1, seeds=2, baseline="popularity", resamples=200, progress=False)
    popularity, few, mine = found
    assert [row.model for row in found] == ["popularity", "few", "mine"]
    assert [row.seeds for row in found] == [1, 2, 1]  # nothing is drawn for the others
    by_seed = [run(spec.to_dict(), "mf", epochs=1, seed=seed) for seed in (0, 1)]
    assert by_seed[0].recall != by_seed[1].recall
    recalls = np.array([row.recall for row in by_seed])
    assert (few.recall, few.recall_sd) == pytest.approx((recalls.mean(), recalls.std(ddof=1)))
    assert (mine.seconds_train, mine.recall) == (12.5, evaluate(RECIPES["ease"].make_model(data), data)["recall@20"])
    assert np.isnan(popularity.recall_sd)

    users, values = read_users(out / "users.npz")
    assert set(users.tolist()) == set(data.user_ids[np.unique(data.test.users)].tolist())
    for row in found:
        assert values["recall@20"][row.model].mean() == pytest.approx(row.recall)
        assert values["ndcg@20"][row.model].mean() == pytest.approx(row.ndcg)
        assert row.recall_interval[0] <= row.recall <= row.recall_interval[1]
    for metric, tests in found.tests.items():
        best = max(values[metric], key=lambda name: values[metric][name].mean())
        expected = paired_tests(values[metric], best, resamples=200)
        if best != "popularity":
            expected += paired_tests(values[metric], "popularity", resamples=200)
        assert tests == expected
    written = json.loads((out / "comparison.json").read_text())
    assert [test["p_wilcoxon_holm"] for test in written["tests"] if test["metric"] == "recall@20"] == [
        test.p_wilcoxon_holm for test in found.tests["recall@20"]
    ]
    assert written["rows"][1]["recall_sd"] == few.recall_sd
    assert (out / "comparison.png").stat().st_size > 1000
    again = compare(spec, models, epochs=1, seeds=2, baseline="popularity", resamples=200, progress=False)
    assert again.tests == found.tests


def test_a_model_of_another_split_fails_by_itself(ml_100k, here):
    other = load_dataset("ml-100k", split="random", seed=3)
    RECIPES["ease"].make_model(other).save(ml_100k / "other.npz")
    rows = compare("ml-100k", ["popularity", str(ml_100k / "other.npz")], split="temporal-user", progress=False)
    assert rows[0].error is None
    assert "other" in rows[1].model
    assert rows[1].error
    assert rows.tests == {"recall@20": [], "ndcg@20": []}  # one model alone


def test_seeds_move_what_they_name_and_nothing_else(ml_100k):
    data = load_dataset("ml-100k", split="temporal-user")
    mf, _ = contender("mf").make(data, How(seed=4, epochs=0))
    assert mf.seed == 4
    pinsage, _ = contender("pinsage").make(data, How(seed=2, epochs=0))
    assert pinsage.config()["walk_seed"] == 2
    assert not any(contender(name).seeded for name in ("popularity", "itemknn", "ease"))
    assert all(contender(name).seeded for name in ("filter", "softmax", "als"))


def test_a_file_of_a_recipe_is_that_recipe(ml_100k):
    write_recipe(dataclasses.replace(RECIPES["ease"], model_options={"reg": 7.0}), ml_100k / "mild.toml")
    data = load_dataset("ml-100k", split="temporal-user")
    one = contender(str(ml_100k / "mild.toml"))
    model, _ = one.make(data, How())
    assert (one.name, model.reg) == ("mild", 7.0)


def test_lists_of_another_library_stand_beside_models(ml_100k, here):
    spec = DataSpec.of("ml-100k", split="temporal-user")
    model = RECIPES["ease"].make_model(spec.load())
    write_recommendations(model, ml_100k / "lists.csv", k=20, progress=False)
    ease, lists = compare(spec, ["ease", str(ml_100k / "lists.csv")], progress=False)
    assert (lists.model, lists.recall, lists.ndcg) == ("lists", ease.recall, ease.ndcg)
    assert "rows, lists of" in lists.note
    assert f"lists: {lists.note}" in table([ease, lists])
    with open(ml_100k / "lists.csv", "a") as file:
        file.write("1,21,99999,0.001\n")
    spoilt, mended = (
        compare(spec, [str(ml_100k / "lists.csv")], invalid=invalid, progress=False)[0]
        for invalid in ("refuse", "drop")
    )
    assert "--invalid drop" in spoilt.error
    assert mended.recall == ease.recall
    assert "1 rows of items that are not in the data" in mended.note


def test_marks_stand_where_both_tests_agree():
    def tested(model, p_bootstrap, p_wilcoxon, against="best"):
        return PairedTest(model, against, 9, -0.1, -0.2, -0.05, -1.0, *[p_bootstrap, p_wilcoxon] * 3)

    rows = [Row("best", 0.5, 0.4, 1.0, 1.0), Row("worse", 0.4, 0.3, 1.0, 1.0), Row("close", 0.4, 0.4, 1.0, 1.0)]
    tests = [tested("worse", 0.001, 0.01), tested("close", 0.001, 0.2)]
    found = Comparison(rows, {"recall@20": tests, "ndcg@20": []})
    assert [found.mark("recall@20", row.model) for row in rows] == ["", "*", ""]
    lines = table(found).splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["0.5000", "0.4000*", "0.4000"]
    assert len(set(map(len, lines))) == 1
    assert "Recall@20 less that of best, the best; 9 users" in differences_table(found)
    beside = Comparison(rows, {"recall@20": [*tests, tested("worse", 0.9, 0.9, "close")]}, baseline="close")
    assert [beside.mark("recall@20", row.model) for row in rows] == ["", "", ""]
    assert "less that of close, the baseline" in differences_table(beside)


def test_the_table_and_the_names():
    text = table([Row("a", 0.25, 0.5, 1.0, 2.0, None), Row("b", error="broken")])
    assert text.splitlines()[1].split() == ["a", "0.2500", "0.5000", "1.0", "2.0", "-"]
    assert text.splitlines()[2].split() == ["b", "broken"]
    assert set(RECIPES) <= set(NAMES)
