"""PinSAGE's training for new items and popular ones: items computed as new, sampling bias, neighbours by visits and degree."""

import numpy as np
import pytest
import torch
from every_item import items
from support import assert_close, random_graph, same_bits_in_any_order

from fastgcn_rec import Graph, PinSAGE, TrainConfig, fit, random_walk, sample_batch, uniform_rows
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.features import Categorical, Features, Numeric, Text
from fastgcn_rec.models.pinsage import batch as pinsage
from fastgcn_rec.models.pinsage.draws import COLD_ITEMS, mixed
from fastgcn_rec.models.pinsage.layers import Neighborhoods
from fastgcn_rec.negatives import Negatives

COLUMNS = {"id": Categorical(), "kind": Categorical("|"), "title": Text(64), "price": Numeric()}
NEW = {"cold_share": 0.4, "degree_power": 0.5}


def described(n, first=0):
    return {**items(n), "id": np.arange(first, first + n)}


def make(graph, **options):
    options = {"embedding_dim": 8, "hidden_dim": 16, "top": 5, "n_walks": 20, "history": 4, **options}
    model = PinSAGE(graph, Features(COLUMNS), described(graph.n_items), **options)
    with torch.no_grad():
        model.table[model.features.unknown_tokens()] = 0.3  # as training would
    return model


def decoded(features, encoded):
    """Per item {value or "?" of a column: weight}."""
    names = []
    for name, column in features.columns.items():
        names += [f"{name}=?", *(f"{name}={v}" for v in features.learnt[name])]
        assert len(names) >= column.n_tokens(features.learnt[name])
    rows = zip(encoded.tokens.tolist(), encoded.weights.tolist(), strict=True)
    return [{names[t]: w for t, w in zip(*row, strict=True) if t >= 0} for row in rows]


@pytest.mark.parametrize("min_count", [1, 2])
def test_an_item_as_new_is_as_features_fitted_on_the_others_give_it(min_count):
    columns = {
        "id": ["a", "b", "c", "d", "e"],
        "tags": ["x|y", "x|p|q|r", "y|x|s", "", "x|unknown"],
        "kind": ["t", "t", "u", "u", "v"],
    }
    kinds = {"id": Categorical(), "tags": Categorical("|", min_count), "kind": Categorical(min_count=min_count)}
    features = Features(kinds).fit(columns)
    ours = decoded(features, features.as_new(features.transform(columns)))
    for i in range(5):
        others = Features(kinds).fit(columns, [j for j in range(5) if j != i])
        assert ours[i] == decoded(others, others.transform({name: [values[i]] for name, values in columns.items()}))[0]


@pytest.mark.parametrize("options", [{"num_layers": 0}, {"num_layers": 2}, {"linear": True}, {"degree_power": 0.5}])
def test_an_item_as_new_gets_the_vector_of_a_new_one_with_the_same_features(options):
    model = make(random_graph(), **options)
    alike = {**described(model.n_items), "id": [f"new {i}" for i in range(model.n_items)]}
    every = torch.arange(model.n_items)
    assert_close(model.embed_as_new(every), model.embed_items(alike))
    near = model.neighborhoods()
    assert (model.embed(every, near) - model.embed_as_new(every)).abs().max() > 0.01


def by_the_formula(model, config, t, users, pos, negatives):
    """What batch_loss documents, from the vectors of all items in both forms, in float64."""
    o, graph = model.options, model.rounds.at(model.graph, config, t).graph
    every = torch.arange(model.n_items)
    known, new = model.embed(every, model.rounds.at(model.graph, config, t).near), model.embed_as_new(every)
    drawn = random_walk(graph, users.repeat_interleave(o["history"]), 1, mixed(config.seed, t))[:, 1]
    rows = torch.where(drawn[:, None] >= 0, known[(drawn - model.n_users).clamp(min=0)], 0)
    queries = torch.nn.functional.normalize(rows.view(len(users), -1, known.shape[1]).mean(1), dim=1)
    u = uniform_rows(every, 1, seed=config.seed, step=t, place=COLD_ITEMS)[:, 0]
    cold = u < o["cold_share"]
    z = torch.where(cold[:, None], new, known)
    if config.loss == "softmax":
        scores = queries @ z[pos].T / config.temperature
        degree = model.graph.item_degree.double()
        scores = scores - config.logq * (degree / degree.sum()).log()[pos]
        return torch.nn.functional.cross_entropy(scores, torch.arange(len(users))), cold
    margins = ((queries * z[pos]).sum(1)[:, None] - (queries[:, None] * z[negatives.ids]).sum(2)).flatten()
    return -torch.nn.functional.logsigmoid(margins).mean(), cold


@pytest.mark.parametrize(("loss", "n_neg"), [("softmax", 0), ("bpr", 3)])
@pytest.mark.parametrize("linear", [False, True])
def test_loss_and_gradient_are_those_of_the_formula(loss, n_neg, linear):
    model = make(synthetic_interactions(60, 50, 700, seed=1).graph(), linear=linear, **NEW).double()
    logq = 0.7 if loss == "softmax" else 0.0
    config = TrainConfig(loss=loss, logq=logq, batch_size=32, seed=5, reg=0.0)
    for t in range(3):
        users, pos, neg = sample_batch(model.graph, 32, n_neg, seed=5, offset=32 * t)
        negatives = Negatives(neg)
        ours = model.batch_loss(config, t, users, pos, negatives)
        expected, cold = by_the_formula(model, config, t, users, pos, negatives)
        assert_close(ours, expected)
        assert 0.1 < float(cold.double().mean()) < 0.7
        parameters = list(model.parameters())
        for a, b in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(expected, parameters), strict=True):
            assert_close(a, b, terms=1.0)


def test_a_share_of_nothing_changes_no_bits(monkeypatch):
    graph = synthetic_interactions(60, 50, 700, seed=1).graph()
    config = TrainConfig(loss="bpr", batch_size=32)
    batch = sample_batch(graph, 32, 2, seed=0)

    def run(share):
        model = make(graph, cold_share=share)
        loss = model.batch_loss(config, 0, *batch[:2], Negatives(batch[2]))
        loss.backward()
        return [loss, *(p.grad for p in model.parameters())]

    drawn = run(1e-30)
    monkeypatch.setattr(pinsage, "uniform_rows", None)  # not even asked
    for a, b in zip(run(0.0), drawn, strict=True):
        assert torch.equal(a, b)


def test_every_item_of_a_batch_may_be_new():
    graph = Graph.from_edges([0, 1, 2, 2], [0, 1, 2, 0], 3, 3)
    model = make(graph, cold_share=1 - 1e-9, round_share=0.9)
    loss = model.batch_loss(
        TrainConfig(batch_size=2, loss="bpr"), 0, torch.tensor([0, 1]), torch.tensor([0, 1]), Negatives(torch.tensor([[2], [0]]))
    )  # fmt: skip
    loss.backward()
    assert loss.isfinite()


def test_the_unknown_row_is_trained_by_items_as_new():
    dataset = synthetic_interactions(60, 50, 700, seed=1)
    options = {"epochs": 1, "batch_size": 64, "loss": "softmax", "protocol": "none", "progress": False}
    for share, moved in ((0.0, False), (0.3, True)):
        model = PinSAGE(dataset, Features({"id": Categorical()}), {"id": dataset.item_ids}, cold_share=share)
        fit(model, dataset, **options)
        assert bool(model.table[0].any()) is moved


def test_resuming_with_new_items_gives_the_bits_of_going_through(tmp_path):
    dataset, file = synthetic_interactions(60, 50, 700, seed=1), tmp_path / "state.npz"
    options = {"batch_size": 64, "loss": "softmax", "lr": 0.01, "eval_every": 1, "patience": 0, "progress": False}

    def model_of():
        return PinSAGE(dataset, Features(COLUMNS), described(50), embedding_dim=8, hidden_dim=16, n_walks=20, **NEW)

    through, first, resumed = model_of(), model_of(), model_of()
    fit(through, dataset, epochs=4, **options)
    fit(first, dataset, epochs=2, checkpoint=file, **options)
    fit(resumed, dataset, epochs=4, checkpoint=file, **options)
    for a, b in zip(through.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_for_new_items_has_the_same_bits_for_any_number_of_threads():
    dataset = synthetic_interactions(60, 50, 700, seed=1)

    def run():
        model = make(dataset.graph(), **NEW)
        fit(model, dataset, epochs=1, batch_size=100, loss="softmax", lr=0.01, protocol="none", progress=False)
        return [*(p.detach() for p in model.parameters()), model.get_embedding().detach()]

    same_bits_in_any_order(run, torch.device("cpu"))


def test_neighbours_are_ranked_by_visits_and_degree():
    near = Neighborhoods(
        torch.tensor([[0, 3, 1, 2], [2, 1, -1, -1], [-1, -1, -1, -1]]),
        torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.5, 0.5, 0.0, 0.0], [0.0] * 4], dtype=torch.float64),
    )
    degree = torch.tensor([100, 9, 1, 9])
    best = near.reweighted(degree, 0.5, 3)
    # 0.04, 0.1, 0.0667, 0.1: items 2 and 3 tie
    assert best.ids.tolist() == [[2, 3, 1], [2, 1, -1], [-1, -1, -1]]
    assert_close(best.weights, torch.tensor([[3, 3, 2], [6, 2, 0], [0, 0, 0]]).double() / 8)


def test_neighbourhoods_of_a_degree_power_are_those_of_more_candidates():
    graph = random_graph()
    wide = make(graph, top=30, degree_power=0.0).neighborhoods()  # all items
    ours = make(graph, top=3, degree_power=0.5).neighborhoods()
    for i in range(graph.n_items):
        scores = [
            (w / max(1, graph.item_degree[j]) ** 0.5, j)
            for w, j in zip(wide.weights[i].tolist(), wide.ids[i].tolist(), strict=True)
            if j >= 0
        ]
        best = sorted(scores, key=lambda pair: -pair[0])[:3]
        assert np.isclose(sum(w for w, _ in best) * ours.weights[i, 0], best[0][0], rtol=1e-5) or not best
        assert {j for j in ours.ids[i].tolist() if j >= 0} <= {j for _, j in scores}
    assert ((ours.weights.sum(1) - 1).abs() < 1e-5).logical_or(ours.ids[:, 0] < 0).all()


def test_errors_of_training_for_new_items():
    graph = random_graph()
    for options, message in (
        ({"cold_share": 1.0}, r"cold_share must lie in \[0, 1\), got 1"),
        ({"degree_power": float("inf")}, r"degree_power must be >= 0 and finite, got inf"),
    ):
        with pytest.raises(ValueError, match=message):
            make(graph, **options)
