"""What LightGCN has beside the published model: exponents of the degrees, pooling, dropped edges."""

import pytest
import torch
from conftest import assert_close, random_graph, same_bits_in_any_order
from test_fold_in import weighted_graph

from fastgcn_rec import Graph, LightGCN, Recommender, TrainConfig, propagate, reference, uniform_rows
from fastgcn_rec.models.lightgcn import _EDGES, DROPOUT_NORMS
from fastgcn_rec.steps import AutogradStep, NativeStep, make_step

GRAPHS = {"plain": random_graph, "weighted": weighted_graph}


def dense(graph: Graph) -> torch.Tensor:
    return torch.from_numpy(graph.to_scipy().toarray()).double()


def normalised(r: torch.Tensor, p: float, q: float, degrees: torch.Tensor | None = None) -> torch.Tensor:
    """D^-p [[0, R], [R^T, 0]] D^-q, with the degrees of another matrix R if given."""
    of = r if degrees is None else degrees
    d = torch.cat([of.sum(1), of.sum(0)])
    a = torch.zeros(len(d), len(d), dtype=torch.float64)
    a[: len(r), len(r) :], a[len(r) :, : len(r)] = r, r.T
    left, right = (torch.where(d > 0, d.pow(-e), 0.0) for e in (p, q))
    return left[:, None] * a * right


@pytest.mark.parametrize("kind", GRAPHS)
def test_exponents_are_powers_of_the_degrees(device, kind):
    graph = GRAPHS[kind]()
    x = torch.randn(70, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for pair in ((0.6, 0.1), (-0.5, 1.2), (0.0, 0.3), (0.5, 0.5)):
        a = normalised(dense(graph), *pair)
        ours = x.clone().to(device).requires_grad_()
        y = propagate(graph.to(device), ours, [0.5, 0.3, 0.2], norm=pair)
        theirs = x.clone().requires_grad_()
        expected = 0.5 * theirs + 0.3 * (a @ theirs) + 0.2 * (a @ a @ theirs)
        assert_close(y, expected)
        up = torch.ones_like(expected).cumsum(0)
        assert_close(torch.autograd.grad(y, ours, up.to(device))[0], torch.autograd.grad(expected, theirs, up)[0])
    assert torch.equal(propagate(graph, x, [0.0, 1.0], norm=(0.5, 0.5)), propagate(graph, x, [0.0, 1.0]))


def test_gamma_weighs_the_table_against_the_mean_of_the_layers():
    graph = random_graph()
    model = LightGCN(graph, 8, 3, norm=(0.6, 0.1), gamma=0.2).double()
    a, e = normalised(dense(graph), 0.6, 0.1), model.embedding.weight
    expected = 0.2 * e + 0.8 / 3 * (a @ e + a @ a @ e + a @ a @ a @ e)
    assert_close(model.get_embedding(), expected, torch.float32)  # alphas are float32's


def test_the_fused_step_trains_with_exponents_as_autograd_does():
    graph = random_graph()
    config = TrainConfig(loss="softmax", reg=0.01, batch_size=64)
    models = [LightGCN(graph, 8, 2, norm=(0.6, 0.1), gamma=0.3).double() for _ in range(2)]
    native, plain = make_step(models[0], config), AutogradStep(models[1], config)
    assert isinstance(native, NativeStep)
    for t in range(3):
        assert_close(native(t, 0.01), plain(t, 0.01))
    assert_close(models[0].embedding.weight, models[1].embedding.weight)


def test_new_nodes_follow_the_exponents_and_a_saved_model_is_the_same_one(tmp_path):
    graph = weighted_graph()
    model = LightGCN(graph, 8, 3, norm=(0.7, 0.2), gamma=0.25, edge_dropout=0.1)
    expected = model.get_embedding() - model.alpha[0] * model.embedding.weight
    edges = graph.to_scipy()
    assert_close(model.fold_in_users(edges), expected[:40])
    assert_close(model.fold_in_items(edges.T.tocsr()), expected[40:])
    model.save(tmp_path / "m.npz")
    other = Recommender.load(tmp_path / "m.npz")
    assert other.config() == model.config()
    assert torch.equal(other.get_embedding(), model.get_embedding())


@pytest.mark.parametrize("law", DROPOUT_NORMS)
@pytest.mark.parametrize("kind", GRAPHS)
def test_dropped_edges_are_gone_in_both_directions(device, kind, law):
    graph, drop = GRAPHS[kind](), 0.4
    model = LightGCN(graph, 8, 2, edge_dropout=drop, edge_dropout_norm=law).double()
    users = torch.repeat_interleave(torch.arange(40), graph.user_degree)
    ids = users * 30 + graph.indices
    u = uniform_rows(ids.to(device), 1, seed=3, step=5, place=_EDGES).cpu()[:, 0]
    r, whole = torch.zeros(40, 30, dtype=torch.float64), dense(graph)
    r[users, graph.indices.long()] = (u >= drop).double()
    r *= whole
    assert 0.2 < float((r > 0).sum()) / graph.n_edges < 0.8
    a = normalised(r, 0.5, 0.5) if law == "renormalise" else normalised(r / (1 - drop), 0.5, 0.5, whole)
    e = model.embedding.weight.detach().clone().requires_grad_()
    expected = (e + a @ e + a @ a @ e) / 3
    model = model.to(device)
    with model.at_step(3, 5):  # first of all: what it draws must not stay in what a graph keeps
        z = model.get_embedding()
    assert_close(z, expected, torch.float32)  # weights and alphas are float32's
    assert torch.equal(model.get_embedding(), propagate(model.graph, model.embedding.weight, model.alpha))
    assert_close(
        model.get_embedding(), reference.propagate(graph, model.embedding.weight.cpu(), model.alpha.cpu().double())
    )
    up = torch.ones_like(expected).cumsum(1)
    ours = torch.autograd.grad(z, model.embedding.weight, up.to(device))[0]
    assert_close(ours, torch.autograd.grad(expected, e, up)[0], torch.float32)


@pytest.mark.parametrize("law", DROPOUT_NORMS)
def test_steps_with_dropped_edges_give_the_same_bits_for_any_number_of_threads(device, law):
    graph = random_graph().to(device)

    def run():
        model = LightGCN(graph, 16, 2, edge_dropout=0.3, edge_dropout_norm=law)
        step = make_step(model, TrainConfig(batch_size=64))
        assert isinstance(step, AutogradStep)
        return [*(step(t, 1e-2) for t in range(3)), model.embedding.weight.detach().clone()]

    same_bits_in_any_order(run, device)


def test_errors_say_what_is_wrong():
    graph = random_graph()
    for options, message in (
        ({"norm": "rows"}, "norm must be one of .* or two finite exponents"),
        ({"norm": (0.5,)}, "two finite exponents"),
        ({"norm": (0.5, float("nan"))}, "two finite exponents"),
        ({"edge_dropout": 1.0}, "0 <= edge_dropout < 1, got 1.0"),
        ({"edge_dropout_norm": "x"}, "edge_dropout_norm must be one of"),
        ({"gamma": 0.5, "alpha": 0.1}, "gamma=0.5 stands in place of alpha"),
        ({"gamma": 0.5, "num_layers": 0}, "needs num_layers >= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            LightGCN(graph, 4, **{"num_layers": 2, **options})
    a, b = reference.adjacency(graph, (0.5, 0.5), torch.float64), reference.adjacency(graph, "sym", torch.float64)
    assert torch.equal(a, b)
