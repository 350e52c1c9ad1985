"""ItemKNN, RP3beta and UserKNN beside their formulas in plain NumPy, float64; what they share, in any order of threads."""

import inspect
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from every_model import with_guesses
from support import assert_close, on_the_cpu, random_graph, ranking, same_bits_in_any_order, weighted_graph

from fastgcn_rec import Graph, ItemKNN, RP3beta, UserKNN, evaluate
from fastgcn_rec.algorithms import nearest_rows as rows
from fastgcn_rec.algorithms.nearest_rows import SIMILARITIES
from fastgcn_rec.data import synthetic_interactions

GRAPHS = [random_graph(), weighted_graph()]
every_graph = pytest.mark.parametrize("graph", GRAPHS, ids=["plain", "weighted"])
every_similarity = pytest.mark.parametrize("kind", SIMILARITIES)


def dense(graph):
    return graph.to_scipy().toarray().astype(np.float64)


def divide(a, b):
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b))), where=np.asarray(b) > 0)


def sapling(r):
    """B [n, n] of the columns of r: the impurities by Gini of who has i, among all and on either side of who has j or has not."""
    has = r > 0
    b = np.zeros((r.shape[1],) * 2)

    def impurity(group):
        return 2 * group.mean() * (1 - group.mean()) if len(group) else 0.0

    for i, of_i in enumerate(has.T):
        for j, of_j in enumerate(has.T):
            if impurity(of_i) and impurity(of_j):
                split = of_j.mean() * impurity(of_i[of_j]) + (1 - of_j.mean()) * impurity(of_i[~of_j])
                more = np.sign(of_i[of_j].mean() - of_i.mean()) if abs(of_i[of_j].mean() - of_i.mean()) > 1e-12 else 0
                b[i, j] = (1 - split / impurity(of_i)) * more
    return b


def similarity(kind, r, shrinkage=0.0, k1=1.2, b=0.75, asymmetry=0.5):
    """sim(i, j) of the columns of r."""
    idf = np.log(r.shape[1]) - np.log1p((r > 0).sum(1))[:, None]
    if kind == "jaccard":
        sets = [set(np.flatnonzero(column)) for column in r.T]
        return np.array([[len(x & y) / max(len(x | y) + shrinkage, 1e-9) for y in sets] for x in sets])
    if kind == "sapling":
        found = sapling(r)
        return divide(found, np.abs(found).sum(0))
    if kind == "bm25":
        x = r * (k1 + 1) / (k1 * (1 - b + b * r.sum(0) / r.sum(0).mean()) + r) * idf
        return x.T @ x
    x = np.sqrt(r) * idf if kind == "tfidf" else r
    norm = np.sqrt((x**2).sum(0))
    return divide(x.T @ x, norm[:, None] ** (2 * asymmetry) * norm ** (2 - 2 * asymmetry) + shrinkage)


def best_of_columns(w, n, own=False):
    """Of each column the n largest positive values, those off the diagonal unless ``own``."""
    w = w.copy()
    if not own:
        np.fill_diagonal(w, 0)
    kept = np.zeros_like(w)
    for j in range(len(w)):
        best = [i for i in ranking(range(len(w)), w[:, j].__getitem__)[:n] if w[i, j] > 0]
        kept[best, j] = w[best, j]
    return kept


def all_scores(model):
    return model.scorer()(torch.arange(model.n_users, device=model.graph.device))


def check(model, w, graph):
    assert_close(torch.from_numpy(model.matrix().toarray()), torch.from_numpy(w))
    assert_close(all_scores(model), torch.from_numpy(with_guesses(dense(graph) @ w, dense(graph))))


OPTIONS = [("cosine", {}), ("cosine", {"shrinkage": 3.0}), ("jaccard", {}), ("jaccard", {"shrinkage": 3.0}), ("tfidf", {}),
           ("tfidf", {"shrinkage": 1.0, "asymmetry": 0.7}), ("cosine", {"asymmetry": 0.2}), ("bm25", {}), ("bm25", {"k1": 0.3, "b": 0.2}), ("sapling", {})]  # fmt: skip


@every_graph
@pytest.mark.parametrize(("kind", "options"), OPTIONS)
@pytest.mark.parametrize("n", [4, 1000])
def test_items_by_their_similarity(graph, kind, options, n):
    check(ItemKNN(graph, n, kind, **options), best_of_columns(similarity(kind, dense(graph), **options), n), graph)


@every_graph
@pytest.mark.parametrize(("kind", "options"), OPTIONS)
@pytest.mark.parametrize("n", [4, 1000])
def test_users_by_their_similarity(graph, kind, options, n):
    r = dense(graph)
    w = similarity(kind, r.T, **options)
    if kind == "sapling":  # B_uv / sum_v |B_uv|, which is not symmetric
        b = sapling(r.T)
        w = divide(b, np.abs(b).sum(1)[:, None]).T
    near = best_of_columns(w, n, own=True)  # [v, u]
    assert_close(all_scores(UserKNN(graph, n, kind, **options)), torch.from_numpy(with_guesses(near.T @ r, r)))


@every_graph
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.7, 0.6)])
def test_rp3beta_as_walks(graph, alpha, beta):
    r = dense(graph)
    of_users, of_items = r.sum(1), r.sum(0)
    item_to_user, user_to_item = divide(r.T, of_items[:, None]), divide(r, of_users[:, None])
    w = (item_to_user**alpha) @ (user_to_item**alpha) * divide(1.0, of_items**beta) * (of_items > 0)
    check(RP3beta(graph, 6, alpha, beta), best_of_columns(w, 6), graph)


@every_graph
@every_similarity
def test_similar_users_are_those_of_the_similarity(graph, kind):
    model, r = UserKNN(graph, 3, kind), dense(graph)
    w = similarity(kind, r.T)
    if kind == "sapling":
        b = sapling(r.T)
        w = divide(b, np.abs(b).sum(1)[:, None]).T
    ids, found = model.similar_users([4, 41 - 2, 0], model.n_users)
    for user, listed, values in zip((4, 39, 0), ids, found, strict=True):
        expected = -np.sort(-np.maximum(np.delete(w[:, user], user), 0))
        assert_close(torch.from_numpy(values[:-1]), torch.from_numpy(expected))
        np.testing.assert_allclose(values[:-1], np.maximum(w[listed[:-1], user], 0), rtol=1e-5, atol=1e-7)
        assert (listed[-1], values[-1]) == (-1, -np.inf)
    assert model.similar_users([4], 2, among=[1, 2, 4])[0].tolist()[0] == [i for i in ids[0].tolist() if i in (1, 2)]
    assert not {0, 5} & set(model.similar_users([4], 10, exclude=[0, 5])[0][0].tolist())


@pytest.mark.parametrize("kind", ["cosine", "tfidf", "bm25"])
def test_they_are_those_of_implicit(kind):
    nearest = pytest.importorskip("implicit.nearest_neighbours", reason="an extra")
    graph = weighted_graph()
    names = {"cosine": "CosineRecommender", "tfidf": "TFIDFRecommender", "bm25": "BM25Recommender"}
    other = getattr(nearest, names[kind])(K=31, num_threads=1, **({"K1": 0.7, "B": 0.4} if kind == "bm25" else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own matrices are not in the form that it asks for
        other.fit(sp.csr_matrix(graph.to_scipy().astype(np.float64)), show_progress=False)
    w = other.similarity.toarray()
    np.fill_diagonal(w, 0)
    mine = ItemKNN(graph, 30, kind, k1=0.7, b=0.4).matrix().toarray()
    np.testing.assert_allclose(mine, np.where(w > 0, w, 0).T, rtol=1e-5, atol=1e-6)


@on_the_cpu
def test_neither_threads_nor_blocks_of_rows_matter(monkeypatch):
    graph = random_graph(300, 200, 4000)
    models = (lambda: ItemKNN(graph, 9, "sapling"), lambda: ItemKNN(graph, 9), lambda: RP3beta(graph, 9))

    def made():
        found = [torch.from_numpy(model().matrix().toarray()) for model in models]
        return [*found, all_scores(UserKNN(graph, 9, "tfidf"))]

    whole = made()
    same_bits_in_any_order(made, torch.device("cpu"))
    monkeypatch.setattr(rows, "_CELLS", 9 * 7)  # seven rows at a time
    assert all(map(torch.equal, whole, made()))


@every_similarity
@pytest.mark.parametrize("of", [ItemKNN, UserKNN])
def test_what_everybody_or_nobody_has(of, kind):
    everything = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    for r in (everything, everything.T, np.ones((3, 3)), np.zeros((2, 3)), np.eye(4)):
        users, items = np.nonzero(r)
        assert all_scores(of(Graph.from_edges(users, items, *r.shape), 3, kind)).isfinite().all()


@every_similarity
@pytest.mark.parametrize("of", [ItemKNN, UserKNN])
def test_they_beat_popularity(of, kind):
    from fastgcn_rec import Popularity

    data = synthetic_interactions(200, 100, 4000, seed=1)
    assert evaluate(of(data, 40, kind), data.test)["ndcg@20"] > evaluate(Popularity(data), data.test)["ndcg@20"]


@pytest.mark.parametrize("of", [ItemKNN, UserKNN])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"neighbours": 0}, "neighbours must be >= 1, got 0"),
        ({"similarity": "dot"}, r"similarity must be one of \('cosine', 'jaccard', 'tfidf', 'bm25', 'sapling'\), got 'dot'"),
        ({"shrinkage": -1.0}, "shrinkage must be >= 0 and finite, got -1.0"),
        ({"similarity": "bm25", "shrinkage": 1.0}, "shrinkage must be 0 for similarity='bm25', got 1.0; it is for"),
        ({"k1": -1.0}, r"k1 must be >= 0 and finite, b in \[0, 1\], got -1.0 and 0.75"),
        ({"asymmetry": 1.5}, r"asymmetry must lie in \[0, 1\], got 1.5"),
        ({"similarity": "jaccard", "asymmetry": 0.7}, "asymmetry must be 0.5 for similarity='jaccard', got 0.7; it is for"),
        ({"similarity": "bm25", "b": 1.5}, r"k1 must be >= 0 and finite, b in \[0, 1\], got 1.2 and 1.5"),
    ],
)  # fmt: skip
def test_errors(of, options, text):
    with pytest.raises(ValueError, match=f"{of.__name__}: {text}"):
        of(random_graph(), **options)


@pytest.mark.parametrize("of", [ItemKNN, UserKNN])
@pytest.mark.parametrize("b", [0.0, 0.75, 1.0])
def test_k1_beyond_all_weights_is_their_limit(of, b):
    """Then bm25 is linear in a weight; no product of the two overflows."""
    graph = weighted_graph()
    heavy = Graph(graph.to_scipy() * np.float32(1e12), weighted=True)
    most, more = (of(graph, similarity="bm25", k1=k1, b=b) for k1 in (1e60, 1e300))
    users = torch.arange(graph.n_users)
    assert_close(most.scorer()(users), more.scorer()(users))
    assert bool(of(heavy, similarity="bm25", k1=1e300, b=b).scorer()(users).isfinite().all())


def test_both_take_the_same_options_and_each_says_its_own_name():
    assert inspect.signature(ItemKNN) == inspect.signature(UserKNN)
    assert ItemKNN(random_graph()).config() == UserKNN(random_graph()).config()
