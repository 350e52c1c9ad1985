"""SparseEASE beside EASE and its formula in plain NumPy, float64."""

import numpy as np
import pytest
import torch
from every_model import with_guesses

from fastgcn_rec import EASE, Graph, Popularity, Recommender, SparseEASE, evaluate
from fastgcn_rec.data import synthetic_interactions


def small(weighted=False):
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 40, 300), (31 * rng.random(300) ** 2).astype(int)
    weight = rng.uniform(0.5, 2.0, 300).astype(np.float32) if weighted else None
    return Graph.from_edges(users, items, 42, 33, weight)  # two users and two items without an edge, at least


def everyone(model):
    return model.scorer()(torch.arange(model.n_users)).numpy()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", [{"neighbours": 32}, {"density": 1.0}])
def test_with_all_entries_it_is_ease(weighted, options):
    graph = small(weighted)
    dense, sparse = EASE(graph, 3.0), SparseEASE(graph, 3.0, **options, user_power=0)
    np.testing.assert_allclose(everyone(sparse), everyone(dense), rtol=1e-4, atol=2e-6)
    new = [[0, 5, 9], [2], []]
    np.testing.assert_allclose(sparse.recommend_new(new, 5)[1], dense.recommend_new(new, 5)[1], rtol=1e-4, atol=2e-6)
    assert np.array_equal(sparse.similar_items([0, 3], 5)[0], dense.similar_items([0, 3], 5)[0])


@pytest.mark.parametrize("weighted", [False, True])
def test_powers_of_the_degrees(weighted):
    graph, a, b, p = small(weighted), 0.3, 0.2, 0.15
    r = graph.to_scipy().toarray().astype(np.float64)
    of_users, of_items = (np.maximum(r.sum(axis), 1e-9) for axis in (1, 0))
    scaled = of_users[:, None] ** -a * r * of_items**-b * (r.sum(0) > 0)
    c = np.linalg.inv(scaled.T @ scaled + 0.5 * np.eye(graph.n_items))
    w = c / -np.diag(c)
    np.fill_diagonal(w, 0)
    has = r.sum(0) > 0
    wanted = (np.where(has, r * of_items ** -(b + p), 0) @ w) * np.where(has, of_items**b, 0)
    found = everyone(SparseEASE(graph, 0.5, 1000, user_power=a, item_power=b, row_power=p))
    np.testing.assert_allclose(found, with_guesses(wanted, r), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_guesses_are_a_part_of_the_row(weighted):
    graph, n = small(weighted), 3
    plain = SparseEASE(graph, 3.0, 8)
    model = SparseEASE(graph, 3.0, 8, feedback=n, feedback_weight=0.7)
    first, row = everyone(plain), graph.to_scipy().toarray()
    with_guesses_of_it = row.copy()
    for user, scores in enumerate(np.where(row > 0, -np.inf, first)):
        best = [item for item in np.argsort(-scores)[:n] if scores[item] > 0]
        with_guesses_of_it[user, best] = 0.7 * scores[best]
    wanted = with_guesses_of_it @ plain.score_rows(Graph.from_edges(*np.diag_indices(33), 33, 33)).numpy()
    np.testing.assert_allclose(everyone(model), with_guesses(wanted, row), rtol=1e-4, atol=1e-6)
    new = [[0, 5, 9], [2], []]
    assert not np.array_equal(model.recommend_new(new, 5)[1][:2], plain.recommend_new(new, 5)[1][:2])


def test_no_guess_changes_nothing_and_all_of_them_fit():
    graph = small()
    plain = everyone(SparseEASE(graph, 3.0, 8))
    for options in ({"feedback": 0}, {"feedback": 5, "feedback_weight": 0.0}):
        assert np.array_equal(everyone(SparseEASE(graph, 3.0, 8, **options)), plain)
    assert np.isfinite(everyone(SparseEASE(graph, 3.0, 8, feedback=1000))).all()


def test_few_entries_do_what_all_of_them_do():
    data = synthetic_interactions(600, 400, 15000, dim=8, seed=2)
    best = evaluate(EASE(data, 30.0), data.test)["recall@20"]
    few = SparseEASE(data, 30.0, 40, user_power=0)
    assert (
        evaluate(few, data.test)["recall@20"] > 0.97 * best > 1.2 * evaluate(Popularity(data), data.test)["recall@20"]
    )
    assert len(few.values) <= 41 * data.n_items


@pytest.mark.parametrize(("density", "neighbours"), [(0.001, 0), (0.5, 16), (1.0, 32)])
def test_density_is_a_number_of_neighbours(density, neighbours):
    graph = small()
    assert np.array_equal(
        *(everyone(SparseEASE(graph, 3.0, **o)) for o in ({"density": density}, {"neighbours": neighbours}))
    )


def test_no_matrix_of_all_items_is_ever_made(tmp_path):
    rng, n_items = np.random.default_rng(0), 200_000  # squared, 150 GiB
    graph = Graph.from_edges(np.arange(60_000) % 6000, (n_items * rng.random(60_000) ** 3).astype(int), 6000, n_items)
    model = SparseEASE(graph, 1.0, 8, candidates=20)
    assert len(model.values) <= 9 * n_items
    model.save(tmp_path / "m.npz")
    ids, scores = Recommender.load(tmp_path / "m.npz").recommend([0, 17], 10)
    assert np.array_equal(ids, model.recommend([0, 17], 10)[0])
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"reg": 0.0}, ValueError, "SparseEASE: reg must be > 0 and finite, got 0.0"),
        ({"neighbours": -1}, ValueError, "SparseEASE: neighbours must be >= 0, got -1"),
        ({"neighbours": 2.5}, TypeError, "SparseEASE: neighbours must be an int, got 2.5"),
        ({"density": 1.5}, ValueError, r"SparseEASE: density must lie in \(0, 1\], got 1.5"),
        ({"candidates": 0}, ValueError, "SparseEASE: candidates must be >= 1, got 0"),
        ({"feedback": -1}, ValueError, "SparseEASE: feedback must be >= 0, got -1"),
        ({"feedback_weight": -0.5}, ValueError, "SparseEASE: feedback_weight must be >= 0 and finite, got -0.5"),
        ({"user_power": np.inf}, ValueError, "SparseEASE: user_power must be finite, got inf"),
    ],
)
def test_what_cannot_work_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        SparseEASE(small(), **options)
