"""SLIM beside scikit-learn's elastic net, and its optimality in plain NumPy."""

import numpy as np
import pytest
import torch
from support import on_the_cpu, random_graph, same_bits_in_any_order, weighted_graph

from fastgcn_rec import SLIM, ItemKNN, Popularity, evaluate
from fastgcn_rec.data import synthetic_interactions

GRAPHS = [random_graph(), weighted_graph()]
every_graph = pytest.mark.parametrize("graph", GRAPHS, ids=["plain", "weighted"])


@every_graph
@pytest.mark.parametrize(("l1", "l2"), [(0.5, 2.0), (0.01, 1.0), (2.0, 0.1)])
def test_columns_are_elastic_nets(graph, l1, l2):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="an extra")
    r = graph.to_scipy().toarray().astype(np.float64)
    n = len(r)
    net = linear_model.ElasticNet(
        (l1 + l2) / n, l1_ratio=l1 / (l1 + l2), positive=True, fit_intercept=False, tol=1e-12, max_iter=100_000
    )
    w = SLIM(graph, l1, l2, tolerance=1e-12).matrix().toarray()
    for j in range(r.shape[1]):
        others = np.delete(np.arange(r.shape[1]), j)
        if r[:, j].any():
            np.testing.assert_allclose(w[others, j], net.fit(r[:, others], r[:, j]).coef_, atol=2e-6)
        assert w[j, j] == 0


def objective(x, y, w, l1, l2):
    return 0.5 * ((y - x @ w) ** 2).sum() + l1 * w.sum() + l2 / 2 * (w**2).sum()


@every_graph
@pytest.mark.parametrize("tolerance", [1e-1, 1e-3])
def test_the_tolerance_bounds_what_a_column_may_still_lose(graph, tolerance):
    r, options = graph.to_scipy().toarray().astype(np.float64), {"l1": 0.3, "l2": 0.5}
    rough, exact = (SLIM(graph, **options, tolerance=t).matrix().toarray() for t in (tolerance, 1e-12))
    for j in range(r.shape[1]):
        lost = objective(r, r[:, j], rough[:, j], 0.3, 0.5) - objective(r, r[:, j], exact[:, j], 0.3, 0.5)
        assert lost <= tolerance * (r[:, j] ** 2).sum() + 1e-9


@every_graph
def test_among_the_nearest_items_alone(graph):
    r = graph.to_scipy().toarray().astype(np.float64)
    near = ItemKNN(graph, 5).matrix().toarray() > 0
    w = SLIM(graph, 0.1, 0.5, neighbours=5, tolerance=1e-12).matrix().toarray().astype(np.float64)
    assert not w[~near].any()
    assert (w > 0).sum() > 0.5 * near.sum()
    for j in range(r.shape[1]):  # the conditions of an optimum
        slope = r.T @ (r[:, j] - r @ w[:, j]) - 0.1 - 0.5 * w[:, j]
        assert np.abs(slope[w[:, j] > 0]).max(initial=0) < 1e-4
        assert slope[near[:, j] & (w[:, j] == 0)].max(initial=-1) < 1e-4


def test_it_says_when_it_has_not_converged():
    graph = random_graph()
    with pytest.warns(
        RuntimeWarning, match=r"of 30 columns did not converge within max_sweeps=1: a duality gap is .* tolerance=1e-10"
    ):
        SLIM(graph, 0.1, 0.1, tolerance=1e-10, max_sweeps=1)
    SLIM(graph, 0.1, 0.1, tolerance=1e-10)


@on_the_cpu
def test_threads_do_not_matter():
    graph = random_graph(300, 200, 4000)
    same_bits_in_any_order(lambda: [torch.from_numpy(SLIM(graph, 0.5, 1.0).matrix().toarray())], torch.device("cpu"))


def test_it_beats_popularity_and_neighbours():
    data = synthetic_interactions(200, 100, 4000, seed=1)
    found = [evaluate(m, data.test)["ndcg@20"] for m in (SLIM(data, 0.5, 5.0), ItemKNN(data), Popularity(data))]
    assert found[0] > found[1] > found[2]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"l1": -1.0}, "l1 must be >= 0 and finite, got -1.0"),
        ({"l2": 0.0}, "l2 must be > 0 and finite, got 0.0"),
        ({"tolerance": 0}, "tolerance must be > 0 and finite, got 0"),
        ({"neighbours": 0}, "neighbours must be >= 1, got 0"),
        ({"max_sweeps": 0}, "max_sweeps must be >= 1, got 0"),
    ],
)
def test_errors(options, text):
    with pytest.raises(ValueError, match=f"SLIM: {text}"):
        SLIM(random_graph(), **options)


def test_more_neighbours_than_any_machine_counts_are_all():
    graph = random_graph()
    assert (SLIM(graph, neighbours=2**70).matrix() != SLIM(graph).matrix()).nnz == 0
    with pytest.raises(ValueError, match=f"SLIM: max_sweeps must be <= {2**63 - 1}, got {2**63}"):
        SLIM(graph, max_sweeps=2**63)
