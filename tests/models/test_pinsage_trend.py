"""PinSAGE's trend: its formula, what ranks by it, files, new items and users, and that it finds what comes next."""

import dataclasses

import numpy as np
import pytest
import torch

from fastgcn_rec import MF, Blend, Graph, ItemKNN, PinSAGE, Recommender, evaluate, fit
from fastgcn_rec.data import Dataset, Edges, synthetic_interactions
from fastgcn_rec.features import Categorical, Features

SMALL = {"embedding_dim": 8, "hidden_dim": 8, "n_walks": 20, "top": 5, "history": 4}


def timed(valid: int = 0) -> Dataset:
    """Items below 25 are bought in the first nine tenths of the time, the others in the last, and in the test part; pairs in the order of time."""
    base = synthetic_interactions(60, 50, 700, seed=1)
    users, items = (np.concatenate([getattr(e, side) for e in (base.train, base.test)]) for side in ("users", "items"))
    order = np.lexsort((np.random.default_rng(0).random(len(users)), items >= 25))
    cut = np.array([len(users) - 150 - valid, len(users) - 150])
    parts = np.split(order, cut)
    edges = [
        Edges(users[part], items[part], np.where(items[part] < 25, 0, 100) + np.arange(len(part)) % 7) for part in parts
    ]
    return dataclasses.replace(base, train=edges[0], valid=edges[1], test=edges[2])


def model_of(data, **options):
    return PinSAGE(data, Features({"id": Categorical()}), {"id": data.item_ids}, **{**SMALL, **options})


def trend_by_the_formula(data: Dataset, share: float) -> tuple[np.ndarray, float]:
    """(of every item, of one to come)."""
    train = data.train
    first = sorted(train.time)[int((1 - share) * len(train))]
    recent = np.array([sum(train.time[train.items == i] >= first) for i in range(data.n_items)])
    degree = np.array([(train.items == i).sum() for i in range(data.n_items)])
    trend = np.log((recent + 1) / (recent.sum() / len(train) * degree + 1))
    typical = np.average(trend, weights=recent)
    return np.where(degree == 0, typical, trend), typical


def both_parts(data: Dataset) -> Dataset:
    columns = (
        np.concatenate([getattr(part, name) for part in (data.train, data.valid)])
        for name in ("users", "items", "time")
    )
    return dataclasses.replace(data, train=Edges(*columns), valid=Edges([], [], np.zeros(0, np.int64)))


def test_a_score_is_the_cosine_and_the_trend():
    data = timed()
    plain, model = model_of(data), model_of(data, trend=0.1, trend_weight=0.3)
    users, items = (v.numpy() for v in model.scoring_vectors())
    u, z = (v.numpy() for v in plain.scoring_vectors())
    expected = u @ z.T + 0.3 * trend_by_the_formula(data, 0.1)[0]
    known = data.graph().user_degree.numpy() > 0
    assert known.any()
    np.testing.assert_allclose((users @ items.T)[known], expected[known], rtol=1e-4, atol=1e-5)
    pairs = torch.tensor([[0, 3], [data.n_users + 4, data.n_users + 30]])
    np.testing.assert_allclose(model(pairs).detach(), expected[[0, 3], [4, 30]], rtol=1e-4, atol=1e-5)
    assert (
        plain.similar_items(data.item_ids[:5], 7)[0].tolist() == model.similar_items(data.item_ids[:5], 7)[0].tolist()
    )
    assert (
        plain.similar_users(data.user_ids[:5], 7)[0].tolist() == model.similar_users(data.user_ids[:5], 7)[0].tolist()
    )


def test_the_latest_of_all_edges_are_those_of_the_training_graph_alone():
    """With a validation part that is the latest, the trend does not know it until a refit trains on it."""
    data = timed(valid=100)
    model = model_of(data, trend=0.1)
    before = model.scoring_vectors()[1][:, -1]
    np.testing.assert_allclose(before, 0.1 * trend_by_the_formula(data, 0.1)[0], rtol=1e-4, atol=1e-6)
    fit(model, data, epochs=1, batch_size=64, loss="softmax", refit=True, progress=False)
    np.testing.assert_allclose(
        model.scoring_vectors()[1][:, -1], 0.1 * trend_by_the_formula(both_parts(data), 0.1)[0], rtol=1e-4, atol=1e-6
    )


def test_training_takes_no_part_in_it():
    data, losses = timed(), []
    for options in ({}, {"trend": 0.2}):
        model = model_of(data, **options)
        losses.append(
            [
                e["loss"]
                for e in fit(
                    model, data, epochs=2, batch_size=64, loss="softmax", protocol="none", progress=False
                ).epochs
            ]
        )
    assert losses[0] == losses[1]


def test_it_finds_what_comes_next():
    data, found = timed(), []
    for trend in (0.0, 0.1):
        model = model_of(data, trend=trend, trend_weight=0.2)
        fit(
            model,
            data,
            epochs=3,
            batch_size=64,
            lr=0.01,
            loss="softmax",
            logq=1.0,
            temperature=0.1,
            protocol="none",
            progress=False,
        )
        found.append(evaluate(model, data.test, ks=(10,))["recall@10"])
    assert found[1] > 1.3 * found[0]


def test_files_and_new_items_keep_it(tmp_path):
    data = timed(valid=100)
    model = model_of(data, trend=0.1)
    fit(model, data, epochs=1, batch_size=64, loss="softmax", refit=True, progress=False)
    model.save(tmp_path / "m.npz")  # nothing has asked for vectors since the refit
    again = Recommender.load(tmp_path / "m.npz")
    assert torch.equal(again.get_embedding(), model.get_embedding())
    assert again.scoring_vectors()[1][:, -1].any()
    new = [data.item_ids.max() + 1]
    for of in (model, again):
        grown = of.with_items({"id": new}, [data.user_ids[:3].tolist()], new)
        column = grown.scoring_vectors()[1][:, -1]
        assert torch.equal(column[:-1], model.scoring_vectors()[1][:, -1])
        typical = trend_by_the_formula(both_parts(data), 0.1)[1]
        assert column[-1] == pytest.approx(0.1 * typical, rel=1e-4)
        assert of.embed_items({"id": new}, [data.user_ids[:3].tolist()]).shape == (1, 8)


def test_without_it_files_are_as_they_were():
    assert not {"trend", "trend_weight"} & model_of(timed()).config().keys()
    assert {"trend": 0.1, "trend_weight": 0.2}.items() <= model_of(
        timed(), trend=0.1, trend_weight=0.2
    ).config().items()


def test_new_users_are_scored_as_known_ones_with_their_items():
    data = timed()
    model = model_of(data, trend=0.1)
    rows = data.graph().to_scipy().tocsr()
    own = [data.item_ids[items].tolist() for items in np.split(rows.indices, rows.indptr[1:-1])]
    known = [u for u in range(data.n_users) if own[u]]
    ids, scores = model.recommend_new([own[u] for u in known], k=6)
    expected_ids, expected = model.recommend(data.user_ids[known], k=6)
    assert ids.tolist() == expected_ids.tolist()
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    (_, nobody), typical = model.recommend_new([[]], k=6), model.scoring_vectors()[0][known].mean(0)
    np.testing.assert_allclose(
        nobody[0], (model.scoring_vectors()[1] @ typical).sort(descending=True)[0][:6], rtol=1e-4
    )


def test_without_times_it_is_refused_by_name():
    data = synthetic_interactions(60, 50, 700, seed=1)
    with pytest.raises(ValueError, match=r"trend needs times, but .* has none; leave trend at 0"):
        model_of(data, trend=0.1)
    with pytest.raises(
        ValueError, match=r"trend needs times, and a Graph has none; pass a Dataset or leave trend at 0"
    ):
        PinSAGE(Graph.from_edges([0, 1], [0, 1]), trend=0.1)
    with pytest.raises(ValueError, match="leave similarity at 'dot', or trend at 0"):
        model_of(timed(), trend=0.1, similarity="cosine")
    with pytest.raises(ValueError, match=r"trend must lie in \[0, 1\), got 1"):
        model_of(timed(), trend=1.0)


@pytest.mark.parametrize("ranked_before", [False, True])
def test_a_blend_keeps_the_trend_of_its_parts_in_files(ranked_before, tmp_path):
    data = timed()

    def blend(normalize, *parts):
        return Blend(data, list(parts), normalize=normalize)

    inner = blend("none", model_of(data, trend=0.1, trend_weight=0.3), MF(data, 4))
    for name, model in {"flat": inner, "nested": blend("z", inner, ItemKNN(data))}.items():
        users = torch.arange(data.n_users)
        if ranked_before:
            model.scorer()(users)
        model.save(tmp_path / f"{name}.npz")
        again = Recommender.load(tmp_path / f"{name}.npz")
        assert torch.equal(again.scorer()(users), model.scorer()(users)), name


def test_a_weight_of_the_trend_that_no_score_can_hold_is_refused():
    with pytest.raises(
        ValueError, match=r"PinSAGE: trend_weight must be >= 0 and finite, and 1e30 or less, got 1e\+39"
    ):
        model_of(timed(), trend=0.1, trend_weight=1e39)
