"""Every recipe, and what stands on a model, on the device that a user names: trained, ranked, folded in, kept. A GPU's first test."""

import copy

import numpy as np
import pytest
import torch
from commands import code_of
from every_model import EVERY, TRAINED, narrow, numbers, of_all

from fastgcn_rec import Indexed, TwoStage, evaluate, fit
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.experiments.recipes import RECIPES

SHORT = {"epochs": 1, "batch_size": 128, "eval_every": 1, "warmup": 0.0, "progress": False}


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(80, 60, 1000, dim=8, seed=2)


def on(device, model):
    """The model there, whose every tensor is."""
    tensors = [*model.parameters(), *model.buffers(), *model.graph.tensors()]
    assert {t.device.type for t in tensors if t is not None} == {device.type}
    return model


def said(model):
    """Scores of lists of users, new users and neighbours, and of single pairs; and vectors of new nodes, where the model has any."""
    pairs = torch.tensor([[0, 1, 2], [model.n_users, model.n_users + 3, model.n_users + 5]], device=model.graph.device)
    found = [*of_all(model)[1::2], model(pairs).detach().cpu().numpy()]
    if model.row_scorer() is None:
        found.append(model.similar_users(model.user_ids[:9], 5)[1])
        found.append(model.fold_in_users([model.item_ids[[0, 3]].tolist()]).cpu().numpy())
        if not hasattr(model, "embed_items"):
            found.append(model.fold_in_items([model.user_ids[[0, 3]].tolist()]).cpu().numpy())
    return found


def same_there_and_here(model, data):
    """What the model says where it is, the same numbers say on the CPU."""
    copied = copy.deepcopy(model).to("cpu")
    for a, b in zip(said(model), said(copied), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b[np.isfinite(b)]).max())
    metrics, expected = evaluate(model, data.test), evaluate(copied, data.test)
    assert metrics["n_users_evaluated"] == expected["n_users_evaluated"] > 50
    assert metrics["recall@20"] == pytest.approx(expected["recall@20"], abs=0.01)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_ranks_there_as_on_the_cpu(name, device, data):
    recipe = RECIPES[name]
    model = on(device, narrow(recipe, data).to(device))
    if recipe.train is not None:
        before = [t.clone() for t in numbers(model)]
        history = fit(model, data, recipe.train, **SHORT)
        assert np.isfinite([epoch["loss"] for epoch in history.epochs]).all()
        assert not all(map(torch.equal, before, numbers(on(device, model))))
    same_there_and_here(model, data)


@pytest.mark.parametrize(
    "negatives", ["uniform(2)", "shared(8)", "uniform(1) + dynamic(1)", "curriculum(uniform(1), dynamic(1))"]
)
@pytest.mark.filterwarnings("ignore:fit. negatives=")  # of those that no graph can replay
def test_every_kind_of_negative_trains_there(negatives, device, data):
    model = on(device, EVERY["LightGCN"](data).to(device))
    history = fit(model, data, **SHORT | {"epochs": 3, "protocol": "none", "lr": 0.02}, negatives=negatives)
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]


@pytest.mark.parametrize("kind", TRAINED)
def test_every_model_trains_by_softmax_there_and_ranks_as_on_the_cpu(kind, device, data):
    model = on(device, EVERY[kind](data).to(device))
    history = fit(model, data, **SHORT | {"epochs": 3, "protocol": "none", "lr": 0.02}, loss="softmax")
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]
    same_there_and_here(on(device, model), data)


def test_items_never_seen_are_embedded_there_by_their_features_and_users(device, data):
    model = on(device, EVERY["PinSAGE"](data).to(device))
    fit(model, data, **SHORT | {"protocol": "none"})
    new = {"kind": ["kind 0", "kind 3"]}, [data.user_ids[[0, 3]].tolist(), []]
    found, expected = model.embed_items(*new), copy.deepcopy(model).to("cpu").embed_items(*new)
    assert found.device.type == device.type
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)


class ByScore:
    """A second stage that keeps the first one's order."""

    def fit(self, x, y, group=None):
        assert np.isfinite(x).all()
        assert 0 < y.sum() < len(y)

    def predict(self, x):
        return x[:, 0]


@pytest.mark.parametrize("kind", ["exact", "faiss"])
def test_an_index_and_a_second_stage_find_what_they_find_on_the_cpu(kind, device, data):
    if kind == "faiss":
        pytest.importorskip("faiss", reason="an extra")
    part, _ = data.split_valid(0.2)
    model = EVERY["LightGCN"](part).to(device)
    fit(model, part, **SHORT | {"epochs": 2, "protocol": "none"})
    for make in (lambda m: Indexed(m, kind), lambda m: TwoStage(m, ByScore(), n_candidates=20).fit(data)):
        there, here = make(model), make(copy.deepcopy(model).to("cpu"))
        assert (there.recommend(data.user_ids, 5)[0] == here.recommend(data.user_ids, 5)[0]).mean() > 0.95
        assert evaluate(there, data.test)["recall@20"] == pytest.approx(
            evaluate(here, data.test)["recall@20"], abs=0.01
        )


@pytest.mark.usefixtures("small_gowalla")
def test_commands_train_there_and_what_they_keep_recommends_anywhere(device, tmp_path, capsys):
    said = []
    for run in ("one", "other"):
        train = [
            "train",
            "gowalla",
            "--epochs",
            "2",
            "--dim",
            "8",
            "--quiet",
            "--device",
            device,
            "--out",
            tmp_path / run,
        ]
        assert code_of(*train) == 0
        capsys.readouterr()
        assert code_of("evaluate", tmp_path / run, "gowalla") == 0
        assert code_of("recommend", tmp_path / run, "7", "-k", "5") == 0
        said.append(capsys.readouterr().out)
    assert "user 7: " in said[0]
    assert said[0] == said[1]
