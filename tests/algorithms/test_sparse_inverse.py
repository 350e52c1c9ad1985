"""The sparse factor of an inverse: what it is of the exact one, whatever is left out."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from fastgcn_rec import _C, Graph
from fastgcn_rec.algorithms import sparse_inverse
from fastgcn_rec.algorithms.sparse_inverse import factor_scores, inverse_factor, turned

N_USERS, N_ITEMS, REG = 60, 41, 2.5


def ratings(weighted=False, n_items=N_ITEMS, seed=0):
    """R as a Graph, with some items popular, and one without an edge."""
    rng = np.random.default_rng(seed)
    law = 1 / np.arange(1, n_items)
    pairs = [
        (u, i) for u in range(N_USERS) for i in rng.choice(n_items - 1, rng.integers(1, 9), False, law / law.sum())
    ]
    users, items = np.array(pairs).T
    weight = rng.uniform(0.2, 3, len(users)) if weighted else None
    shuffled = rng.permutation(n_items)  # so that ids say nothing of popularity
    return Graph.from_edges(users, shuffled[items], N_USERS, n_items, weight)


def rows(graph):
    return graph.indptr, graph.indices, graph.weight


def factor(graph, neighbours, candidates=None):
    indptr, indices, values = inverse_factor(rows(graph), graph.n_items, REG, neighbours, candidates)
    return sp.csr_array((values.double().numpy(), indices.numpy(), indptr.numpy()), shape=(graph.n_items,) * 2)


def gram(graph):
    r = graph.to_scipy().toarray().astype(np.float64)
    return r.T @ r + REG * np.eye(graph.n_items)


def in_order(graph):
    """Items, those with most edges first; of as many the lower id."""
    return np.argsort(-graph.to_scipy().astype(bool).sum(0), kind="stable")


@pytest.mark.parametrize("weighted", [False, True])
def test_with_all_neighbours_it_is_the_inverse_of_the_cholesky_factor(weighted):
    graph = ratings(weighted)
    f, a, order = factor(graph, N_ITEMS).toarray(), gram(graph), in_order(graph)
    exact = np.linalg.inv(np.linalg.cholesky(a[np.ix_(order, order)]))
    np.testing.assert_allclose(f[:, order], exact, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(f.T @ f, np.linalg.inv(a), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("neighbours", [0, 1, 3, 6, 20])
def test_rows_are_regressions_on_the_best_before(weighted, neighbours):
    graph = ratings(weighted)
    f, a, order = factor(graph, neighbours), gram(graph), in_order(graph)
    for place, item in enumerate(order):
        before = order[:place]
        worth = np.abs(a[item, before]) / np.sqrt(a[before, before])
        ranked = before[np.lexsort([np.arange(place), -worth])][:neighbours] if worth.any() else before[:0]
        wanted = np.zeros(N_ITEMS)
        x = np.linalg.solve(a[np.ix_(ranked, ranked)], a[ranked, item])
        wanted[item], wanted[ranked] = 1, -x
        wanted /= np.sqrt(a[item, item] - a[item, ranked] @ x)
        np.testing.assert_allclose(f[[place]].toarray()[0], wanted, rtol=1e-4, atol=1e-6)


def test_each_neighbour_brings_it_nearer():
    graph, a = ratings(), gram(ratings())
    far = []
    for neighbours in (0, 2, 5, 10, 20, N_ITEMS):
        f = factor(graph, neighbours).toarray()
        np.testing.assert_allclose(np.diag(f @ a @ f.T), 1, rtol=1e-5)
        far.append(np.linalg.slogdet(f.T @ f @ a)[1])  # 0 where it is the inverse, and never above
    assert far == sorted(far)
    assert far[0] < -1
    assert far[-1] == pytest.approx(0, abs=1e-5)


def test_candidates_leave_out_what_is_smallest_and_nothing_breaks_down():
    graph = ratings(weighted=True)
    assert (factor(graph, 4, candidates=N_ITEMS) != factor(graph, 4)).nnz == 0
    order = in_order(graph)
    for candidates in (1, 3):
        f = factor(graph, 10, candidates).toarray()
        assert np.isfinite(f).all()
        assert (np.diag(f[:, order]) <= 1 / np.sqrt(REG) * (1 + 1e-6)).all()
        one = factor(graph, 1, candidates).toarray()  # which looks at no more than the best of a row
        np.testing.assert_allclose(one, factor(graph, 1).toarray(), rtol=1e-6)


def test_the_same_bits_for_any_number_of_threads(threads_in_small_chunks):
    graph = ratings(weighted=True, n_items=300)
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        f = inverse_factor(rows(graph), 300, REG, 12, 40)
        ones = torch.ones(300)
        results.append((*f, factor_scores(rows(graph), f, turned(f, 300), ones, 2 * ones, ones)))
    assert all(map(torch.equal, *results))


@pytest.fixture
def threads_in_small_chunks():
    threads, grain = torch.get_num_threads(), _C.grain()
    _C.set_grain(64)
    yield
    _C.set_grain(grain)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_products_with_the_factor_both_ways(weighted):
    graph, rng = ratings(weighted), np.random.default_rng(1)
    f = inverse_factor(rows(graph), N_ITEMS, REG, 5)
    before, after, own = (torch.from_numpy(rng.normal(size=N_ITEMS).astype(np.float32)) for _ in range(3))
    some = graph.select_users(torch.tensor([5, 5, 0]))
    found = factor_scores(rows(some), f, turned(f, N_ITEMS), before, after, own)
    dense, r = factor(graph, 5).toarray(), some.to_scipy().toarray()
    wanted = (r * before.numpy()) @ dense.T @ dense * after.numpy() + r * own.numpy()
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)
    nobody = graph.select_users(torch.tensor([], dtype=torch.int64))
    assert factor_scores(rows(nobody), f, turned(f, N_ITEMS), before, after, own).shape == (0, N_ITEMS)


def test_what_does_not_fit_is_refused_with_what_does(monkeypatch):
    graph = ratings()
    monkeypatch.setattr(sparse_inverse, "available_memory", lambda: 600)
    with pytest.raises(MemoryError, match=r"entries below its diagonal.*pass candidates=(\d+)") as caught:
        factor(graph, 5)
    fits = int(str(caught.value).split("candidates=")[1].split(",")[0])
    assert factor(graph, 5, fits).shape == (N_ITEMS, N_ITEMS)


def test_nothing_is_made_of_nothing():
    empty = Graph.from_edges([], [], 2, 3)
    np.testing.assert_allclose(factor(empty, 2).toarray(), np.eye(3) / np.sqrt(REG))
    assert factor(Graph.from_edges([], [], 0, 0), 2).shape == (0, 0)
