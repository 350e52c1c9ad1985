import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import DIMS, assert_close, graphs, random_graph, same_bits_in_any_order

from fastgcn_rec import Graph, half_hop, propagate
from fastgcn_rec.core import native
from fastgcn_rec.ops import reference
from fastgcn_rec.ops.half_hop import SIDES

DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def sizes(graph, to):
    return (graph.n_users, graph.n_items) if to == "users" else (graph.n_items, graph.n_users)


@pytest.mark.parametrize("dtype", DTYPES)
@given(graph=graphs(), dim=st.sampled_from(DIMS), to=st.sampled_from(SIDES), scaled=st.booleans())
def test_matches_the_dense_reference(device, dtype, graph, dim, to, scaled):
    n_to, n_from = sizes(graph, to)
    x = torch.randn(n_from, dim, generator=torch.Generator().manual_seed(0)).to(dtype)
    wide = native.accumulator(dtype)
    left = torch.linspace(0.5, 2.0, n_to, dtype=wide) if scaled else None
    right = torch.linspace(2.0, 0.3, n_from, dtype=wide) if scaled else None
    there = [None if t is None else t.to(device) for t in (left, right)]
    y = half_hop(graph.to(device), x.to(device), to, *there)
    assert y.dtype == dtype
    scales = [None if t is None else t.double() for t in (left, right)]
    expected = reference.half_hop(graph, x.double(), to, *scales)
    terms = float(reference.half_hop(graph, x.double().abs(), to, *scales).max())
    assert_close(y, expected, dtype, terms)


def test_two_of_them_are_two_hops(device):
    graph = random_graph().to(device)
    x = torch.randn(graph.n_nodes, 5, dtype=torch.float64, device=device)
    scale = graph.scales("sym", torch.float64)[0]
    of_users, of_items = scale.split([graph.n_users, graph.n_items])
    users = half_hop(graph, x[graph.n_users :], "users", of_users, of_items)
    items = half_hop(graph, users, "items", of_items, of_users)
    assert_close(items, propagate(graph, x, [0.0, 0.0, 1.0])[graph.n_users :])


@pytest.mark.parametrize("to", SIDES)
def test_gradients_pass_gradcheck_twice(device, to):
    graph = random_graph(6, 5, 14).to(device)
    n_to, n_from = sizes(graph, to)
    x = torch.randn(n_from, 3, dtype=torch.float64, device=device, requires_grad=True)
    left = torch.rand(n_to, dtype=torch.float64, device=device)
    right = torch.rand(n_from, dtype=torch.float64, device=device)
    assert torch.autograd.gradcheck(lambda x: half_hop(graph, x, to, left, right), (x,))
    assert torch.autograd.gradgradcheck(lambda x: half_hop(graph, x, to, left, right), (x,))


@pytest.mark.parametrize("to", SIDES)
@pytest.mark.parametrize("dim", [3, 64])
def test_heavy_and_split_rows_and_the_same_bits_in_any_order(device, to, dim, monkeypatch):
    monkeypatch.setattr(native, "HEAVY_DEGREE", 4)
    monkeypatch.setattr(native, "PART_EDGES", 9)
    graph = random_graph(20, 15, 200).to(device)
    n_to, n_from = sizes(graph, to)
    x = torch.randn(n_from, dim, dtype=torch.float64, device=device)
    left, right = (torch.rand(n, dtype=torch.float64, device=device) for n in (n_to, n_from))
    assert_close(half_hop(graph, x, to, left, right), reference.half_hop(graph, x.cpu(), to, left.cpu(), right.cpu()))
    same_bits_in_any_order(lambda: (half_hop(graph, x, to, left, right),), device)


@pytest.mark.parametrize("to", SIDES)
def test_opcheck_and_compile(device, to):
    graph = random_graph().to(device)
    x = torch.randn(sizes(graph, to)[1], 5, device=device, requires_grad=True)
    args = (x, SIDES.index(to), *graph.tensors(), *graph.schedule(), None, None)
    torch.library.opcheck(torch.ops.fastgcn_rec.half_hop.default, args)
    compiled = torch.compile(lambda x: half_hop(graph, x, to).square().sum(), fullgraph=True, backend="aot_eager")
    (got,) = torch.autograd.grad(compiled(x), x)
    (expected,) = torch.autograd.grad(half_hop(graph, x, to).square().sum(), x)
    assert_close(got, expected)


def test_empty_graphs_and_numpy():
    graph = Graph.from_edges([], [], 3, 2)
    assert half_hop(graph, np.ones((2, 4), np.float32), "users").tolist() == np.zeros((3, 4)).tolist()
    assert half_hop(graph, torch.ones(3, 0), "items").shape == (2, 0)


def test_errors_name_the_rule_and_both_values():
    graph = random_graph()
    with pytest.raises(ValueError, match="to must be one of"):
        half_hop(graph, torch.ones(30, 2), "nodes")
    with pytest.raises(ValueError, match=r"x must have shape \[n_items, dim\] = \[30, dim\], got \[40, 2\]"):
        half_hop(graph, torch.ones(40, 2), "users")
    with pytest.raises(ValueError, match=r"left must have shape \[40\].*got \[30\]"):
        half_hop(graph, torch.ones(30, 2), "users", torch.ones(30))
    with pytest.raises(TypeError, match="right must be one of float32"):
        half_hop(graph, torch.ones(30, 2), "users", None, torch.ones(30, dtype=torch.float64))
