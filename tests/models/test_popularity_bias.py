"""``popularity``: what log of an item's edges adds to its scores, wherever these are made, and to nothing else."""

import math
import re

import numpy as np
import pytest
import torch

from fastgcn_rec import (
    EASE,
    MF,
    NGCF,
    Blend,
    FoldIn,
    Graph,
    Indexed,
    LightGCN,
    Recommender,
    evaluate,
    fit,
    write_vectors,
)
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.ranking import as_ranker

WEIGHT = 0.3
KINDS = {
    "MF": lambda data, **o: MF(data, 8, init_std=0.5, **o),
    "LightGCN": lambda data, **o: LightGCN(data, 8, 1, init_std=0.5, **o),
    "NGCF": lambda data, **o: NGCF(data, 8, 1, **o),
}
pairs_of_kinds = pytest.mark.parametrize("similarity", ["dot", "cosine"])
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def data():
    """Every user has an edge; some items have none."""
    return synthetic_interactions(40, 60, 500, seed=3)


def both(kind, data, similarity):
    make = KINDS[kind]
    return make(data, similarity=similarity), make(data, similarity=similarity, popularity=WEIGHT)


def scores_of(model):
    return model.scorer()(torch.arange(model.n_users)).numpy()


def log_degrees(data):
    return np.log(np.maximum(np.bincount(data.train.items, minlength=data.n_items), 1))


def wanted(plain, data):
    return scores_of(plain) + WEIGHT * log_degrees(data)


def items_behind(data):
    """Internal ids of items as nodes."""
    return torch.arange(data.n_users, data.n_users + data.n_items)


@kinds
@pairs_of_kinds
def test_a_score_is_that_of_the_vectors_and_the_weighted_log_of_edges(kind, similarity, data):
    plain, model = both(kind, data, similarity)
    expected = wanted(plain, data)
    np.testing.assert_allclose(scores_of(model), expected, rtol=1e-5, atol=1e-5)
    users, items, how = model.vectors()
    assert how == "dot"
    np.testing.assert_allclose(users @ items.T, expected, rtol=1e-5, atol=1e-5)
    of_users, of_items = model.scoring_vectors()
    assert torch.equal(of_users, users)
    assert torch.equal(of_items, items)
    pairs = torch.stack([torch.full((data.n_items,), 7), items_behind(data)])
    known = data.graph().item_degree.numpy() > 0  # of others forward() has the rows as they began
    np.testing.assert_allclose(model(pairs).detach()[known], expected[7, known], rtol=1e-5, atol=1e-5)
    ids, scores = model.recommend(data.user_ids, 5, exclude_seen=False)
    np.testing.assert_allclose(scores, -np.sort(-expected, 1)[:, :5], rtol=1e-5, atol=1e-5)
    best = np.take_along_axis(expected, model.item_rows(ids.ravel()).reshape(ids.shape), 1)
    np.testing.assert_allclose(best, scores, rtol=1e-5, atol=1e-5)


@kinds
@pairs_of_kinds
def test_vectors_neighbours_and_folding_know_nothing_of_it(kind, similarity, data):
    plain, model = both(kind, data, similarity)
    for a, b in zip(plain.node_vectors(), model.node_vectors(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(plain.get_embedding(), model.get_embedding())
    for a, b in zip(plain.similar_items(data.item_ids[:4], 9), model.similar_items(data.item_ids[:4], 9), strict=True):
        assert (a == b).all()
    for a, b in zip(plain.similar_users(data.user_ids[:4], 9), model.similar_users(data.user_ids[:4], 9), strict=True):
        assert (a == b).all()
    liked = [data.item_ids[:3].tolist(), data.item_ids[5:6].tolist()]
    assert torch.equal(plain.fold_in_users(liked), model.fold_in_users(liked))
    users = [data.user_ids[:3].tolist(), []]
    assert torch.equal(plain.fold_in_items(users), model.fold_in_items(users))


@kinds
@pairs_of_kinds
def test_new_users_are_ranked_with_it(kind, similarity, data):
    plain, model = both(kind, data, similarity)
    liked = [data.item_ids[:3].tolist(), [], data.item_ids[5:6].tolist()]
    vectors, none = model.fold_in_users(liked), torch.tensor([False, True, False])
    answers = model.scoring_vectors()[1]
    expected = (plain.as_scored(vectors) @ plain.scoring_vectors()[1].T).numpy() + WEIGHT * log_degrees(data)
    expected[1] = wanted(plain, data).mean(0)  # who has no items is scored as users are on average
    np.testing.assert_allclose(model.as_queries(vectors, none) @ answers.T, expected, rtol=1e-4, atol=1e-5)
    scores = model.recommend_new(liked, 6, exclude_seen=False)[1]
    np.testing.assert_allclose(scores, -np.sort(-expected, 1)[:, :6], rtol=1e-4, atol=1e-5)
    assert (FoldIn(Indexed(model)).recommend(liked, 6)[0] == model.recommend_new(liked, 6)[0]).all()


@pairs_of_kinds
def test_what_holds_the_vectors_of_a_model_has_it_too(similarity, data, tmp_path):
    plain, model = both("LightGCN", data, similarity)
    ids = model.recommend(data.user_ids, 6)[0]
    indexed = Indexed(model)
    assert (indexed.recommend(data.user_ids, 6)[0] == ids).all()
    found, cosines = indexed.similar_items(data.item_ids[:5], 6)
    known, expected = plain.similar_items(data.item_ids[:5], 6)
    assert (found == known).all()
    np.testing.assert_allclose(cosines, expected, rtol=1e-5, atol=1e-6)
    assert (as_ranker(model.vectors()[:2], data).recommend(data.user_ids, 6)[0] == ids).all()
    tables = []
    for side in ("users", "items"):
        write_vectors(model, tmp_path / "v.npz", side)
        tables.append(np.load(tmp_path / "v.npz")["vectors"])
    np.testing.assert_allclose(tables[0] @ tables[1].T, wanted(plain, data), rtol=1e-5, atol=1e-5)
    assert tables[0].shape[1] == 9


def test_a_blend_adds_those_of_its_parts(data):
    parts = [
        LightGCN(data, 8, 1, similarity="cosine", popularity=0.2),
        MF(data, 4),
        MF(data, 4, seed=1, popularity=-0.1),
    ]
    blend = Blend(data, parts, [2.0, 1.0, 3.0])
    expected = sum(weight * scores_of(part) for weight, part in zip(blend.weights, parts, strict=True))
    assert blend.ranks_by_vectors
    np.testing.assert_allclose(scores_of(blend), expected, rtol=1e-5, atol=1e-5)
    users, items = blend.scoring_vectors()
    assert users.shape[1] == items.shape[1] == 17
    liked = [data.item_ids[:4].tolist()]
    plain = Blend(data, [LightGCN(data, 8, 1, similarity="cosine"), MF(data, 4), MF(data, 4, seed=1)], [2.0, 1.0, 3.0])
    assert torch.equal(plain.fold_in_users(liked), blend.fold_in_users(liked))
    assert (plain.similar_items(data.item_ids, 5)[0] == blend.similar_items(data.item_ids, 5)[0]).all()


@kinds
def test_files_keep_it_and_without_it_are_as_they_were(kind, data, tmp_path):
    plain, model = both(kind, data, "cosine")
    assert "popularity" not in plain.config()
    assert model.config()["popularity"] == WEIGHT
    model.save(tmp_path / "m.npz")
    again = Recommender.load(tmp_path / "m.npz")
    assert (scores_of(again) == scores_of(model)).all()


def test_training_does_not_see_it_but_what_picks_the_epoch_does(data):
    options = {"epochs": 2, "batch_size": 64, "loss": "softmax", "progress": False, "eval_every": 1, "refit": False}
    plain, model = both("LightGCN", data, "cosine")
    own, theirs = (fit(m, data, **options).epochs for m in (plain, model))
    assert [e["loss"] for e in own] == [e["loss"] for e in theirs]
    assert torch.equal(plain.embedding.weight, model.embedding.weight)
    assert own[0]["recall@20"] != theirs[0]["recall@20"]


def test_popular_items_come_first_by_a_weight_above_all_scores(data):
    model = MF(data, 8, popularity=100.0)
    found = model.recommend(data.user_ids, 10, exclude_seen=False)[0]
    counts = np.bincount(data.train.items, minlength=data.n_items)
    assert (np.sort(counts[model.item_rows(found[0])]) == np.sort(counts)[-10:]).all()
    assert evaluate(model, data)["recall@20"] > evaluate(MF(data, 8, popularity=-100.0), data)["recall@20"]


def test_weights_of_edges_do_not_count():
    edges = ([0, 1, 2, 2], [0, 0, 0, 1], 3, 2)
    one, other = (MF(Graph.from_edges(*edges, weight), 4, popularity=1.0) for weight in (None, [9.0, 1.0, 1.0, 5.0]))
    assert torch.equal(one.item_bias(), other.item_bias())
    assert one.item_bias().tolist() == pytest.approx([math.log(3), 0.0])


def test_what_cannot_be_a_weight_is_refused(data):
    for bad in (math.nan, math.inf, -1e39, 1e300):
        with pytest.raises(
            ValueError, match=rf"MF: popularity must be finite, and 1e\+30 or less in size, got {re.escape(str(bad))}"
        ):
            MF(data, 8, popularity=bad)
    with pytest.raises(
        ValueError, match="MF: popularity must be a number that float64 holds, got an integer of 1329 bits"
    ):
        MF(data, 8, popularity=10**400)
    with pytest.raises(TypeError, match="LightGCN: popularity must be a number, got str"):
        LightGCN(data, 8, popularity="0.1")


@pytest.mark.parametrize("value", [np.float32(0.3), torch.tensor(0.3), np.float64(0.3)])
def test_it_may_be_set_on_a_model_that_is_trained(value, data, tmp_path):
    plain, model = both("LightGCN", data, "cosine")
    plain.popularity = value
    np.testing.assert_allclose(scores_of(plain), scores_of(model), rtol=1e-6, atol=1e-6)
    plain.save(tmp_path / "m.npz")
    assert (scores_of(Recommender.load(tmp_path / "m.npz")) == scores_of(plain)).all()
    plain.popularity = 0
    assert plain.item_bias() is None
    with pytest.raises(ValueError, match="LightGCN: popularity must be finite"):
        plain.popularity = math.nan


def test_it_follows_the_graph(data):
    model = both("MF", data, "dot")[1]
    before, one = model.item_bias(), model.item_bias()
    assert torch.equal(before, one)
    model.graph = synthetic_interactions(40, 60, 300, seed=5).graph()
    expected = WEIGHT * np.log(np.maximum(model.graph.item_degree.numpy(), 1))
    np.testing.assert_allclose(model.item_bias(), expected, rtol=1e-6)
    assert not torch.equal(model.item_bias(), before)


def test_a_compiled_model_scores_pairs_with_it_and_leaves_no_other_bits_behind(data):
    model, own = (MF(data.graph().to("cpu"), 8, popularity=WEIGHT) for _ in range(2))
    pairs = torch.stack([torch.arange(9), items_behind(data)[:9]])
    compiled = torch.compile(model, fullgraph=True, backend="eager")(pairs)
    np.testing.assert_allclose(compiled.detach(), own(pairs).detach(), rtol=1e-5, atol=1e-6)
    assert torch.equal(model.item_bias(), own.item_bias())


def test_pairs_whose_second_is_no_item_are_refused_with_it(data):
    plain, model = both("MF", data, "dot")
    pairs = torch.tensor([[0, 1], [items_behind(data)[0], 2]])
    assert plain(pairs).shape == (2,)
    with pytest.raises(IndexError, match=r"MF.forward: edge_label_index\[1\], less n_users: id -38 at position 1"):
        model(pairs)


def test_rows_of_other_items_than_all_are_told_what_is_missing(data):
    model = both("MF", data, "dot")[1]
    vectors = model.fold_in_items([data.user_ids[:3].tolist()])
    with pytest.raises(ValueError, match=r"as_answers: items must be all 60, for each has a bias of its own, got 1"):
        model.as_answers(vectors)


def test_models_whose_files_would_not_hold_it_refuse_it(data):
    model = EASE(data)
    with pytest.raises(ValueError, match=r"EASE: popularity must stay 0, got 0.1; MF, LightGCN and NGCF take it"):
        model.popularity = 0.1
    model.popularity = 0.0
