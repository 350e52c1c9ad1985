"""Scores of every model, whatever its class: one for a pair, by whatever way it is asked for; guesses where nothing is known."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from every_model import COLD_USERS, EVERY, TRAINED, small_data, trained

from fastgcn_rec import (
    MF,
    FoldIn,
    Graph,
    Index,
    Indexed,
    LightGCN,
    TwoStage,
    dense,
    evaluate,
    fit,
    retrieve,
    topk,
)
from fastgcn_rec.data import Interactions, make_dataset
from fastgcn_rec.ranking.rank import ranked

KNOWN_BY_EDGES = [kind for kind in EVERY if kind != "PinSAGE users"]
OF_PARTS = ("Blend", "Blend ranks")  # which guess each for itself


@pytest.fixture
def model(kind):
    return trained(kind)


def scores_of(model):
    return model.scorer()(torch.arange(model.n_users))


@pytest.mark.parametrize("kind", EVERY)
def test_a_pair_has_one_score(model, kind):
    known = np.flatnonzero(model.graph.user_degree.numpy())
    ids, scores = model.recommend(model.user_ids[known], 5)
    rows = torch.from_numpy(known).repeat_interleave(5)
    columns = torch.from_numpy(np.searchsorted(model.item_ids, ids.ravel(), sorter=np.argsort(model.item_ids)))
    columns = torch.from_numpy(np.argsort(model.item_ids))[columns]
    pairs = torch.stack([rows, model.n_users + columns])
    edge = model.graph.item_degree[columns] > 0  # of items without an edge forward() has no guess
    with torch.no_grad():
        forward, chance = model(pairs), model.predict_link(pairs, prob=True)
    listed = torch.from_numpy(scores.ravel())
    torch.testing.assert_close(forward[edge], listed[edge], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(chance[edge], listed[edge].sigmoid(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scores_of(model)[rows, columns], listed, rtol=1e-5, atol=1e-5)
    if model.vectors() is not None:
        users, items = model.scoring_vectors()
        torch.testing.assert_close((users[rows] * items[columns]).sum(1), listed, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KNOWN_BY_EDGES if kind not in OF_PARTS])
def test_users_without_an_edge_get_what_users_like_on_average(model, kind):
    cold = model.graph.user_degree == 0
    assert int(cold.sum()) == COLD_USERS
    scores = scores_of(model)
    expected = scores[~cold].mean(0)
    if model.row_scorer() is not None:  # their rows say nothing of themselves: the share of users who have an item
        expected = model.graph.item_degree / int((~cold).sum())
    if (
        model.similarity == "cosine" and model.item_bias() is None
    ):  # of the mean of the vectors of length 1: the same order
        users, items = model.scoring_vectors()
        mean = users[~cold].mean(0)
        expected = items @ (mean / mean.norm())
    for row in scores[cold]:
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KNOWN_BY_EDGES)
def test_an_unknown_user_without_items_is_recommended_the_same(model, kind):
    cold = model.user_ids[(model.graph.user_degree == 0).numpy()]
    of_new = model.recommend_new([[], []], 8)
    for ids, scores in zip(*model.recommend(cold, 8), strict=True):
        assert ids.tolist() == of_new[0][0].tolist() == of_new[0][1].tolist()
        np.testing.assert_allclose(scores, of_new[1][0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if not kind.startswith("PinSAGE")])
def test_nodes_without_an_edge_have_no_noise_in_what_ranks_and_keep_their_parameters(model, kind):
    bare = model.graph.item_degree == 0
    z = model.get_embedding().detach()
    assert bool(z[model.n_users :][bare].any())
    users, items = model.node_vectors()
    assert not items[bare].any()
    assert torch.equal(items[~bare], z[model.n_users :][~bare])
    known = model.graph.user_degree > 0
    assert torch.equal(users[known], z[: model.n_users][known])
    assert (scores_of(model)[:, bare] == 0).all()
    one = model.item_ids[bare.numpy()][:1]
    assert (model.similar_items(one, 3)[1] == 0).all()


def test_items_that_features_describe_keep_their_vectors():
    model = trained("PinSAGE")
    bare = model.graph.item_degree == 0
    assert torch.equal(model.vectors()[1], model.get_embedding().detach()[model.n_users :])
    assert bool(model.vectors()[1][bare].any(1).all())


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if not kind.startswith("LightGCN by")])
def test_with_edges_everywhere_vectors_are_the_embedding(kind):
    model = EVERY[kind](Graph.from_edges(np.arange(20) % 10, np.arange(20) % 7, 10, 7))
    z = model.get_embedding().detach()
    assert torch.equal(torch.cat(model.node_vectors()), z)


def test_guesses_find_what_others_like():
    rng = np.random.default_rng(0)
    law = 1 / np.arange(1, 101)
    events = [(u, i) for u in range(120) for i in rng.choice(100, 12, replace=False, p=law / law.sum())]
    data = make_dataset(
        "growing", Interactions.from_raw(*np.array(events).T, time=np.repeat(np.arange(120), 12)), split="temporal"
    )
    new = "recall@20[0,1)"
    best = evaluate(EVERY["Popularity"](data), data.test, degrees=[1])[new]
    for model, options in ((MF(data, 8), {}), (LightGCN(data, 8, 1, similarity="cosine"), {"loss": "softmax"})):
        fit(model, data, epochs=15, batch_size=256, lr=0.02, protocol="none", progress=False, **options)
        assert evaluate(model, data.test, degrees=[1])[new] > 0.7 * best
    for kind in ("EASE", "ItemKNN", "GraphFilter", "RP3beta", "SparseEASE", "SLIM", "UserKNN"):
        assert evaluate(EVERY[kind](data), data.test, degrees=[1])[new] == best


# --- FoldIn -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY)
def test_a_fold_in_is_pickled_whole(model, kind):
    fold = FoldIn(model)
    again = pickle.loads(pickle.dumps(fold))
    new = [model.item_ids[own].tolist() for own in ([0, 3, 7], [], [2])]
    for one, two in zip(fold.recommend(new, 5), again.recommend(new, 5), strict=True):
        assert (one == two).all()


# --- ways of ranking ----------------------------------------------------------------------------------------------------


class ByScore:
    def fit(self, x, y): ...

    def predict(self, x):
        return x[:, 0]


@pytest.mark.parametrize("kind", TRAINED)
def test_every_way_of_ranking_gives_the_same_bits(model):
    data, k = small_data(), 10
    graph, rows = model.graph, torch.arange(model.n_users)
    of_users, of_items = model.scoring_vectors()
    part, _ = data.split_valid(0.3)
    two = TwoStage(MF(part, 4), ByScore(), serving=model, n_candidates=k, use_ppr=False).fit(data)
    alone = [model.recommend([user], k) for user in model.user_ids]
    own_class = SimpleNamespace(vectors=model.vectors)
    by_internal_ids = {
        "scorer and topk": topk(graph, model.scorer()(rows), k, rows),
        "retrieve": retrieve(of_users, of_items, k, graph),
        "retrieve of arrays": map(torch.from_numpy, retrieve(of_users.numpy(), of_items.numpy(), k, graph.to_scipy())),
        "evaluate": next(ranked(model, graph, rows, k))[1:],
        "vectors of a class of one's own": next(ranked(own_class, graph, rows, k))[1:],
    }
    ways = {way: (model.raw_items(ids), scores.numpy()) for way, (ids, scores) in by_internal_ids.items()} | {
        "one by one": tuple(np.concatenate(lists) for lists in zip(*alone, strict=True)),
        "index": Index.build(of_items, ids=model.item_ids).search(of_users, k, graph.to_scipy()),
        "indexed": Indexed(model).recommend(model.user_ids, k),
        "two stages": two.recommend(model.user_ids, k),
    }
    ids, scores = model.recommend(model.user_ids, k)
    for way, (found, values) in ways.items():
        assert np.array_equal(found, ids), way
        assert np.array_equal(values, scores), way

    own, fold = [[0, 3], [5], [1, 2, 7]], FoldIn(model)
    new = [model.item_ids[items].tolist() for items in own]
    edges = Graph.from_edges([0, 0, 1, 2, 2, 2], [0, 3, 5, 1, 2, 7], 3, model.n_items)
    ids, scores = fold.recommend(new, k)
    found, values = topk(edges, dense(model.as_queries(fold.users(new).float()), of_items), k, [0, 1, 2])
    assert np.array_equal(model.raw_items(found), ids)
    assert np.array_equal(values, scores)


@pytest.mark.parametrize("kind", TRAINED)
def test_neighbours_are_those_of_an_index_of_unit_vectors(model, kind):
    z = torch.nn.functional.normalize(model.node_vectors()[1], dim=1)
    ids, cosines = model.similar_items(model.item_ids, 5)
    found, values = Index.build(z, ids=model.item_ids).search(z, 5, [[i] for i in model.item_ids])
    assert np.array_equal(found, ids)
    assert np.array_equal(values, cosines)


def test_the_ridge_of_recommendation_loss_is_torch_geometrics():
    model = MF(small_data(), 4)
    ranks = torch.tensor([0.5, -1.0, 2.0])
    nodes = torch.tensor([0, 3, 3])
    x = model.embedding.weight.detach()
    for given, rows in ((None, x), (nodes, x[nodes])):
        plain, full = (float(model.recommendation_loss(ranks, -ranks, given, lam).detach()) for lam in (0.0, 0.7))
        assert full - plain == pytest.approx(0.7 * float(rows.norm() ** 2) / 3, rel=1e-5)
