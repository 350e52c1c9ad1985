"""topk: against a full sort, its order, its errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import graphs, random_graph, ranking, same_bits_in_any_order

from fastgcn_rec import Graph, topk


@given(graphs(), st.integers(1, 25), st.integers(0, 1000), st.booleans())
def test_topk_is_a_full_sort(device, graph, k, seed, exclude):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-2, 3, (graph.n_users, graph.n_items)).astype(np.float32)  # many ties
    scores[rng.random(scores.shape) < 0.1] = np.nan
    users = torch.arange(graph.n_users, device=device) if exclude else None
    ids, values = topk(graph.to(device), torch.from_numpy(scores).to(device), k, users)
    seen = graph.to_scipy().toarray() > 0
    for u in range(graph.n_users):
        candidates = [i for i in range(graph.n_items) if not np.isnan(scores[u, i]) and not (exclude and seen[u, i])]
        expected = ranking(candidates, scores[u].__getitem__)[:k]
        assert ids[u].tolist() == expected + [-1] * (k - len(expected))
        assert values[u].tolist() == [scores[u, i] for i in expected] + [-np.inf] * (k - len(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 32, 100, 129, 513, 900, 2000])
def test_topk_is_a_full_sort_for_any_k(device, k, dtype):
    n, rng = 1500, np.random.default_rng(k)
    graph = random_graph(8, n, 1600).to(device)
    scores = rng.normal(size=(8, n)).astype(np.float32 if dtype == torch.float32 else np.float64)
    scores[1] = rng.integers(-2, 3, n)  # many ties
    scores[2] = np.where(rng.random(n) < 0.5, 0.0, -0.0)  # one value
    scores[3, rng.random(n) < 0.7] = np.nan
    scores[4, :700] = np.inf
    scores[5, :1300] = -np.inf
    scores[6] = np.where(rng.random(n) < 0.5, scores[6], -np.nan)
    scores[7] *= 1e-42 if dtype == torch.float32 else 1e-310  # denormal
    seen = graph.to_scipy().toarray() > 0
    for users in (torch.arange(8, device=device), None):
        ids, values = topk(graph, torch.from_numpy(scores).to(device), k, users)
        for u in range(8):
            left = np.flatnonzero(~np.isnan(scores[u]) & ~(seen[u] & (users is not None)))
            expected = ranking(left.tolist(), scores[u].__getitem__)[:k]
            missing = k - len(expected)
            assert ids[u].tolist() == expected + [-1] * missing
            assert values[u].tolist() == scores[u, expected].tolist() + [-np.inf] * missing


@pytest.mark.parametrize("k", [3, 20, 90])
def test_a_long_row_is_read_in_parts(device, k):
    n = 13000
    scores = torch.arange(n, dtype=torch.float32) // 5  # what comes later is better
    scores[4000] = 1e9
    seen = list(range(n - 40, n, 3))
    graph = Graph.from_edges([0] * len(seen), seen, 1, n)
    for users in ([0], None):
        left = [i for i in range(n) if users is None or i not in seen]
        ids, values = topk(graph.to(device), scores.to(device)[None], k, users)
        assert ids[0].tolist() == ranking(left, scores.tolist().__getitem__)[:k]
        assert values[0].tolist() == scores[ids[0].cpu()].tolist()


def test_topk_orders_and_errors(device):
    graph = random_graph().to(device)
    scores = torch.randn(40, 30, device=device)
    for k in (7, 300):
        same_bits_in_any_order(lambda k=k: topk(graph, scores, k, torch.arange(40, device=device)), device)
    with pytest.raises(ValueError, match=r"scores must have shape \[batch, dim\]|\[batch, 30\]"):
        topk(graph, torch.ones(4, 29, device=device), 3)
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        topk(graph, scores, 0)
