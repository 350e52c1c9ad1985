"""GraphFilter beside dense transcriptions of the papers' formulas, float64."""

import numpy as np
import pytest
import torch
from every_model import with_guesses
from support import assert_close, random_graph

from fastgcn_rec import Graph, GraphFilter, evaluate
from fastgcn_rec.algorithms.spectral import top_singular
from fastgcn_rec.data import Edges
from fastgcn_rec.models.graph_filter import sharpening


def power(degree, exponent):
    return np.where(degree > 0, np.maximum(degree, 1e-30) ** exponent, 0.0)


def normalised(r, a=0.5, b=0.5):
    return power(r.sum(1), -a)[:, None] * r * power(r.sum(0), -b)


def right_vectors(matrix, rank):
    return np.linalg.svd(matrix)[2][:rank].T


def dense(graph):
    return graph.to_scipy().toarray().astype(np.float64)


def all_scores(model):
    return model.scorer()(torch.arange(model.n_users, device=model.graph.device))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_linear_filter(device, weighted):
    graph = random_graph()
    if weighted:
        graph = Graph(graph.to_scipy().multiply(np.linspace(0.5, 2, graph.n_items)), weighted=True)
    r = dense(graph)
    n = normalised(r)
    assert_close(all_scores(GraphFilter(graph.to(device), rank=0)), torch.from_numpy(with_guesses(r @ n.T @ n, r)))


def test_gf_cf_as_its_authors_compute_it(device):
    graph, rank, alpha = random_graph(seed=3), 6, 0.3
    r = dense(graph)
    n, d = normalised(r), np.sqrt(np.maximum(r.sum(0), 1e-30))
    v = right_vectors(n, rank)
    expected = r @ n.T @ n + alpha * (r / d) @ v @ v.T * d
    assert_close(all_scores(GraphFilter(graph.to(device), rank, alpha)), torch.from_numpy(expected))


@pytest.mark.parametrize("degree", [1, 4])
def test_bspm_with_early_merge_by_steps_of_its_solvers(device, degree):
    """Euler's or Runge and Kutta's step of ds/dt = -s P, from a blurring step plus the ideal filter."""
    graph, rank, beta, time = random_graph(seed=4), 5, 0.2, 1.5
    r = dense(graph)
    n, d = normalised(r), np.sqrt(np.maximum(r.sum(0), 1e-30))
    v, p = right_vectors(n, rank), n.T @ n
    s = r + (r @ p - r) + beta * (r / d) @ v @ v.T * d
    if degree == 1:
        s = s - time * s @ p
    else:
        k1 = -s @ p
        k2 = -(s + time / 2 * k1) @ p
        k3 = -(s + time / 2 * k2) @ p
        k4 = -(s + time * k3) @ p
        s = s + time / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    model = GraphFilter(graph.to(device), rank, beta, sharpening(time, degree))
    assert_close(all_scores(model), torch.from_numpy(s))


def test_other_powers_are_scaled_to_norm_one(device):
    graph, rank = random_graph(seed=5), 4
    r = dense(graph)
    n = normalised(r, 0.3, 0.7)
    n = n / np.linalg.norm(n, 2)
    v, p, degree = right_vectors(n, rank), n.T @ n, r.sum(0)
    s = (r @ p + 0.5 * (r * power(degree, -0.4)) @ v @ v.T * power(degree, 0.4)) @ (np.eye(len(p)) - 0.8 * p)
    options = {"user_power": 0.3, "item_power": 0.7, "ideal_power": 0.4}
    assert_close(
        all_scores(GraphFilter(graph.to(device), rank, 0.5, [1.0, -0.8], **options)), torch.from_numpy(s), terms=10.0
    )


@pytest.mark.parametrize("shape", [(900, 500), (500, 900)])
def test_the_krylov_space_finds_the_largest_singular_values(shape):
    """12 communities, which stand out of the noise."""
    rng = np.random.default_rng(0)
    users = rng.integers(0, shape[0], 20000)
    inside = users % 12 + 12 * rng.integers(0, shape[1] // 12, 20000)
    items = np.where(rng.random(20000) < 0.8, inside, rng.integers(0, shape[1], 20000))
    graph = Graph.from_edges(users, items, *shape)
    n = normalised(dense(graph))
    left, right = (torch.from_numpy(power(d.numpy(), -0.5)) for d in graph.degrees())
    values, vectors = top_singular(graph, left, right, 12)
    exact, basis = np.linalg.eigh(n.T @ n)
    np.testing.assert_allclose(values.numpy(), exact[::-1][:12], rtol=1e-9)
    exact_space = basis[:, -12:] @ basis[:, -12:].T
    assert_close(vectors @ vectors.T, torch.from_numpy(exact_space), torch.float32)


def test_a_space_of_lower_rank_than_asked_for():
    """20 kinds of items, 50 copies each: 20 singular values, then zeros, whose vectors come back as zeros or lie in the null space."""
    users = np.repeat(np.arange(600), 50)
    items = (users % 20) * 50 + np.tile(np.arange(50), 600)
    graph = Graph.from_edges(users, items, 600, 1000)
    left, right = (d.rsqrt() for d in graph.degrees())
    values, vectors = top_singular(graph, left, right, 100)
    np.testing.assert_allclose(values[:20].numpy(), 1, rtol=1e-9)
    np.testing.assert_allclose(values[20:].numpy(), 0, atol=1e-9)
    kind = torch.arange(1000) // 50
    projected = vectors[:, :20] @ vectors[:, :20].T
    assert_close(projected, (kind[:, None] == kind).double() / 50, torch.float32)


@pytest.mark.parametrize("shape", [(40, 30), (20, 70), (300, 10), (1, 1)])
def test_a_rank_above_what_there_is_is_all_there_is(shape):
    graph = random_graph(*shape)
    every = GraphFilter(graph, min(shape))
    for rank in (min(shape) + 1, 256):
        model = GraphFilter(graph, rank)
        assert torch.equal(all_scores(model), all_scores(every))
        assert model.config()["rank"] == rank
    assert GraphFilter(graph).recommend([0], 1)[0].shape == (1, 1)


def test_the_same_seed_gives_the_same_bits():
    graph = random_graph(900, 800, 9000)
    models = [GraphFilter(graph, 30, polynomial=sharpening(1.0)) for _ in range(2)]
    assert torch.equal(all_scores(models[0]), all_scores(models[1]))


def test_blocks_of_users_do_not_change_a_score(device):
    graph = random_graph(150, 90, 1200).to(device)  # more users than columns a hop
    model = GraphFilter(graph, 8, polynomial=(1.0, -0.5))
    assert_close(all_scores(model)[70:75], model.scorer()(torch.arange(70, 75, device=device)))


def test_scores_of_pairs_and_similar_items(device):
    model = GraphFilter(random_graph().to(device), 5)
    scores = all_scores(model)
    pairs = torch.tensor([[3, 3, 0, 39], [45, 40, 69, 40]], device=device)
    assert_close(model(pairs), scores[pairs[0], pairs[1] - 40])
    ids, values = model.similar_items([4, 2], 3)
    alone = model.recommend_new([[4], [2]], 3)
    np.testing.assert_array_equal(ids, alone[0])
    np.testing.assert_array_equal(values, alone[1])


def test_users_and_items_without_edges_and_empty_graphs(device):
    graph = Graph.from_edges([0, 1, 1], [0, 0, 1], 4, 5).to(device)
    scores = all_scores(GraphFilter(graph, 2, polynomial=(1.0, -0.5)))
    assert bool(scores.isfinite().all())
    assert scores[2:].tolist() == [[1.0, 0.5, 0, 0, 0]] * 2
    assert scores[:, 2:].abs().max() == 0
    empty = GraphFilter(Graph.from_edges([], [], 2, 3).to(device), 1)
    assert all_scores(empty).tolist() == [[0.0] * 3] * 2


def test_it_finds_the_block_a_user_lives_in():
    rng = np.random.default_rng(0)
    users = rng.integers(0, 100, 1500)
    items = users % 4 * 20 + rng.integers(0, 20, 1500)
    test = Edges(np.arange(100), np.arange(100) % 4 * 20 + 7)
    train = Graph.from_edges(users[items % 20 != 7], items[items % 20 != 7], 100, 80)
    known = Graph.from_edges(
        np.append(users[items % 20 != 7], [0, 1, 2, 3]), np.append(items[items % 20 != 7], [7, 27, 47, 67]), 100, 80
    )
    assert evaluate(GraphFilter(known, 8), test, train, ks=[20])["recall@20"] > 0.9  # by chance 1/4


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rank": -1}, "rank must be >= 0, got -1"),
        ({"rank": 1, "ideal": -1.0}, "ideal must be >= 0 and finite, got -1.0"),
        ({"rank": 1, "polynomial": ()}, "polynomial must be at least one finite number"),
        ({"rank": 1, "user_power": float("nan")}, "user_power must be finite, got nan"),
    ],
)
def test_errors(options, text):
    with pytest.raises(ValueError, match=text):
        GraphFilter(random_graph(), **options)
