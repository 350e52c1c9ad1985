import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import EMULATED, assert_close, graphs, on_the_cpu, random_graph, same_bits_in_any_order

from fastgcn_rec import TrainStep, adam_step, sample_batch
from fastgcn_rec.core import native
from fastgcn_rec.ops import reference

ALPHAS = [[1.0], [0.5, 0.5], [0.5, 0.3, 0.2], [0.25] * 4, [0.1, 0.2, 0.3, 0.2, 0.2]]


def composed_loss(
    graph, table, alphas, norm, loss, reg, users, pos, neg, mask=None, temperature=0.2, weight=1.0, item_bias=None
):
    """The same from the references of the single ops."""
    z = reference.propagate(graph, table, torch.tensor(alphas, dtype=table.dtype), norm)
    user_emb, item_emb = z.split([graph.n_users, graph.n_items])
    nodes = [users, graph.n_users + pos]
    if loss == "softmax":
        bias = None if item_bias is None else item_bias[pos]
        value = reference.softmax_loss(user_emb, item_emb, users, pos, temperature, weight, bias)
    else:
        value = getattr(reference, f"{loss}_loss")(user_emb, item_emb, users, pos, neg, mask=mask)
        nodes.append(torch.where(neg >= 0, graph.n_users + neg, neg).flatten())
    return value + reg / len(users) * reference.l2_loss(table, torch.cat(nodes))


def batch_of(graph, batch, n_neg, shared, seed=0):
    generator = torch.Generator().manual_seed(seed)
    users = torch.randint(graph.n_users, (batch,), generator=generator)
    pos = torch.randint(graph.n_items, (batch,), generator=generator)
    neg = torch.randint(-1, graph.n_items, (1 if shared else batch, n_neg), generator=generator)
    return users, pos, neg


def table_of(graph, dim, dtype=torch.float64):
    return torch.randn(graph.n_nodes, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


@given(
    graph=graphs(),
    alphas=st.sampled_from(ALPHAS),
    norm=st.sampled_from(["sym", "left", "right", "none", (0.7, 0.2)]),
    loss=st.sampled_from(["bpr", "binary", "max_margin", "softmax"]),
    shared=st.booleans(),
    with_mask=st.booleans(),
    softmax=st.tuples(st.sampled_from([1.0, 1.4]), st.booleans()),
    n_neg=st.integers(1, 3),
    batch=st.integers(1, 12),
    dim=st.sampled_from([1, 3, 8, 33, 64, 100]),
)
def test_steps_follow_autograd_and_adam(
    device, graph, alphas, norm, loss, shared, with_mask, softmax, n_neg, batch, dim
):
    table = table_of(graph, dim).to(device)
    weight, bias = softmax[0], torch.linspace(-1, 2, graph.n_items, dtype=torch.float64) if softmax[1] else None
    options = {"temperature": 0.2, "negative_weight": weight, "reg": 0.1, "lr": 0.01}
    own = None if bias is None else bias.to(device)
    step = TrainStep(graph.to(device), table, alphas, norm=norm, loss=loss, item_bias=own, **options)
    for t in range(3):
        param = table.detach().cpu().clone().requires_grad_()
        moments = step.exp_avg.cpu().clone(), step.exp_avg_sq.cpu().clone()
        users, pos, neg = batch_of(graph, batch, n_neg, shared, seed=t)
        mask = None
        if with_mask and shared and batch > 1 and loss != "softmax":
            mask = torch.rand(batch, n_neg, generator=torch.Generator().manual_seed(t)) < 0.6
        value = composed_loss(graph, param, alphas, norm, loss, 0.1, users, pos, neg, mask, 0.2, weight, bias)
        value.backward()
        there = [None if given is None else given.to(device) for given in (neg, mask)]
        got = step(users.to(device), pos.to(device), None if loss == "softmax" else there[0], there[1])
        assert_close(got, value, terms=1.0)
        gradient = 10 * (step.exp_avg.cpu() - 0.9 * moments[0])
        assert_close(gradient, param.grad, terms=10 * float(param.grad.abs().max()) + 1.0)
        # Adam divides by |gradient|, so its sign must be ours even where that is rounding noise.
        expected = param.detach().clone()
        adam_step(expected, gradient, *moments, t + 1, 0.01)
        assert_close(table, expected, terms=10.0)


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
@pytest.mark.parametrize(("storage", "dtype"), [(None, torch.float32), (torch.bfloat16, torch.bfloat16)])
@pytest.mark.parametrize("alphas", ALPHAS)
def test_the_gradient_in_single_precision(device, alphas, storage, dtype, loss):
    """After one step from zero moments, exp_avg is a tenth of the gradient."""
    graph = random_graph(300, 200, 3000)
    table = table_of(graph, 64, torch.float32)
    exact = table.double().requires_grad_()
    users, pos, neg = batch_of(graph, 128, 2, False)
    composed_loss(graph, exact, alphas, "sym", loss, 0.01, users, pos, neg).backward()
    step = TrainStep(graph.to(device), table.to(device), alphas, loss=loss, temperature=0.2, reg=0.01, storage=storage)
    step(users.to(device), pos.to(device), None if loss == "softmax" else neg.to(device))
    assert_close(10 * step.exp_avg, exact.grad, dtype)


@pytest.mark.parametrize("alphas", [ALPHAS[1], ALPHAS[3]])
def test_long_rows_in_parts(monkeypatch, alphas):
    """A GPU's schedule changes the order of sums, not the result; rows that the batch does not reach are left out whatever their length."""
    table, results = table_of(random_graph(), 64), []
    for heavy, part in ((10**6, 10**6), (3, 8)):
        monkeypatch.setattr(native, "HEAVY_DEGREE", heavy)
        monkeypatch.setattr(native, "PART_EDGES", part)
        graph = random_graph()
        step = TrainStep(graph, table.clone(), alphas, lr=0.1)
        step(*batch_of(graph, 20, 2, False))
        results.append(step.exp_avg)
    assert_close(results[1], results[0])


def test_bfloat16_layers_follow_the_parameters():
    graph = random_graph()
    table = table_of(graph, 16, torch.float32)
    step = TrainStep(graph, table, ALPHAS[2], lr=0.1, storage=torch.bfloat16)
    step(*sample_batch(graph, 64, seed=0))
    shadow = step._shadow.clone()
    step.refresh()
    assert torch.equal(step._shadow, shadow)


@pytest.mark.parametrize("storage", [None, torch.bfloat16])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_the_same_bits_for_any_number_of_threads(loss, storage):
    graph = random_graph(60, 40, 800) if EMULATED else random_graph(3000, 2000, 40_000)
    batch = 48 if EMULATED else 512

    def run():
        table = table_of(graph, 64, torch.float32)
        step = TrainStep(graph, table, ALPHAS[3], loss=loss, reg=0.01, storage=storage)
        losses = [step(*sample_batch(graph, batch, seed=0, offset=batch * t)) for t in range(3)]
        return table, step.exp_avg, step.exp_avg_sq, *losses

    same_bits_in_any_order(run, torch.device("cpu"))


def test_a_user_without_unseen_items_and_a_larger_batch_later():
    graph = random_graph()
    step = TrainStep(graph, table_of(graph, 8), ALPHAS[1])
    none = torch.full((4, 2), -1)
    assert float(step(torch.arange(4), torch.arange(4), none)) == 0
    assert float(step(*sample_batch(graph, 500, 3, seed=0))) > 0
    assert step.step == 2
    assert EMULATED or step.seconds["forward"] > 0


@on_the_cpu
def test_errors_leave_everything_as_it_was():
    graph, table = random_graph(), table_of(random_graph(), 8)
    before = table.clone()
    step = TrainStep(graph, table, ALPHAS[1])
    users, pos = torch.tensor([0, 1]), torch.tensor([0, 30])
    with pytest.raises(IndexError, match=r"pos: id 30 at position 1 is outside \[0, 30\)"):
        step(users, pos, torch.zeros(2, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="needs neg"):
        step(users, users)
    with pytest.raises(ValueError, match=r"neg must have shape \[2, M\] or \[1, M\].*got \[3, 1\]"):
        step(users, users, torch.zeros(3, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="the batch is empty"):
        step(users[:0], users[:0], torch.zeros(0, 1, dtype=torch.int64))
    assert torch.equal(table, before)
    assert step.step == 0
    with pytest.raises(ValueError, match=r"\[70, dim\], got \[69, 8\]"):
        TrainStep(graph, table[:69])
    with pytest.raises(TypeError, match="storage must be bfloat16 with a float32 embedding"):
        TrainStep(graph, table, storage=torch.bfloat16)
    with pytest.raises(ValueError, match="must be contiguous"):
        TrainStep(graph, table.T.contiguous().T)
    with pytest.raises(ValueError, match="loss must be one of"):
        TrainStep(graph, table, loss="hinge")
    with pytest.raises(ValueError, match="margin must be >= 0 and finite"):
        TrainStep(graph, table, loss="max_margin", margin=float("nan"))
    with pytest.raises(ValueError, match="temperature must be > 0"):
        TrainStep(graph, table, loss="softmax", temperature=0.0)
    with pytest.raises(ValueError, match=r"alphas must have shape \[K \+ 1\]"):
        TrainStep(graph, table, [])
