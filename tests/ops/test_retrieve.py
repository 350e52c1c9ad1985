import itertools

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import DIMS, EMULATED, assert_close, graphs, on_the_cpu, random_graph, ranking, same_bits_in_any_order

from fastgcn_rec import Graph, retrieve
from fastgcn_rec.core import native
from fastgcn_rec.ops import reference

DTYPES = [torch.float32, torch.float64]


def integers(n, dim, seed, dtype=torch.float32, most=2):
    """Integer vectors: their products are exact in float32, in any order, and full of ties."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-most, most + 1, (n, dim), generator=generator).to(dtype)


def brute_force(queries, items, k, excluded=None, metric="dot"):
    if excluded is None:
        excluded = torch.zeros(len(queries), len(items), dtype=torch.bool)
    return reference.retrieve(queries.double().cpu(), items.double().cpu(), k, excluded, metric)


def assert_equal(found, expected):
    assert torch.equal(found.ids.cpu(), expected[0])
    assert torch.equal(found.scores.cpu().double(), expected[1])


def mask_of(indptr, indices, n_items):
    mask = torch.zeros(len(indptr) - 1, n_items, dtype=torch.bool)
    for q, (begin, end) in enumerate(itertools.pairwise(indptr)):
        mask[q, indices[begin:end]] = True
    return mask


@st.composite
def exclusions(draw, n_queries, n_items):
    """(indptr, indices): unsorted rows with repeats, some of every item, some empty."""
    item = st.integers(0, max(n_items - 1, 0))
    row = st.one_of(st.lists(item, max_size=8 if n_items else 0), st.just(list(range(n_items))[::-1]))
    rows = [draw(row) for _ in range(n_queries)]
    return np.cumsum([0] + [len(r) for r in rows]), np.array([item for row in rows for item in row], np.int64)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data(), n=st.integers(0, 9), m=st.integers(0, 150), k=st.integers(0, 160), seed=st.integers(0, 99))
def test_is_the_brute_force_ranking(device, dtype, data, n, m, k, seed):
    dim = data.draw(st.sampled_from([0, 1, 2, 5, 16]))
    queries, items = integers(n, dim, seed, dtype), integers(m, dim, seed + 1, dtype)
    indptr, indices = data.draw(exclusions(n, m))
    expected = brute_force(queries, items, k, mask_of(indptr, indices, m))
    found = retrieve(queries.to(device), items.to(device), k, (torch.from_numpy(indptr).to(device), torch.from_numpy(indices).to(device)))  # fmt: skip
    assert found.scores.dtype == dtype
    assert_equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 20, 33, 700])
def test_many_tiles_and_many_cuts_of_the_buffers(device, dtype, k):
    n, m = (20, 1300) if EMULATED else (131, 5003)
    queries, items = integers(n, 7, 3, dtype), integers(m, 7, 4, dtype)
    items[: m // 2] *= torch.linspace(0, 9, m // 2, dtype=dtype)[
        :, None
    ].round()  # scores rise: buffers fill again and again
    graph = random_graph(n, m, 40 * n)
    excluded = torch.from_numpy(graph.to_scipy().toarray() > 0)
    found = retrieve(queries.to(device), items.to(device), k, graph.to(device))
    assert_equal(found, brute_force(queries, items, k, excluded))


@pytest.mark.parametrize("metric", ["dot", "cosine"])
@pytest.mark.parametrize("dtype", DTYPES)
@given(dim=st.sampled_from(DIMS), seed=st.integers(0, 99))
def test_real_vectors_give_the_reference_scores(device, dtype, metric, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    queries, items = (torch.randn(n, dim, generator=generator, dtype=torch.float64).to(dtype) for n in (7, 90))
    queries[0] = 0
    found = retrieve(queries.to(device), items.to(device), 90, metric=metric)
    ids, scores = found.ids.cpu(), found.scores.cpu()
    assert torch.equal(ids.sort(1).values, torch.arange(90).expand(7, -1))
    assert (scores.diff(dim=1) <= 0).all()
    assert ids[0].tolist() == ranking(range(90), lambda i: 0)  # all alike
    exact = brute_force(queries, items, 90, metric=metric)
    by_id = torch.zeros_like(exact[1]).scatter_(1, exact[0], exact[1])
    assert_close(scores, by_id.gather(1, ids), terms=float(queries.abs().double().sum(1).max() * items.abs().max()))


def test_a_score_depends_on_its_two_vectors_alone(device):
    n, m = (13, 600) if EMULATED else (200, 3000)
    generator = torch.Generator().manual_seed(0)
    queries, items = (torch.randn(s, 40, generator=generator).to(device) for s in (n, m))
    graph = random_graph(n, m, 10 * n).to(device)
    for metric in ("dot", "cosine"):
        whole = retrieve(queries, items, 30, graph, metric=metric)
        for rows in (torch.arange(n, device=device).flip(0), torch.tensor([3], device=device), torch.arange(5, 12)):
            part = retrieve(queries[rows], items, 30, graph, exclude_rows=rows.to(device), metric=metric)
            assert torch.equal(part.ids, whole.ids[rows])
            assert torch.equal(part.scores, whole.scores[rows])
        for budget in (25_000 if EMULATED else 250_000, 1 << 20):
            part = retrieve(queries, items, 30, graph, metric=metric, memory_budget=budget)
            assert torch.equal(part.ids, whole.ids)
            assert torch.equal(part.scores, whole.scores)
        same_bits_in_any_order(lambda metric=metric: retrieve(queries, items, 30, graph, metric=metric), device)


@given(graph=graphs(), seed=st.integers(0, 99), k=st.integers(1, 25))
def test_every_form_of_exclude_and_a_subset(device, graph, seed, k):
    queries, items = integers(graph.n_users, 3, seed), integers(graph.n_items, 3, seed + 1)
    seen = torch.from_numpy(graph.to_scipy().toarray() > 0)
    expected = brute_force(queries, items, k, seen)
    here = queries.to(device), items.to(device), k
    csr = graph.to_scipy()
    with_zeros = sp.csr_array((np.zeros(1), ([0], [graph.n_items - 1])), shape=csr.shape)
    for exclude in (
        graph.to(device),
        csr.tocoo(),
        sp.csc_matrix(csr),
        csr + with_zeros,
        sp.csr_array(csr.astype(bool)),
    ):
        assert_equal(retrieve(*here, exclude), expected)
    rows = torch.randint(graph.n_users, (graph.n_users,), generator=torch.Generator().manual_seed(seed))
    assert_equal(retrieve(*here, csr, exclude_rows=rows.to(device)), brute_force(queries, items, k, seen[rows]))
    subset = torch.randint(graph.n_items, (5,), generator=torch.Generator().manual_seed(seed))
    outside = torch.ones(graph.n_items, dtype=torch.bool)
    outside[subset] = False
    found = retrieve(*here, graph.to(device), items_subset=subset.to(device))
    assert_equal(found, brute_force(queries, items, k, seen | outside))


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_scores_are_ranked(device, dtype):
    inf = torch.inf
    items = torch.tensor([[1.0], [inf], [-inf], [0.5], [inf], [-inf]], dtype=dtype, device=device)
    ids, scores = retrieve(torch.tensor([[1.0], [-2.0]], dtype=dtype, device=device), items, 7)
    ends = [ranking(pair, lambda i: 0) for pair in ([1, 4], [2, 5])]
    assert ids.tolist() == [[*ends[0], 0, 3, *ends[1], -1], [*ends[1], 3, 0, *ends[0], -1]]
    assert scores.tolist() == [[inf, inf, 1.0, 0.5, -inf, -inf, -inf], [inf, inf, -1.0, -2.0, -inf, -inf, -inf]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [(3, 17, torch.nan), (3, 17, torch.inf)])
def test_a_nan_score_is_an_error_that_harms_nothing_else(device, dtype, bad):
    q, i, value = bad
    queries, items = torch.ones(60, 2, dtype=dtype), torch.ones(900, 2, dtype=dtype)
    queries[q, 0] = 0
    items[i, 0] = items[800, 1] = value
    if value != value:
        q = 0  # whose score is NaN too
    message = rf"retrieve: the score of query {q} and item {i} is NaN.*torch.nan_to_num"
    for k in (1, 900):
        for budget in (1 << 30, 100_000 + 60 * k * 50):
            with pytest.raises(ValueError, match=message):
                retrieve(queries.to(device), items.to(device), k, memory_budget=budget)
    whole = queries[:, 1:].to(device), torch.nan_to_num(items[:, :1]).to(device), 5
    assert_equal(retrieve(*whole), brute_force(*whole))


@pytest.mark.parametrize("n", [2, 150])  # queries: of few, several blocks of a GPU share out the items
def test_the_first_nan_score_is_named_whoever_finds_it(device, n):
    queries, items = torch.full((n, 1), torch.nan), torch.full((1500 if EMULATED else 9000, 1), torch.nan)
    queries[0] = 1
    items[:700] = 1
    items[150] = torch.nan  # left out of query 0, which makes no difference
    exclude = Graph.from_edges([0], [150], n, len(items)).to(device)
    subset, found = torch.arange(100, len(items), device=device), []

    def raises():
        with pytest.raises(ValueError, match="is NaN") as caught:
            retrieve(queries.to(device), items.to(device), 3, exclude, items_subset=subset)
        found.append(str(caught.value))
        return ()

    same_bits_in_any_order(raises, device)
    assert len(found) > 1
    assert all("the score of query 0 and item 150 is NaN" in text for text in found)


def test_in_a_cuda_graph_the_lists_of_a_nan_score_say_so(device, monkeypatch):
    if not native.runs_cuda(device):
        pytest.skip("the CPU raises")
    queries, items = integers(140, 3, 0).to(device), integers(1500, 3, 1).to(device)
    expected = brute_force(queries, items, 7)
    items[0] = torch.tensor([1.0, torch.inf, 0.0])  # inf * 0 is NaN, and what is not is first or last
    bad = queries[:, 1] == 0
    if device.type == "cuda":
        retrieve(queries[~bad], items, 7)  # what a kernel's first launch does cannot be captured
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            ids, scores = retrieve(queries, items, 7)
        graph.replay()
    else:
        monkeypatch.setattr(native, "is_captured", lambda device: True)
        ids, scores = retrieve(queries, items, 7)
    assert 0 < int(bad.sum()) < len(queries)
    assert (ids[bad] == -1).all()
    assert scores[bad].isnan().all()
    low = queries[:, 1] < 0  # item 0, which was 0 or more places from the front, is last
    rest = low & (expected[0].to(device) != 0).all(1)
    assert torch.equal(ids[rest].cpu(), expected[0][rest.cpu()])
    assert (ids[queries[:, 1] > 0, 0] == 0).all()


@on_the_cpu
def test_memory_stays_within_the_budget(monkeypatch):
    taken = []
    original = native.workspace
    monkeypatch.setattr(native, "workspace", lambda n, device: (taken.append(n), original(n, device))[1])
    queries, items = integers(3000, 8, 0), integers(5000, 8, 1)
    whole = retrieve(queries, items, 50)
    for budget in (1 << 20, 1 << 18):
        found = retrieve(queries, items, 50, memory_budget=budget)
        assert taken[-1] < taken[0]
        assert taken[-1] <= budget
        assert_equal(found, (whole.ids, whole.scores.double()))
    with pytest.raises(
        ValueError, match=r"memory_budget must be >= \S+ MiB, what one query takes with k = 50, got 0\.000\d+ MiB"
    ):
        retrieve(queries, items, 50, memory_budget=1000)


def test_numpy_comes_back_as_numpy():
    ids, scores = retrieve(np.eye(2, 3, dtype=np.float32), np.eye(3, dtype=np.float32), 2, exclude=(np.array([0, 1, 1]), np.array([0])))  # fmt: skip
    assert isinstance(ids, np.ndarray)
    assert ids.tolist() == [[2, 1], [1, 2]]
    assert scores.tolist() == [[0, 0], [1, 0]]


def test_opcheck_and_compile(device):
    graph = random_graph().to(device)
    queries, items = (torch.randn(n, 5, device=device) for n in (40, 30))
    args = queries, items, 4, True, None, graph.indptr, graph.indices, None, 1 << 20
    torch.library.opcheck(torch.ops.fastgcn_rec.retrieve.default, args)
    compiled = torch.compile(lambda q, i: retrieve(q, i, 4, graph).ids, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(queries, items), retrieve(queries, items, 4, graph).ids)


@on_the_cpu
def test_every_isa_level_agrees():
    from fastgcn_rec import _C

    best = _C.isa_level()
    queries, items = integers(50, 9, 5), integers(1000, 9, 6)
    try:
        for level in _C.build_info()["isa_levels"]:
            _C.select_isa_level(level)
            for dtype in DTYPES:
                assert_equal(retrieve(queries.to(dtype), items.to(dtype), 25), brute_force(queries, items, 25))
    finally:
        _C.select_isa_level(best)


@on_the_cpu
@pytest.mark.parametrize("dim", [1, 16, 40, 67])
def test_few_queries_have_the_bits_of_many_at_every_level(dim):
    from fastgcn_rec import _C

    best = _C.isa_level()
    generator = torch.Generator().manual_seed(dim)
    queries, items = (torch.randn(n, dim, generator=generator, dtype=torch.float64) for n in (60, 1003))
    try:
        for level in _C.build_info()["isa_levels"]:
            _C.select_isa_level(level)
            for dtype, metric in itertools.product(DTYPES, ("dot", "cosine")):
                of, among = queries.to(dtype), items.to(dtype)
                whole = retrieve(of, among, 20, metric=metric)
                for n in (1, 2, 3, 4, 5):
                    few = retrieve(of[:n], among, 20, metric=metric)
                    assert_equal(few, (whole.ids[:n], whole.scores[:n].double()))
    finally:
        _C.select_isa_level(best)


@on_the_cpu
def test_errors_name_the_rule_and_both_values():
    queries, items = torch.ones(2, 3), torch.ones(4, 3)
    cases = [
        (TypeError, "queries must be one of float32, float64, float16, bfloat16, got int32", {"queries": queries.int()}),
        (TypeError, "queries and items must have one dtype", {"queries": queries.double()}),
        (ValueError, r"items must have shape .*got \[4, 2\]", {"items": items[:, :2]}),
        (ValueError, "k must be >= 0, got -1", {"k": -1}),
        (ValueError, r"metric must be one of \('dot', 'cosine'\), got 'l2'", {"metric": "l2"}),
        (TypeError, "exclude must be a Graph, a SciPy sparse matrix or .*got str", {"exclude": "seen"}),
        (ValueError, "exclude must have n_items = 4 columns, got 2", {"exclude": Graph.from_edges([0, 1], [0, 1])}),
        (ValueError, r"exclude must have shape \[n_queries, 4\], got \[2, 5\]", {"exclude": sp.csr_array((2, 5))}),
        (ValueError, "a row for each of the 2 queries, got 3 rows; pass exclude_rows=", {"exclude": sp.csr_array((3, 4))}),
        (ValueError, "indptr must rise from 0 to the number of indices, 2", {"exclude": ([0, 2, 1], [0, 1])}),
        (IndexError, r"indices: id 4 at position 1 is outside \[0, 4\)", {"exclude": ([0, 1, 2], [0, 4])}),
        (ValueError, "exclude_rows names rows of exclude, which is None", {"exclude_rows": [0, 1]}),
        (IndexError, r"exclude_rows: id 3 .*outside \[0, 3\)", {"exclude": sp.csr_array((3, 4)), "exclude_rows": [0, 3]}),
        (ValueError, r"exclude_rows must have shape \[2\], got \[1\]", {"exclude": sp.csr_array((3, 4)), "exclude_rows": [0]}),
        (IndexError, r"items_subset: id -1 .*outside \[0, 4\)", {"items_subset": [1, -1]}),
    ]  # fmt: skip
    for kind, message, change in cases:
        with pytest.raises(kind, match=message):
            retrieve(**({"queries": queries, "items": items, "k": 2} | change))
