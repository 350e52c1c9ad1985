"""What a run says of a validation part."""

import json

import pytest

from fastgcn_rec import MF, Recommender, TrainConfig, evaluate
from fastgcn_rec.data import synthetic_interactions
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
