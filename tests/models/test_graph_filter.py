"""GraphFilter beside dense transcriptions of the papers' formulas, float64."""

import numpy as np
import pytest
import torch
from every_model import with_guesses
from support import assert_close, random_graph

from fastgcn_rec import Graph, GraphFilter, evaluate
from fastgcn_rec.algorithms.spectral import top_singular
from fastgcn_rec.data import Edges
from fastgcn_rec.models.graph_filter import RESPONSES, chebyshev, sharpening


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


@pytest.mark.parametrize(("response", "shape"), [("plateau", 2.0), ("sharpened", 2.0), ("ridge", 0.3)])
@pytest.mark.parametrize("powers", [(0.0, 0.5), (0.4, 0.4)])
def test_a_response_is_a_function_of_the_spectrum(device, response, shape, powers):
    """The response itself, on a dense spectrum: of these, at degree 40, the interpolation leaves little."""
    graph, rank, ideal = random_graph(seed=6), 5, 0.2
    r, (outer, inner) = dense(graph), powers
    n = normalised(r, 0.3, 0.5)
    n = n / np.linalg.norm(n, 2)
    values, vectors = np.linalg.eigh(n.T @ n)
    h = vectors * [RESPONSES[response](max(v, 0.0), shape) for v in values] @ vectors.T
    v, degree = right_vectors(n, rank), r.sum(0)
    s = (r * power(degree, -outer)) @ h * power(degree, outer)
    s += ideal * (r * power(degree, -inner)) @ v @ v.T * power(degree, inner)
    options = {
        "user_power": 0.3,
        "ideal_power": inner,
        "response": response,
        "shape": shape,
        "degree": 40,
        "response_power": outer,
    }
    model = GraphFilter(graph.to(device), rank, ideal, **options)
    np.testing.assert_allclose(all_scores(model).cpu().numpy(), with_guesses(s, r), rtol=0, atol=2e-3)


@pytest.mark.parametrize("degree", [1, 8, 16])
def test_the_response_is_interpolated_at_chebyshevs_nodes(degree):
    nodes = (1 - np.cos((np.arange(degree + 1) + 0.5) * np.pi / (degree + 1))) / 2
    for response, shape in (("plateau", 1.5), ("sharpened", 2.0), ("ridge", 0.2)):
        found = np.polynomial.Chebyshev(chebyshev(response, shape, degree))(1 - 2 * nodes)
        np.testing.assert_allclose(found, [RESPONSES[response](v, shape) for v in nodes], atol=1e-12)


def test_chebycfs_code_has_values_of_the_extrema_at_the_nodes():
    degree, flatness = 8, 1.5
    nodes = np.cos((np.arange(degree + 1) + 0.5) * np.pi / (degree + 1))
    values = [0.5 - np.sign(x) * abs(x) ** flatness / 2 for x in np.cos(np.arange(degree + 1) * np.pi / degree)]
    expected = np.polynomial.chebyshev.chebfit(nodes, values, degree)
    np.testing.assert_allclose(chebyshev("chebycf", flatness, degree), expected, atol=1e-12)


def test_chebycf_by_its_formula(device):
    """Kim et al. 2025: D^b [ sum_k c_k T_k(I - 2 P) + alpha V V^T ] D^-b r."""
    graph, rank, alpha, b = random_graph(seed=7), 6, 0.2, 0.4
    r = dense(graph)
    n = normalised(r)
    x, before = np.eye(len(r.T)) - 2 * n.T @ n, power(r.sum(0), -b)
    terms = [np.eye(len(x)), x]
    while len(terms) < 9:
        terms.append(2 * x @ terms[-1] - terms[-2])
    v = right_vectors(n, rank)
    h = sum(c * t for c, t in zip(chebyshev("plateau", 1.5, 8), terms, strict=True)) + alpha * v @ v.T
    s = (r * before) @ h * power(r.sum(0), b)
    options = {"response": "plateau", "shape": 1.5, "ideal_power": b, "response_power": b}
    model = GraphFilter(graph.to(device), rank, alpha, **options)
    assert_close(all_scores(model), torch.from_numpy(with_guesses(s, r)), terms=10.0)
    assert (
        model.config()
        == {"rank": 6, "ideal": 0.2, "seed": 0, "polynomial": [1.0], "user_power": 0.5, "item_power": 0.5, "degree": 8}
        | options
    )


def test_files_from_before_responses_are_equal_models():
    known = {"rank", "ideal", "polynomial", "seed", "user_power", "item_power", "ideal_power"}
    assert set(GraphFilter(random_graph(), 4).config()) == known


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
        (
            {"response": "plato"},
            "response must be polynomial, or in its place plateau, chebycf, sharpened, ridge, got 'plato'",
        ),
        ({"response": "ridge", "shape": 0.0}, "shape must be > 0 and finite, got 0.0"),
        ({"response": "ridge", "degree": 0}, "degree must be >= 1, got 0"),
        ({"response_power": float("inf")}, "response_power must be finite, got inf"),
        ({"response": "ridge", "degree": 10**9}, "degree must be <= 10000, got 1000000000"),
        ({"rank": 2, "ideal": 1e39}, r"what it scores by is beyond float32 with ideal=1e\+39, .*take smaller numbers"),
        ({"rank": 2, "polynomial": [1e300]}, r"beyond float32 with ideal=0.3, polynomial=\[1e\+300\]"),
        ({"rank": 0, "user_power": -1000.0}, "beyond float32 with .*user_power=-1000.0"),
        ({"rank": 0, "item_power": 300.0}, "beyond float32 with .*item_power=300.0"),
        ({"rank": 2, "ideal_power": -300.0}, "beyond float32 with .*ideal_power=-300.0"),
        ({"response": "plateau", "response_power": 300.0}, "beyond float32 with .*response_power=300.0"),
    ],
)
def test_errors(options, text):
    with pytest.raises(ValueError, match=text):
        GraphFilter(random_graph(), **options)


@pytest.mark.parametrize("polynomial", [1.0, None, "1"])
def test_a_polynomial_is_a_list(polynomial):
    with pytest.raises(TypeError, match="GraphFilter: polynomial must be a list of numbers, got"):
        GraphFilter(random_graph(), polynomial=polynomial)


def test_what_plays_no_part_is_not_refused():
    graph = random_graph()
    plain = all_scores(GraphFilter(graph, 2))
    assert torch.equal(all_scores(GraphFilter(graph, 2, response_power=300.0)), plain)
    assert torch.equal(all_scores(GraphFilter(graph, 0, ideal_power=300.0)), all_scores(GraphFilter(graph, 0)))
