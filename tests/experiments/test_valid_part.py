"""What a run says of a validation part."""

import json

import numpy as np
import pytest

from fastgcn_rec import MF, Recommender, TrainConfig, cli, evaluate
from fastgcn_rec.data import DataSpec, load_dataset, synthetic_interactions
from fastgcn_rec.experiments.inspection import inspect_data
from fastgcn_rec.experiments.recipes import RECIPES
from fastgcn_rec.experiments.runs import KS, METRICS, make_and_write, train_and_write


@pytest.fixture(scope="module")
def data():
    whole = synthetic_interactions(60, 40, 600, seed=1)
    return whole.with_valid(whole.split_valid(0.2)[1])


@pytest.mark.parametrize("refit", [False, True])
def test_the_metrics_of_a_run_have_it_unless_it_was_trained_on(refit, data, tmp_path, capsys):
    config = TrainConfig(epochs=2, eval_every=1, batch_size=128, refit=refit)
    metrics = train_and_write(MF(data, 8), data, config, tmp_path, progress=False)
    assert metrics == json.loads((tmp_path / "metrics.json").read_text())
    model = Recommender.load(tmp_path / "model.npz")
    assert metrics["chosen_on"] == "validation (own part)"
    assert {key: metrics[key] for key in evaluate(model, data)} == evaluate(model, data)
    said = capsys.readouterr().out
    if refit:
        assert "valid" not in metrics
        assert "valid: " not in said
    else:
        assert metrics["valid"] == evaluate(model, data, part="valid", ks=KS, metrics=METRICS)
        assert metrics["valid"]["recall@20"] == metrics["best_recall@20"]
        assert f"valid: Recall@20 {metrics['valid']['recall@20']:.4f}" in said
    assert f"{len(data.train)} train + {len(data.valid)} valid" in str(data.report())


def test_a_model_that_is_made_without_training_is_judged_on_it_too(data, tmp_path):
    metrics = make_and_write(RECIPES["popularity"], data, tmp_path)
    model = Recommender.load(tmp_path / "model.npz")
    assert model.graph.n_edges == len(data.train)
    assert metrics["valid"] == evaluate(model, data, part="valid", ks=KS, metrics=METRICS)


def plays(path, n, seed):
    rng = np.random.default_rng(seed)
    rows = [
        f"{u},{u % 4 * 10 + i},{n}"
        for n, (u, i) in enumerate(zip(rng.integers(0, 40, n), rng.integers(0, 10, n), strict=True))
    ]
    path.write_text("\n".join(["listener,song,at", *dict.fromkeys(rows)]) + "\n")


def test_inspect_counts_it(tmp_path):
    plays(tmp_path / "plays.csv", 500, 0)
    spec = DataSpec.of(tmp_path / "plays.csv", valid=0.1)
    found, report = inspect_data(spec).to_dict()["split"], spec.load().report()
    assert (found["train"], found["valid"], found["test"]) == (report.train, report.valid, report.test)
    assert report.valid > 0
    assert "valid" not in inspect_data(DataSpec.of(tmp_path / "plays.csv")).to_dict()["split"]


@pytest.mark.filterwarnings("ignore:.* pairs of")
def test_from_three_files_to_figures_of_each_part_by_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plays").mkdir()
    for seed, (part, n) in enumerate({"train": 600, "valid": 80, "test": 90}.items()):
        plays(tmp_path / "plays" / f"{part}.csv", n, seed)
    command = "train ./plays --epochs 2 --eval-every 1 --dim 8 --layers 1 --quiet --out run"
    assert cli.main(command.split()) == 0
    said = capsys.readouterr().out
    assert "chosen on validation (own part)" in said
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    for part, expected in (("valid", metrics["valid"]), ("test", metrics)):
        assert cli.main(["evaluate", "run", "--part", part]) == 0
        assert f"recall@20          {expected['recall@20']:.4f}" in capsys.readouterr().out
    data, model = load_dataset("plays"), Recommender.load(tmp_path / "run" / "model.npz")
    assert metrics["fingerprint"] == data.fingerprint()
    assert evaluate(model, data, part="train")["n_users_evaluated"] == len(np.unique(data.train.users))
