"""EASE beside its formula in plain NumPy, float64; what models by items share."""

import numpy as np
import pytest
import torch
from every_model import with_guesses
from support import assert_close, random_graph, ranking

from fastgcn_rec import EASE, SLIM, Graph, ItemKNN, RP3beta, evaluate
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.models import ease


def weighted_graph():
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 40, 200), rng.integers(0, 30, 200)
    return Graph.from_edges(users, items, 42, 31, rng.uniform(0.5, 2.0, 200).astype(np.float32))


GRAPHS = [random_graph(), weighted_graph()]


def dense(graph):
    return graph.to_scipy().toarray().astype(np.float64)


def all_scores(model):
    return model.scorer()(torch.arange(model.n_users, device=model.graph.device))


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_ease_solves_its_normal_equations(device, graph, precision):
    r, reg = dense(graph), 4.0
    c = np.linalg.inv(r.T @ r + reg * np.eye(r.shape[1]))
    b = -c / np.diag(c)
    np.fill_diagonal(b, 0)
    model = EASE(graph.to(device), reg, precision)
    assert_close(model.weights, torch.from_numpy(b))
    assert_close(all_scores(model), torch.from_numpy(with_guesses(r @ b, r)), terms=float((r @ np.abs(b)).max()))


def test_the_inverse_in_blocks(monkeypatch):
    r = random_graph().to_scipy()
    monkeypatch.setattr(ease, "_ROWS", 7)
    exact = np.linalg.inv((r.T @ r).toarray().astype(np.float64) + 2 * np.eye(30))
    np.testing.assert_allclose(ease.inverse_gram(r, 2.0, np.float64), exact, atol=1e-12)


def test_ease_takes_the_precision_that_fits_or_says_what_it_needs(monkeypatch):
    graph = random_graph()
    needed = ease.bytes_needed(30)["float64"]
    for free, dtype in ((needed, np.float64), (needed - 1, np.float32), (None, np.float64)):
        monkeypatch.setattr(ease, "available_memory", lambda free=free: free)
        assert EASE(graph)._dtype() is dtype
    monkeypatch.setattr(ease, "available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match=r"inverse of a 30 x 30 matrix takes 0.0 GiB, 0.0 GiB are free"):
        EASE(graph)
    assert ease.inverse_gram(graph.to_scipy(), 1.0, np.float32).dtype == np.float32


MODELS = [
    lambda g: ItemKNN(g, 5, "jaccard", 1.0),
    lambda g: RP3beta(g, 5, 0.8, 0.3),
    lambda g: EASE(g, 3.0),
    lambda g: SLIM(g, 0.1, 0.5),
]


@pytest.mark.parametrize("make", MODELS)
def test_similar_items_are_a_row_of_the_matrix(make):
    graph = random_graph()
    model = make(graph)
    matrix = model.weights.numpy() if isinstance(model, EASE) else model.matrix().toarray()
    ids, scores = model.similar_items([4], 30)
    order = ranking([i for i in range(30) if i != 4], matrix[4].__getitem__)
    assert ids[0].tolist() == [*order, -1]
    np.testing.assert_array_equal(scores[0, :-1], matrix[4, order])


@pytest.mark.parametrize("make", MODELS)
def test_they_beat_popularity(make):
    from fastgcn_rec import Popularity

    data = synthetic_interactions(200, 100, 4000, seed=1)
    assert evaluate(make(data), data.test)["ndcg@20"] > evaluate(Popularity(data), data.test)["ndcg@20"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda g: RP3beta(g, alpha=0.0), "alpha must be > 0, beta >= 0, both finite, got 0.0 and 0.6"),
        (lambda g: EASE(g, 0.0), "reg must be > 0 and finite, got 0.0"),
        (lambda g: EASE(g, precision="half"), "precision must be one of"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make(random_graph())
