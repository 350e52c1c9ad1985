import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from support import graphs

from fastgcn_rec import Graph
from fastgcn_rec.core.grown import with_edges


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_from_edges_equals_scipy_and_merges_duplicates(n_users, n_items, data):
    edges = data.draw(st.lists(st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1)), max_size=60))
    users, items = np.array(edges, np.int64).reshape(-1, 2).T
    for weight in (None, np.linspace(1, 2, len(edges), dtype=np.float32)):
        graph = Graph.from_edges(users, items, n_users, n_items, weight)
        expected = sp.coo_array((np.ones(len(edges)) if weight is None else weight, (users, items)), (n_users, n_items))
        expected = expected.toarray()
        if weight is None:
            expected = (expected > 0).astype(float)
        np.testing.assert_allclose(graph.to_scipy().toarray(), expected, rtol=1e-6)
        transposed = sp.csr_array(
            (
                np.ones(graph.n_edges) if weight is None else graph.weight_t.numpy(),
                graph.indices_t.numpy(),
                graph.indptr_t.numpy(),
            ),
            (n_items, n_users),
        )
        np.testing.assert_allclose(transposed.toarray(), expected.T, rtol=1e-6)
        for indptr, indices in ((graph.indptr, graph.indices), (graph.indptr_t, graph.indices_t)):
            for begin, end in itertools.pairwise(indptr):
                assert (indices[begin:end].diff() > 0).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_many_nodes_are_sorted_block_by_block_to_the_same_graph_by_any_number_of_threads(weighted):
    rng = np.random.default_rng(0)
    n_users, n_items, n_edges = (
        30_000,
        20_000,
        200_000,
    )  # several blocks of csrc/cpu/build.cpp; a third of the edges on few items
    users, items = rng.integers(0, n_users, n_edges), rng.integers(0, n_items, n_edges)
    items[: n_edges // 3] %= 5
    weight = rng.random(n_edges, np.float32) + 0.5 if weighted else None
    before, built = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            built.append(Graph.from_edges(users, items, n_users, n_items, weight))
    finally:
        torch.set_num_threads(before)
    values = np.ones(n_edges) if weight is None else weight.astype(np.float64)
    expected = sp.coo_array((values, (users, items)), (n_users, n_items)).tocsr()
    expected.sum_duplicates()
    for graph in built:
        for mine, same in zip(graph.tensors(), built[0].tensors(), strict=True):
            assert mine is same or torch.equal(mine, same)
        assert np.array_equal(graph.indptr.numpy(), expected.indptr)
        assert np.array_equal(graph.indices.numpy(), expected.indices)
        if weighted:
            np.testing.assert_allclose(graph.weight.numpy(), expected.data, rtol=1e-6)
        transposed = expected.T.tocsr()
        assert np.array_equal(graph.indptr_t.numpy(), transposed.indptr)
        assert np.array_equal(graph.indices_t.numpy(), transposed.indices)


@given(graphs())
def test_scipy_round_trip_keeps_the_graph(graph):
    again = Graph(graph.to_scipy(), weighted=graph.weight is not None)
    assert again.fingerprint() == graph.fingerprint()


def test_int32_and_int64_and_torch_edges_give_the_same_graph():
    users, items = np.array([2, 0, 1, 2]), np.array([0, 1, 1, 3])
    prints = {
        Graph.from_edges(convert(users), convert(items), 3, 4).fingerprint()
        for convert in (np.int32, np.int64, np.uint8, torch.from_numpy, lambda x: x.tolist())
    }
    assert len(prints) == 1


def test_stored_zeros_are_no_edges_and_values_are_weights_only_on_request():
    matrix = sp.csr_array(([5.0, 0.0, 2.0], ([0, 0, 1], [0, 1, 1])), (2, 2))
    assert Graph(matrix).n_edges == 2
    assert Graph(matrix).weight is None
    assert Graph(matrix, weighted=True).weight.tolist() == [5.0, 2.0]


def test_graphs_without_edges_users_or_items_are_allowed():
    graph = Graph.from_edges([], [], 3, 0)
    assert (graph.n_nodes, graph.n_edges) == (3, 0)
    assert Graph.from_edges([], []).n_nodes == 0


@given(graphs())
def test_scales_normalise_the_rows_and_columns(graph):
    left, right = graph.scales("left", torch.float64)
    assert right is None
    degree = torch.from_numpy(np.asarray(graph.to_scipy().sum(1))).double()
    expected = torch.where(degree > 0, 1 / degree, 0.0)
    torch.testing.assert_close(left[: graph.n_users], expected, rtol=1e-6, atol=0)
    assert graph.scales("right", torch.float64)[1] is left
    assert graph.scales("none", torch.float64) == (None, None)


@pytest.mark.parametrize(
    ("users", "items", "options", "error", "words"),
    [
        ([0, 3], [0, 0], {"n_users": 3}, ValueError, ["user id 3", "edge 1", r"\[0, 3\)"]),
        ([0, -1], [0, 0], {}, ValueError, ["user id -1"]),
        ([0], [7], {"n_items": 7}, ValueError, ["item id 7", r"\[0, 7\)"]),
        ([0, 1], [0], {}, ValueError, ["one length", "2 and 1"]),
        ([0.5], [0], {}, TypeError, ["users", "float64"]),
        ([[0]], [0], {}, ValueError, ["users", "one dimension"]),
        ([0], [0], {"weight": [-1.0]}, ValueError, ["weight", "-1.0"]),
        ([0], [0], {"weight": [1.0, 2.0]}, ValueError, [r"\[n_edges\] = \[1\]", r"\[2\]"]),
        ([0], [0], {"n_users": 2**31}, ValueError, ["n_users", "2147483648"]),
    ],
)
def test_bad_edges_name_the_argument_and_the_value(users, items, options, error, words):
    with pytest.raises(error) as raised:
        Graph.from_edges(users, items, **options)
    for word in words:
        assert raised.match(word)


def test_a_dense_matrix_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match="from_edges"):
        Graph(np.eye(3))


def test_the_nodes_of_both_sides_have_one_numbering():
    with pytest.raises(
        ValueError, match=r"n_users \+ n_items must be <= 2147483647, got 2147483647 \+ 1; leave out ids"
    ):
        Graph.from_edges([0], [0], 2**31 - 1, 1)


def test_values_are_taken_for_what_they_are_however_they_lie():
    negated = torch._neg_view(-torch.ones(2))  # 1, kept as -1
    assert Graph.from_edges([0, 1], [0, 0], weight=negated).weight.tolist() == [1, 1]
    with pytest.raises(ValueError, match="weight"):
        Graph.from_edges([0, 1], [0, 0], weight=torch._neg_view(torch.ones(2)))
    with pytest.raises(ValueError, match="user id -1"):
        Graph.from_edges(torch._neg_view(torch.tensor([0, 1])), [0, 0])
    assert Graph.from_edges(np.arange(1)[::-1], [0]).n_edges == 1


@pytest.mark.parametrize("weight", [np.array([1 + 5j]), np.array(["1.5"]), [10**400]])
def test_weights_that_are_no_real_numbers_are_refused(weight):
    with pytest.raises(TypeError, match="weight must be numbers"):
        Graph.from_edges([0], [0], weight=weight)


def test_masked_edges_are_refused():
    masked = np.ma.array([0, 1], mask=[False, True])
    for edges in ({"users": masked}, {"items": masked}, {"weight": masked}):
        with pytest.raises(ValueError, match="masked"):
            Graph.from_edges(**({"users": [0, 1], "items": [0, 1]} | edges))


def test_a_default_device_is_not_the_hosts():
    graph = Graph.from_edges([0, 1], [0, 0], weight=[1.0, 2.0])
    torch.set_default_device("meta")
    try:
        users, _ = graph.alias_tables()
    finally:
        torch.set_default_device(None)
    assert users.device.type == "cpu"


@given(graphs(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12, unique=True))
def test_edges_are_added_and_those_that_are_there_stay(graph, more):
    more = [(u, i) for u, i in more if u < graph.n_users and i < graph.n_items]
    users, items = torch.tensor(more, dtype=torch.int64).reshape(-1, 2).T
    grown = with_edges(graph, users, items, torch.arange(1.0, len(more) + 1))
    expected = graph.to_scipy().toarray()
    for at, pair in enumerate(more):
        if expected[pair] == 0:
            expected[pair] = 1 if graph.weight is None else at + 1
    assert np.array_equal(grown.to_scipy().toarray(), expected)
    assert (grown.weight is None) == (graph.weight is None)
    assert with_edges(grown, users, items).fingerprint() == grown.fingerprint()
