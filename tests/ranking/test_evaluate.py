import os
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import random_graph, ranking

from fastgcn_rec import MF, Graph, ItemKNN, Popularity, evaluate, evaluate_users, fit
from fastgcn_rec.data import Edges, load_dataset, synthetic_interactions
from fastgcn_rec.ranking.hit_metrics import HitMetrics
from fastgcn_rec.ranking.metrics import METRICS, bootstrap, list_metrics, ranking_metrics

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
        order = ranking([i for i in range(30) if not seen[u, i]], scores[u].tolist().__getitem__)[:7]
        lists.append(order)
        recalls.append(len(relevant & set(order)) / len(relevant))
    assert got["recall@7"] == pytest.approx(np.mean(recalls), abs=1e-12)
    assert got["n_users_evaluated"] == len(lists)
    assert got["coverage@3"] == len({i for order in lists for i in order[:3]}) / 30
    degree = graph.item_degree.tolist()
    assert got["popularity@7"] == pytest.approx(np.mean([degree[i] for order in lists for i in order]), abs=1e-12)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_a_model_of_vectors_and_its_scorer_get_the_same_metrics(similarity, monkeypatch):
    monkeypatch.setattr(sys.modules["fastgcn_rec.ranking.lists"], "RANKED_AT_ONCE", 13)
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
        with pytest.raises(ValueError, match=r"degrees must be (ascending|>= 1)"):
            evaluate(MF(graph, 8), test, degrees=bad)


def test_the_metrics_of_each_user_are_those_of_that_user_alone():
    data = synthetic_interactions(80, 60, 900, seed=2)
    model = Popularity(data)
    found = evaluate_users(model, data, ks=[5, 20], metrics=["recall", "map"])
    assert found.users.tolist() == np.unique(data.test.users).tolist()
    assert list(found.values) == ["recall@5", "map@5", "recall@20", "map@20"]
    whole = evaluate(model, data, ks=[5, 20], metrics=["recall", "map"])
    assert found.means() == {name: whole[name] for name in found.values}
    at = len(found.users) // 2
    alone = evaluate(model, data.test.select(data.test.users == found.users[at]), ks=[5, 20], metrics=["recall", "map"])
    assert {name: values[at] for name, values in found.values.items()} == {name: alone[name] for name in found.values}
    with pytest.raises(ValueError, match="metrics must be among"):
        evaluate_users(model, data, metrics="gini")


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
    with pytest.raises(ValueError, match="confidence must lie strictly between 0 and 1, got 1"):
        evaluate(MF(random_graph(), 8), test, resamples=50, confidence=1)


@needs_data
@pytest.mark.parametrize(("name", "recall", "ndcg"), [("gowalla", 0.04163, 0.03169), ("yelp2018", 0.01245, 0.01011)])
def test_popularity_on_the_published_splits(name, recall, ndcg):
    data = load_dataset(name, download=False)
    result = evaluate(Popularity(data), data.test)
    assert round(result["recall@20"], 5) == recall
    assert round(result["ndcg@20"], 5) == ndcg


def test_a_scorer_may_return_numpy_and_must_return_a_score_for_every_item():
    graph, rng = random_graph(), np.random.default_rng(0)
    test = Edges(rng.integers(0, 40, 60), rng.integers(0, 30, 60))
    scores = rng.random((40, 30))
    expected = evaluate(lambda users: torch.from_numpy(scores)[users], test, graph)
    assert evaluate(lambda users: scores[users], test, graph) == expected
    assert evaluate(lambda users: np.flip(np.flip(scores, 1)[users], 1), test, graph) == expected
    with pytest.raises(
        ValueError, match=r"the scorer must return scores \[b, n_items\] = \[\d+, 30\], got \[\d+, 29\]"
    ):
        evaluate(lambda users: scores[users, :29], test, graph)
    with pytest.raises(TypeError, match="a tensor or a NumPy array, got list"):
        evaluate(lambda users: scores[users].tolist(), test, graph)


def test_what_stands_for_a_test_part():
    data = synthetic_interactions(50, 40, 400)
    model = Popularity(data)
    expected = evaluate(model, data.test, ks=[5], metrics=["recall"])
    matrix = Graph.from_edges(data.test.users, data.test.items, 50, 40)
    for test in (data, matrix, matrix.to_scipy(), matrix.to_scipy().tocoo()):
        assert evaluate(model, test, ks=5, metrics="recall") == expected
    assert evaluate(model, data, ks=np.array([5]), metrics=("recall",)) == expected
    with pytest.raises(TypeError, match=r"test must be Edges.*got tuple; .* write Edges\(users, items\)"):
        evaluate(model, (data.test.users, data.test.items))
    with pytest.raises(
        ValueError, match=r"test must be \[n_users, n_items\] = \[50, 40\] as exclude is, got \[50, 39\]"
    ):
        evaluate(model, matrix.to_scipy()[:, :39])
    with pytest.raises(TypeError, match=r"exclude must be a Graph, got Dataset; dataset.graph"):
        evaluate(model, data.test, data)


def test_a_data_set_must_hold_the_edges_that_the_model_was_made_of():
    data = synthetic_interactions(50, 40, 400)
    part, _ = data.split_valid(0.3)
    assert evaluate(Popularity(part), data) == evaluate(Popularity(part), data.test)
    with pytest.raises(
        ValueError, match=r"evaluate: of the .* edges of the graph of the model .* are no training edges"
    ):
        evaluate(Popularity(data), part)


def left_out(model, data, part, **options):
    """The pairs that no list shows when the part is evaluated."""
    seen = []

    class Spy:
        graph = model.graph

        def ranked(self, seen_graph, users, k):
            users_of, items_of = seen_graph.edges()
            seen.append(set(zip(users_of.tolist(), items_of.tolist(), strict=True)))
            return model.ranked(seen_graph, users, k)

    return evaluate(Spy(), data, part=part, **options), seen[0]


def test_a_part_by_its_name_leaves_out_what_came_before_it():
    whole = synthetic_interactions(50, 40, 400)
    data = whole.with_valid(whole.split_valid(0.2)[1])
    parts = {
        name: set(zip(e.users.tolist(), e.items.tolist(), strict=True))
        for name in ("train", "valid", "test")
        for e in [data.part(name)]
    }
    plain, refitted = Popularity(data), Popularity(data.graph(parts=("train", "valid")))
    wanted = {"train": set(), "valid": parts["train"], "test": parts["train"] | parts["valid"]}
    for name, graph in (("train", data.train), ("valid", data.valid), ("test", data.test)):
        for model in (plain, refitted):
            found, hidden = left_out(model, data, name, ks=[5, 10], metrics=METRICS, degrees=[3])
            assert hidden == wanted[name]
            relevant = Graph.from_edges(graph.users, graph.items, 50, 40)
            exclude = Graph.from_edges(*(np.array(sorted(hidden)).reshape(-1, 2).T.astype(np.int64)), 50, 40)
            by_hand = evaluate(model, relevant, exclude, ks=[5, 10], metrics=["recall", "ndcg", "coverage"])
            assert {key: found[key] for key in by_hand} == by_hand
            assert found["n_users_evaluated[3,inf)"] == evaluate(model, graph, degrees=[3])["n_users_evaluated[3,inf)"]
    assert evaluate(plain, data) == evaluate(plain, data, part="test")
    assert evaluate(plain, whole.with_valid(data.valid), data.graph(), part="valid") == evaluate(
        plain, data.valid, data.graph()
    )
    scores = np.random.default_rng(0).random((50, 40))
    assert evaluate(lambda users: scores[users], data, part="valid") == evaluate(
        lambda users: scores[users], data.valid, data.graph()
    )
    part, _ = data.split_valid(0.3)  # of a model of less than train, as without a validation part
    assert (
        left_out(Popularity(part), data, "test")[1]
        == {*zip(part.train.users.tolist(), part.train.items.tolist(), strict=True)} | parts["valid"]
    )


def test_parts_that_are_not_there_are_named():
    data = synthetic_interactions(50, 40, 400)
    model = Popularity(data)
    assert evaluate(model, data, part="valid")["n_users_evaluated"] == 0
    with pytest.raises(ValueError, match="part must be one of 'train', 'valid', 'test', got 'dev'"):
        evaluate(model, data, part="dev")
    with pytest.raises(ValueError, match="part='valid' is of a Dataset, got Edges; pass the Dataset"):
        evaluate(model, data.valid, part="valid")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ks": [20.0]}, TypeError, "ks must be an int, got 20.0"),
        ({"ks": "20"}, TypeError, "ks must be an int, got '20'"),
        ({"ks": []}, ValueError, "ks must be cut-offs >= 1, got none"),
        ({"ks": [0]}, ValueError, "ks must be >= 1, got 0"),
        ({"degrees": [1.5]}, TypeError, "degrees must be an int, got 1.5"),
        ({"degrees": [5, 2]}, ValueError, "degrees must be ascending, got"),
        ({"batch_users": 0}, ValueError, "batch_users must be >= 1, got 0"),
        ({"batch_users": 5.0}, TypeError, "batch_users must be an int, got 5.0"),
        ({"resamples": 10.0}, TypeError, "resamples must be an int, got 10.0"),
        ({"confidence": "high"}, TypeError, "confidence must be a number, got str"),
        ({"metrics": "auc"}, ValueError, "metrics must be among"),
    ],
)
def test_options_of_another_kind_are_named(options, error, message):
    with pytest.raises(error, match=f"evaluate: {re.escape(message)}"):
        evaluate(Popularity(random_graph()), Edges([0], [0]), **options)


def test_what_ranks_needs_no_graph_of_its_own():
    data = synthetic_interactions(40, 60, 400, seed=1)
    model = MF(data, 8)
    vectors, scorer = SimpleNamespace(vectors=model.vectors), SimpleNamespace(scorer=model.scorer)
    for other in (model.scorer(), vectors, scorer):
        assert evaluate(other, data) == evaluate(model, data)
        assert evaluate(other, data, data.graph()) == evaluate(model, data)
        with pytest.raises(
            ValueError, match=r"exclude must be \[n_users, n_items\] = \[40, 60\] as .* is, got \[2, 3\]"
        ):
            evaluate(other, data, Graph.from_edges([0], [0], 2, 3))


@pytest.mark.parametrize("of", [MF, ItemKNN])
def test_a_list_ends_with_the_items(of):
    data = synthetic_interactions(40, 60, 400, seed=1)
    model = of(data)
    whole = evaluate(model, data, ks=[60], metrics=METRICS)
    long = evaluate(model, data, ks=[999_999_999], metrics=METRICS)
    for name in METRICS:
        factor = 60 / 999_999_999 if name == "precision" else 1  # by its definition, over k places
        assert long[f"{name}@999999999"] == pytest.approx(whole[f"{name}@60"] * factor, rel=1e-12)
    assert evaluate(model, data, ks=[5, 999_999_999])["ndcg@5"] == evaluate(model, data, ks=5)["ndcg@5"]
    for name, of_hits in ranking_metrics(np.eye(3, dtype=bool), np.full(3, 3), 10**9).items():
        padded = ranking_metrics(np.eye(3, 50, dtype=bool), np.full(3, 3), 50)[name]
        np.testing.assert_allclose(of_hits, padded * (50 / 10**9 if name == "precision" else 1), rtol=1e-12)
    with pytest.raises(ValueError, match="ks must be below"):
        evaluate(model, data, ks=2**31)


def test_training_may_be_judged_by_lists_of_all_items():
    data = synthetic_interactions(40, 60, 400, seed=1)
    history = fit(MF(data, 4), data, epochs=1, eval_every=1, metric="recall@999999999", progress=False)
    assert history.best_metric == 1


@pytest.mark.parametrize("ks", [[1], [3, 20], [50]])
def test_metrics_where_the_lists_are_are_those_of_numpy(device, ks):
    rng = np.random.default_rng(3)
    hits, n_relevant = rng.random((200, max(ks))) < 0.2, rng.integers(1, 40, 200)
    hits[:20] = False
    names = ["map", "recall", "ndcg", "precision", "hit", "mrr"]
    metrics = HitMetrics(ks, hits.shape[1], names, device)
    found = metrics(torch.from_numpy(hits).to(device), torch.from_numpy(n_relevant).to(device)).cpu().numpy()
    want = [ranking_metrics(hits, n_relevant, k, names)[name] for k in ks for name in names]
    np.testing.assert_allclose(found, np.stack(want, 1), rtol=1e-14)


@pytest.mark.parametrize("by_scores", [False, True])
def test_a_device_has_the_metrics_of_the_cpu(device, by_scores):
    graph, test = random_graph(60, 80, 500), random_graph(60, 80, 300, seed=5).edges()
    options = {
        "ks": [1, 5, 100],
        "metrics": ("recall", *METRICS),
        "batch_users": 7,
        "groups": ["popularity", "activity"],
        "degrees": [5],
    }
    found = []
    for where in (torch.device("cpu"), device):
        model = MF(graph.to(where), 8)
        with torch.no_grad():
            model.ego_embedding().copy_(torch.randint(-2, 3, (140, 8), generator=torch.Generator().manual_seed(1)))
        of_edges = Edges(test[0].numpy(), test[1].numpy())
        found.append(evaluate(model.scorer() if by_scores else model, of_edges, graph.to(where), **options))
    assert found[0].keys() == found[1].keys()
    np.testing.assert_allclose(list(found[1].values()), list(found[0].values()), rtol=1e-12)


def test_edges_that_were_written_to_are_judged_anew():
    graph, scores = Graph.from_edges([0, 1], [0, 1], 2, 4), torch.tensor([[0.0, 1.0, 3.0, 2.0]] * 2)
    test = Edges(np.array([0, 1], np.int32), np.array([2, 3], np.int32))
    judged = [evaluate(lambda users: scores[users], test, graph, ks=1)["recall@1"] for _ in range(2)]
    test.items[1] = 2
    judged.append(evaluate(lambda users: scores[users], test, graph, ks=1)["recall@1"])
    wide = Graph.from_edges([0, 1], [0, 1], 2, 5)
    more = torch.cat([scores, torch.full((2, 1), 9.0)], 1)
    judged.append(evaluate(lambda users: more[users], test, wide, ks=1)["recall@1"])
    assert judged == [0.5, 0.5, 1.0, 0.0]
