"""Short floats, as torch.autocast makes them, in every op that takes floats: what float32 gives of them, rounded once."""

import pytest
import torch
from support import random_graph

from fastgcn_rec import (
    Adam,
    TrainStep,
    adam_step,
    binary_loss,
    bpr_loss,
    correct_and_smooth,
    dense,
    half_hop,
    l2_loss,
    max_margin_loss,
    neighbor_pool,
    ops,
    outer_sum,
    propagate,
    retrieve,
    select_negatives,
    softmax_loss,
    topk,
)

F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32


class Job:
    """An op on tensors of these shapes, some of which may be learned."""

    def __init__(self, run, *shapes):
        self.run, self.shapes = run, shapes

    def inputs(self, device, dtype, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(shape, generator=generator).to(device, dtype) for shape in self.shapes]

    def __call__(self, inputs, device):
        return self.on(graph_on(device), inputs)

    def on(self, graph, inputs):
        out = self.run(graph, *inputs)
        return list(out) if isinstance(out, tuple) else [out]


def graph_on(device):
    return random_graph(7, 9, 30).to(device)


def ids(graph, *values):
    return torch.tensor(values, device=graph.device)


TABLES = (7, 5), (9, 5)


def pair(loss):
    return Job(lambda g, u, i: loss(u, i, ids(g, 0, 3, 3), ids(g, 1, 8, 2), ids(g, [1], [-1], [2])), *TABLES)


LIKE_ITS_INPUT = {
    "propagate": Job(lambda g, x: propagate(g, x, [0.25, 0.5, 0.25]), (16, 5)),
    "propagate, gcn": Job(lambda g, x: propagate(g, x, [0.25, 0.5, 0.25], "gcn"), (16, 5)),
    "propagate, alphas": Job(lambda g, x, a: propagate(g, x, a), (16, 5), (3,)),
    "half_hop": Job(lambda g, x: half_hop(g, x, "items"), (7, 5)),
    "half_hop, scaled": Job(lambda g, x, s: half_hop(g, x, "items", right=s.detach()), (7, 5), (7,)),
    "dense": Job(lambda g, *xwb: dense(*xwb), (4, 5), (3, 5), (3,)),
    "outer_sum": Job(lambda g, a, b: outer_sum(a, b), (4, 5), (4, 2)),
    "neighbor_pool": Job(lambda g, x, w: neighbor_pool(x, ids(g, [0, -1], [3, 3]), w.detach()), (4, 5), (2, 2)),
}
LOSSES = {
    "bpr_loss": pair(bpr_loss),
    "bpr_loss, shared": Job(lambda g, u, i: bpr_loss(u, i, ids(g, 0, 3), ids(g, 1, 8), ids(g, [1, 4, 4])), *TABLES),
    "binary_loss": pair(binary_loss),
    "max_margin_loss": pair(max_margin_loss),
    "softmax_loss": Job(
        lambda g, u, i, b: softmax_loss(u, i, ids(g, 0, 3, 3), ids(g, 1, 8, 2), bias=b.detach()), *TABLES, (3,)
    ),
    "l2_loss": Job(lambda g, x: l2_loss(x, ids(g, 0, 3, 3)), (7, 5)),
}
RANKED = {
    "retrieve": Job(lambda g, q, i: retrieve(q, i, 4, g), *TABLES),
    "topk": Job(lambda g, s: topk(g, s, 4, ids(g, 0, 1, 2)), (3, 9)),
    "select_negatives": Job(
        lambda g, u, i: select_negatives(u, i, ids(g, 0, 3), ids(g, 1, 8), ids(g, [1, 2, 3], [4, 5, 6]), 2), *TABLES
    ),
}
IN_PLACE = {"Adam", "TrainStep", "adam_step"}
NO_FLOATS = {
    "Ppr",
    "PprPush",
    "TopK",
    "ppr",
    "ppr_push",
    "random_walk",
    "random_walk_neighbors",
    "sample_batch",
    "sample_listed",
    "sample_negatives",
    "uniform_rows",
    "unseen_mask",
}


def test_every_public_op_is_here():
    here = {name.split(",")[0] for name in (*LIKE_ITS_INPUT, *LOSSES, *RANKED)}
    assert here | IN_PLACE | NO_FLOATS == set(ops.__all__)


@pytest.mark.parametrize("name", [*LIKE_ITS_INPUT, *LOSSES])
def test_float16_is_computed_in_float32_and_rounded_once(device, name):
    job = (LIKE_ITS_INPUT | LOSSES)[name]
    results = {}
    for dtype in (F16, F32):
        inputs = [t.to(dtype).requires_grad_() for t in job.inputs(device, F16)]
        out = job(inputs, device)
        up = [torch.linspace(-1, 1, max(t.numel(), 1), device=device)[: t.numel()].half().view(t.shape) for t in out]
        grads = torch.autograd.grad(
            out, inputs, [u.to(t.dtype) for u, t in zip(up, out, strict=True)], allow_unused=True
        )
        assert all(t.dtype == (F32 if name in LOSSES else dtype) for t in out)
        results[dtype] = [*out, *(g for g in grads if g is not None)]
        assert all(g.dtype == dtype for g in grads if g is not None)
    for half, full in zip(results[F16], results[F32], strict=True):
        assert torch.equal(half, full.to(half.dtype))


@pytest.mark.parametrize("dtype", [F16, BF16])
@pytest.mark.parametrize("name", RANKED)
def test_what_ranks_takes_short_floats_as_float32(device, name, dtype):
    job = RANKED[name]
    inputs = job.inputs(device, dtype)
    short, full = job(inputs, device), job([t.float() for t in inputs], device)
    for a, b in zip(short, full, strict=True):
        if name != "select_negatives" or dtype == F16:  # which computes in bfloat16 where it is stored so
            assert a.dtype == b.dtype
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", LIKE_ITS_INPUT)
def test_float16_goes_through_a_compiler(device, name):
    job, graph = LIKE_ITS_INPUT[name], graph_on(device)
    inputs = [t.requires_grad_() for t in job.inputs(device, F16)]
    expected = job.on(graph, inputs)
    compiled = torch.compile(lambda *inputs: job.on(graph, inputs), fullgraph=True, backend="aot_eager")(*inputs)
    for a, b in zip(compiled, expected, strict=True):
        assert torch.equal(a, b)
        assert a.dtype == F16


def test_arrays_of_float16_come_back_as_such():
    x = torch.randn(16, 5).half()
    y = propagate(graph_on("cpu"), x.numpy(), [0.0, 1.0])
    assert y.dtype == "float16"
    assert torch.equal(torch.from_numpy(y), propagate(graph_on("cpu"), x, [0.0, 1.0]))


def test_a_sum_beyond_float16_is_none_of_the_losses(device):
    assert (
        float(l2_loss(torch.full((2, 8), 300.0, dtype=F16, device=device), torch.tensor([0, 1], device=device)))
        == 720_000
    )


@pytest.mark.parametrize("dtype", [F16, BF16])
def test_what_is_updated_in_place_stays_long(device, dtype):
    p, graph = torch.zeros(16, 2, dtype=dtype, device=device), graph_on(device)
    message = f"must be one of float32, float64, got {str(dtype).removeprefix('torch.')}"
    with pytest.raises(TypeError, match=f"param {message}"):
        adam_step(p, p, p, p, 1)
    with pytest.raises(TypeError, match=f"embedding {message}"):
        TrainStep(graph, p)
    p = p.requires_grad_()
    p.grad = torch.zeros_like(p)
    with pytest.raises(TypeError, match=f"param {message}"):
        Adam([p]).step()


def test_what_is_smoothed_comes_back_as_it_was(device):
    graph, scores = graph_on(device), torch.rand(16, 3, generator=torch.Generator().manual_seed(0)).to(device)
    for dtype in (F16, BF16):
        short = scores.to(dtype)
        result = correct_and_smooth(graph, short, short.flip(0), [0, 9])
        assert torch.equal(result, correct_and_smooth(graph, short.float(), short.flip(0).float(), [0, 9]).to(dtype))


@pytest.mark.parametrize("dtype", [F16, BF16])
def test_a_model_trains_under_autocast(device, dtype):
    graph = graph_on(device)
    generator = torch.Generator().manual_seed(0)
    table = (0.3 * torch.randn(16, 8, generator=generator)).to(device).requires_grad_()
    linear = torch.nn.Linear(8, 8, bias=False).to(device)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(8, 8, generator=generator) / 8**0.5)
    batch = ids(graph, 0, 3, 3), ids(graph, 1, 8, 2), ids(graph, [1], [4], [2])

    def loss():
        z = propagate(graph, linear(table), [0.5, 0.5])
        users, items = z.split([7, 9])
        scores = dense(users, linear(items))
        assert retrieve(users.detach(), items.detach(), 3).scores.dtype == F32
        mixed = bpr_loss(users, table[7:], *batch)  # of a layer and of a parameter
        return (
            bpr_loss(users, items, *batch)
            + mixed
            + softmax_loss(users, items, *batch[:2])
            + scores.float().square().mean()
        )

    learned = [table, *linear.parameters()]
    full = torch.autograd.grad(loss(), learned)
    with torch.autocast(device.type, dtype):
        assert propagate(graph, linear(table), [0.5, 0.5]).dtype == dtype
        value = loss()
    assert value.dtype == F32
    for a, b in zip(torch.autograd.grad(value, learned), full, strict=True):
        assert a.dtype == F32
        error = (a - b).norm() / b.norm()  # some roundings of 2^-9 or 2^-12 each, which add up like random ones
        assert float(error) < (0.05 if dtype == BF16 else 0.006)
