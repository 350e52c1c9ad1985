"""Optimizers that move the rows of a batch alone: their laws in plain torch, step by step."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import EMULATED, assert_close, graphs, on_the_cpu, random_graph, same_bits_in_any_order

from fastgcn_rec import TrainStep, sample_batch
from fastgcn_rec.core.graph import Graph
from fastgcn_rec.ops import reference
from fastgcn_rec.ops.optimizers import OPTIMIZERS

ROWS_ALONE = ["lazy_adam", "adagrad", "sgd"]


def loss_of(graph, table, alpha, loss, reg, users, pos, neg, storage=None, temperature=0.2):
    z = alpha * table
    if storage is not None:  # rounded as the kernel's rows are; its gradient passes
        z = z + (z.to(storage).to(z.dtype) - z).detach()
    user_emb, item_emb = z.split([graph.n_users, graph.n_items])
    nodes = [users, graph.n_users + pos]
    if loss == "softmax":
        value = reference.softmax_loss(user_emb, item_emb, users, pos, temperature)
    else:
        value = getattr(reference, f"{loss}_loss")(user_emb, item_emb, users, pos, neg)
        nodes.append(torch.where(neg >= 0, graph.n_users + neg, neg).flatten())
    nodes = torch.cat(nodes)
    return value + reg / len(users) * reference.l2_loss(table, nodes), nodes[nodes >= 0].unique()


class Law:
    """The same on whole tables, in the steps that docstrings say."""

    def __init__(self, name, table, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        self.name, self.betas, self.eps, self.weight_decay = name, betas, eps, weight_decay
        self.m, self.v, self.a = torch.zeros_like(table), torch.zeros_like(table), torch.zeros(len(table)).to(table)
        self.last, self.t = torch.zeros(len(table), dtype=torch.int64), 0

    def step(self, table, grad, touched, lr):
        self.t += 1
        g = grad[touched] + self.weight_decay * table[touched]
        if self.name == "lazy_adam":
            b1, b2 = self.betas
            gap = (self.t - self.last[touched]).to(table.dtype)[:, None]
            self.m[touched] = m = b1**gap * self.m[touched] + (1 - b1) * g
            self.v[touched] = v = b2**gap * self.v[touched] + (1 - b2) * g * g
            self.last[touched] = self.t
            rate = lr / (1 - b1**self.t)
            table[touched] -= rate * m / ((v / (1 - b2**self.t)).sqrt() + self.eps)
        elif self.name == "adagrad":
            self.a[touched] += g.square().mean(1)
            table[touched] -= lr / (self.a[touched].sqrt() + self.eps)[:, None] * g
        else:
            table[touched] -= lr * g


def table_of(graph, dim, dtype=torch.float64):
    return torch.randn(graph.n_nodes, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def batch_of(graph, batch, n_neg, shared, seed, below=None):
    """Ids below a bound repeat often; others come seldom."""
    generator = torch.Generator().manual_seed(seed)
    few = [max(1, min(n, below or n)) for n in (graph.n_users, graph.n_items)]
    users = torch.randint(few[0], (batch,), generator=generator)
    pos = torch.randint(few[1], (batch,), generator=generator)
    return users, pos, torch.randint(-1, graph.n_items, (1 if shared else batch, n_neg), generator=generator)


@pytest.mark.parametrize("optimizer", ROWS_ALONE)
@given(
    graph=graphs(),
    loss=st.sampled_from(["bpr", "binary", "max_margin", "softmax"]),
    shared=st.booleans(),
    alpha=st.sampled_from([1.0, 0.7]),
    reg=st.sampled_from([0.0, 0.1]),
    weight_decay=st.sampled_from([0.0, 0.02]),
    n_neg=st.integers(1, 3),
    batch=st.integers(1, 12),
    dim=st.sampled_from([1, 3, 8, 33, 64, 100]),
)
def test_each_follows_its_law(device, optimizer, graph, loss, shared, alpha, reg, weight_decay, n_neg, batch, dim):
    table, expected = table_of(graph, dim).to(device), table_of(graph, dim)
    options = {"reg": reg, "weight_decay": weight_decay, "temperature": 0.2, "lr": 0.01, "eps": 1e-3}
    step = TrainStep(graph.to(device), table, [alpha], loss=loss, optimizer=optimizer, **options)
    law = Law(optimizer, expected, weight_decay=weight_decay, eps=1e-3)
    for t in range(5):
        users, pos, neg = batch_of(graph, batch, n_neg, shared, t, below=2 if t % 2 else None)
        param = expected.clone().requires_grad_()
        value, touched = loss_of(graph, param, alpha, loss, reg, users, pos, neg)
        (grad,) = torch.autograd.grad(value, param)
        got = step(users.to(device), pos.to(device), None if loss == "softmax" else neg.to(device))
        law.step(expected, grad, touched, 0.01)
        assert_close(got, value, terms=1.0)
        assert_close(table, expected, terms=100.0)
    assert step.step == 5


@pytest.mark.parametrize("optimizer", ROWS_ALONE)
@pytest.mark.parametrize(("storage", "dtype"), [(None, torch.float32), (torch.bfloat16, torch.bfloat16)])
def test_rows_in_single_precision_and_bfloat16(device, optimizer, storage, dtype):
    """Parameters stay float32; only the rows that the loss reads are rounded."""
    graph = random_graph(300, 200, 3000)
    table, lr = (
        table_of(graph, 64, torch.float32),
        50.0 if optimizer == "sgd" else 1.0,
    )  # moves as large as the parameters
    expected = table.double()
    options = {"reg": 0.01, "storage": storage, "lr": lr, "eps": 1e-2}
    step = TrainStep(graph.to(device), table.to(device), optimizer=optimizer, **options)
    law = Law(optimizer, expected, eps=1e-2)
    for t in range(3):
        users, pos, neg = batch_of(graph, 128, 2, False, t)
        param = expected.clone().requires_grad_()
        value, touched = loss_of(graph, param, 1.0, "bpr", 0.01, users, pos, neg, storage)
        law.step(expected, torch.autograd.grad(value, param)[0], touched, lr)
        step(users.to(device), pos.to(device), neg.to(device))
    assert step.embedding.dtype == torch.float32
    assert float((expected - table_of(graph, 64)).abs().max()) > 0.5
    assert_close(step.embedding, expected, dtype, terms=20.0)


def test_a_row_that_comes_back_has_moments_that_decayed(device):
    """Node 0 is in steps 1 and 9 alone: in between it stands still, as do its moments in memory."""
    graph = Graph.from_edges([0, 1, 1], [0, 1, 2]).to(device)
    table = torch.ones(graph.n_nodes, 2, dtype=torch.float64, device=device)
    step = TrainStep(graph, table, optimizer="lazy_adam", lr=0.1)
    ids = lambda *values: torch.tensor(values, device=device)  # noqa: E731
    step(ids(0), ids(0), ids(1)[:, None])
    there, m, v = table[0].clone(), step.exp_avg[0].clone(), step.exp_avg_sq[0].clone()
    for _ in range(7):
        step(ids(1), ids(1), ids(2)[:, None])
    assert torch.equal(table[0], there)
    assert torch.equal(step.exp_avg[0], m)
    param = table.clone().requires_grad_()
    u, z = param[0], param[graph.n_users :]
    torch.nn.functional.softplus(u @ z[1] - u @ z[0]).backward()
    step(ids(0), ids(0), ids(1)[:, None])
    g = param.grad[0]
    assert_close(step.exp_avg[0], 0.9**8 * m + 0.1 * g)
    assert_close(step.exp_avg_sq[0], 0.999**8 * v + 0.001 * g * g)
    bias = 1 - 0.9**9, 1 - 0.999**9
    move = 0.1 * step.exp_avg[0] / bias[0] / ((step.exp_avg_sq[0] / bias[1]).sqrt() + 1e-8)
    assert_close(table[0], there - move)
    assert step.state["last_step"].tolist() == [9, 8, 9, 9, 8]


@pytest.mark.parametrize("gap", [1, 63, 64, 65, 4096, 300_000])
def test_gaps_of_any_length(device, gap):
    graph = Graph.from_edges([0], [0], n_items=2).to(device)
    step = TrainStep(
        graph, torch.ones(3, 1, dtype=torch.float64, device=device), optimizer="lazy_adam", betas=(0.9999, 0.99999)
    )
    step.exp_avg.fill_(1.0)
    step.exp_avg_sq.fill_(1.0)
    step.step = gap - 1
    zero = torch.tensor([0], device=device)
    step(zero, zero, torch.tensor([[-1]], device=device))  # no negative: no gradient
    assert float(step.exp_avg[0]) == pytest.approx(math.exp(gap * math.log(0.9999)), rel=1e-9)
    assert float(step.exp_avg_sq[1]) == pytest.approx(math.exp(gap * math.log(0.99999)), rel=1e-9)
    assert float(step.exp_avg[2]) == 1.0


def test_lazy_adam_is_adam_where_every_row_is_touched(device):
    graph = Graph.from_edges([0, 1, 2], [0, 1, 2]).to(device)
    tables = [table_of(graph, 16).to(device) for _ in range(2)]
    steps = [
        TrainStep(graph, t, optimizer=o, reg=0.1, lr=0.05) for t, o in zip(tables, ("adam", "lazy_adam"), strict=True)
    ]
    users = torch.arange(3, device=device)
    for t in range(6):
        losses = [float(step(users, (users + t) % 3, ((users + t + 1) % 3)[:, None])) for step in steps]
        assert losses[0] == pytest.approx(losses[1])
    assert_close(tables[1], tables[0], terms=10.0)


@pytest.mark.parametrize("optimizer", ROWS_ALONE)
def test_others_stay_as_they_are(device, optimizer):
    graph = random_graph(300, 200, 3000)
    table = table_of(graph, 16, torch.float32).to(device)
    before = table.clone()
    step = TrainStep(graph.to(device), table, optimizer=optimizer, reg=0.1, lr=0.1, weight_decay=0.1)
    users, pos, neg = (torch.tensor(ids, device=device) for ids in ([3, 3, 5], [7, 8, 7], [[9], [-1], [9]]))
    step(users, pos, neg)
    touched = [3, 5, 307, 308, 309]
    assert (table != before).any(1).nonzero().flatten().tolist() == touched
    for name, state in step.state.items():
        changed = (state != 0) if state.ndim == 1 else (state != 0).any(1)
        assert changed.nonzero().flatten().tolist() == touched, name


@pytest.mark.parametrize("storage", [None, torch.bfloat16])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize("optimizer", ROWS_ALONE)
def test_the_same_bits_for_any_number_of_threads(optimizer, loss, storage):
    graph = random_graph(60, 40, 800) if EMULATED else random_graph(3000, 2000, 40_000)
    batch = 48 if EMULATED else 512

    def run():
        table = table_of(graph, 64, torch.float32)
        step = TrainStep(graph, table, loss=loss, reg=0.01, storage=storage, optimizer=optimizer)
        losses = [step(*sample_batch(graph, batch, seed=0, offset=batch * t)) for t in range(3)]
        return table, *step.state.values(), *losses

    same_bits_in_any_order(run, torch.device("cpu"))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_its_state_is_all_that_the_next_step_needs(device, optimizer):
    graph = random_graph().to(device)
    batches = [[t.to(device) for t in batch_of(graph, 30, 2, False, seed)] for seed in range(6)]
    whole = TrainStep(graph, table_of(graph, 8).to(device), optimizer=optimizer, reg=0.1)
    for batch in batches:
        whole(*batch)
    first = TrainStep(graph, table_of(graph, 8).to(device), optimizer=optimizer, reg=0.1)
    for batch in batches[:3]:
        first(*batch)
    second = TrainStep(graph, first.embedding.clone(), optimizer=optimizer, reg=0.1)
    for name, t in first.state.items():
        second.state[name].copy_(t.clone())
    second.step = first.step
    for batch in batches[3:]:
        second(*batch)
    assert torch.equal(second.embedding, whole.embedding)
    assert all(torch.equal(t, whole.state[name]) for name, t in second.state.items())


@on_the_cpu
def test_what_is_refused():
    graph = random_graph()
    with pytest.raises(ValueError, match=r"optimizer must be one of \('adam', .*got 'adamw'"):
        TrainStep(graph, table_of(graph, 8), optimizer="adamw")
    with pytest.raises(ValueError, match="with 2 layers every row has a gradient; take optimizer='adam'"):
        TrainStep(graph, table_of(graph, 8), [0.5, 0.3, 0.2], optimizer="sgd")
    step = TrainStep(graph, table_of(graph, 8), optimizer="sgd")
    with pytest.raises(AttributeError, match="sgd has no exp_avg"):
        _ = step.exp_avg
