import networkx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import graphs, on_the_cpu, random_graph, ranking, same_bits_in_any_order

from fastgcn_rec import Graph, ppr, ppr_push, ppr_topk
from fastgcn_rec.core import native
from fastgcn_rec.ops import Ppr, reference
from fastgcn_rec.ops.ppr import n_terms

# Rounding of a score in float32 and of the recurrence before it adds about this much to what tol asks for.
ROUNDING = 1e-6


def all_nodes(graph):
    return torch.arange(graph.n_nodes, device=graph.device)


def error(scores, exact):
    return (scores.cpu().double() - exact).abs().sum(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(graph=graphs(), restart=st.sampled_from([0.05, 0.15, 0.5, 0.9]))
def test_matches_the_direct_solution_within_the_bound(device, dtype, graph, restart):
    tol = 1e-6 if dtype == torch.float32 else 1e-11
    got = ppr(graph.to(device), all_nodes(graph).to(device), restart, tol, dtype=dtype)
    exact = reference.ppr(graph, all_nodes(graph), restart)
    assert got.scores.dtype == dtype
    assert got.bound.dtype == torch.float64
    assert (error(got.scores, exact) <= got.bound.cpu() + 1e-14).all()  # 1e-14: the direct solver's own
    assert got.bound.max() <= tol + (2 * ROUNDING if dtype == torch.float32 else 1e-12) / restart
    rounding = ROUNDING if dtype == torch.float32 else 1e-12
    rounding *= 2 if device.type == "cuda" else 1  # that adds in another order
    assert error(got.scores, exact).max() <= tol + rounding
    assert got.scores.min() >= 0


@given(graphs(), st.sampled_from([1e-1, 1e-3, 1e-6]))
def test_the_degree_is_enough_for_the_tolerance(device, graph, tol):
    graph = graph.to(device)
    got = ppr(graph, all_nodes(graph), 0.15, tol, dtype=torch.float64)
    assert got.bound.max() <= tol


def test_the_bound_is_tight_enough_to_be_of_use(device):
    graph = random_graph().to(device)
    got = ppr(graph, all_nodes(graph), tol=1e-3, dtype=torch.float64)
    exact = error(got.scores, reference.ppr(graph, all_nodes(graph), 0.15))
    # |residual| / c <= (1 + gamma^2) / c |error| = 11.5 |error|; 1e-12 is what it adds for rounding
    assert (got.bound.cpu() <= 11.6 * exact + 1e-12).all()
    assert n_terms(graph, 0, 0.15, 1e-6) > n_terms(graph, 0, 0.15, 1e-3) > n_terms(graph, 0, 0.9, 1e-3)


def test_matches_networkx(device):
    graph = random_graph(12, 9, 40)
    network = networkx.Graph()
    network.add_nodes_from(range(graph.n_nodes))
    rows, cols = graph.to_scipy().nonzero()
    network.add_edges_from(zip(rows.tolist(), (cols + graph.n_users).tolist(), strict=True))
    for node in (0, 3, graph.n_users + 4):
        want = networkx.pagerank(network, alpha=0.85, personalization={node: 1}, tol=1e-12, max_iter=1000)
        got = ppr(graph.to(device), torch.tensor([node], device=device), 0.15).scores[0].cpu()
        np.testing.assert_allclose(got, [want[v] for v in range(graph.n_nodes)], atol=1e-6)


def test_a_source_without_edges_stands_still_and_no_walk_leaves_its_component(device):
    graph = Graph.from_edges([0, 1, 1], [0, 0, 1], 3, 4).to(device)
    got = ppr(graph, [2, 3 + 3, 0])
    assert got.scores[:2].tolist() == torch.eye(7)[[2, 6]].tolist()
    assert got.bound[:2].max() < 1e-13
    assert (got.scores[2] > 0).tolist() == [True, True, False, True, True, False, False]
    empty = ppr(Graph.from_edges([], [], 2, 0).to(device), [1])
    assert empty.scores.tolist() == [[0, 1]]


def test_a_row_depends_on_its_source_alone_and_sources_come_in_any_order(device):
    graph = random_graph(90, 40, 500).to(device)
    order = torch.randperm(130, generator=torch.Generator().manual_seed(0)).to(device)
    whole = ppr(graph, all_nodes(graph))
    for a, b in zip(whole, ppr(graph, order), strict=True):
        assert torch.equal(a[order], b)
    for node in (0, 89, 90, 129):
        assert torch.equal(ppr(graph, [node, node]).scores, whole.scores[[node, node]])
    assert ppr(graph, order[:0]).scores.shape == (0, 130)
    assert ppr_topk(graph, order[:0], 3).ids.shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_does_not_depend_on_how_many_sources_there_are(device, dtype, monkeypatch):
    monkeypatch.setattr(native, "HEAVY_DEGREE", 20)
    monkeypatch.setattr(native, "PART_EDGES", 30)
    graph = random_graph(120, 70, 2000).to(device)
    nodes = torch.arange(64, device=device)
    whole = ppr(graph, nodes, tol=1e-3, dtype=dtype)
    for n in (1, 16, 17, 32, 33):
        part = ppr(graph, nodes[:n], tol=1e-3, dtype=dtype)
        assert torch.equal(part.scores, whole.scores[:n])
        assert torch.equal(part.bound, whole.bound[:n])


def test_few_sources_take_less_memory(device):
    graph = random_graph(300, 200, 900).to(device)
    shape = native.graph(*graph.tensors(), *graph.schedule())
    for code in (0, 1):
        few, more, many = (native.size("ppr", graph.device, code, shape, n) for n in (1, 17, 64))
        assert 1.9 * few < more < many / 1.9


def test_the_same_bits_in_any_order(device, monkeypatch):
    monkeypatch.setattr(native, "HEAVY_DEGREE", 20)
    monkeypatch.setattr(native, "PART_EDGES", 30)
    graph = random_graph(300, 200, 4000).to(device)
    nodes = torch.tensor([0, 7, 299, 300, 450], device=device)
    same_bits_in_any_order(lambda: ppr(graph, nodes, tol=1e-3), device)
    got = ppr(graph, nodes)
    assert (error(got.scores, reference.ppr(graph, nodes, 0.15)) <= got.bound.cpu()).all()


@given(
    graphs(), st.integers(1, 50), st.sampled_from(["items", "users", "all"]), st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
def test_topk_is_the_dense_ranking(device, graph, k, target, exclude_seen, dtype):
    graph = graph.to(device)
    nodes = all_nodes(graph)
    got = ppr_topk(graph, nodes, k, target, exclude_seen=exclude_seen, dtype=dtype)
    scores = ppr(graph, nodes, dtype=dtype).scores.cpu().numpy()
    seen = reference.adjacency(graph, "none", torch.float64).numpy() > 0
    first, last = {"items": (graph.n_users, graph.n_nodes), "users": (0, graph.n_users), "all": (0, graph.n_nodes)}[
        target
    ]
    for s in range(graph.n_nodes):
        left = [v for v in range(first, last) if not (exclude_seen and seen[s, v])]
        best = ranking([v - first for v in left], lambda i, s=s: scores[s, first + i])[:k]
        missing = k - len(best)
        assert got.ids[s].tolist() == best + [-1] * missing
        assert got.scores[s].tolist() == [scores[s, first + i] for i in best] + [-np.inf] * missing


def test_topk_of_thousands(device):
    graph = random_graph(5, 3000, 2000).to(device)
    got = ppr_topk(graph, [1, 4], 2500, exclude_seen=True)
    scores = ppr(graph, [1, 4]).scores[:, 5:].cpu().numpy()
    seen = graph.to_scipy().toarray()[[1, 4]] > 0
    scores[seen] = -1
    assert got.ids.tolist() == [ranking(range(3000), row.__getitem__)[:2500] for row in scores]


@on_the_cpu
@given(graphs(), st.sampled_from([0.3, 1e-2, 1e-4]), st.sampled_from([0.15, 0.6]))
def test_push_is_within_epsilon_times_the_degree(graph, epsilon, restart):
    got = ppr_push(graph, all_nodes(graph), restart, epsilon)
    exact = reference.ppr(graph, all_nodes(graph), restart)
    degree = reference.adjacency(graph, "none", torch.float64).sum(1)
    assert got.indptr.tolist()[0] == 0
    dense = torch.zeros_like(exact)
    for s in range(graph.n_nodes):
        ids = got.ids[got.indptr[s] : got.indptr[s + 1]]
        assert (ids.diff() > 0).all()
        dense[s, ids] = got.scores[got.indptr[s] : got.indptr[s + 1]]
    missing = exact - dense
    assert (missing >= -1e-13).all()
    assert (missing <= epsilon * degree + 1e-13).all()


@on_the_cpu
def test_push_touches_the_neighbourhood_only_and_is_the_same_for_any_number_of_threads(device):
    graph = Graph.from_edges(np.arange(4000) // 2, (np.arange(4000) + 1) // 2)  # one long path
    got = ppr_push(graph, [1000], 0.5, 1e-3)
    assert len(got.ids) < 30
    same_bits_in_any_order(lambda: ppr_push(graph, range(0, 4000, 7), 0.15, 1e-4), device)


def test_memory_is_bounded_by_the_budget(device):
    graph = random_graph(300, 200, 900).to(device)
    whole = ppr(graph, all_nodes(graph))
    small = ppr(graph, all_nodes(graph), memory_budget=500 * 500 * 4 + 500 * 8 + 400_000)  # fewer at a time
    assert torch.equal(small.scores, whole.scores)
    with pytest.raises(
        ValueError, match=r"ppr: memory_budget must be >= .* for the result of 500 sources, got .*ppr_topk"
    ):
        ppr(graph, all_nodes(graph), memory_budget=500 * 500 * 4)
    with pytest.raises(ValueError, match=r"ppr_topk: memory_budget must be >= .* MiB.*pass fewer sources"):
        ppr_topk(graph, all_nodes(graph), 100, memory_budget=500 * 100 * 12)


def test_numpy_comes_back_as_numpy():
    got = ppr(random_graph(), np.array([3, 50]))
    assert isinstance(got, Ppr)
    assert isinstance(got.scores, np.ndarray)
    assert got.bound.max() < 2e-6


def test_opcheck(device):
    graph = random_graph().to(device)
    inverse, exact = (graph.scales("left", d)[0] for d in (torch.float32, torch.float64))
    nodes = torch.tensor([0, 3], device=device)
    for with_bound in (True, False):
        args = (nodes, *graph.tensors(), *graph.schedule(), inverse, exact, 0, 0.15, 5, 40, 70, with_bound)
        torch.library.opcheck(torch.ops.fastgcn_rec.ppr.default, args)


@on_the_cpu
def test_errors(monkeypatch):
    graph = random_graph()
    for call in (ppr, lambda *a, **k: ppr_topk(*a[:2], 3, "items", *a[2:], **k), ppr_push):
        with pytest.raises(ValueError, match=r"restart must lie in .*, got 1"):
            call(graph, [0], 1.0)
        with pytest.raises(IndexError, match=r"nodes: id 70 at position 1 is outside \[0, 70\)"):
            call(graph, [0, 70])
        with pytest.raises(IndexError, match="id -1 at position 0"):
            call(graph, [-1])
    with pytest.raises(ValueError, match=r"tol must lie in \(0, 1\), got 0"):
        ppr(graph, [0], tol=0.0)
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got bfloat16"):
        ppr(graph, [0], dtype=torch.bfloat16)
    with pytest.raises(TypeError, match="nodes must be int64 or int32 ids, got float64"):
        ppr(graph, [0.5])
    with pytest.raises(ValueError, match=r"target must be one of .*, got 'nodes'"):
        ppr_topk(graph, [0], 1, "nodes")
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        ppr_topk(graph, [0], 0)
    with pytest.raises(ValueError, match="epsilon must be > 0 and finite, got 0"):
        ppr_push(graph, [0], epsilon=0)
    inverse, exact = (graph.scales("left", d)[0] for d in (torch.float32, torch.float64))
    item_as_user = (torch.tensor([40]), *graph.tensors(), None, None, inverse, exact, 0, 0.15, 5, 0, 70, True)
    with pytest.raises(IndexError, match=r"nodes: id 40 at position 0 is outside \[0, 40\)"):
        torch.ops.fastgcn_rec.ppr(*item_as_user)
    with pytest.raises(ValueError, match="at most 1024 sources a call, got 1025"):
        torch.ops.fastgcn_rec.ppr(torch.zeros(1025, dtype=torch.int64), *item_as_user[1:])
    monkeypatch.setattr(Graph, "device", torch.device("cuda:0"))
    with pytest.raises(
        ValueError, match=r"ppr_push: runs on the CPU, but the graph is on cuda:0; call graph.to\('cpu'\)"
    ):
        ppr_push(graph, [0])
