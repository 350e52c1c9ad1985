from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support import FEW, graphs, on_the_cpu, random_graph, ranking, same_bits_in_any_order

from fastgcn_rec import Graph, random_walk, random_walk_neighbors
from fastgcn_rec.ops import reference

MASK = 2**32 - 1


def philox(key, element, stream, draw):
    """The two 64-bit halves of Philox4x32-10 (Salmon et al. 2011)."""
    c = [element & MASK, element >> 32, draw, stream]
    for r in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        k0, k1 = (key + r * 0x9E3779B9) & MASK, ((key >> 32) + r * 0xBB67AE85) & MASK
        c = [p1 >> 32 ^ c[1] ^ k0, p1 & MASK, p0 >> 32 ^ c[3] ^ k1, p0 & MASK]
    return c[1] << 32 | c[0], c[3] << 32 | c[2]


class Law:
    """The law of common/walk.h once more, in Python's integers."""

    def __init__(self, graph, restart):
        self.graph, self.threshold = graph, round(restart * 2**32)
        halves = zip(
            (graph.indptr, graph.indptr_t), (graph.indices, graph.indices_t), graph.alias_tables(), strict=True
        )
        self.halves = [[None if t is None else t.tolist() for t in half] for half in halves]

    def has_edges(self, node):
        return self._row(node)[1] < self._row(node)[2]

    def _row(self, node):
        side = int(node >= self.graph.n_users)
        row = node - side * self.graph.n_users
        return (side, *self.halves[side][0][row : row + 2])

    def step(self, node, bits):
        side, begin, end = self._row(node)
        _, indices, alias = self.halves[side]
        product = bits * (end - begin)
        edge, fraction = begin + (product >> 64), product & (2**64 - 1)
        column = indices[edge]
        if alias is not None:
            cell = alias[edge] & (2**64 - 1)
            if fraction >> 32 >= cell >> 32:
                column = cell & MASK
        return column + (self.graph.n_users if side == 0 else 0), (fraction & MASK) < self.threshold

    def trace(self, seed, row, node, length):
        trace = [node]
        for t in range(length):
            if not self.has_edges(node):
                return [node] + [-1] * length
            reached, restart = self.step(trace[-1], philox(seed, row, 5, t // 2)[t % 2])
            trace.append(node if restart else reached)
        return trace

    def visits(self, seed, node, n_walks, length):
        visits = Counter()
        for walk in range(n_walks if self.has_edges(node) else 0):
            at = node
            for k in range(length):
                first, second = philox(seed, node << 32 | walk, 6, k)
                at, restart = self.step(self.step(at, first)[0], second)
                visits[at] += 1
                at = node if restart else at
        del visits[node]
        return visits


def best(visits, top, graph):
    """ids and weights as random_walk_neighbors gives them."""
    first = graph.n_users if any(i >= graph.n_users for i in visits) else 0  # ties go by rows
    rows = ranking([i - first for i in visits], lambda row: visits[first + row])
    kept = [(first + row, visits[first + row]) for row in rows[:top]]
    total, missing = sum(count for _, count in kept), top - len(kept)
    return [i for i, _ in kept] + [-1] * missing, [np.float32(count / total) for _, count in kept] + [0.0] * missing


def weighted(graph, seed=0):
    """The same edges with weights that differ by orders of magnitude."""
    users = np.repeat(np.arange(graph.n_users), graph.user_degree.numpy())
    weight = np.random.default_rng(seed).lognormal(0, 2, graph.n_edges).astype(np.float32)
    return Graph.from_edges(users, graph.indices.numpy(), graph.n_users, graph.n_items, weight)


@given(graphs(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 5), st.sampled_from([0.0, 0.3, 1.0]))
def test_traces_follow_the_law(device, graph, seed, length, restart):
    nodes = [*range(graph.n_nodes), 0]
    traces = random_walk(graph.to(device), torch.tensor(nodes, device=device), length, seed, restart)
    law = Law(graph, restart)
    assert traces.tolist() == [law.trace(seed % 2**64, s, node, length) for s, node in enumerate(nodes)]


@given(
    graphs(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([1, 3, 40]),
)
def test_neighbors_are_the_counted_visits_of_the_law(device, graph, seed, n_walks, length, restart, top):
    nodes = torch.arange(graph.n_nodes, device=device)
    ids, weights = random_walk_neighbors(graph.to(device), nodes, n_walks, length, restart, top, seed)
    law = Law(graph, restart)
    expected = [best(law.visits(seed % 2**64, node, n_walks, length), top, graph) for node in nodes.tolist()]
    assert ids.tolist() == [i for i, _ in expected]
    assert weights.tolist() == [w for _, w in expected]


@pytest.mark.parametrize(("n_walks", "length"), [(65, 3), (300, 7)])
def test_many_walks_follow_the_law_too(device, n_walks, length):
    graph = random_graph(60, 50, 300)
    nodes = [0, 61, 60, 61]
    ids, weights = random_walk_neighbors(graph.to(device), nodes, n_walks, length, 0.2, 30, seed=8)
    law = Law(graph, 0.2)
    for s, node in enumerate(nodes):
        assert (ids[s].tolist(), weights[s].tolist()) == best(law.visits(8, node, n_walks, length), 30, graph)


def test_a_table_beyond_shared_memory_counts_the_same(device):
    n = 1500  # one item that everyone has: as many nodes as visits are within reach
    graph = Graph.from_edges(np.arange(n), np.zeros(n, np.int64), n, n)
    nodes = [3, n - 1]
    ids, weights = random_walk_neighbors(graph.to(device), nodes, 2100, 1, 0.0, n, seed=4)
    law = Law(graph, 0.0)
    for s, node in enumerate(nodes):
        assert (ids[s].tolist(), weights[s].tolist()) == best(law.visits(4, node, 2100, 1), n, graph)


@given(graphs(), st.booleans())
def test_traces_use_edges_only(device, graph, restarts):
    nodes = torch.arange(graph.n_nodes, device=device)
    traces = random_walk(graph.to(device), nodes, 8, seed=2, restart=0.4 if restarts else 0.0).cpu().numpy()
    connected = reference.adjacency(graph, "none", torch.float64).numpy() > 0
    isolated = ~connected.any(1)
    assert (traces[isolated, 1:] == -1).all()
    moved = traces[~isolated]
    over_an_edge = connected[moved[:, :-1], moved[:, 1:]]
    assert (over_an_edge | (restarts & (moved[:, 1:] == moved[:, :1]))).all()


@pytest.mark.parametrize("restart", [0.0, 0.25])
@pytest.mark.parametrize("with_weights", [False, True])
def test_every_step_has_the_distribution_of_the_reference(device, restart, with_weights):
    graph = random_graph(5, 4, 12, seed=3)
    graph = weighted(graph) if with_weights else graph
    n, length, node = 3000 if FEW else 60_000, 5, 6
    traces = random_walk(graph.to(device), [node] * n, length, 12, restart).cpu()
    expected = n * reference.random_walk(graph, node, length, restart).numpy()
    for t in range(1, length + 1):
        counts = np.bincount(traces[:, t].numpy(), minlength=graph.n_nodes)
        possible = expected[t] > 0
        assert counts[~possible].sum() == 0
        common = expected[t] >= 5  # the others together, as a chi-square test needs
        rare = possible & ~common
        observed, wanted = [*counts[common], counts[rare].sum()], [*expected[t][common], expected[t][rare].sum()]
        if not rare.any():
            observed, wanted = observed[:-1], wanted[:-1]
        if len(wanted) > 1:
            wanted = np.array(wanted) * (sum(observed) / sum(wanted))  # equal but for rounding
            assert stats.chisquare(observed, wanted).pvalue > 1e-4


@pytest.mark.parametrize("with_weights", [False, True])
def test_visits_have_the_distribution_of_the_reference(device, with_weights):
    graph = random_graph(5, 4, 12, seed=3)
    graph = weighted(graph) if with_weights else graph
    n_walks, length, restart, node = (2000 if FEW else 100_000), 4, 0.3, 1
    ids, weights = (t[0].cpu() for t in random_walk_neighbors(graph.to(device), [node], n_walks, length, restart, 5, 6))
    share = reference.random_walk_neighbors(graph, node, length, restart)
    counted = 1 - float(share[node])
    share[node] = 0
    share /= counted
    kept = ids[ids >= 0]
    assert set(kept.tolist()) == set(share.nonzero().flatten().tolist())
    # Visits of one walk depend on each other: the bound is for walks that make all their visits to one node.
    sigma = (share * (1 - share) / (n_walks * counted)).sqrt()
    assert ((weights[ids >= 0].double() - share[kept]).abs() < 5 * sigma[kept]).all()


def test_one_step_neighbors_are_uniform_over_two_hops(device):
    graph = Graph.from_edges([0, 1, 2, 3, 4, 5, 6, 7], [0] * 8, 8, 1).to(device)
    n = 2000 if FEW else 80_000
    ids, weights = random_walk_neighbors(graph, [2], n, 1, 0.5, 8, seed=1)
    assert sorted(ids[0, :7].tolist()) == [0, 1, 3, 4, 5, 6, 7]
    assert (ids[0, 7], weights[0, 7]) == (-1, 0)
    visits = n * 7 / 8 * weights[0, :7].double().cpu().numpy()  # one walk in eight comes back to the seed
    assert stats.chisquare(visits).pvalue > 1e-4


def test_ties_go_as_in_every_ranking_and_the_seed_is_left_out(device):
    graph = Graph.from_edges([0, 0, 0, 0], [3, 1, 0, 2], 2, 4).to(device)
    ids, weights = random_walk_neighbors(graph, [2, 0, 1, 4], 500, 1, 0.0, 4, seed=3)
    law = Law(graph, 0.0)
    for s, node in ((0, 2), (3, 4)):
        visits = law.visits(3, node, 500, 1)
        assert sorted(ids[s].tolist()[:3]) == [i for i in (2, 3, 4, 5) if i != node]
        assert weights[s].tolist() == [np.float32(c / visits.total()) for _, c in visits.most_common()] + [0.0]
    assert ids[1:3].tolist() == [[-1] * 4] * 2  # the one user with edges has no neighbour, the other no edge
    assert weights[1:3].tolist() == [[0.0] * 4] * 2
    path = Graph.from_edges([0, 0, 0], [0, 1, 2], 1, 3).to(device)  # item 0 -> item 0, 1 or 2
    tied = next(seed for seed in range(1000) if len(set(Law(path, 0.0).visits(seed, 1, 6, 1).values())) == 1)
    assert random_walk_neighbors(path, [1], 6, 1, 0.0, 1, tied)[0].tolist() == [[1 + ranking([1, 2], lambda i: 0)[0]]]


def test_a_seed_does_not_depend_on_the_others_nor_a_trace_on_its_length(device):
    graph = random_graph().to(device)
    nodes = torch.arange(graph.n_nodes, device=device)
    seed = torch.tensor([5], device=device)
    ids, weights = random_walk_neighbors(graph, nodes, 20, 3, 0.5, 4, seed)
    some = torch.tensor([60, 3, 3, 41], device=device)
    for whole, part in zip((ids, weights), random_walk_neighbors(graph, some, 20, 3, 0.5, 4, 5), strict=True):
        assert torch.equal(whole[some], part)
    traces = random_walk(graph, nodes, 7, seed, 0.1)
    assert torch.equal(random_walk(graph, nodes[:9], 4, 5, 0.1), traces[:9, :5])
    assert not torch.equal(random_walk(graph, nodes, 7, 6, 0.1), traces)
    assert not torch.equal(*random_walk(graph, [60, 60], 7, 5))  # a repeated node walks twice


def test_the_same_bits_in_any_order(device):
    graph = random_graph(300, 200, 1500).to(device)
    heavy = weighted(random_graph(300, 200, 1500)).to(device)
    nodes = torch.arange(300 if FEW else 500, device=device)
    for g in (graph, heavy):
        same_bits_in_any_order(lambda g=g: (random_walk(g, nodes, 6, 1, 0.2),), device)
        same_bits_in_any_order(lambda g=g: random_walk_neighbors(g, nodes, 12, 3, 0.5, 5, 1), device)
    same_bits_in_any_order(lambda: random_walk_neighbors(graph, nodes[:9], 70, 3, 0.5, 5, 1), device)


@given(graphs(min_edges=1))
def test_alias_tables_hold_the_weights(graph):
    graph = weighted(graph)
    for table, indptr, indices, weight in (
        (graph.alias_tables()[0], graph.indptr, graph.indices, graph.weight),
        (graph.alias_tables()[1], graph.indptr_t, graph.indices_t, graph.weight_t),
    ):
        for begin, end in zip(indptr.tolist(), indptr.tolist()[1:], strict=False):
            if begin == end:
                continue
            columns, cells = indices[begin:end].tolist(), table[begin:end].tolist()
            share = dict.fromkeys(columns, 0)
            for column, cell in zip(columns, cells, strict=True):
                threshold = cell % 2**64 >> 32
                share[column] += threshold
                share[cell & MASK] += 2**32 - threshold
            wanted = weight[begin:end].double() / weight[begin:end].double().sum()
            got = torch.tensor([share[c] for c in columns], dtype=torch.float64) / (2**32 * len(columns))
            assert (got - wanted).abs().max() < 2**-32


def test_equal_weights_walk_like_none_and_unweighted_graphs_have_no_table():
    graph = random_graph()
    assert graph.alias_tables() == (None, None)
    users = np.repeat(np.arange(graph.n_users), graph.user_degree.numpy())
    equal = Graph.from_edges(
        users, graph.indices.numpy(), graph.n_users, graph.n_items, np.full(graph.n_edges, 0.7, np.float32)
    )
    nodes = np.arange(graph.n_nodes)
    assert torch.equal(
        random_walk(equal, torch.from_numpy(nodes), 9, 4), random_walk(graph, torch.from_numpy(nodes), 9, 4)
    )


def test_empty_inputs_and_arrays(device):
    empty = Graph.from_edges([], [], 2, 0).to(device)
    assert random_walk(empty, torch.empty(0, dtype=torch.int64, device=device), 3, 0).shape == (0, 4)
    assert random_walk(empty, [1], 0, 0).tolist() == [[1]]
    none = random_walk_neighbors(empty, torch.empty(0, dtype=torch.int64, device=device), 2, 2, 0.5, 3, 0)
    assert [t.shape for t in none] == [(0, 3), (0, 3)]
    if device.type == "cpu":
        ids, weights = random_walk_neighbors(random_graph(), np.array([0, 41]), 5, 2, 0.5, 3, 0)
        assert isinstance(ids, np.ndarray)
        assert weights.dtype == np.float32


def test_opcheck(device):
    for graph in (random_graph().to(device), weighted(random_graph()).to(device)):
        alias, alias_t = graph.alias_tables()
        nodes, seed = torch.arange(4, device=device), torch.tensor([3], device=device)
        args = (graph.indptr, graph.indices, alias, graph.indptr_t, graph.indices_t, alias_t, nodes, seed)
        torch.library.opcheck(torch.ops.fastgcn_rec.random_walk.default, (*args, 3, 0.5))
        torch.library.opcheck(torch.ops.fastgcn_rec.random_walk_neighbors.default, (*args, 5, 2, 0.5, 3))


@on_the_cpu
def test_every_isa_level_draws_the_same():
    from fastgcn_rec import _C

    graph, best_level = random_graph(), _C.isa_level()
    nodes = torch.arange(graph.n_nodes)
    results = []
    try:
        for level in _C.build_info()["isa_levels"]:
            _C.select_isa_level(level)
            results.append(
                (random_walk(graph, nodes, 9, 1, 0.1), *random_walk_neighbors(graph, nodes, 70, 2, 0.5, 9, 1))
            )
    finally:
        _C.select_isa_level(best_level)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@on_the_cpu
def test_errors():
    graph = random_graph()
    with pytest.raises(IndexError, match=r"nodes: id 70 at position 1 is outside \[0, 70\)"):
        random_walk(graph, [0, 70], 1, 0)
    with pytest.raises(IndexError, match=r"nodes: id -1 at position 0 is outside \[0, 70\)"):
        random_walk_neighbors(graph, [-1], 1, 1, 0.5, 1, 0)
    with pytest.raises(ValueError, match="length must be >= 0, got -1"):
        random_walk(graph, [0], -1, 0)
    with pytest.raises(ValueError, match=r"restart must lie in \[0, 1\], got 1.5"):
        random_walk(graph, [0], 1, 0, 1.5)
    with pytest.raises(ValueError, match="restart must lie in"):
        random_walk_neighbors(graph, [0], 1, 1, float("nan"), 1, 0)
    for name, numbers in (("n_walks", (0, 1, 1)), ("length", (1, 0, 1)), ("top", (1, 1, 0))):
        n_walks, length, top = numbers
        with pytest.raises(ValueError, match=f"random_walk_neighbors: {name} must be >= 1, got 0"):
            random_walk_neighbors(graph, [0], n_walks, length, 0.5, top, 0)
    with pytest.raises(ValueError, match=r"n_walks \* length must be <= 2\^30, got 65536 \* 65536"):
        random_walk_neighbors(graph, [0], 65536, 65536, 0.5, 1, 0)
    with pytest.raises(TypeError, match="nodes must be int64 or int32 ids, got float64"):
        random_walk(graph, [0.5], 1, 0)
    with pytest.raises(ValueError, match=r"nodes must have shape \[any\], got \[1, 1\]"):
        random_walk(graph, [[0]], 1, 0)
