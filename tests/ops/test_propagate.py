import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import (
    DIMS,
    assert_close,
    gradcheck,
    gradgradcheck,
    graphs,
    on_the_cpu,
    random_graph,
    same_bits_in_any_order,
)

from fastgcn_rec import Graph, propagate
from fastgcn_rec.core import native
from fastgcn_rec.core.graph import NORMS as SCALED
from fastgcn_rec.ops import reference
from fastgcn_rec.ops.registration import numbers, scalar

NORMS = (*SCALED, "gcn")
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@given(graph=graphs(), dim=st.sampled_from(DIMS), hops=st.integers(0, 4), norm=st.sampled_from(NORMS))
def test_matches_the_dense_reference(device, dtype, graph, dim, hops, norm):
    x = torch.randn(graph.n_nodes, dim, generator=torch.Generator().manual_seed(0)).to(dtype)
    alphas = torch.linspace(1.0, 0.25, hops + 1, dtype=torch.float64)
    y = propagate(graph.to(device), x.to(device), alphas.tolist(), norm)
    assert y.dtype == dtype
    expected = reference.propagate(graph, x.double(), alphas, norm)
    scale = reference.propagate(graph, x.double().abs(), alphas, norm)  # cancellation must not hide behind small sums
    assert_close(torch.cat([y.double().cpu(), scale]), torch.cat([expected, scale]), dtype)


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_in_x_and_alphas_pass_gradcheck_twice(device, norm):
    graph = random_graph(6, 5, 14).to(device)
    x = torch.randn(graph.n_nodes, 3, dtype=torch.float64, device=device, requires_grad=True)
    alphas = torch.tensor([0.5, 0.3, 0.7], dtype=torch.float64, device=device, requires_grad=True)
    assert gradcheck(lambda x, a: propagate(graph, x, a, norm), (x, alphas))
    assert gradgradcheck(lambda x, a: propagate(graph, x, a, norm), (x, alphas))


def test_the_same_bits_in_any_order(device):
    graph = random_graph(3000, 2000, 40000).to(device)
    x = torch.randn(graph.n_nodes, 64, device=device)
    alphas = torch.ones(4, device=device, requires_grad=True)

    def run():
        leaf = x.clone().requires_grad_()
        y = propagate(graph, leaf, alphas)
        return (y, *torch.autograd.grad(y.square().sum(), (leaf, alphas)))

    same_bits_in_any_order(run, device)


def test_loops_in_any_order_and_where_nothing_else_is(device):
    graph = random_graph(300, 200, 4000).to(device)
    x = torch.randn(graph.n_nodes, 64, device=device)
    alphas = torch.ones(3, device=device, requires_grad=True)

    def run():
        leaf = x.clone().requires_grad_()
        y = propagate(graph, leaf, alphas, "gcn")
        return (y, *torch.autograd.grad(y.square().sum(), (leaf, alphas)))

    same_bits_in_any_order(run, device)
    lonely = Graph.from_edges([], [], 1, 1).to(device)
    assert propagate(lonely, torch.ones(2, 1, device=device), [1.0, 0.5, 0.25], "gcn").tolist() == [[1.75], [1.75]]


def test_a_giant_row_and_nodes_without_edges(device):
    n = 5000
    graph = Graph.from_edges(np.zeros(n, np.int64), np.arange(n), 2, n).to(device)
    y = propagate(graph, torch.ones(n + 2, 8, dtype=torch.float64, device=device), [1.0, 1.0], "none")
    assert y[0].unique().tolist() == [n + 1.0]
    assert y[1].unique().tolist() == [1.0]


@pytest.mark.parametrize("shape", [(3, 0), (0, 4)])
def test_empty_inputs_give_empty_outputs(device, shape):
    graph = Graph.from_edges([], [], shape[0], 0).to(device)
    assert propagate(graph, torch.ones(shape, device=device), [1.0, 1.0]).shape == shape


@pytest.mark.parametrize("dim", [3, 64])
def test_heavy_and_split_rows(device, dim, monkeypatch):
    monkeypatch.setattr(native, "HEAVY_DEGREE", 4)
    monkeypatch.setattr(native, "PART_EDGES", 9)
    graph = random_graph(20, 15, 200).to(device)
    x = torch.randn(35, dim, dtype=torch.float64, device=device)
    alphas = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64, device=device)
    assert_close(propagate(graph, x, alphas), reference.propagate(graph, x.cpu(), alphas.cpu()))
    same_bits_in_any_order(lambda: (propagate(graph, x, alphas),), device)
    split, heavy = graph.schedule()
    if split is not None:
        degree = torch.cat([graph.user_degree, graph.item_degree])
        assert degree[heavy].min() > 4
        assert degree[heavy].max() <= 9
        assert split[0].unique().tolist() == (degree > 9).nonzero().flatten().tolist()
        assert len(split[0]) == int(((degree[degree > 9] + 8) // 9).sum())


def test_opcheck_and_compile(device):
    graph = random_graph().to(device)
    x = torch.randn(graph.n_nodes, 5, device=device, requires_grad=True)
    alphas = torch.ones(3, device=device, requires_grad=True)
    args = (x, alphas, *graph.tensors(), *graph.schedule(), *graph.scales("sym", torch.float32))
    torch.library.opcheck(torch.ops.fastgcn_rec.propagate.default, args)
    dots = (x, x.detach(), 3, *graph.tensors(), *graph.schedule(), *graph.scales("sym", torch.float32))
    torch.library.opcheck(torch.ops.fastgcn_rec.propagate_dots.default, dots)
    compiled = torch.compile(lambda x, a: propagate(graph, x, a).square().sum(), fullgraph=True, backend="aot_eager")
    got = torch.autograd.grad(compiled(x, alphas), (x, alphas))
    for a, b in zip(got, torch.autograd.grad(propagate(graph, x, alphas).square().sum(), (x, alphas)), strict=True):
        assert_close(a, b)


def test_numpy_comes_back_as_numpy_and_autocast_keeps_the_dtype():
    graph = random_graph()
    x = np.random.default_rng(0).normal(size=(graph.n_nodes, 4)).astype(np.float32)
    y = propagate(graph, x, [0.0, 1.0])
    assert isinstance(y, np.ndarray)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        t = propagate(graph, torch.from_numpy(x), [0.0, 1.0])
    assert t.dtype == torch.float32
    np.testing.assert_array_equal(t.numpy(), y)


@on_the_cpu
def test_every_isa_level_agrees(monkeypatch):
    from fastgcn_rec import _C

    graph, best = random_graph(), _C.isa_level()
    x = torch.randn(graph.n_nodes, 100)
    expected = reference.propagate(graph, x.double(), torch.ones(3, dtype=torch.float64))
    try:
        for level in _C.build_info()["isa_levels"]:
            _C.select_isa_level(level)
            assert_close(propagate(graph, x, [1.0, 1.0, 1.0]), expected)
        with pytest.raises(ValueError, match="choose one of baseline"):
            _C.select_isa_level("v9")
    finally:
        _C.select_isa_level(best)


def test_errors_name_the_rule_and_both_values():
    graph = random_graph()
    with pytest.raises(ValueError, match=r"x must have shape \[n_nodes, dim\] = \[70, dim\], got \[69, 4\]"):
        propagate(graph, torch.ones(69, 4), [1.0])
    with pytest.raises(TypeError, match="x must be one of float32, float64, bfloat16, float16, got int64"):
        propagate(graph, torch.ones(70, 4, dtype=torch.int64), [1.0])
    with pytest.raises(ValueError, match="norm must be one of"):
        propagate(graph, torch.ones(70, 4), [1.0], "symmetric")
    with pytest.raises(ValueError, match=r"alphas must have shape \[K \+ 1\]"):
        propagate(graph, torch.ones(70, 4), [])


def test_numbers_for_another_device_are_made_there():
    meta = torch.device("meta")  # has no data; stands for a GPU
    for values in ([0.5, 0.25], np.array([0.5, 0.25]), [torch.tensor(0.5), 1], []):
        assert (numbers(values, torch.float64, meta).shape, numbers(values, torch.float64, meta).device) == (
            (len(values),),
            meta,
        )
    assert scalar(np.int64(3), torch.int64, meta, "op", "seed").device == meta
    assert numbers([0.5, 0.25], torch.float64, torch.device("cpu")).tolist() == [0.5, 0.25]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("dim", [16, 64])
def test_bits_do_not_depend_on_where_x_lies(device, dtype, dim, monkeypatch):
    monkeypatch.setattr(native, "HEAVY_DEGREE", 4)
    monkeypatch.setattr(native, "PART_EDGES", 40)
    graph = random_graph(30, 20, 400).to(device)
    flat = torch.randn(graph.n_nodes * dim + 1, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    x = flat[1:].view(graph.n_nodes, dim)
    assert torch.equal(propagate(graph, x, [0.5, 0.5]), propagate(graph, x.clone(), [0.5, 0.5]))
