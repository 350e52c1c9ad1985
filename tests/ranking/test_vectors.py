"""Vectors of any origin where a model is taken: matrices, implicit's factorizations, torch_geometric's LightGCN."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from every_vectors import (
    KINDS,
    ByScore,
    K,
    best,
    both_ways,
    factors,
    of_geometric,
    of_implicit,
    seen_of,
)

from fastgcn_rec import (
    FoldIn,
    Graph,
    Index,
    Indexed,
    LightGCN,
    TwoStage,
    Vectors,
    evaluate,
    write_recommendations,
    write_vectors,
)
from fastgcn_rec.data import Interactions, make_dataset
from fastgcn_rec.ranking import as_ranker, ranked

every = pytest.mark.parametrize("kind", KINDS)


@every
def test_metrics_are_those_of_brute_force_scores(data, kind):
    model, users, items = KINDS[kind](data)
    scores, seen = users @ items.T, seen_of(data)
    lists, recalls = best(scores, seen), []
    for u in np.unique(data.test.users):
        wanted = data.test.items[data.test.users == u]
        recalls.append(np.isin(wanted, lists[u]).mean())
    found = evaluate(model, data, ks=[K])
    assert found["recall@7"] == pytest.approx(np.mean(recalls), abs=1e-12)
    by_scores = evaluate(lambda rows: scores[rows], data.test, data.graph(), ks=[K])
    assert found == pytest.approx(by_scores, abs=1e-12)
    assert evaluate(model, data.test, data.graph(), ks=[K]) == found == evaluate(as_ranker(model, data), data, ks=[K])


@every
def test_lists_are_the_best_by_score_wherever_they_are_asked_for(data, kind):
    model, users, items = KINDS[kind](data)
    scores, seen, graph = users @ items.T, seen_of(data), data.graph()
    expected = best(scores, seen)
    values = np.take_along_axis(scores, expected, 1)
    ((_, ids, _),) = ranked(model, graph, torch.arange(data.n_users), K)
    assert np.array_equal(ids, expected)
    ((_, ids, _),) = ranked(model, graph, torch.arange(data.n_users), K, exclude_seen=False)
    assert np.array_equal(ids, best(scores, np.zeros_like(seen)))
    ranker = as_ranker(model, data)
    for which in (ranker, Indexed(ranker)):
        found, given = which.recommend(data.user_ids, K)
        assert np.array_equal(found, data.item_ids[expected])
        np.testing.assert_allclose(given, values, rtol=1e-4, atol=1e-5)
    found, _ = Index.build(ranker.scoring_vectors()[1]).search(users, K, graph.to_scipy())
    assert np.array_equal(found, expected)


@every
def test_neighbours_are_those_of_the_largest_cosine(data, kind):
    model, users, items = KINDS[kind](data)
    ranker = as_ranker(model, data)
    for z, ids, near in (
        (users, data.user_ids, ranker.similar_users),
        (items, data.item_ids, ranker.similar_items),
    ):
        cosines = (z @ z.T) / np.maximum(np.outer(*[np.linalg.norm(z, axis=1)] * 2), 1e-12)
        nearest = best(cosines, np.eye(len(z), dtype=bool), 3)
        found, values = near(ids, 3)
        assert np.array_equal(found, ids[nearest])
        np.testing.assert_allclose(values, np.take_along_axis(cosines, nearest, 1), rtol=1e-4, atol=1e-5)


@every
def test_new_users_are_folded_in_by_ridge(data, kind):
    model, users, items = KINDS[kind](data)
    if kind == "torch_geometric":
        model = as_ranker(model, data.graph())
    new, reg, unobserved = [[3, 8, 21], [40]], 0.2, 0.1
    folded = [[], []]
    for which, y in enumerate((items, users)):
        gram = y.T @ y
        lam = reg * np.trace(gram) / len(gram)
        for own in new:
            a = y[own].T @ y[own] + unobserved * gram + lam * np.eye(len(gram))
            folded[which].append(np.linalg.solve(a, y[own].sum(0)))
    fold = FoldIn(model, reg=reg, unobserved=unobserved)
    np.testing.assert_allclose(fold.users(new), folded[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fold.items(new), folded[1], rtol=1e-4, atol=1e-5)
    seen = np.array([np.isin(np.arange(data.n_items), own) for own in new])
    expected = best(np.array(folded[0]) @ items.T, seen)
    assert np.array_equal(fold.recommend(new, K)[0], expected)
    assert np.array_equal(pickle.loads(pickle.dumps(fold)).recommend(new, K)[0], expected)
    typical = fold.recommend([[]], K)[0][0]
    everybody = users.mean(0) if as_ranker(fold.model).graph is None else users[seen_of(data).any(1)].mean(0)
    assert np.array_equal(typical, best(everybody[None] @ items.T, np.zeros((1, data.n_items), bool))[0])


@every
def test_files_hold_the_vectors_and_the_lists(data, kind, tmp_path):
    model, users, items = KINDS[kind](data)
    ranker = as_ranker(model, data)
    for given, ids in ((model, np.arange(data.n_items)), (ranker, data.item_ids)):
        if kind == "torch_geometric" and given is model:
            with pytest.raises(ValueError, match=r"write_vectors: LightGCN is ranked with a graph.*as_ranker\(model"):
                write_vectors(model, tmp_path / "i.npz")
            continue
        assert write_vectors(given, tmp_path / "i.npz") == data.n_items
        with np.load(tmp_path / "i.npz") as file:
            np.testing.assert_allclose(file["vectors"], items, rtol=1e-5, atol=1e-6)
            assert np.array_equal(file["ids"], ids)
    assert write_vectors(ranker, tmp_path / "u.npz", "users") == data.n_users
    assert write_recommendations(ranker, tmp_path / "r.csv", k=2, progress=False) == 2 * data.n_users
    rows = [line.split(",") for line in (tmp_path / "r.csv").read_text().splitlines()[1:]]
    expected = data.item_ids[best(users @ items.T, seen_of(data), 2)]
    assert [int(row[2]) for row in rows] == expected.ravel().tolist()


@every
def test_candidates_are_the_lists(data, kind):
    part, _ = data.split_valid(0.2)
    model, users, items = KINDS[kind](part)
    two = TwoStage(as_ranker(model, part), ByScore(), n_candidates=10, use_ppr=False).fit(data)
    ids, scores = two.recommend(data.user_ids, K)
    expected = best(users @ items.T, seen_of(data))
    assert np.array_equal(ids, data.item_ids[expected])
    np.testing.assert_allclose(scores, np.take_along_axis(users @ items.T, expected, 1), rtol=1e-4, atol=1e-5)
    assert evaluate(two, data)["recall@20"] == two.ceiling(data.test)["recall@10"]


@pytest.mark.parametrize("kind", ["als", "bpr", "lmf"])
def test_inner_products_of_implicits_factors_are_its_own_scores(data, kind):
    model = of_implicit(data, kind)
    matrix = sp.csr_matrix(data.graph().to_scipy())
    ids, scores = model.recommend(np.arange(data.n_users), matrix, N=K, filter_already_liked_items=True)
    found, values = as_ranker(model, data.graph()).recommend(np.arange(data.n_users), K)
    assert np.array_equal(found, ids)
    np.testing.assert_allclose(values, scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_of_torch_geometrics_model_are_its_own(data, weighted):
    model, graph = of_geometric(data), data.graph()
    weight = None
    if weighted:
        users, items = graph.edges()
        w = torch.linspace(0.5, 2, graph.n_edges)
        graph, weight = Graph.from_edges(users, items, data.n_users, data.n_items, w), w.repeat(2)
    ids, scores = as_ranker(model, graph).recommend(np.arange(5), K)
    pairs = torch.stack([torch.arange(5).repeat_interleave(K), data.n_users + torch.from_numpy(ids.ravel())])
    own = model(both_ways(graph), pairs, weight).detach().numpy()
    np.testing.assert_allclose(scores.ravel(), own, rtol=1e-4, atol=1e-6)


def test_our_lightgcn_with_its_parameters_ranks_the_same(data):
    """The graph's edges are the ones that torch_geometric's model needs, in its order."""
    theirs, ours = of_geometric(data), LightGCN(data, 6, 2)
    ours.load_state_dict(theirs.state_dict())
    known = data.user_ids[data.graph().user_degree.numpy() > 0]
    ids, scores = as_ranker(theirs, data).recommend(known, K)
    found, values = ours.recommend(known, K)
    assert (ids == found).mean() > 0.99
    np.testing.assert_allclose(values, scores, rtol=1e-4, atol=1e-6)


# --- Vectors ------------------------------------------------------------------------------------------------------------


def test_raw_ids_are_the_data_sets_or_given_ones():
    raw = Interactions.from_raw(["ann", "bob", "bob"], [7, 7, 9])
    data = make_dataset("toy", raw, split="none")
    users, items = np.eye(2), np.eye(2)
    graph = data.graph()
    for ranker in (
        Vectors(users, items, data),
        as_ranker((users, items), data),
        as_ranker(Vectors(users, items), data),
        Vectors(users, items, graph, user_ids=data.user_ids.tolist(), item_ids=data.item_ids),
    ):
        assert ranker.recommend(["ann"], 1)[0].tolist() == [[9]]
        assert [ids.tolist() for ids in ranker.ids] == [data.user_ids.tolist(), data.item_ids.tolist()]
        with pytest.raises(ValueError, match="users holds 1 id that is not among the 2 users of the model: 'eve'"):
            ranker.recommend(["eve"])
    plain = Vectors(users, items, graph)
    assert plain.ids is None
    assert plain.user_ids.tolist() == [0, 1]
    named = as_ranker(Vectors(users, items, user_ids=["u", "v"], item_ids=["i", "j"]), graph)
    assert named.graph is graph
    assert [ids.tolist() for ids in named.ids] == [["u", "v"], ["i", "j"]]
    one_side = as_ranker(Vectors(users, items, item_ids=["i", "j"]), graph)
    assert one_side.item_ids.tolist() == ["i", "j"]
    assert one_side.ids is None
    with pytest.raises(ValueError, match=r"evaluate: .* has other users than the model"):
        evaluate(Vectors(users, items, graph, user_ids=["x", "y"], item_ids=[7, 9]), data)


def test_cosines_rank_by_unit_vectors(data):
    users, items = factors(data)
    unit = items / np.linalg.norm(items, axis=1, keepdims=True)
    expected = best(users @ unit.T, seen_of(data))
    for ranker in (
        Vectors(users, items, data.graph(), similarity="cosine"),
        Indexed(Vectors(users, items, data.graph(), similarity="cosine")),
        as_ranker(Vectors(users, items, similarity="cosine"), data.graph()),
    ):
        ids, cosines = ranker.recommend(np.arange(data.n_users), K)
        assert np.array_equal(ids, expected)
        assert (np.abs(cosines) <= 1 + 1e-6).all()


def test_float32_is_not_copied_and_arrays_may_be_read_only(data):
    users, items = (a.astype(np.float32) for a in factors(data))
    ranker = Vectors(users, torch.from_numpy(items))
    assert np.shares_memory(ranker.node_vectors()[0].numpy(), users)
    assert np.shares_memory(ranker.node_vectors()[1].numpy(), items)
    users.flags.writeable = False
    again = Vectors(users, np.asfortranarray(items)).recommend([0, 1], 3, exclude_seen=False)[0]
    assert np.array_equal(again, ranker.recommend([0, 1], 3, exclude_seen=False)[0])
    trained = torch.nn.Parameter(torch.from_numpy(items))
    assert not Vectors(users, trained).node_vectors()[1].requires_grad
    assert Vectors(torch.from_numpy(items).bfloat16(), items).node_vectors()[0].dtype == torch.float32


def test_an_index_folds_in_by_the_rule_of_its_model(data):
    model = LightGCN(data, 6, 2, similarity="cosine")
    new = [data.item_ids[:3].tolist(), []]
    ids, scores = model.recommend_new(new, K)
    found, values = Indexed(model).recommend_new(new, K)
    assert np.array_equal(found, ids)
    np.testing.assert_allclose(values, scores, rtol=1e-5)
    near = [m.similar_items(data.item_ids[:4], 3)[0] for m in (model, Indexed(model))]
    assert np.array_equal(*near)


def test_calibrated_folding_fits_the_vectors_of_the_graph(data):
    ranker = Vectors(*factors(data), data.graph())
    edges = data.graph().to_scipy()
    known = edges.sum(1) > 0
    z, f = ranker.node_vectors()[0].numpy()[known], FoldIn(ranker).users(edges).numpy()[known]
    scaled = FoldIn(ranker, calibrate=True).users(edges).numpy()[known]
    np.testing.assert_allclose(scaled, f * (z * f).sum() / np.square(f).sum(), rtol=1e-4, atol=1e-6)
