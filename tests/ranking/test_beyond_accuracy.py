"""Novelty, diversity and personalization by plain loops, and means over groups of users and kinds of items."""

import dataclasses
import itertools
import math
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from fastgcn_rec import MF, Popularity, Recommendations, evaluate, evaluate_users
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.ranking import diversity, list_metrics, novelty
from fastgcn_rec.ranking.groups import ItemKinds
from fastgcn_rec.ranking.metrics import CONTENT_METRICS, METRICS, bootstrap

IDS = np.array([[3, 0, 5, 1], [2, 4, -1, -1], [1, -1, -1, -1], [-1, -1, -1, -1], [5, -1, 0, 2]])


@pytest.fixture(scope="module")
def data():
    made, rng = synthetic_interactions(90, 70, 1200, seed=4), np.random.default_rng(0)
    users = {
        "gender": rng.choice(np.array(["F", "M", ""], object), 90),
        "age": np.array([str(age) for age in rng.integers(15, 70, 90)], object),
        "stars": rng.integers(1, 5, 90),
        "member": rng.random(90) < 0.5,
        "zip": np.array([f"z{n}" for n in range(90)], object),
    }
    genres = np.array(["|".join(rng.choice(list("abcde"), n, replace=False)) for n in rng.integers(0, 4, 70)], object)
    return dataclasses.replace(made, user_info=users, item_info={"genres": genres, "year": np.arange(70)})


def test_novelty_and_diversity_by_plain_loops(monkeypatch):
    rng = np.random.default_rng(1)
    vectors, degree = rng.standard_normal((6, 3)) * (rng.random((6, 1)) < 0.8), np.array([9, 4, 1, 0, 2, 6])
    vectors[2] = 0
    assert (np.abs(vectors).sum(1) == 0).any()
    for expected, got in zip((by_hand(row, degree, vectors) for row in IDS), zip(novelty(IDS, degree, 12), diversity(IDS, vectors), strict=True), strict=True):  # fmt: skip
        np.testing.assert_allclose(got, expected, atol=1e-14)
    whole = diversity(IDS, vectors), diversity(IDS, sp.csr_array(vectors))
    monkeypatch.setattr(sys.modules["fastgcn_rec.ranking.content"], "_AT_ONCE", 4)
    for together, apart in zip(whole, (diversity(IDS, vectors), diversity(IDS, sp.csr_array(vectors))), strict=True):
        np.testing.assert_array_equal(together, apart)
    np.testing.assert_allclose(diversity(IDS, sp.csc_array(vectors)), diversity(IDS, vectors), atol=1e-14)


def by_hand(row, degree, vectors):
    items = [item for item in row.tolist() if item >= 0]

    def cosine(i, j):
        lengths = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
        return vectors[i] @ vectors[j] / lengths if lengths else 0.0

    bits = [-math.log2(max(degree[item], 1) / 12) for item in items]
    apart = [1 - cosine(i, j) for i, j in itertools.combinations(items, 2)]
    return (np.mean(bits) if bits else np.nan), (np.mean(apart) if apart else np.nan)


def test_personalization_is_the_mean_over_pairs_of_lists():
    rng = np.random.default_rng(2)
    lists = [set(rng.choice(20, 6, replace=False).tolist()) for _ in range(9)]
    shown = np.bincount([item for one in lists for item in one], minlength=20)
    pairs = [1 - len(a & b) / 6 for a, b in itertools.combinations(lists, 2)]
    got = list_metrics(shown, np.ones(20, np.int64), ["personalization"], 9)["personalization"]
    assert got == pytest.approx(np.mean(pairs), abs=1e-14)
    assert list_metrics(np.full(4, 3), np.ones(4), ["personalization"], 3)["personalization"] == 0
    assert np.isnan(list_metrics(np.ones(4, np.int64), np.ones(4), ["personalization"], 1)["personalization"])


def test_evaluate_averages_what_the_functions_give(data):
    model = MF(data, 8, seed=1)
    users = evaluate_users(model, data).users
    ids = np.searchsorted(np.sort(data.item_ids), model.recommend(data.user_ids[users], k=7)[0])
    ids = np.argsort(data.item_ids)[ids]
    degree = np.bincount(data.train.items, minlength=data.n_items)
    got = evaluate(model, data, ks=[3, 7], metrics=METRICS)
    assert got["novelty@7"] == pytest.approx(novelty(ids, degree, data.n_users).mean(), abs=1e-12)
    by_users = data.graph().to_scipy().T
    assert got["diversity@3"] == pytest.approx(diversity(ids[:, :3], by_users).mean(), abs=1e-12)
    words = np.array([[letter in genres for letter in "abcde"] for genres in data.item_info["genres"]], float)
    for vectors in ("genres", words, sp.coo_matrix(words)):
        found = evaluate(model, data, ks=7, metrics="diversity", vectors=vectors)
        assert found["diversity@7"] == pytest.approx(diversity(ids, words).mean(), abs=1e-12)
    per_user = evaluate_users(model, data, ks=7, metrics=CONTENT_METRICS)
    assert per_user.means()["novelty@7"] == got["novelty@7"]
    assert evaluate(Popularity(data), data, metrics="novelty")["novelty@20"] < got["novelty@7"]


def test_lists_that_are_too_short_are_left_out_of_the_means(data):
    users = data.user_ids[np.unique(data.test.users)[:2]]
    lists = Recommendations(data, [users[0], users[0], users[1]], data.item_ids[[3, 4, 5]], invalid="miss")
    degree = np.bincount(data.train.items, minlength=data.n_items)
    got = evaluate(lists, data, metrics=["novelty", "diversity"], resamples=20)
    seen = data.graph(parts=("train", "valid")).to_scipy().toarray() > 0
    kept = [[i for i in row if not seen[u, i]] for u, row in zip(data.users_of(users), ([3, 4], [5]), strict=True)]
    ids = np.array([row + [-1] * (2 - len(row)) for row in kept])
    expected = novelty(ids, degree, data.n_users)
    assert got["novelty@20"] == pytest.approx(expected[~np.isnan(expected)].mean(), abs=1e-12)
    assert np.isnan(got["diversity@20.low"]) == np.isnan(got["diversity@20"]) or len(kept[0]) == 2
    assert np.isnan(evaluate(lists, data, metrics="diversity", ks=1)["diversity@1"])


def test_bootstrap_leaves_out_users_without_a_value():
    rng = np.random.default_rng(0)
    values = rng.random((400, 2))
    holed = values.copy()
    holed[rng.random(400) < 0.5, 1] = np.nan
    got = bootstrap(holed, 200, seed=3)
    np.testing.assert_array_equal(got[:, 0], bootstrap(values, 200, seed=3)[:, 0])
    alone = bootstrap(holed[~np.isnan(holed[:, 1])][:, 1:], 200, seed=3)[:, 0]
    np.testing.assert_allclose(got[:, 1], alone, atol=0.02)
    assert np.isnan(bootstrap(np.full((3, 1), np.nan), 5)).all()


@pytest.mark.parametrize("groups", ["gender", "activity", ["age", "stars", "member"], {"half": np.arange(90) % 2}])
def test_groups_part_the_users(data, groups):
    model = MF(data, 8, seed=1)
    got = evaluate(model, data, ks=[5], metrics=["recall", "ndcg", "gini"], groups=groups)
    plain = evaluate(model, data, ks=[5], metrics=["recall", "ndcg", "gini"])
    assert {name: got[name] for name in plain} == plain
    for name in [groups] if isinstance(groups, str) else groups:
        kinds = [key.removeprefix("recall@5") for key in got if key.startswith(f"recall@5[{name}=")]
        sizes = [got["n_users_evaluated" + kind] for kind in kinds]
        assert len(kinds) > 1
        assert sum(sizes) == got["n_users_evaluated"]
        for metric in ("recall@5", "ndcg@5"):
            assert np.dot([got[metric + kind] for kind in kinds], sizes) / sum(sizes) == pytest.approx(got[metric])


def test_groups_are_what_their_names_say(data):
    got = evaluate(Popularity(data), data, groups=["gender", "age", "stars", "member", "activity"])
    tested = np.unique(data.test.users)
    found = evaluate_users(Popularity(data), data, metrics="recall").values["recall@20"]
    women = data.user_info["gender"][tested] == "F"
    assert got["n_users_evaluated[gender=F]"] == women.sum()
    assert got["recall@20[gender=F]"] == pytest.approx(found[women].mean(), abs=1e-12)
    assert got["n_users_evaluated[gender=none]"] == (data.user_info["gender"][tested] == "").sum()
    assert [key[18:-1] for key in got if key.startswith("n_users_evaluated[stars=")] == [
        f"stars={n}" for n in range(1, 5)
    ]
    degree = np.bincount(data.train.users, minlength=90)[tested]
    for name, values in (("age", data.user_info["age"][tested].astype(int)), ("activity", degree)):
        spans = [key.split("=")[1][:-1] for key in got if key.startswith(f"n_users_evaluated[{name}=")]
        assert 1 < len(spans) <= 4
        for span in spans:
            low, high = map(int, span.split("..")) if ".." in span else (int(span), int(span))
            assert got[f"n_users_evaluated[{name}={span}]"] == ((values >= low) & (values <= high)).sum()


def test_kinds_of_items_part_what_is_to_be_found(data):
    got = evaluate(MF(data, 8, seed=1), data, ks=[20], groups="popularity")
    degree = np.bincount(data.train.items, minlength=data.n_items)
    kinds = ItemKinds(data.graph(), data.graph(parts="test")).masks
    assert sum(mask.astype(int) for mask in kinds.values()).tolist() == [1] * data.n_items
    assert degree[kinds["head"]].min() >= degree[kinds["mid"]].max() >= degree[kinds["tail"]].max()
    total = degree.sum()
    assert degree[kinds["head"]].sum() >= 0.2 * total > degree[kinds["head"]].sum() - degree[kinds["head"]].min()
    assert 0 < degree[kinds["tail"]].sum() <= 0.2 * total
    users = evaluate_users(MF(data, 8, seed=1), data).users
    lists = MF(data, 8, seed=1).recommend(data.user_ids[users], k=20)[0]
    for name, mask in kinds.items():
        recalls = []
        for user, row in zip(users, lists, strict=True):
            wanted = set(data.test.items[data.test.users == user].tolist()) & set(np.flatnonzero(mask).tolist())
            if wanted:
                recalls.append(len(wanted & set(data.items_of(row).tolist())) / len(wanted))
        assert got[f"recall@20[items={name}]"] == pytest.approx(np.mean(recalls), abs=1e-12)
        assert got[f"n_users_evaluated[items={name}]"] == len(recalls)


def test_what_cannot_be_is_refused(data):
    model = Popularity(data)
    for options, says in (
        ({"groups": "shoe"}, "groups must be among activity, popularity, gender, age, stars, member, zip, got 'shoe'"),
        ({"groups": "zip"}, "'zip' has .* values, and at most 50 can be groups"),
        ({"groups": {"a": [1, 2]}}, r"groups\['a'\] must be \[n_users\] = \[90\]"),
        ({"metrics": "diversity", "vectors": "shoe"}, "must be a column of the items: genres, year"),
        ({"metrics": "diversity", "vectors": "year"}, "must be a column of texts"),
        ({"metrics": "diversity", "vectors": np.ones((3, 2))}, r"vectors must be \[n_items, dim\] = \[70, dim\]"),
        ({"metrics": "diversity", "vectors": np.full((70, 2), np.nan)}, "vectors must be finite"),
        ({"metrics": "recall", "vectors": "genres"}, "vectors are what 'diversity' compares items by"),
    ):
        with pytest.raises(ValueError, match=says):
            evaluate(model, data, **options)
    with pytest.raises(TypeError, match="vectors must be numbers"):
        evaluate(model, data, metrics="diversity", vectors=np.full((70, 2), "a"))
    with pytest.raises(ValueError, match="pass the Dataset for columns of its users"):
        evaluate(model, data.test, groups="gender")
    with pytest.raises(ValueError, match="pass the Dataset in place of its edges"):
        evaluate(model, data.test, metrics="diversity", vectors="genres")
