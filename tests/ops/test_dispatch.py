"""Ops that are called straight, around torch's dispatcher: nothing that looks on misses them, and nothing that is kept is ever stale."""

import copy
import multiprocessing.reduction
import pickle

import pytest
import torch
from support import assert_close, on_the_cpu, random_graph, weighted_graph
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from fastgcn_rec import (
    _C,
    Graph,
    TrainStep,
    bpr_loss,
    dense,
    half_hop,
    l2_loss,
    neighbor_pool,
    outer_sum,
    ppr,
    propagate,
    softmax_loss,
)
from fastgcn_rec.core import native
from fastgcn_rec.ops.registration import numbers


def jobs(device):
    """name -> (a function of float tensors, these), for every op that has a gradient."""
    graph = random_graph(7, 9, 30).to(device)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator).to(device).requires_grad_()

    ids = torch.tensor([0, 3, 3], device=device)
    neg = torch.tensor([[1], [-1], [2]], device=device)
    weights = torch.rand(3, 1, generator=generator).to(device)
    return {
        "propagate": (lambda x, a: propagate(graph, x, a), normal(16, 5), normal(3)),
        "half_hop": (lambda x: half_hop(graph, x, "items"), normal(7, 5)),
        "dense": (dense, normal(4, 5), normal(3, 5), normal(3)),
        "outer_sum": (lambda a, b: outer_sum(a, b)[0], normal(4, 5), normal(4, 2)),
        "neighbor_pool": (lambda x: neighbor_pool(x, neg, weights), normal(4, 5)),
        "pair_loss": (lambda u, i: bpr_loss(u, i, ids, ids, neg), normal(7, 5), normal(9, 5)),
        "softmax_loss": (lambda u, i: softmax_loss(u, i, ids, ids), normal(7, 5), normal(9, 5)),
        "l2_loss": (lambda x: l2_loss(x, ids), normal(7, 5)),
    }


def with_gradients(run, *inputs):
    y = run(*inputs)
    return y, *torch.autograd.grad(y.square().sum(), inputs)


class Names(TorchDispatchMode):
    """Notes the names of the ops that the dispatcher sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", jobs("cpu"))
def test_a_call_around_the_dispatcher_has_the_bits_of_one_through_it(device, name):
    run, *inputs = jobs(device)[name]
    straight = with_gradients(run, *inputs)
    with Names() as names:
        through = with_gradients(run, *inputs)
    assert f"fastgcn_rec::{name}" in names.seen
    for a, b in zip(straight, through, strict=True):
        assert torch.equal(a, b)
    with torch.no_grad():
        assert torch.equal(run(*inputs), straight[0])
        assert not run(*inputs).requires_grad


@pytest.mark.parametrize("name", jobs("cpu"))
def test_whatever_looks_on_sees_an_op_by_its_name(name):
    run, *inputs = jobs("cpu")[name]
    values = [t.detach() for t in inputs]
    op = f"fastgcn_rec.{name}"
    assert op in make_fx(run)(*values).code
    with torch.profiler.profile() as profile:
        run(*inputs)
    assert f"fastgcn_rec::{name}" in {event.key for event in profile.key_averages()}
    seen = []

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    with Mode():
        run(*inputs)
    assert f"{op}.default" in seen

    class Noted(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            noted.append(str(func))
            return super().__torch_function__(func, types, args, kwargs or {})

    noted = []
    run(*(t.as_subclass(Noted) for t in values))
    assert f"{op}.default" in noted


@on_the_cpu
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_a_trace_has_the_op_and_not_its_result():
    graph, x = random_graph(), torch.randn(70, 4)
    propagate(graph, x, [0.5, 0.5])  # which has the graph keep its scales
    traced = torch.jit.trace(lambda x: propagate(graph, x, [0.5, 0.5]), (x,))
    assert torch.equal(traced(2 * x), propagate(graph, 2 * x, [0.5, 0.5]))


@on_the_cpu
def test_a_tensor_that_is_negated_when_read_is_read_so():
    graph = random_graph(7, 9, 30)
    x = torch.complex(torch.ones(16, 2), torch.randn(16, 2)).conj().imag
    assert x.is_neg()
    assert torch.equal(propagate(graph, x, [0.0, 1.0]), propagate(graph, x.resolve_neg(), [0.0, 1.0]))


@on_the_cpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@pytest.mark.parametrize("name", jobs("cpu"))
def test_tangents_of_forward_mode_are_refused_and_not_dropped(name):
    run, *inputs = jobs("cpu")[name]
    values = tuple(t.detach() for t in inputs)
    with pytest.raises(NotImplementedError, match=f"{name}: has no forward-mode derivative; take reverse mode"):
        torch.func.jvp(run, values, values)
    with forward_ad.dual_level(), Names() as names:
        run(*values)
        with pytest.raises(NotImplementedError, match=f"{name}: has no forward-mode"):
            run(forward_ad.make_dual(values[0], values[0]), *values[1:])
    assert f"fastgcn_rec::{name}" in names.seen


@pytest.mark.parametrize("name", jobs("cpu"))
def test_a_gradient_has_a_gradient_or_says_that_it_has_none(device, name):
    run, *inputs = jobs(device)[name]
    y = run(*inputs).square().sum()
    once = torch.autograd.grad(y, inputs, retain_graph=True)
    again = torch.autograd.grad(y, inputs, create_graph=True)
    for a, b in zip(once, again, strict=True):
        assert torch.equal(a, b)
        assert b.requires_grad
    penalty = sum(g.square().sum() for g in again)
    if name in ("neighbor_pool", "pair_loss", "softmax_loss", "l2_loss"):
        with pytest.raises(
            NotImplementedError, match=f"{name}: is differentiable once, and this asks for the gradient"
        ):
            penalty.backward()
    else:
        assert all(g.abs().max() > 0 for g in torch.autograd.grad(penalty, inputs[:1]))


@on_the_cpu
@pytest.mark.parametrize("name", ["neighbor_pool", "pair_loss", "softmax_loss", "l2_loss"])
def test_a_checkpointed_op_stands_beside_what_is_differentiated_twice(name):
    run, *inputs = jobs("cpu")[name]
    w = torch.randn(5, requires_grad=True)
    y = checkpoint(run, *inputs, use_reentrant=False).square().sum() + w.pow(3).sum()
    *_, gradient = torch.autograd.grad(y, [*inputs, w], create_graph=True)
    gradient.square().sum().backward()
    assert_close(w.grad, 36 * w.detach() ** 3)


@on_the_cpu
def test_hooks_of_saved_tensors_are_asked():
    run, *inputs = jobs("cpu")["pair_loss"]
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
        with_gradients(run, *inputs)
    assert any(t is inputs[0] for t in packed)


def test_what_no_gradient_needs_is_not_held(device):
    graph = random_graph(7, 9, 30).to(device)
    x = torch.randn(16, 2, device=device, requires_grad=True)
    y = propagate(graph, 2 * x, [0.0, 1.0])
    assert y.grad_fn.saved_tensors[0] is None
    alphas = torch.ones(2, device=device, requires_grad=True)
    y = propagate(graph, x, alphas)
    assert y.grad_fn.saved_tensors[0] is x


@pytest.mark.parametrize("make", [random_graph, weighted_graph])
def test_a_graph_whose_memory_moves_is_found_where_it_is(make):
    graph, x = make(), torch.randn(70, 4)
    nodes, start = [0, 50], torch.randn(70, 4)
    batch = (torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([[4], [5]]))
    runs = [
        lambda: propagate(graph, x, [0.5, 0.5]),
        lambda: half_hop(graph, x[:40], "items"),
        lambda: ppr(graph, nodes).scores,
    ]
    step, other = (TrainStep(g, start.clone(), [0.5, 0.5], loss="bpr") for g in (graph, copy.deepcopy(graph)))
    before = [run() for run in runs]
    step(*batch), other(*batch)
    for t in graph.tensors():
        if t is not None:
            address = t.data_ptr()
            t.share_memory_()  # what multiprocessing does with a tensor that it sends
            assert t.data_ptr() != address
    taken = [torch.full_like(t, 2**30) for t in graph.tensors() if t is not None for _ in range(8)]  # what was there
    for run, expected in zip(runs, before, strict=True):
        assert torch.equal(run(), expected)
    step(*batch), other(*batch)
    assert torch.equal(step.embedding, other.embedding)
    del taken


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda graph: pickle.loads(pickle.dumps(graph)),
        lambda graph: pickle.loads(multiprocessing.reduction.ForkingPickler.dumps(graph)),
    ],
)
def test_a_copy_of_a_graph_stands_alone(copied):
    graph, x = weighted_graph(), torch.randn(70, 4)
    expected = propagate(graph, x, [0.5, 0.5])
    other = copied(graph)
    del graph
    assert torch.equal(propagate(other, x, [0.5, 0.5]), expected)


def test_other_weights_are_other_links():
    graph, x = weighted_graph(), torch.randn(70, 4)
    before = propagate(graph, x, [0.0, 1.0], "none")
    double = graph.reweighted(2 * graph.weight, 2 * graph.weight_t, same_scales=True)
    torch.testing.assert_close(propagate(double, x, [0.0, 1.0], "none"), 2 * before)
    assert torch.equal(propagate(graph, x, [0.0, 1.0], "none"), before)


def test_a_view_of_a_graph_is_made_once(monkeypatch):
    graph, x, made = random_graph(), torch.randn(70, 4), []
    original = native.graph
    monkeypatch.setattr(native, "graph", lambda *tensors: made.append(1) or original(*tensors))
    for _ in range(3):
        propagate(graph, x, [0.5, 0.5])
        half_hop(graph, x[:40], "items")
    assert len(made) == 1


def test_what_is_kept_in_inference_mode_serves_a_training(device):
    graph = random_graph(7, 9, 30).to(device)
    x = torch.randn(16, 2, device=device)
    with torch.inference_mode():
        expected = propagate(graph, x, [0.25, 0.75])
    x.requires_grad_()
    y = propagate(graph, x, [0.25, 0.75])
    assert torch.equal(y, expected)
    y.sum().backward()


def test_what_is_made_in_a_capture_is_not_kept(monkeypatch):
    graph = Graph.from_edges([0, 1], [0, 1])
    monkeypatch.setattr(native, "is_captured", lambda device: True)  # as on a GPU
    monkeypatch.setattr("fastgcn_rec.ops.registration.is_captured", lambda device: True)
    assert graph.scales("sym", torch.float32)[0] is not graph.scales("sym", torch.float32)[0]
    assert numbers([0.5, 0.5], torch.float32, graph.device) is not numbers([0.5, 0.5], torch.float32, graph.device)


@on_the_cpu
def test_no_fake_is_kept():
    graph, x, alphas = random_graph(7, 9, 30), torch.randn(16, 2), [0.125, 0.375]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert isinstance(propagate(graph, mode.from_tensor(x), alphas, "left"), FakeTensor)
        assert isinstance(numbers(alphas, torch.float64, graph.device), FakeTensor)
    fresh = random_graph(7, 9, 30)
    assert torch.equal(propagate(graph, x, alphas, "left"), propagate(fresh, x, torch.tensor(alphas), "left"))


def test_numbers_are_kept_by_their_bits_and_by_stream(monkeypatch):
    cpu = torch.device("cpu")
    assert numbers([0.5, 0.25], torch.float32, cpu) is numbers((0.5, 0.25), torch.float32, cpu)
    assert numbers([0.0], torch.float32, cpu).signbit().tolist() == [False]
    assert numbers([-0.0], torch.float32, cpu).signbit().tolist() == [True]
    assert numbers([1], torch.float64, cpu).dtype == torch.float64
    first = numbers([0.5], torch.float32, cpu)
    monkeypatch.setattr("fastgcn_rec.ops.registration.current_stream", lambda device: 7)
    assert numbers([0.5], torch.float32, cpu) is not first


@on_the_cpu
def test_an_address_is_a_tensors_or_a_number_or_none():
    indptr, indices = torch.tensor([0, 1]), torch.tensor([0], dtype=torch.int32)
    for at in (indptr, indptr.data_ptr()):
        _C.check_csr(at, indices, 1, 1, 1)
    assert _C.merge_duplicates(indptr, indices, None, 1) == 1
    for wrong in ("0", 0.0, [0], object()):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            _C.check_csr(indptr, wrong, 1, 1, 1)
    for number in (-1, 2**64):
        with pytest.raises(OverflowError):
            _C.check_csr(indptr, number, 1, 1, 1)
    with pytest.raises(RuntimeError, match="storage"):
        _C.check_csr(indptr, torch.eye(2).to_sparse(), 1, 1, 1)


@on_the_cpu
def test_gradients_come_in_batches():
    graph = random_graph(5, 4, 9)
    x = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    y, upstream = propagate(graph, x, [0.5, 0.5]), torch.randn(2, 9, 3, dtype=torch.float64)
    (batched,) = torch.autograd.grad(y, x, upstream, is_grads_batched=True, retain_graph=True)
    for got, one in zip(batched, upstream, strict=True):
        assert_close(got, torch.autograd.grad(y, x, one, retain_graph=True)[0])


@on_the_cpu
def test_a_tensor_of_zeros_without_memory():
    assert propagate(random_graph(3, 2, 4), torch._efficientzerotensor((5, 2)), [1.0, 1.0]).count_nonzero() == 0


def test_numbers_that_were_asked_for_before_are_no_way_around_the_check():
    graph, x = random_graph(3, 2, 4), torch.ones(5, 2)
    propagate(graph, x, [0.123])
    with pytest.raises(TypeError, match="alphas must be"):
        propagate(graph, x, {0.123})
