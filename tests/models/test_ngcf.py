import dataclasses

import pytest
import torch
import torch.nn.functional as F
from support import assert_close, random_graph, same_bits_in_any_order, weighted_graph

from fastgcn_rec import NGCF, FoldIn, Graph, TrainConfig, evaluate, fit, propagate, uniform_rows
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.models.ngcf import _NODE, FORMS
from fastgcn_rec.ops import reference
from fastgcn_rec.training.batch_loss import batch_loss
from fastgcn_rec.training.steps.autograd import AutogradStep
from fastgcn_rec.training.steps.make import make_step

SMALL = {"epochs": 4, "batch_size": 128, "eval_every": 2, "progress": False}
GRAPHS = {"plain": random_graph, "weighted": weighted_graph}


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(200, 150, 5000, seed=1)


def trained_like(graph: Graph, form: str, **options) -> NGCF:
    """A model whose biases are not 0 and whose vectors are of size 1."""
    model = NGCF(graph, 8, 3, form, **options).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.5)
    return model


def transcribed(model: NGCF, e, own, neighbors, bias, node=None, message=None) -> torch.Tensor:
    """The equations as they are written, dense; node, message: masks of each layer."""
    graph, n = model.graph, model.graph.n_nodes
    eye = torch.eye(n, dtype=torch.float64)
    layers = [e]
    for k in range(model.num_layers):
        x = layers[-1]
        send, drop = (torch.ones(n, 1), torch.ones(1)) if node is None else (node[k], message[k])
        if model.form == "paper":
            laplacian = reference.adjacency(graph, "sym", torch.float64) * send.T
            y = F.leaky_relu((laplacian + eye) @ x @ own[k].T + (laplacian @ x * x) @ neighbors[k].T + bias[k], 0.2)
        else:
            mean = reference.adjacency(graph, "left", torch.float64) @ (x * send)
            y = torch.relu(torch.cat([x, mean], 1) @ torch.cat([own[k], neighbors[k]], 1).T + bias[k])
        layers.append(y * drop)
    if model.form == "lecture":
        return layers[-1]
    return torch.cat([e, *(y / torch.linalg.vector_norm(y, dim=1, keepdim=True) for y in layers[1:])], 1)


def leaves(model: NGCF) -> list[torch.Tensor]:
    tensors = model.embedding.weight, model.own, model.neighbors, model.bias
    return [t.detach().cpu().clone().requires_grad_() for t in tensors]


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("form", FORMS)
def test_vectors_and_gradients_are_those_of_the_equations(device, form, kind):
    model = trained_like(GRAPHS[kind](), form)
    plain = leaves(model)
    expected = transcribed(model, *plain)
    model = model.to(device)
    z = model.get_embedding()
    assert_close(z, expected)
    up = torch.randn(z.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = [model.embedding.weight, model.own, model.neighbors, model.bias]
    for a, b in zip(torch.autograd.grad(z, ours, up.to(device)), torch.autograd.grad(expected, plain, up), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("form", FORMS)
def test_dropout_multiplies_by_masks_that_the_seed_and_the_step_name(device, form):
    rates = {"message_dropout": 0.3, "node_dropout": 0.4}
    model = trained_like(random_graph(), form, **rates)
    plain, ids = leaves(model), torch.arange(70)

    def mask(rate, dim, place):
        u = uniform_rows(ids.to(device), dim, seed=7, step=11, place=place).cpu()
        return (u >= rate).double() / (1 - rate)

    node, message = [mask(0.4, 1, _NODE + k) for k in range(3)], [mask(0.3, 8, k) for k in range(3)]
    expected = transcribed(model, *plain, node, message)
    model = model.to(device)
    still = model.get_embedding()
    with model.at_step(7, 11):
        z = model.get_embedding()
        model.eval()
        assert torch.equal(model.get_embedding(), still)
        model.train()
    assert_close(z, expected)
    assert torch.equal(model.get_embedding(), still)
    up = torch.ones_like(z)
    ours = [model.embedding.weight, model.own, model.neighbors, model.bias]
    for a, b in zip(torch.autograd.grad(z, ours, up), torch.autograd.grad(expected, plain, up.cpu()), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("form", FORMS)
def test_some_rows_are_those_of_the_whole_masks_included(device, form):
    model = trained_like(random_graph(), form, message_dropout=0.3, node_dropout=0.2).to(device)
    nodes = torch.tensor([3, 69, 3, 0, 41], device=device)
    up = torch.randn(5, 8 if form == "lecture" else 32, dtype=torch.float64, device=device)
    parameters = list(model.parameters())
    with model.at_step(1, 2):
        some, whole = model.get_embedding_at(nodes), model.get_embedding()[nodes]
    assert_close(some, whole)
    for a, b in zip(torch.autograd.grad(some, parameters, up), torch.autograd.grad(whole, parameters, up), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("loss", ["bpr", "binary", "max_margin", "softmax"])
def test_the_loss_of_a_batch_reads_the_right_rows(loss):
    model = trained_like(random_graph(), "paper")
    config = TrainConfig(loss=loss, temperature=0.5, reg=0.1)
    users, pos, neg = torch.arange(5), torch.arange(5) + 3, torch.tensor([[1, -1], [2, 2], [9, 8], [-1, -1], [4, 0]])
    u, i = model.get_embedding().split([40, 30])
    rows = [users, pos + 40]
    if loss == "softmax":
        expected = reference.softmax_loss(u, i, users, pos, 0.5)
    else:
        expected = getattr(reference, f"{loss}_loss")(u, i, users, pos, neg)
        rows.append((neg + 40)[neg >= 0])
    expected = expected + 0.1 / 5 * reference.l2_loss(model.embedding.weight, torch.cat(rows))
    value = batch_loss(model, config, users, pos, neg)
    assert_close(value, expected)
    for a, b in zip(
        torch.autograd.grad(value, list(model.parameters())),
        torch.autograd.grad(expected, list(model.parameters())),
        strict=True,
    ):
        assert_close(a, b)


@pytest.mark.parametrize("form", FORMS)
def test_steps_give_the_same_bits_for_any_number_of_threads(data, device, form):
    def run():
        model = NGCF(data, 16, 2, form, message_dropout=0.2, node_dropout=0.1).to(device)
        step = AutogradStep(model, TrainConfig(batch_size=512))
        losses = [step(t, 1e-2) for t in range(3)]
        return [*losses, *(p.detach().clone() for p in model.parameters())]

    same_bits_in_any_order(run, device)


@pytest.mark.parametrize("form", FORMS)
def test_it_learns(data, form):
    model = NGCF(data, 16, 2, form)
    before = evaluate(model, data.test)["recall@20"]
    history = fit(model, data, **SMALL, lr=0.01, protocol="none")
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]
    assert evaluate(model, data.test)["recall@20"] > before


@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("form", FORMS)
def test_a_new_user_is_a_node_whose_own_row_is_zero(form, kind):
    graph = GRAPHS[kind]()
    model, edges = trained_like(graph, form), graph.to_scipy()
    for row in (0, 7):
        with torch.no_grad():
            kept = model.embedding.weight[row].clone()
            model.embedding.weight[row] = 0
        expected = model.get_embedding()[row]
        assert_close(FoldIn(model).users(edges)[row], expected)
        with torch.no_grad():
            model.embedding.weight[row] = kept
    with torch.no_grad():
        model.embedding.weight[40 + 3] = 0
    assert_close(model.fold_in_items(edges.T.tocsr())[3], model.get_embedding()[40 + 3])
    assert model.recommend_new([[0, 1], []], k=3)[0].shape == (2, 3)


def test_initial_values_are_xaviers_and_named_by_the_seed():
    graph = random_graph(400, 300, 2000)
    a, b = NGCF(graph, 16, 2, seed=3), NGCF(graph, 16, 2, seed=3)
    assert torch.equal(a.embedding.weight, b.embedding.weight)
    assert not torch.equal(a.own, NGCF(graph, 16, 2, seed=4).own)
    users, items = a.embedding.weight.split([400, 300])
    for table, limit in ((users, (6 / 416) ** 0.5), (items, (6 / 316) ** 0.5), (a.own, (6 / 32) ** 0.5)):
        assert 0.95 * limit < float(table.detach().abs().max()) <= limit
    assert float(NGCF(graph, 16, 2, "lecture").neighbors.detach().abs().max()) <= (6 / 48) ** 0.5


@pytest.mark.parametrize("form", FORMS)
def test_training_begins_as_a_diffusion_with_the_identity(form):
    graph = random_graph(400, 300, 2000)
    model, xavier = (NGCF(graph, 16, 1, form, init=init, seed=3) for init in ("identity", "xavier"))
    assert torch.equal(model.own[0], torch.eye(16))
    assert torch.equal(model.neighbors, xavier.neighbors)
    assert NGCF(graph, **model.config()).init == "identity"
    with torch.no_grad():
        model.neighbors.zero_()
        e, z = model.embedding.weight, model.get_embedding()
        if form == "lecture":
            assert_close(z, e.relu())
        else:
            layer = torch.nn.functional.leaky_relu(propagate(graph, e, [1.0, 1.0]), 0.2)
            assert_close(z, torch.cat([e, torch.nn.functional.normalize(layer, dim=1)], 1))


def test_errors_say_what_is_wrong(data):
    for options, message in (
        ({"form": "x"}, "form must be one of"),
        ({"init": "x"}, "init must be one of"),
        ({"num_layers": 0}, "num_layers must be >= 1, got 0"),
        ({"embedding_dim": 0}, "embedding_dim must be >= 1"),
        ({"message_dropout": 1.0}, "0 <= message_dropout < 1, got 1.0"),
        ({"node_dropout": -0.1}, "0 <= node_dropout < 1"),
        ({"similarity": "x"}, "similarity must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            NGCF(data, **{"embedding_dim": 4, **options})
    with pytest.raises(ValueError, match=r"storage='bfloat16' needs a model with constant layer weights.*got NGCF"):
        make_step(NGCF(data, 4), dataclasses.replace(TrainConfig(), storage="bfloat16"))
