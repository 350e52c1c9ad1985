import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import DIMS, assert_close, gradcheck, gradgradcheck, graphs, random_graph, same_bits_in_any_order

from fastgcn_rec import Graph, half_hop, propagate
from fastgcn_rec.core import native
from fastgcn_rec.ops import reference
from fastgcn_rec.ops.half_hop import SIDES

DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def sizes(graph, to):
    return (graph.n_users, graph.n_items) if to == "users" else (graph.n_items, graph.n_users)


@pytest.mark.parametrize("dtype", DTYPES)
@given(graph=graphs(), dim=st.sampled_from(DIMS), to=st.sampled_from(SIDES), scaled=st.booleans(), based=st.booleans())
def test_matches_the_dense_reference(device, dtype, graph, dim, to, scaled, based):
    n_to, n_from = sizes(graph, to)
    x = torch.randn(n_from, dim, generator=torch.Generator().manual_seed(0)).to(dtype)
    wide = native.accumulator(dtype)
    left = torch.linspace(0.5, 2.0, n_to, dtype=wide) if scaled else None
    right = torch.linspace(2.0, 0.3, n_from, dtype=wide) if scaled else None
    base = torch.randn(n_to, dim, generator=torch.Generator().manual_seed(1)).to(dtype) if based else None
    there = [None if t is None else t.to(device) for t in (left, right, base)]
    y = half_hop(graph.to(device), x.to(device), to, *there)
    assert y.dtype == dtype
    scales = [None if t is None else t.double() for t in (left, right, base)]
    expected = reference.half_hop(graph, x.double(), to, *scales)
    terms = float(reference.half_hop(graph, x.double().abs(), to, *scales[:2]).max()) + 4 * based
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
    base = torch.randn(n_to, 3, dtype=torch.float64, device=device, requires_grad=True)
    assert gradcheck(lambda x: half_hop(graph, x, to, left, right), (x,))
    assert gradcheck(lambda x, base: half_hop(graph, x, to, left, right, base), (x, base))
    assert gradgradcheck(lambda x, base: half_hop(graph, x, to, left, right, base), (x, base))


@pytest.mark.parametrize("to", SIDES)
@pytest.mark.parametrize("dim", [3, 64])
def test_heavy_and_split_rows_and_the_same_bits_in_any_order(device, to, dim, monkeypatch):
    monkeypatch.setattr(native, "HEAVY_DEGREE", 4)
    monkeypatch.setattr(native, "PART_EDGES", 9)
    graph = random_graph(20, 15, 200).to(device)
    n_to, n_from = sizes(graph, to)
    x = torch.randn(n_from, dim, dtype=torch.float64, device=device)
    left, right = (torch.rand(n, dtype=torch.float64, device=device) for n in (n_to, n_from))
    base = torch.randn(n_to, dim, dtype=torch.float64, device=device)
    for more in ((left, right), (left, right, base)):
        assert_close(half_hop(graph, x, to, *more), reference.half_hop(graph, x.cpu(), to, *(t.cpu() for t in more)))
        same_bits_in_any_order(lambda more=more: (half_hop(graph, x, to, *more),), device)


@pytest.mark.parametrize("to", SIDES)
def test_opcheck_and_compile(device, to):
    graph = random_graph().to(device)
    x = torch.randn(sizes(graph, to)[1], 5, device=device, requires_grad=True)
    base = torch.randn(sizes(graph, to)[0], 5, device=device, requires_grad=True)
    args = (x, SIDES.index(to), *graph.tensors(), *graph.schedule(), None, None, base)
    torch.library.opcheck(torch.ops.fastgcn_rec.half_hop.default, args)
    compiled = torch.compile(lambda x: half_hop(graph, x, to).square().sum(), fullgraph=True, backend="aot_eager")
    (got,) = torch.autograd.grad(compiled(x), x)
    (expected,) = torch.autograd.grad(half_hop(graph, x, to).square().sum(), x)
    assert_close(got, expected)


def test_empty_graphs_and_numpy():
    graph = Graph.from_edges([], [], 3, 2)
    assert half_hop(graph, np.ones((2, 4), np.float32), "users").tolist() == np.zeros((3, 4)).tolist()
    assert half_hop(graph, torch.ones(3, 0), "items").shape == (2, 0)
    assert (
        half_hop(graph, np.ones((2, 1), np.float32), "users", base=np.full((3, 1), 2, np.float32)).tolist()
        == [[2.0]] * 3
    )


def test_errors_name_the_rule_and_both_values():
    graph = random_graph()
    with pytest.raises(ValueError, match="to must be one of"):
        half_hop(graph, torch.ones(30, 2), "nodes")
    with pytest.raises(ValueError, match=r"x must have shape \[n_items, dim\] = \[30, dim\], got \[40, 2\]"):
        half_hop(graph, torch.ones(40, 2), "users")
    with pytest.raises(ValueError, match=r"left must have shape \[40\].*got \[30\]"):
        half_hop(graph, torch.ones(30, 2), "users", torch.ones(30))
    with pytest.raises(ValueError, match=r"base must have shape \[40, 2\] and lie on cpu, got \[30, 2\] on cpu"):
        half_hop(graph, torch.ones(30, 2), "users", base=torch.ones(30, 2))
    with pytest.raises(TypeError, match="base must be one of float32"):
        half_hop(graph, torch.ones(30, 2), "users", base=torch.ones(40, 2, dtype=torch.float64))
    with pytest.raises(TypeError, match="right must be one of float32"):
        half_hop(graph, torch.ones(30, 2), "users", None, torch.ones(30, dtype=torch.float64))


@pytest.mark.parametrize("degree", [8, 16])
def test_a_recurrence_of_steps_with_a_base_keeps_the_digits_that_powers_lose(device, degree):
    """T_k(1 - 2 v) at the squares of the singular values, by float32 half-hops and by float32 powers, beside float64."""
    graph = random_graph(60, 50, 400).to(device)
    of_users, of_items = graph.scales("sym", torch.float32)[0].split([60, 50])
    r = (
        of_users.cpu().double()[:, None]
        * torch.from_numpy(graph.to("cpu").to_scipy().toarray()).double()
        * of_items.cpu().double()
    )
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).to(device)
    exact, last = x.cpu().double(), None
    for _ in range(degree):
        step = exact - 2 * r.T @ (r @ exact)
        exact, last = step if last is None else 2 * step - last, exact
    at_items, at_users = x, None
    for _ in range(degree):
        at_users = half_hop(
            graph, at_items, "users", of_users if at_users is None else 2 * of_users, of_items, at_users
        )
        at_items = half_hop(graph, at_users, "items", -2 * of_items, of_users, at_items)
    powers = np.polynomial.Chebyshev.basis(degree, domain=[1, 0]).convert(kind=np.polynomial.Polynomial).coef
    y = float(powers[-1]) * x
    for c in powers[-2::-1]:
        y = half_hop(graph, half_hop(graph, y, "users", of_users, of_items), "items", of_items, of_users).add_(
            x, alpha=float(c)
        )
    error, of_powers = (float((found.cpu().double() - exact).abs().max()) for found in (at_items, y))
    assert error < 2e-5
    assert of_powers > 50 * error
