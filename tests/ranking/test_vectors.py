"""Vectors of any origin where a model is taken: matrices, implicit's factorizations, torch_geometric's LightGCN."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from fastgcn_rec import (  # fmt: skip
    FoldIn,
    Graph,
    Index,
    Indexed,
    LightGCN,
    Popularity,
    TwoStage,
    Vectors,
    evaluate,
    write_recommendations,
    write_vectors,
)
from fastgcn_rec.data import Edges, Interactions, make_dataset, synthetic_interactions
from fastgcn_rec.ranking import Ranker, as_ranker, ranked

K = 7


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(60, 50, 700, dim=4, seed=3)


def factors(data, dim=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((data.n_users, dim)), rng.standard_normal((data.n_items, dim))


def of_implicit(data, kind):
    pytest.importorskip("implicit", reason="an extra")
    from implicit.cpu import als, bpr, lmf
    from threadpoolctl import threadpool_limits

    makers = {
        "als": als.AlternatingLeastSquares,
        "bpr": bpr.BayesianPersonalizedRanking,
        "lmf": lmf.LogisticMatrixFactorization,
    }
    with threadpool_limits(1, "blas"):
        model = makers[kind](factors=6, iterations=5, random_state=0, num_threads=1)
        model.fit(sp.csr_matrix(data.graph().to_scipy()), show_progress=False)
    return model


def of_geometric(data):
    kind = pytest.importorskip("torch_geometric.nn", reason="an extra").LightGCN
    torch.manual_seed(0)
    return kind(data.n_users + data.n_items, 6, 2)


def both_ways(graph):
    users, items = graph.edges()
    items = items + graph.n_users
    return torch.stack([torch.cat([users, items]), torch.cat([items, users])])


def embedded(data):
    model = of_geometric(data)
    z = model.get_embedding(both_ways(data.graph())).detach().double().numpy()
    return model, z[: data.n_users], z[data.n_users :]


def own_class(data):
    users, items = factors(data)
    tensors = (torch.from_numpy(users).float(), torch.from_numpy(items).float(), "dot")
    return SimpleNamespace(vectors=lambda: tensors), users, items


class Shared:
    """An array that hands itself over by DLPack alone."""

    def __init__(self, array):
        self.tensor = torch.from_numpy(array)

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


def pair(data, as_given=lambda array: array, as_model=tuple):
    users, items = factors(data)
    return as_model([as_given(users), as_given(items)]), users, items


class Matrix:
    """implicit's factors on a GPU have no more than this."""

    def __init__(self, array):
        self.array = array

    def to_numpy(self):
        return self.array.astype(np.float32)


def on_a_gpu(arrays):
    users, items = map(Matrix, arrays)
    return SimpleNamespace(user_factors=users, item_factors=items)


def fitted(data, kind):
    model = of_implicit(data, kind)
    return model, np.float64(model.user_factors), np.float64(model.item_factors)


# by name: data -> (what stands where a model is taken, users [U, dim], items [I, dim] whose inner products are its scores)
KINDS = {
    "numpy": pair,
    "numpy, float32": lambda data: pair(data, np.float32),
    "torch": lambda data: pair(data, torch.from_numpy),
    "dlpack": lambda data: pair(data, Shared),
    "lists": lambda data: pair(data, np.ndarray.tolist, list),
    "Vectors": lambda data: pair(data, as_model=lambda both: Vectors(*both)),
    "vectors()": own_class,
    "implicit als": lambda data: fitted(data, "als"),
    "implicit bpr": lambda data: fitted(data, "bpr"),
    "implicit lmf": lambda data: fitted(data, "lmf"),
    "implicit, on a GPU": lambda data: pair(data, as_model=on_a_gpu),
    "torch_geometric": embedded,
}
every = pytest.mark.parametrize("kind", KINDS)


def best(scores, seen, k=K):
    """The k best of each row of scores, no ties among them, by NumPy alone."""
    left = np.where(seen, -np.inf, scores)
    return np.argsort(-left, 1)[:, :k]


def seen_of(data):
    return data.graph().to_scipy().toarray() > 0


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


class ByScore:
    def fit(self, x, y): ...

    def predict(self, x):
        return x[:, 0]


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


def test_two_stages_recommend_seen_items_too_and_write_their_lists(data, tmp_path):
    part, _ = data.split_valid(0.2)
    users, items = factors(data)
    two = TwoStage(as_ranker((users, items), part), ByScore(), n_candidates=K, use_ppr=False).fit(data)
    every_item = data.item_ids[best(users @ items.T, np.zeros((len(users), len(items)), bool))]
    assert np.array_equal(two.recommend(data.user_ids, K, exclude_seen=False)[0], every_item)
    assert write_recommendations(two, tmp_path / "r.csv", k=3, progress=False) == 3 * data.n_users
    rows = [line.split(",") for line in (tmp_path / "r.csv").read_text().splitlines()[1:]]
    assert [int(row[2]) for row in rows] == two.recommend(data.user_ids, 3)[0].ravel().tolist()
    with pytest.raises(NotImplementedError, match="TwoStage has no vectors"):
        two.similar_items(data.item_ids[:1])
    with pytest.raises(TypeError, match="write_vectors: TwoStage does not score by vectors"):
        write_vectors(two, tmp_path / "v.npz")


class Own(Ranker):
    """A class of somebody's own, with vectors of somewhere."""

    similarity, has_raw_ids = "dot", True

    def __init__(self, data, users, items):
        self.graph, self.user_ids, self.item_ids = data.graph(), data.user_ids, data.item_ids
        self.both = torch.from_numpy(users).float(), torch.from_numpy(items).float()

    def node_vectors(self):
        return self.both


def test_a_class_with_one_method_is_a_ranker(data):
    users, items = factors(data)
    own, pair = Own(data, users, items), Vectors(users, items, data)
    for a, b in (
        (own.recommend(data.user_ids, K), pair.recommend(data.user_ids, K)),
        (own.similar_items(data.item_ids, K), pair.similar_items(data.item_ids, K)),
        (Indexed(own).recommend(data.user_ids, K), pair.recommend(data.user_ids, K)),
    ):
        assert np.array_equal(a[0], b[0])
        assert np.array_equal(a[1], b[1])
    assert evaluate(own, data) == evaluate(pair, data)
    assert (own.n_users, own.n_items) == (data.n_users, data.n_items)
    assert own.item_rows(data.item_ids[[4, 2]]).tolist() == [4, 2]
    with pytest.raises(NotImplementedError, match="Own has no rule for new users and items"):
        own.recommend_new([[data.item_ids[0]]])


# --- as_ranker ----------------------------------------------------------------------------------------------------------


def test_what_ranks_by_scores_or_lists_recommends_too(data):
    graph, scores = data.graph(), np.random.default_rng(5).random((data.n_users, data.n_items))
    expected = best(scores, seen_of(data))

    def lists(seen, users, k):
        own = np.zeros_like(scores, bool) if seen is None else seen.to_scipy().toarray() > 0
        yield users, torch.from_numpy(best(scores, own, k)[users]), torch.zeros(len(users), k)

    for model in (
        lambda rows: scores[rows],
        SimpleNamespace(scorer=lambda: lambda rows: scores[rows]),
        SimpleNamespace(ranked=lists),
    ):
        ranker = as_ranker(model, graph)
        assert isinstance(ranker, Ranker)
        assert ranker.vectors() is None
        assert np.array_equal(ranker.recommend(range(data.n_users), K)[0], expected)
        assert np.array_equal(as_ranker(model, data).recommend(data.user_ids, K)[0], data.item_ids[expected])
        assert evaluate(model, data, ks=K) == evaluate(ranker, data, ks=K)
        if not callable(model):
            model.graph, model.user_ids, model.item_ids = graph, data.user_ids, data.item_ids
            assert np.array_equal(as_ranker(model).recommend(data.user_ids, K)[0], data.item_ids[expected])
        for refused in (ranker.similar_items, ranker.similar_users):
            with pytest.raises(NotImplementedError, match="has no vectors"):
                refused([0])
        with pytest.raises(NotImplementedError, match="has no rule for new users and items"):
            ranker.recommend_new([[0]])
        with pytest.raises(TypeError, match="does not score by vectors, so that no index can hold them"):
            Indexed(ranker)


def test_a_ranker_is_itself_and_keeps_its_graph(data):
    for model in (Popularity(data), Vectors(*factors(data), data.graph()), Indexed(LightGCN(data, 4))):
        assert as_ranker(model) is model
        assert as_ranker(model, Graph.from_edges([0], [0], data.n_users, data.n_items)) is model


SMALL = np.ones((3, 2)), np.ones((4, 2))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Vectors(np.ones(3), SMALL[1]), ValueError, r"users must have shape \[n, dim\], got \[3\]"),
        (lambda: Vectors(SMALL[0], np.ones((4, 3))), ValueError, r"as many columns, got \[3, 2\] and \[4, 3\]"),
        (lambda: Vectors(*SMALL, Graph.from_edges([0], [0], 4, 3)), ValueError, r"each of the 4 users and 3 items of the graph, got \[3, 2\] and \[4, 2\]"),
        (lambda: Vectors(*SMALL, sp.csr_array((3, 4))), TypeError, r"graph must be a Graph or a Dataset, got csr_array; Graph\(matrix\)"),
        (lambda: Vectors(np.full((3, 2), np.nan), SMALL[1]), ValueError, "users must be finite, got NaN or infinity in row 0"),
        (lambda: Vectors(SMALL[0], torch.tensor([[0.0, 1], [0, -torch.inf]])), ValueError, "items must be finite, got NaN or infinity in row 1"),
        (lambda: Vectors(SMALL[0] + 1j, SMALL[1]), TypeError, "users must be real numbers, got dtype complex128"),
        (lambda: Vectors(torch.ones(3, 2) + 1j, SMALL[1]), TypeError, "users must be real numbers, got dtype complex64"),
        (lambda: Vectors(np.array([["a"]]), SMALL[1]), TypeError, "users must be real numbers, got dtype <U1"),
        (lambda: Vectors(sp.csr_array(SMALL[0]), SMALL[1]), TypeError, r"users must be a dense matrix, got a sparse one; pass users.toarray\(\)"),
        (lambda: Vectors(*SMALL, similarity="angle"), ValueError, "similarity must be one of .* got 'angle'"),
        (lambda: Vectors(*SMALL, user_ids=[1]), ValueError, "user_ids must have length n = 3, one a user, got 1"),
        (lambda: Vectors(*SMALL, item_ids=[1, 2, 2, 1]), ValueError, "item_ids must be distinct, got 2 repeated ones"),
        (lambda: Vectors(*SMALL, item_ids=[1.5] * 4), TypeError, "item_ids must be integers or strings"),
    ],
)  # fmt: skip
def test_matrices_and_ids_that_do_not_fit_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (SMALL, ValueError, r"recommend: exclude_seen=True leaves out .* this Vectors knows no edges; make it with a graph, or pass exclude_seen=False"),
        (SMALL + SMALL, TypeError, r"of matrices a model is the pair \(users, items\), got 4 of them"),
        (5, TypeError, r"as_ranker: model must be a model of fastgcn_rec, .* got int"),
        (SimpleNamespace(vectors=np.eye(2)), TypeError, "got SimpleNamespace"),
        (SimpleNamespace(user_factors=None, item_factors=None), ValueError, "SimpleNamespace.user_factors is None; fit it first"),
        (len, ValueError, r"as_ranker: len is ranked with a graph, and there is none; pass .*as_ranker\(model, graph\)"),
        (SimpleNamespace(scorer=lambda: len), ValueError, "is ranked with a graph"),
        (SimpleNamespace(get_embedding=len, num_nodes=7), ValueError, "SimpleNamespace is ranked with a graph"),
    ],
)  # fmt: skip
def test_what_cannot_rank_is_refused_by_name(model, error, message):
    with pytest.raises(error, match=message):
        as_ranker(model).recommend([0])


def test_what_takes_a_model_names_itself(data, tmp_path):
    part, _ = data.split_valid(0.2)
    calls = {
        "evaluate": lambda: evaluate(5, data),
        "ranked": lambda: ranked(5, data.graph(), torch.arange(2), 3),
        "Indexed": lambda: Indexed(5),
        "TwoStage": lambda: TwoStage(5, ByScore()),
        "FoldIn": lambda: FoldIn(5),
        "write_vectors": lambda: write_vectors(5, tmp_path / "x.npz"),
        "write_recommendations": lambda: write_recommendations(5, tmp_path / "x.csv"),
    }
    for who, call in calls.items():
        with pytest.raises(TypeError, match=f"^{who}: model must be a model of fastgcn_rec.* got int"):
            call()
    matrices = factors(data)
    with pytest.raises(ValueError, match=r"write_recommendations: exclude_seen=True .* this Vectors knows no edges"):
        write_recommendations(matrices, tmp_path / "x.csv", progress=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"TwoStage: candidates must know the edges .*as_ranker\(model, graph\)"):
        TwoStage(matrices, ByScore())
    with pytest.raises(ValueError, match=r"TwoStage: serving must know the edges"):
        TwoStage(as_ranker(matrices, part), ByScore(), serving=matrices)
    with pytest.raises(ValueError, match=r"recall: exclude_seen=True .* this Indexed knows no edges"):
        Indexed(matrices).recall([0], 3)
    with pytest.raises(ValueError, match=r"FoldIn: calibrate=True .* this Vectors has no graph"):
        FoldIn(matrices, calibrate=True)
    with pytest.raises(ValueError, match=r"Vectors: reg must be > 0 and unobserved >= 0, got -1 and"):
        FoldIn(matrices, reg=-1)
    with pytest.raises(ValueError, match=r"each of the 2 users and 3 items of the graph"):
        evaluate(matrices, Edges([0], [0]), Graph.from_edges([0], [0], 2, 3))
    if (kind := of_geometric(data)) is not None:
        with pytest.raises(
            ValueError, match=r"LightGCN has 110 nodes, and the graph 2 users and 3 items, which makes 5"
        ):
            as_ranker(kind, Graph.from_edges([0], [0], 2, 3))
