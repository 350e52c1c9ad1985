import os
import sys

import numpy as np
import pytest
import torch
from conftest import random_graph

from fastgcn_rec import MF, Graph, Popularity, evaluate
from fastgcn_rec.data import Edges, load_dataset
from fastgcn_rec.evaluate import METRICS, bootstrap, list_metrics, ranking_metrics

needs_data = pytest.mark.skipif(
    "FASTGCN_REC_DATA" not in os.environ, reason="needs the data sets: set FASTGCN_REC_DATA"
)


@pytest.mark.parametrize(
    ("hits", "relevant", "recall", "ndcg"),
    [([1, 0, 0], 2, 0.5, 0.6131), ([1, 0, 1], 2, 1.0, 0.9197), ([0, 0, 0], 2, 0.0, 0.0), ([1, 1, 1], 5, 0.6, 1.0)],
)
def test_golden_cases(hits, relevant, recall, ndcg):
    values = ranking_metrics(np.array([hits], bool), np.array([relevant]), 3)
    assert round(float(values["recall"][0]), 4) == recall
    assert round(float(values["ndcg"][0]), 4) == ndcg


def test_the_other_metrics_by_hand():
    values = ranking_metrics(np.array([[0, 1, 1], [0, 0, 0]], bool), np.array([2, 1]), 3)
    assert values["precision"].tolist() == [2 / 3, 0.0]
    assert values["hit"].tolist() == [1.0, 0.0]
    assert values["mrr"].tolist() == [0.5, 0.0]
    np.testing.assert_allclose(values["map"], [(1 / 2 + 2 / 3) / 2, 0.0])


def test_evaluate_equals_a_plain_loop():
    graph = random_graph()
    rng = np.random.default_rng(1)
    scores = torch.from_numpy(rng.integers(0, 5, (40, 30)).astype(np.float32))  # ties
    test = Edges(rng.integers(0, 40, 90), rng.integers(0, 30, 90))  # repeated pairs, some seen in train
    got = evaluate(lambda u: scores[u], test, graph, ks=[3, 7], metrics=METRICS, batch_users=11)
    seen = graph.to_scipy().toarray() > 0
    lists, recalls = [], []
    for u in sorted(set(test.users.tolist())):
        relevant = set(test.items[test.users == u].tolist())
        order = sorted((i for i in range(30) if not seen[u, i]), key=lambda i: (-float(scores[u, i]), i))[:7]
        lists.append(order)
        recalls.append(len(relevant & set(order)) / len(relevant))
    assert got["recall@7"] == pytest.approx(np.mean(recalls), abs=1e-12)
    assert got["n_users_evaluated"] == len(lists)
    assert got["coverage@3"] == len({i for order in lists for i in order[:3]}) / 30
    degree = graph.item_degree.tolist()
    assert got["popularity@7"] == pytest.approx(np.mean([degree[i] for order in lists for i in order]), abs=1e-12)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_a_model_of_vectors_and_its_scorer_get_the_same_metrics(similarity, monkeypatch):
    monkeypatch.setattr(sys.modules["fastgcn_rec.evaluate"], "RANKED_AT_ONCE", 13)
    graph = random_graph()
    model = MF(graph, 8, similarity=similarity)
    rng = np.random.default_rng(2)
    test = Edges(rng.integers(0, 40, 90), rng.integers(0, 30, 90))
    by_vectors = evaluate(model, test, ks=[3, 30], metrics=METRICS)
    assert by_vectors == pytest.approx(evaluate(model.scorer(), test, graph, ks=[3, 30], metrics=METRICS), abs=1e-12)


def test_a_scorer_of_its_own_ranks_a_model():
    class Backwards(MF):
        def scorer(self):
            return lambda users: torch.arange(self.n_items).float().expand(len(users), -1)

    model = Backwards(random_graph(), 8)
    assert model.vectors() is None
    assert model.recommend([0], 30, exclude_seen=False)[0].tolist() == [list(range(30))[::-1]]


def test_without_test_items_metrics_are_nan():
    result = evaluate(lambda u: torch.zeros(len(u), 3), Edges([], []), Graph.from_edges([0], [1], 1, 3))
    assert np.isnan(result["recall@20"])
    assert result["n_users_evaluated"] == 0


def test_errors():
    graph = random_graph()
    with pytest.raises(ValueError, match=r"metrics must be among .*got \['auc'\]"):
        evaluate(lambda u: u, Edges([], []), graph, metrics=["auc"])
    with pytest.raises(ValueError, match="exclude=Graph"):
        evaluate(lambda u: u, Edges([], []))


def test_list_metrics_by_hand():
    values = list_metrics(np.array([0, 0, 0, 8]), np.array([1, 1, 1, 7]))
    assert values == {"coverage": 0.25, "gini": 0.75, "popularity": 7.0}
    assert list_metrics(np.full(9, 3), np.arange(9), ["gini"]) == {"gini": 0.0}
    assert np.isnan(list_metrics(np.zeros(3, np.int64), np.ones(3, np.int64))["gini"])


def test_degree_buckets_part_the_users():
    graph = random_graph()
    rng = np.random.default_rng(3)
    test = Edges(rng.integers(0, 40, 90), rng.integers(0, 30, 90))
    got = evaluate(MF(graph, 8), test, ks=[5], degrees=[4, 6])
    kinds = ["[0,4)", "[4,6)", "[6,inf)"]
    sizes = [got["n_users_evaluated" + kind] for kind in kinds]
    degree = graph.user_degree.numpy()[np.unique(test.users)]
    assert sizes == [(degree < 4).sum(), ((degree >= 4) & (degree < 6)).sum(), (degree >= 6).sum()]
    assert min(sizes) > 0
    for name in ("recall@5", "ndcg@5"):
        parts = [got[name + kind] for kind in kinds]
        assert np.dot(parts, sizes) / sum(sizes) == pytest.approx(got[name], abs=1e-12)
    for bad in ([4, 4], [0, 3], [5, 2]):
        with pytest.raises(ValueError, match="degrees must be ascending and >= 1"):
            evaluate(MF(graph, 8), test, degrees=bad)


def test_bootstrap_intervals_are_seeded_and_as_wide_as_the_normal_ones():
    rng = np.random.default_rng(0)
    values = rng.random((2000, 2)) * [1, 3]
    low, high = bootstrap(values, 2000, seed=5)
    np.testing.assert_array_equal(bootstrap(values, 2000, seed=5), [low, high])
    assert not np.array_equal(bootstrap(values, 2000, seed=6)[0], low)
    half = 1.96 * values.std(0) / np.sqrt(2000)
    np.testing.assert_allclose(low, values.mean(0) - half, atol=0.1 * half.max())
    np.testing.assert_allclose(high, values.mean(0) + half, atol=0.1 * half.max())
    test = Edges(rng.integers(0, 40, 90), rng.integers(0, 30, 90))
    got = evaluate(MF(random_graph(), 8), test, resamples=50, confidence=0.8, seed=1)
    for name in ("recall@20", "ndcg@20"):
        assert got[f"{name}.low"] < got[name] < got[f"{name}.high"]
    with pytest.raises(ValueError, match=r"resamples must be >= 0 and confidence in \(0, 1\), got 50 and 1"):
        evaluate(MF(random_graph(), 8), test, resamples=50, confidence=1)


@needs_data
@pytest.mark.parametrize(("name", "recall", "ndcg"), [("gowalla", 0.04163, 0.03169), ("yelp2018", 0.01245, 0.01011)])
def test_popularity_on_the_published_splits(name, recall, ndcg):
    data = load_dataset(name, download=False)
    result = evaluate(Popularity(data), data.test)
    assert round(result["recall@20"], 5) == recall
    assert round(result["ndcg@20"], 5) == ndcg
