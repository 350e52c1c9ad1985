"""What ranks hold of a graph by rows is the whole graph, cut."""

from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from fastgcn_rec import Graph
from fastgcn_rec.core.row_graph import RowGraph, row_bounds


def drawn(n_users, n_items, n_edges, weighted, seed):
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, n_users, n_edges), (n_items * rng.random(n_edges) ** 2).astype(int)
    return Graph.from_edges(users, items, n_users, n_items, rng.random(n_edges) + 0.1 if weighted else None)


@pytest.mark.parametrize("weighted", [False, True])
@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 40), st.integers(0, 200), st.integers(0, 9))
def test_the_ranks_rows_together_are_the_graph(weighted, parts, n_users, n_items, n_edges, per_row):
    graph = drawn(n_users, n_items, n_edges, weighted, n_edges)
    bounds = [row_bounds(degree, parts, per_row) for degree in (graph.user_degree, graph.item_degree)]
    own = [RowGraph.of(graph, (u[p], u[p + 1]), (i[p], i[p + 1])) for u, i in [bounds] for p in range(parts)]
    for indptr, indices, weight in (("indptr", "indices", "weight"), ("indptr_t", "indices_t", "weight_t")):
        degrees = torch.cat([getattr(g, indptr).diff() for g in own])
        assert torch.equal(degrees, getattr(graph, indptr).diff())
        for name in (indices, weight) if weighted else (indices,):
            assert torch.equal(torch.cat([getattr(g, name) for g in own]), getattr(graph, name))
    assert [g.edges_before for g in own] == [int(graph.indptr[g.users[0]]) for g in own]
    for norm in ("sym", "left", "none", (0.3, 0.7)):
        for mine, right in zip(own[-1].scales(norm, torch.float32), graph.scales(norm, torch.float32), strict=True):
            assert (mine is None) == (right is None)
            assert mine is None or torch.equal(mine, right)


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 7), st.integers(0, 20))
def test_no_part_has_a_row_more_than_its_share(degree, parts, per_row):
    cost = [d + per_row for d in degree]
    bounds = row_bounds(torch.tensor(degree, dtype=torch.int64), parts, per_row)
    assert bounds[0] == 0
    assert bounds[-1] == len(degree)
    for begin, end in pairwise(bounds):
        assert begin <= end
        assert sum(cost[begin:end]) <= sum(cost) / parts + max(cost, default=0) + 1


def test_ranges_outside_the_graph_are_refused():
    graph = drawn(3, 4, 5, False, 0)
    with pytest.raises(ValueError, match=r"users must be a range in \[0, 3\], got 2 to 4"):
        RowGraph.of(graph, (2, 4), (0, 4))
    with pytest.raises(ValueError, match="parts must be >= 1, got 0"):
        row_bounds(graph.user_degree, 0)


@pytest.mark.parametrize("users", [5, None, (0, 1, 2), (0.0, 2.0), ("a", "b"), (True, 2)])
def test_ranges_are_two_ints(users):
    with pytest.raises(TypeError, match="RowGraph: users must be two ints, the first of the rows and the end, got"):
        RowGraph.of(drawn(3, 3, 4, False, 0), users, (0, 3))


def test_other_graphs_and_weights_of_rows_beyond_sums_are_refused():
    with pytest.raises(TypeError, match=r"RowGraph.of: graph must be a Graph, got NoneType"):
        RowGraph.of(None, (0, 3), (0, 3))
    with pytest.raises(ValueError, match="row_bounds: per_row must be <= 1048576"):
        row_bounds(torch.ones(3, dtype=torch.int64), 2, 2**62)
