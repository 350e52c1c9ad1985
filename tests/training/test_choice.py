"""What the choice of an epoch rests on."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from support import watch_steps

from fastgcn_rec import MF, NGCF, LightGCN, PinSAGE, fit
from fastgcn_rec.data import Interactions, make_dataset
from fastgcn_rec.features import Categorical, Features
from fastgcn_rec.ranking.metrics import LOWER_IS_BETTER, METRICS
from fastgcn_rec.training import choice

QUICK = {"epochs": 4, "eval_every": 1, "batch_size": 512, "progress": False}


def with_items_a_user(n, n_users=30):
    events = Interactions.from_raw(np.repeat(np.arange(n_users), n), np.arange(n * n_users) % 37)
    return make_dataset("short", events, split="none")


@pytest.mark.parametrize(
    ("items", "options"),
    [
        (1, {}),
        (4, {}),
        (4, {"refit": True}),
        (9, {"valid_fraction": 0.05}),
        (12, {"protocol": "published"}),
    ],
)
def test_an_empty_part_to_choose_on_is_refused_before_training_and_the_remedies_named_work(items, options):
    data = with_items_a_user(items)
    model = LightGCN(data, 8, 1)
    graph, before, reported = model.graph, model.embedding.weight.clone(), []
    with pytest.raises(ValueError, match="protocol='none'") as caught:
        fit(model, data, **QUICK, **options, on_epoch=reported.append)
    assert not reported
    assert model.graph is graph
    assert torch.equal(model.embedding.weight, before)
    _, larger, fraction = str(caught.value).partition("valid_fraction=")[2].partition("valid_fraction=")
    assert bool(larger) == (items > 1 and "protocol" not in options)
    if larger:
        enough = float(fraction.split()[0])
        assert fit(model, data, **QUICK | options | {"valid_fraction": enough}).best_epoch > 0
        with pytest.raises(ValueError, match="valid_fraction"):
            fit(model, data, **QUICK | options | {"valid_fraction": enough - 1e-4})
    assert len(fit(model, data, **QUICK, protocol="none").epochs) == 4


def answers(monkeypatch, values):
    """What ``fit`` finds for every metric, evaluation by evaluation."""
    seen = iter(values)

    def found(model, judge, exclude, *, ks, metrics):
        return dict.fromkeys([f"{m}@{ks[0]}" for m in metrics], next(seen)) | {"n_users_evaluated": 1}

    monkeypatch.setattr(choice, "evaluate", found)


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_epoch_is_the_best_in_the_metrics_own_direction(metric, data, monkeypatch):
    answers(monkeypatch, [0.3, 0.1, 0.5, 0.4])
    history = fit(LightGCN(data, 8, 1), data, **QUICK, metric=f"{metric}@10")
    assert (history.best_epoch, history.best_metric) == ((2, 0.1) if metric in LOWER_IS_BETTER else (3, 0.5))


@pytest.mark.parametrize(("metric", "values"), [("ndcg@10", [0.3, 0.2, 0.1, 0.4]), ("gini@10", [0.3, 0.4, 0.5, 0.2])])
def test_patience_follows_the_direction(metric, values, data, monkeypatch):
    answers(monkeypatch, values)
    history = fit(LightGCN(data, 8, 1), data, **QUICK, metric=metric, patience=2)
    assert (len(history.epochs), history.best_epoch) == (3, 1)
    assert metric in history.stopped


def test_nan_chooses_nothing():
    """Users who have all items: their lists are empty, and so is what coverage is of."""
    events = Interactions.from_raw([0] * 6 + [1] * 6 + [2, 2], [*range(6), *range(6), 0, 1])
    full = make_dataset("full", events, split="none")
    data = dataclasses.replace(full, test=full.train.select(full.train.users < 2))
    with pytest.raises(ValueError, match=r"coverage@3 on test .* is not a number after epoch 1.*protocol='none'"):
        fit(LightGCN(data, 8, 1), data, **QUICK, protocol="published", metric="coverage@3")


def data_of(users, items):
    return make_dataset("given", Interactions.from_raw(users, items), split="none")


def with_kinds(data, **options):
    kind = [f"k{i % 2}" for i in range(data.n_items)]
    return PinSAGE(
        data, Features({"kind": Categorical()}), {"kind": kind}, embedding_dim=8, hidden_dim=8, n_walks=5, **options
    )


@pytest.mark.parametrize(
    ("make", "data", "options", "why"),
    [
        (
            MF,
            data_of(np.repeat(range(6), 5), np.tile(range(5), 6)),
            {"loss": "bpr"},
            "every user of given has all 5 items",
        ),
        (
            MF,
            data_of(np.repeat(range(6), 5), np.tile(range(5), 6)),
            {"loss": "max_margin"},
            "every user of given has all 5",
        ),
        (MF, data_of(range(6), [3] * 6), {"loss": "softmax"}, "all edges of given are of one item"),
        (
            with_kinds,
            data_of(range(9), np.arange(9) % 5),
            {"loss": "softmax"},
            "of the edges trained on no user has two: ",
        ),
        (with_kinds, data_of(range(9), np.arange(9) % 5), {"loss": "bpr"}, "of the edges trained on no user has two: "),
    ],
)
def test_data_that_nothing_can_be_learnt_from_is_refused(make, data, options, why):
    model = make(data, embedding_dim=8) if make is MF else make(data)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=why):
        fit(model, data, **QUICK | options, protocol="none")
    assert all(map(torch.equal, model.parameters(), before))


def test_a_window_without_two_items_of_a_user_is_refused():
    events = Interactions.from_raw([0, 0, 1, 1], [0, 1, 1, 2], time=[0, 10, 0, 10])
    data = make_dataset("apart", events, split="none")
    with pytest.raises(ValueError, match=r"no user has two within window=5\.0"):
        fit(with_kinds(data, window=5), data, **QUICK, protocol="none", loss="softmax")
    fit(with_kinds(data, window=15), data, **QUICK, protocol="none", loss="softmax")


@pytest.mark.parametrize("make", [LightGCN, NGCF])
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("protocol", ["none", "validation"])
def test_a_divergence_is_seen_in_the_last_step_too_and_costs_nothing_that_was_there(
    make, epochs, protocol, data, tmp_path, monkeypatch
):
    path, model, kept = tmp_path / "c.npz", make(data, 8, 1), {}
    options = QUICK | {"epochs": epochs, "protocol": protocol, "checkpoint": path}

    def parameters():
        return {name: p.detach().clone() for name, p in model.named_parameters()}

    before = parameters()

    def diverge(step, t, lr):
        loss = step(t, lr)  # of the parameters before the step
        if t + 1 == epochs * math.ceil(model.graph.n_edges / 512):
            with torch.no_grad():
                next(model.parameters())[-1] = float("inf")
        return loss

    with monkeypatch.context() as patched:
        watch_steps(patched, diverge)
        with pytest.raises(FloatingPointError, match=f"diverged.*epoch {epochs}.*lower lr") as caught:
            fit(model, data, **options, on_epoch=lambda record: kept.update({int(record["epoch"]): parameters()}))
    best = int(str(caught.value).partition("holds epoch ")[2].partition(",")[0] or 0)
    assert (best > 0) == (epochs > 1 and protocol == "validation")
    expected = kept[best] if best else before
    assert all(torch.equal(p, expected[name]) for name, p in parameters().items())
    assert path.exists() == (epochs > 1)
    straight, resumed = make(data, 8, 1), make(data, 8, 1)
    fit(straight, data, **options | {"checkpoint": None})
    fit(resumed, data, **options)  # from the last checkpoint, which was before
    assert all(torch.equal(*pair) for pair in zip(straight.parameters(), resumed.parameters(), strict=True))
