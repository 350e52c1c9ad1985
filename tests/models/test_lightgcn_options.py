"""What LightGCN has beside the published model: exponents of the degrees, pooling, dropped edges."""

import pytest
import torch
from support import assert_close, random_graph, same_bits_in_any_order, weighted_graph

from fastgcn_rec import Graph, LightGCN, TrainConfig, propagate, sample_batch, uniform_rows
from fastgcn_rec.losses import item_bias
from fastgcn_rec.models.lightgcn import _EDGES, _NOISE, DROPOUT_NORMS
from fastgcn_rec.ops import reference
from fastgcn_rec.training.steps.autograd import AutogradStep
from fastgcn_rec.training.steps.captured_autograd import CapturedAutograd
from fastgcn_rec.training.steps.make import make_step
from fastgcn_rec.training.steps.native import NativeStep

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


def test_new_nodes_follow_the_exponents():
    graph = weighted_graph()
    model = LightGCN(graph, 8, 3, norm=(0.7, 0.2), gamma=0.25, edge_dropout=0.1)
    expected = model.get_embedding() - model.alpha[0] * model.embedding.weight
    edges = graph.to_scipy()
    known = graph.user_degree > 0
    assert_close(model.fold_in_users(edges)[known], expected[:40][known])
    assert_close(model.fold_in_items(edges.T.tocsr()), expected[40:])


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
        assert isinstance(step, AutogradStep if device.type == "cpu" else CapturedAutograd)
        return [*(step(t, 1e-2) for t in range(5)), model.embedding.weight.detach().clone()]

    same_bits_in_any_order(run, device)


def noisy(r: torch.Tensor, e: torch.Tensor, alpha: torch.Tensor, size: float, view: int, seed: int, step: int):
    """(z, layers 0 to K) of a view, from the equations."""
    a, x, layers = normalised(r, 0.5, 0.5), e, [e]
    hops = len(alpha) - 1
    for k in range(1, hops + 1):
        x = a @ x
        u = uniform_rows(torch.arange(len(e)), e.shape[1], seed=seed, step=step, place=_NOISE + view * hops + k)
        x = x + size * x.detach().sign() * torch.nn.functional.normalize(u, dim=1).to(x.dtype)
        layers.append(x)
    return sum(w * layer for w, layer in zip(alpha, layers, strict=True)), layers


def info_nce(a: torch.Tensor, b: torch.Tensor, t: float) -> torch.Tensor:
    a, b = (torch.nn.functional.normalize(v, dim=1) for v in (a, b))
    return torch.nn.functional.cross_entropy(a @ b.T / t, torch.arange(len(a)))


@pytest.mark.parametrize("layer", [None, 1, 2])
def test_noisy_views_and_their_contrast_follow_the_equations(device, layer):
    graph, alpha = random_graph(), [0.0, 0.5, 0.5]
    options = {"noise": 0.3, "contrast": 0.7, "contrast_layer": layer, "contrast_temperature": 0.4}
    model = LightGCN(graph.to(device), 8, 2, alpha, **options).double()
    users, pos = torch.tensor([3, 0, 3, 11, 39], device=device), torch.tensor([2, 2, 29, 7, 1], device=device)
    assert model.auxiliary_loss(users, pos) is None
    with model.at_step(seed=4, step=9):
        z = model.get_embedding()
        extra = model.auxiliary_loss(users, pos)
    e = model.embedding.weight.detach().cpu().clone().requires_grad_()
    first = noisy(dense(graph), e, torch.tensor(alpha), 0.3, 0, 4, 9)
    if layer is None:
        pair = first[0], noisy(dense(graph), e, torch.tensor(alpha), 0.3, 1, 4, 9)[0]
        seen = reference.propagate(graph, e, torch.tensor(alpha).double())
    else:
        seen, pair = first[0], (first[0], first[1][layer])
    expected = sum(info_nce(pair[0][n], pair[1][n], 0.4) for n in ([0, 3, 11, 39], [41, 42, 47, 69]))
    assert_close(z, seen, torch.float32)
    assert_close(extra, 0.7 * expected, torch.float32)
    ours = torch.autograd.grad(extra, model.embedding.weight)[0]
    assert_close(ours, torch.autograd.grad(0.7 * expected, e)[0], torch.float32)
    assert torch.equal(model.get_embedding(), propagate(model.graph, model.embedding.weight, model.alpha))


def test_the_contrast_is_trained(device):
    graph = random_graph().to(device)

    def run():
        model = LightGCN(graph, 16, 2, noise=0.1, contrast=0.2, seed=1)
        step, plain = make_step(model, TrainConfig(batch_size=64)), LightGCN(graph, 16, 2, noise=0.1, seed=1)
        assert isinstance(step, AutogradStep)
        losses = [step(t, 1e-2) for t in range(3)]
        assert model._views is None
        assert losses[0] > make_step(plain, TrainConfig(batch_size=64))(0, 1e-2)
        assert plain._views is None  # nobody would read them
        return [*losses, model.embedding.weight.detach().clone()]

    same_bits_in_any_order(run, device)


def test_logq_is_minus_the_logarithm_of_the_law_by_which_positives_are_drawn():
    graph = random_graph()
    r = (dense(graph) > 0).double()
    by_user = (r / r.sum(1, keepdim=True).clamp(min=1)).sum(0) / (r.sum(1) > 0).sum()
    for sampler, q in (("edge", r.sum(0) / r.sum()), ("user", by_user)):
        bias = item_bias(TrainConfig(loss="softmax", logq=0.5, sampler=sampler), graph)
        assert_close(bias[q > 0], -0.5 * q[q > 0].log())
        users, pos, _ = sample_batch(graph, 200_000, 0, seed=0, by=sampler)
        drawn = torch.bincount(pos, minlength=30) / len(users)
        assert float((drawn - q).abs().max()) < 0.003
    assert item_bias(TrainConfig(loss="softmax"), graph) is None


@pytest.mark.parametrize("layers", [0, 2])
def test_the_fused_step_takes_logq_and_the_weight_of_negatives_as_autograd_does(layers):
    config = TrainConfig(loss="softmax", reg=0.01, batch_size=64, logq=0.8, negative_weight=1.3)
    models = [LightGCN(random_graph(), 8, layers).double() for _ in range(2)]
    native, plain = make_step(models[0], config), AutogradStep(models[1], config)
    assert isinstance(native, NativeStep)
    for t in range(3):
        assert_close(native(t, 0.01), plain(t, 0.01))
    assert_close(models[0].embedding.weight, models[1].embedding.weight)
    for options in ({"logq": 1.0}, {"negative_weight": 1.1}):
        with pytest.raises(ValueError, match="logq, logq_density and negative_weight are the softmax's"):
            TrainConfig(**options)
    with pytest.raises(ValueError, match="logq must be finite"):
        TrainConfig(loss="softmax", logq=float("nan"))


def test_errors_say_what_is_wrong():
    graph = random_graph()
    for options, message in (
        ({"noise": -0.1}, "noise and contrast must be >= 0 and finite"),
        ({"contrast": 0.1}, "give noise > 0 and num_layers >= 1, got 0.0 and 2"),
        (
            {"noise": 0.1, "contrast": 0.1, "contrast_layer": 3},
            r"must lie in \[1, num_layers\] = \[1, 2\] or be None, got 3",
        ),
        ({"contrast_temperature": 0.0}, "contrast_temperature must be > 0"),
        ({"norm": "rows"}, "norm must be one of .* or two finite exponents"),
        ({"norm": (0.5,)}, "two finite exponents"),
        ({"norm": (0.5, float("nan"))}, "two finite exponents"),
        ({"edge_dropout": 1.0}, "0 <= edge_dropout < 1, got 1.0"),
        ({"edge_dropout_norm": "x"}, "edge_dropout_norm must be one of"),
        ({"gamma": 0.5, "alpha": 0.1}, "gamma=0.5 stands in place of alpha"),
        ({"gamma": 0.5, "num_layers": 0}, "needs num_layers >= 1"),
        ({"gamma": float("nan")}, "gamma must be finite, and 1e.30 or less in size, got nan"),
        ({"alpha": float("nan")}, r"alpha must be finite, as float32, got \[nan, nan, nan\]"),
        ({"alpha": [1.0, 1e39, 0.0]}, r"alpha must be finite, as float32, got \[1.0, inf, 0.0\]"),
    ):
        with pytest.raises(ValueError, match=message):
            LightGCN(graph, 4, **{"num_layers": 2, **options})
    a, b = reference.adjacency(graph, (0.5, 0.5), torch.float64), reference.adjacency(graph, "sym", torch.float64)
    assert torch.equal(a, b)
