"""A graph of edges is one and the same, to the bit, on every device, and stands where its edges do."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from support import same_bits_in_any_order

from fastgcn_rec import _C, Graph


def expected(users, items, n_users, n_items, weight):
    """The six tensors of a graph, by NumPy: equal edges' weights added one after another in float32."""
    keys, of = np.unique(np.asarray(users, np.int64) * n_items + np.asarray(items, np.int64), return_inverse=True)
    sums = None
    if weight is not None:
        sums = np.zeros(len(keys), np.float32)
        for edge, key in enumerate(of):
            sums[key] += np.float32(weight[edge])
    rows, cols = np.divmod(keys, max(n_items, 1))
    back = np.argsort(cols, kind="stable")
    halves = ((rows, cols, n_users, sums), (cols[back], rows[back], n_items, None if sums is None else sums[back]))
    for of_row, of_col, n, values in halves:
        yield from (np.append(0, np.bincount(of_row, minlength=n).cumsum()), of_col.astype(np.int32), values)


def assert_is_expected(graph, device, users, items, n_users, n_items, weight):
    for mine, right in zip(graph.tensors(), expected(users, items, n_users, n_items, weight), strict=True):
        assert (mine is None) == (right is None)
        if mine is not None:
            assert mine.device.type == device.type
            assert mine.is_contiguous()
            assert mine.cpu().numpy().dtype == right.dtype
            assert np.array_equal(mine.cpu().numpy(), right)


@given(st.data())
def test_any_edges_make_the_same_graph(device, data):
    counts = st.sampled_from([1, 2, 5, 255, 256, 257, 70_000])  # bits of an id: 0, 1, 3, 8, 8, 9, 17
    n_users, n_items = data.draw(counts), data.draw(counts)
    # few different ids, so that edges repeat, and the outermost among them
    user, item = (
        st.sampled_from([0, n - 1]) | st.integers(0, n - 1).map(lambda i, n=n: i * i % n) for n in (n_users, n_items)
    )
    edges = data.draw(
        st.lists(st.tuples(user, item), max_size=60) | st.lists(st.tuples(st.just(n_users // 2), item), max_size=60)
    )
    users, items = np.array(edges, np.int64).reshape(-1, 2).T
    sizes = st.sampled_from([2.0**-60, 1.0, 1.1, 2.0**24, 3e7, 2.0**60])
    weight = data.draw(st.none() | st.lists(sizes, min_size=len(edges), max_size=len(edges)))
    weight = None if weight is None else np.array(weight, np.float32)
    of_users, of_items = (
        torch.from_numpy(side).to(device, data.draw(st.sampled_from([torch.int32, torch.int64])))
        for side in (users, items)
    )
    values = None if weight is None else torch.from_numpy(weight).to(device)
    graph = Graph.from_edges(of_users, of_items, n_users, n_items, values)
    assert_is_expected(graph, device, users, items, n_users, n_items, weight)


@pytest.mark.parametrize("weighted", [False, True])
def test_runs_longer_than_a_block_and_many_nodes(device, weighted):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 3_000, 6_000), rng.integers(0, 70_000, 6_000)
    users[::3], items[::3] = 7, 69_999  # one edge 2,000 times
    weight = np.exp2(rng.integers(-30, 30, 6_000)).astype(np.float32) if weighted else None

    def build():
        values = None if weight is None else torch.from_numpy(weight).to(device)
        edges = (torch.from_numpy(side).to(device) for side in (users, items))
        return Graph.from_edges(*edges, 3_000, 70_000, values)

    assert_is_expected(build(), device, users, items, 3_000, 70_000, weight)
    same_bits_in_any_order(lambda: [t for t in build().tensors() if t is not None], device)


@pytest.mark.parametrize("weighted", [False, True])
def test_edges_that_are_sorted_in_rounds_make_the_same_graph(weighted):
    """Blocks of 8192 nodes, of which a round takes those with 16 * 1024 edges, or an eighth of all, and one that has more by itself."""
    n_users, n_items, n = 50_000, 30_000, 200_000
    rng = np.random.default_rng(1)
    users, items = ((size * rng.random(n) ** power).astype(int) for size, power in ((n_users, 1), (n_items, 3)))
    weight = rng.random(n).astype(np.float32) + 0.5 if weighted else None
    grain = _C.grain()
    try:
        _C.set_grain(16)
        graph = Graph.from_edges(users, items, n_users, n_items, weight)
    finally:
        _C.set_grain(grain)
    assert_is_expected(graph, torch.device("cpu"), users, items, n_users, n_items, weight)


def test_weights_of_an_edge_are_added_in_the_order_of_its_copies(device):
    zeros, large = torch.zeros(3, dtype=torch.int64, device=device), 2.0**24
    for weight, total in (([large, 1, 1], large), ([1, 1, large], large + 2)):
        graph = Graph.from_edges(zeros, zeros, weight=torch.tensor(weight, device=device))
        assert graph.weight.tolist() == graph.weight_t.tolist() == [total]


def test_counts_are_the_largest_ids_and_one(device):
    users, items = torch.tensor([4, 0, 4], device=device), torch.tensor([2, 9, 2], device=device, dtype=torch.int16)
    graph = Graph.from_edges(users, items)
    assert (graph.n_users, graph.n_items, graph.n_edges) == (5, 10, 2)
    nothing = torch.empty(0, device=device)
    empty = Graph.from_edges(nothing, nothing)
    assert (empty.n_users, empty.n_items, empty.n_edges, empty.device.type) == (0, 0, 0, device.type)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_an_id_out_of_range_is_named_with_its_edge(device, dtype):
    def build(users, items, n_users=None, n_items=None):
        edges = (torch.tensor(side, dtype=dtype, device=device) for side in (users, items))
        return Graph.from_edges(*edges, n_users, n_items)

    many = [0] * 600  # beyond a block
    with pytest.raises(ValueError, match=r"user id 3 at edge 601 is outside \[0, 3\); ids must run from 0"):
        build([*many, 2, 3, 9], [*many, 0, 0, 0], 3)
    with pytest.raises(ValueError, match=r"item id 7 at edge 0 is outside \[0, 7\)"):
        build([5, -1], [7, 0], 6, 7)
    with pytest.raises(ValueError, match=r"user id -5 at edge 0 is outside \[0, 0\)"):
        build([-5], [0])
    least = torch.iinfo(dtype).min
    with pytest.raises(ValueError, match=rf"item id {least} at edge 1 is outside \[0, 1\)"):
        build([0, 0], [0, least])
    with pytest.raises(ValueError, match=rf"users has 1 ids up to {torch.iinfo(dtype).max}"):
        build([torch.iinfo(dtype).max], [0])


def test_a_weight_that_is_none_is_named_with_its_edge(device):
    zeros = torch.zeros(3, dtype=torch.int64, device=device)
    for bad in (0.0, -1.0, float("inf"), float("nan"), 2.0**-101):
        with pytest.raises(ValueError, match=r"weight must be positive and finite, .*, got \S+ at edge 1; drop"):
            Graph.from_edges(zeros, zeros, weight=torch.tensor([1.0, bad, bad], device=device))
    with pytest.raises(ValueError, match=r"weights of user 0 add up to"):
        Graph.from_edges(zeros, zeros, weight=torch.full((3,), 2.0**100, device=device))


def test_the_nodes_of_both_sides_are_counted_on_a_device_too(device):
    zeros = torch.zeros(1, dtype=torch.int64, device=device)
    with pytest.raises(ValueError, match=r"n_users \+ n_items must be <= 2147483647, got 2147483647 \+ 1"):
        Graph.from_edges(zeros, zeros, 2**31 - 1, 1)
    with pytest.raises(ValueError, match=r"n_users must lie in \[0, 2147483647\], got 2147483648"):
        Graph.from_edges(zeros, zeros, 2**31)


def test_lists_and_arrays_go_where_the_tensors_are_and_two_devices_are_refused(device):
    users = torch.tensor([0, 1], device=device)
    assert Graph.from_edges(users, [1, 0], weight=np.ones(2)).device.type == device.type
    assert Graph.from_edges([0, 1], users, weight=[1.0, 1.0]).device.type == device.type
    elsewhere = torch.empty(2, dtype=torch.int64, device="meta")
    with pytest.raises(ValueError, match=rf"items is on meta, but users is on {device.type}.*; move one with"):
        Graph.from_edges(users, elsewhere)
    with pytest.raises(ValueError, match="weight is on meta, but users is on"):
        Graph.from_edges(users, users, weight=elsewhere)
    with pytest.raises(TypeError, match="users must be a dense array of integers"):
        Graph.from_edges(elsewhere, elsewhere)
    for ids, words in (
        (users.double(), "users must be integers, got float64"),
        (users > 0, "users must be integers, got bool"),
    ):
        with pytest.raises(TypeError, match=words):
            Graph.from_edges(ids, users)
    with pytest.raises(TypeError, match="users must be a dense array of integers"):
        Graph.from_edges(users.to_sparse(), users)


@pytest.mark.parametrize("weighted", [False, True])
def test_parts_of_a_graph_are_built_where_it_is(device, weighted):
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 30, 200), rng.integers(0, 20, 200)
    weight = rng.random(200, np.float32) + 0.5 if weighted else None
    graph = Graph.from_edges(users, items, 31, 20, weight, device=device)
    keys, sums = np.unique(users * 20 + items), None if weight is None else graph.weight.cpu().numpy()
    users, items = np.divmod(keys, 20)

    chosen = np.array([30, 4, 4, 0])  # one without edges, one twice
    rows, at = np.nonzero(chosen[:, None] == users)
    part = graph.select_users(torch.from_numpy(chosen).to(device))
    assert_is_expected(part, device, rows, items[at], 4, 20, None if sums is None else sums[at])
    nobody = graph.select_users(torch.empty(0, dtype=torch.int64, device=device))
    assert (nobody.n_users, nobody.n_items, nobody.n_edges) == (0, 20, 0)

    gone = torch.from_numpy(users[::3]).to(device), torch.from_numpy(items[::3]).to(device)
    kept = np.arange(len(keys)) % 3 > 0
    rest = graph.without_edges(*gone)
    assert_is_expected(rest, device, users[kept], items[kept], 31, 20, None if sums is None else sums[kept])
    assert graph.without_edges(*graph.edges()).n_edges == 0


def test_a_graph_is_built_on_the_device_that_is_named(device):
    for edges in (([0, 1], [1, 0]), torch.tensor([[0, 1], [1, 0]])):
        graph = Graph.from_edges(*edges, weight=np.ones(2), device=device)
        assert {t.device.type for t in graph.tensors()} == {device.type}
        assert graph.to_scipy().toarray().tolist() == [[0, 1], [1, 0]]
