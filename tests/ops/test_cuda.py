"""What only a GPU can show: streams, CUDA graphs, a second device, arrays beyond 2^31 elements, and the CPU's numbers."""

import re
import subprocess
import sys

import pytest
import torch
from support import assert_close, random_graph

from fastgcn_rec import (
    MF,
    Adam,
    LightGCN,
    TrainConfig,
    TrainStep,
    adam_step,
    bpr_loss,
    dense,
    fit,
    half_hop,
    l2_loss,
    max_margin_loss,
    neighbor_pool,
    outer_sum,
    ppr_topk,
    propagate,
    random_walk,
    random_walk_neighbors,
    retrieve,
    sample_batch,
    sample_negatives,
    select_negatives,
    softmax_loss,
    topk,
    unseen_mask,
)
from fastgcn_rec.core import native
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.training.steps.captured_native import CapturedNative

pytestmark = pytest.mark.skipif(
    not (native.HAS_CUDA and torch.cuda.is_available()), reason="needs a GPU and a build with CUDA: not here"
)
DIM = 64


def inputs(device):
    graph = random_graph(200, 150, 3000).to(device)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(graph.n_nodes, DIM, generator=generator).to(device)
    return graph, x


def every_op(graph, x):
    """op name -> a call without arguments; tensors in, tensors out."""
    seed, offset = (torch.zeros((), dtype=torch.int64, device=x.device) for _ in range(2))
    users, pos, neg = sample_batch(graph, 256, 2, seed=seed, offset=offset)
    user_emb, item_emb = x.split([graph.n_users, graph.n_items])
    alphas = torch.full((4,), 0.25, device=x.device)
    state = [x.clone(), *(torch.zeros_like(x) for _ in range(2))]
    step, lr = torch.ones((), dtype=torch.int64, device=x.device), torch.full((), 1e-3, device=x.device).double()
    near, shares = random_walk_neighbors(graph, users, 50, 3, 0.5, 10, seed)
    negatives = pos[None, :32].contiguous()
    mask = unseen_mask(graph, users, negatives)
    losses = {
        "propagate": lambda z: propagate(graph, z, alphas).square().sum(),
        "half_hop": lambda z: half_hop(graph, z[: graph.n_users], "items").square().sum(),
        "neighbor_pool": lambda z: neighbor_pool(z, near, shares).square().sum(),
        "dense": lambda z: dense(z, x[:DIM]).square().sum(),
        "bpr_loss": lambda z: bpr_loss(*z.split([graph.n_users, graph.n_items]), users, pos, neg),
        "bpr_loss, shared": lambda z: bpr_loss(*z.split([graph.n_users, graph.n_items]), users, pos, negatives, mask),
        "max_margin_loss": lambda z: max_margin_loss(*z.split([graph.n_users, graph.n_items]), users, pos, neg),
        "softmax_loss": lambda z: softmax_loss(*z.split([graph.n_users, graph.n_items]), users, pos),
        "l2_loss": lambda z: l2_loss(z, users),
    }
    gradients = {
        f"gradient of {name}": lambda loss=loss: torch.autograd.grad(loss(z := x.detach().requires_grad_()), z)[0]
        for name, loss in losses.items()
    }
    return gradients | {
        "propagate": lambda: propagate(graph, x, alphas),
        "half_hop": lambda: half_hop(graph, user_emb, "items"),
        "neighbor_pool": lambda: neighbor_pool(x, near, shares),
        "dense": lambda: dense(x, x[:DIM]),
        "outer_sum": lambda: outer_sum(x, x),
        "bpr_loss": lambda: bpr_loss(user_emb, item_emb, users, pos, neg),
        "max_margin_loss": lambda: max_margin_loss(user_emb, item_emb, users, pos, neg),
        "softmax_loss": lambda: softmax_loss(user_emb, item_emb, users, pos),
        "l2_loss": lambda: l2_loss(x, users),
        "sample_batch": lambda: sample_batch(graph, 256, 2, seed=seed, offset=offset),
        "sample_negatives": lambda: sample_negatives(graph, users, 3, seed=seed),
        "unseen_mask": lambda: unseen_mask(graph, users, pos[None]),
        "select_negatives": lambda: select_negatives(
            user_emb, item_emb, users, pos, neg, 1, "hardest", seed=seed, offset=offset
        ),
        "random_walk": lambda: random_walk(graph, users, 20, seed, restart=0.2),
        "random_walk_neighbors": lambda: random_walk_neighbors(graph, users, 50, 3, 0.5, 10, seed),
        "retrieve": lambda: retrieve(user_emb, item_emb, 20, graph),
        "topk": lambda: topk(graph, user_emb[:64] @ item_emb.T, 20, torch.arange(64, device=x.device)),
        "adam_step": lambda: (adam_step(state[0], x, state[1], state[2], step, lr), state[0])[1],
    }


OPS = (
    "propagate", "half_hop", "neighbor_pool", "dense", "outer_sum", "bpr_loss", "max_margin_loss", "softmax_loss", "l2_loss", "sample_batch",
    "sample_negatives", "unseen_mask", "select_negatives", "random_walk", "random_walk_neighbors", "retrieve", "topk", "adam_step",
    *(f"gradient of {name}" for name in (
        "propagate", "half_hop", "neighbor_pool", "dense", "bpr_loss", "bpr_loss, shared", "max_margin_loss", "softmax_loss", "l2_loss",
    )),
)  # fmt: skip
EXACT = (
    "sample_batch",
    "sample_negatives",
    "unseen_mask",
    "random_walk",
    "random_walk_neighbors",
)  # no sum of floats decides


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", OPS)
def test_a_captured_op_replays_with_new_values(name):
    graph, x = inputs("cuda")
    run = every_op(graph, x)[name]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
    torch.cuda.synchronize()
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        result = as_tuple(run())
    x.mul_(1.5)
    if name == "adam_step":  # updates in place: another replay goes on from the last
        before = result[0].clone()
        recorded.replay()
        assert not torch.equal(before, result[0])
        return
    recorded.replay()
    for got, want in zip(result, as_tuple(run()), strict=True):
        assert torch.equal(got, want)


def test_the_numbers_of_a_list_are_the_captured_graphs_own_and_each_streams_own():
    graph, x = inputs("cuda")
    expected = propagate(graph, x, [0.125, 0.875])
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        y = propagate(graph, x, [0.125, 0.875])
        first = propagate(graph, x, [0.375, 0.625])  # a list that nothing had made before
    for n in range(600):  # as many others as throw out what is kept
        propagate(graph, x, [n + 0.5, 1.0])
    recorded.replay()
    assert torch.equal(y, expected)
    assert torch.equal(first, propagate(graph, x, torch.tensor([0.375, 0.625], device="cuda")))
    torch.cuda.synchronize()
    side, other = torch.cuda.Stream(), torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)  # whoever took this stream's numbers would not have them yet
        propagate(graph, x, [0.0625, 0.9375])
    with torch.cuda.stream(other):
        z = propagate(graph, x, [0.0625, 0.9375])
    other.synchronize()
    side.synchronize()  # before the graph that it reads is gone
    assert torch.equal(z, propagate(graph, x, torch.tensor([0.0625, 0.9375], device="cuda")))


@pytest.mark.parametrize("name", OPS)
def test_an_op_runs_on_the_current_stream(name):
    graph, x = inputs("cuda")
    want = as_tuple(every_op(graph, x)[name]())
    y = torch.zeros_like(x)
    run = every_op(graph, y)[name]
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)  # an op on another stream would read zeros
        y.copy_(x)
        got = as_tuple(run())
    side.synchronize()
    for a, b in zip(got, want, strict=True):
        if name == "adam_step":  # its state was made before y was filled
            continue
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", OPS)
def test_the_numbers_are_the_cpus(name):
    here, there = inputs("cuda"), inputs("cpu")
    got, want = (as_tuple(every_op(*given)[name]()) for given in (here, there))
    for a, b in zip(got, want, strict=True):
        if name in EXACT:
            assert torch.equal(a.cpu(), b)
        elif a.dtype != torch.int64:
            assert_close(a, b)


@pytest.mark.filterwarnings("ignore")  # of the compiler's own
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_what_calls_an_op_is_compiled_and_captured(mode):
    graph, x = inputs("cuda")
    x.requires_grad_()
    alphas = torch.full((4,), 0.25, device="cuda")

    def loss(x):
        return propagate(graph, 2 * x, alphas).square().sum()

    compiled, (want,) = torch.compile(loss, fullgraph=True, mode=mode), torch.autograd.grad(loss(x), x)
    for _ in range(4):  # of which the first warm up, then one records
        torch.compiler.cudagraph_mark_step_begin()
        (got,) = torch.autograd.grad(compiled(x), x)
        assert_close(got, want)


def test_ranks_of_pagerank_are_the_cpus():
    graph = random_graph(200, 150, 3000)
    mine, theirs = (ppr_topk(graph.to(device), torch.arange(80, device=device), 40) for device in ("cuda", "cpu"))
    assert_close(mine.scores, theirs.scores)
    assert (mine.ids.cpu() == theirs.ids).float().mean() > 0.99  # neighbours in rank may be equal up to rounding


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("name", OPS)
def test_an_op_runs_where_its_tensors_are(name):
    results = [as_tuple(every_op(*inputs(f"cuda:{i}"))[name]()) for i in range(2)]
    assert torch.cuda.current_device() == 0
    for a, b in zip(*results, strict=True):
        assert b.device.index == 1
        assert torch.equal(a.cpu(), b.cpu())


def test_a_table_of_more_than_2_to_the_31_elements():
    n_users, n_items, dim = 9_000_000, 8_000_000, 128
    if torch.cuda.mem_get_info()[0] < 5 * (n_users + n_items) * dim * 2:
        pytest.skip("needs 22 GB of free GPU memory")
    users = torch.tensor([0, n_users - 1, n_users - 1])
    items = torch.tensor([n_items - 1, 0, n_items - 1])
    graph = type(random_graph()).from_edges(users, items, n_users, n_items).to("cuda")
    x = torch.ones(n_users + n_items, dim, dtype=torch.bfloat16, device="cuda")
    x[-1] = 3
    y = propagate(graph, x, [0.0, 1.0], norm="none")
    assert y[n_users - 1].unique().tolist() == [4.0]
    assert y[0].unique().tolist() == [3.0]
    assert y[-1].unique().tolist() == [2.0]
    assert float(y[1:1000].abs().sum()) == 0


@pytest.mark.parametrize("loss", ["bpr", "binary", "softmax"])
@pytest.mark.parametrize("storage", [None, torch.bfloat16])
def test_a_captured_training_step_is_the_step(loss, storage):
    graph, x = inputs("cuda")
    tables = []
    for capture in (False, True):
        table = x.clone()
        step = TrainStep(graph, table, [0.25] * 4, loss=loss, reg=1e-3, storage=storage)
        offset = torch.zeros((), dtype=torch.int64, device="cuda")

        def run(step=step, offset=offset):
            users, pos, neg = sample_batch(graph, 128, 0 if loss == "softmax" else 1, seed=0, offset=offset)
            offset.add_(128)
            return step(users, pos, neg if neg.shape[1] else None)

        run()
        if capture:
            torch.cuda.synchronize()
            recorded = torch.cuda.CUDAGraph()
            with torch.cuda.graph(recorded):
                run()
            run = recorded.replay
        for _ in range(5):
            run()
        tables.append(table)
    assert torch.equal(*tables)


def test_a_captured_adam_counts_on_or_is_refused():
    tables = []
    for capture in (False, True):
        p = torch.ones(1000, device="cuda", requires_grad=True)
        p.grad = torch.full_like(p, 0.5)
        adam = Adam([p], lr=0.01, capturable=True)
        adam.step()
        run = adam.step
        if capture:
            torch.cuda.synchronize()
            recorded = torch.cuda.CUDAGraph()
            with torch.cuda.graph(recorded):
                adam.step()
            run = recorded.replay
        for _ in range(5):
            run()
        tables.append(p.detach())
    assert torch.equal(*tables)
    p.grad = torch.full_like(p, 0.5)
    with pytest.raises(RuntimeError, match="capturable=True"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        Adam([p]).step()


@pytest.mark.parametrize(
    ("layers", "options"),
    [(2, {}), (3, {"storage": "bfloat16"}), (1, {"loss": "softmax"}), (0, {"optimizer": "lazy_adam"}), (1, {"negatives": "uniform(2)"})],
)  # fmt: skip
def test_fit_trains_by_captured_graphs_as_it_does_without(layers, options, monkeypatch):
    """Of ten steps and of one: an epoch has 13."""
    data = synthetic_interactions(300, 200, 4000)
    captured = []
    original = CapturedNative._capture

    def capture(self, t, n, loss_sum):
        captured.append((n, original(self, t, n, loss_sum)))
        return captured[-1][1]

    monkeypatch.setattr(CapturedNative, "_capture", capture)
    config = TrainConfig(epochs=3, batch_size=256, protocol="none", lr_schedule="linear", reg=1e-3, **options)
    runs = []
    for device, most in (("cpu", 10), ("cuda", 10), ("cuda", 10), ("cuda", 1), ("cuda", 0)):
        monkeypatch.setattr(CapturedNative, "most", max(most, 1))
        monkeypatch.setattr(CapturedNative, "eager_steps", 2 if most else 1000)
        captured.clear()
        model = LightGCN(data, 32, layers).to(device) if layers else MF(data, 32).to(device)
        history = fit(model, data, config, progress=False)
        assert all(graph is not None for _, graph in captured)
        assert {n for n, _ in captured} == ({1, most} if most and device == "cuda" else set())
        runs.append((torch.tensor([r["loss"] for r in history.epochs]), model.embedding.weight.detach()))
    for losses, table in runs[2:]:
        assert torch.equal(losses, runs[1][0])
        assert torch.equal(table, runs[1][1])
    if not options:
        torch.testing.assert_close(runs[1][0], runs[0][0], rtol=1e-4, atol=0)


def test_an_id_out_of_range_is_named_and_later_calls_fail():
    program = """
import torch
from fastgcn_rec import bpr_loss, l2_loss

emb, users = torch.ones(4, 8, device="cuda"), torch.zeros(3, dtype=torch.int64, device="cuda")
loss = bpr_loss(emb, emb, users, users + 9, users[:, None])
for late in (torch.cuda.synchronize, lambda: l2_loss(emb, users), lambda: float(loss)):
    try:
        late()
    except RuntimeError as error:
        print("RuntimeError:", error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    output = run.stdout + run.stderr
    assert re.search(r"fastgcn_rec: rows_kernel\S* stopped: pos: id 9 is outside \[0, 4\)", output), output
    assert "Assertion `pos` failed" in output
    assert output.count("RuntimeError:") == 3, output
