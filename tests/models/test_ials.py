"""IALS beside alternating least squares in plain NumPy, float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from support import assert_close, graphs, on_the_cpu, random_graph, same_bits_in_any_order, weighted_graph

from fastgcn_rec import IALS, FoldIn, Graph, Popularity, Recommender, evaluate
from fastgcn_rec.algorithms.als import als, als_loss
from fastgcn_rec.data import synthetic_interactions

every_graph = pytest.mark.parametrize("graph", [random_graph(), weighted_graph()], ids=["plain", "weighted"])
RULE = {"unobserved": 0.05, "reg": 0.1}


def matrix(graph):
    """(W, which pairs there are), float64."""
    w = graph.to_scipy().toarray().astype(np.float64)
    return w, (w != 0).astype(np.float64)


def ridges(w, n_columns, unobserved, reg, exponent):
    return reg * (w.sum(1) + unobserved * n_columns) ** exponent


def half_step(w, seen, y, unobserved, reg, exponent):
    ridge, eye = ridges(w, len(y), unobserved, reg, exponent), np.eye(y.shape[1])
    return np.array(
        [
            np.linalg.solve((y.T * own) @ y + unobserved * y.T @ y + r * eye, y.T @ (own * there))
            for own, there, r in zip(w, seen, ridge, strict=True)
        ]
    )


def loss(w, seen, x, y, unobserved, reg, exponent=1.0):
    scores = x @ y.T
    total = (w * (seen - scores) ** 2).sum() + unobserved * (scores**2).sum()
    total += (ridges(w, len(y), unobserved, reg, exponent) * (x**2).sum(1)).sum()
    return total + (ridges(w.T, len(x), unobserved, reg, exponent) * (y**2).sum(1)).sum()


def start(graph, dim, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(n, dim, generator=draw) for n in (graph.n_users, graph.n_items)]


@every_graph
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dim", [1, 5, 40])
def test_two_iterations_are_those_of_the_formula(graph, dim, exponent):
    w, seen = matrix(graph)
    users, items = start(graph, dim)
    y = items.double().numpy()
    for _ in range(2):
        x = half_step(w, seen, y, **RULE, exponent=exponent)
        y = half_step(w.T, seen.T, x, **RULE, exponent=exponent)
    found = als(graph, users, items, iterations=2, exponent=exponent, **RULE)
    scores = found[0].double() @ found[1].double().T
    assert_close(scores, torch.from_numpy(x @ y.T), torch.float32, terms=10.0)


@given(graphs())
def test_the_loss_is_that_of_the_formula(graph):
    users, items = start(graph, 3)
    expected = loss(*matrix(graph), users.double().numpy(), items.double().numpy(), **RULE, exponent=0.7)
    assert als_loss(graph, users, items, exponent=0.7, **RULE) == pytest.approx(expected)


@settings(max_examples=10)
@given(graphs())
def test_the_loss_never_rises_whatever_the_solver(graph):
    for block in (None, 1, 20):
        users, items = start(graph, 40)
        before = als_loss(graph, users, items, **RULE)
        for _ in range(4):
            users, items = als(graph, users, items, iterations=1, block=block, **RULE)
            after = als_loss(graph, users, items, **RULE)
            assert after <= before * (1 + 1e-6)
            before = after


@every_graph
def test_by_blocks_it_comes_to_the_same_place(graph):
    users, items = start(graph, 40)
    exact = als(graph, users, items, iterations=60, **RULE)
    passes = als(graph, users, items, iterations=60, block=16, **RULE)
    assert als_loss(graph, *passes, **RULE) == pytest.approx(als_loss(graph, *exact, **RULE), rel=1e-3)


def test_scaling_all_weights_changes_nothing():
    graph = weighted_graph()
    rows = torch.repeat_interleave(torch.arange(40), graph.user_degree)
    twice = Graph.from_edges(rows, graph.indices, 40, 30, 2 * graph.weight)
    one, two = (
        IALS(g, 8, unobserved_weight=a, regularization=0.1).scorer()(torch.arange(40))
        for g, a in ((graph, 0.1), (twice, 0.2))
    )
    assert_close(one.double(), two.double(), torch.float32, terms=10.0)


@every_graph
@pytest.mark.parametrize("solver", ["cholesky", "subspace"])
def test_folding_in_is_the_half_step(graph, solver):
    model = IALS(graph, 20, unobserved_weight=0.05, regularization=0.1, solver=solver, block_size=16)
    w, seen = matrix(graph)
    users, items = (t.double().numpy() for t in model.table.split([graph.n_users, graph.n_items]))
    known = graph.user_degree > 0  # others are guessed
    assert_close(
        FoldIn(model).users(graph.to_scipy()).double()[known],
        torch.from_numpy(half_step(w, seen, items, **RULE, exponent=1.0))[known],
        torch.float32,
        terms=10.0,
    )
    assert_close(
        FoldIn(model, regularization=0.3, unobserved_weight=0.2).items(graph.to_scipy().T.tocsr()).double(),
        torch.from_numpy(half_step(w.T, seen.T, users, 0.2, 0.3, 1.0)),
        torch.float32,
        terms=10.0,
    )


def test_an_item_is_its_own_fold_in():
    model = IALS(random_graph(), 12, iterations=3)  # items come last
    folded = FoldIn(model).items(model.graph.to_scipy().T.tocsr())
    assert_close(folded, model.node_vectors()[1], terms=10.0)


@on_the_cpu
@every_graph
@pytest.mark.parametrize("solver", ["cholesky", "subspace"])
def test_threads_do_not_matter(graph, solver):
    options = {"iterations": 2, "solver": solver, "block_size": 16}
    same_bits_in_any_order(lambda: [IALS(graph, 40, **options).table], torch.device("cpu"), (2, 3, 4))


def test_the_seed_matters():
    one, two, other = (IALS(random_graph(), 8, seed=seed, iterations=1).table for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("solver", ["cholesky", "subspace"])
def test_it_beats_popularity(solver):
    data = synthetic_interactions(300, 200, 6000, dim=8, seed=2)
    model = IALS(data, 32, unobserved_weight=0.1, regularization=0.02, solver=solver, block_size=16)
    line = evaluate(Popularity(data), data.test)["recall@20"]
    assert evaluate(model, data.test)["recall@20"] > 1.2 * line


def test_a_graph_without_edges_has_nothing_to_say():
    model = IALS(Graph.from_edges([], [], 3, 4), 5)
    assert not model.table.any()
    assert model.loss() == 0


def test_a_file_of_another_size_is_refused(tmp_path):
    graph = random_graph()
    state = {"table": torch.zeros(graph.n_nodes, 7)}
    with pytest.raises(ValueError, match="table"):
        IALS.restored(graph, {"embedding_dim": 8}, state)
    model = IALS(graph, 8)
    model.save(tmp_path / "m.npz")
    assert torch.equal(Recommender.load(tmp_path / "m.npz").table, model.table)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"embedding_dim": 0}, "embedding_dim must be >= 1"),
        ({"unobserved_weight": -0.1}, "unobserved_weight must be >= 0 and finite, got -0.1"),
        ({"regularization": 0.0}, "regularization must be > 0 and finite, got 0.0"),
        ({"regularization": np.inf}, "regularization must be > 0 and finite, got inf"),
        ({"iterations": 0}, "iterations must be >= 1"),
        ({"exponent": np.nan}, "exponent must be finite, got nan"),
        ({"solver": "lu"}, r"solver must be one of \('cholesky', 'subspace'\), got 'lu'"),
        ({"block_size": 0}, "block_size must be >= 1"),
        ({"init_std": 0}, "init_std must be > 0 and finite, got 0"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=f"IALS: {text}"):
        IALS(random_graph(), **options)


@pytest.mark.parametrize("n_items", [4, 300, 3000])
def test_weights_that_are_left_to_the_data_follow_its_density_and_go_into_the_file(tmp_path, n_items):
    graph = Graph.from_edges(
        np.arange(n_items), np.arange(n_items), n_users=n_items + 9
    )  # users without an edge do not count
    model = IALS(graph, 4)
    weights = max(0.01, min(0.1, 8 / n_items)), max(0.003, min(0.01, 0.8 / n_items))
    assert (model.unobserved_weight, model.regularization) == pytest.approx(weights)
    assert IALS(graph, 4, regularization=0.5).unobserved_weight == model.unobserved_weight
    model.save(tmp_path / "m.npz")
    loaded = Recommender.load(tmp_path / "m.npz")
    assert loaded.config() == model.config()
    assert loaded.config()["unobserved_weight"] == model.unobserved_weight


def test_bad_options_of_folding():
    model = IALS(random_graph(), 4)
    with pytest.raises(ValueError, match="IALS: regularization must be > 0 and finite, got 0"):
        model.fold_in_users([[1]], regularization=0)


def test_a_ridge_beyond_float32_is_refused_with_its_rule():
    with pytest.raises(ValueError, match=r"0.01 times its weight to the power 200, must be > 0 and finite"):
        IALS(random_graph(), 4, exponent=200)
