"""Equal scores: one order everywhere, which does not know what is popular."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import on_the_cpu, ranking

from fastgcn_rec import Graph, Index, ItemKNN, Popularity, evaluate, ppr_topk, retrieve, topk
from fastgcn_rec.core.ties import tie_key
from fastgcn_rec.data import Edges, synthetic_interactions
from fastgcn_rec.models.pinsage.layers import Neighborhoods
from fastgcn_rec.ranking.two_stage import TwoStage


def no_scores(n_queries, n_items):
    return torch.zeros(n_queries, 2), torch.ones(n_items, 2)


def skewed(n_users=300, n_items=500, per_user=20, seed=0):
    """(train, test) of users who draw items by popularity 1 / (id + 1): ids go by popularity, as in a Dataset."""
    rng = np.random.default_rng(seed)
    law = 1 / np.arange(1, n_items + 1)
    drawn = [rng.choice(n_items, per_user, replace=False, p=law / law.sum()) for _ in range(n_users)]
    users = np.arange(n_users).repeat(per_user // 2)
    train, test = (np.concatenate([own[part::2] for own in drawn]) for part in (0, 1))
    return Graph.from_edges(users, train, n_users, n_items), Edges(users, test)


def test_the_key_is_a_bijection_without_a_trend():
    for ids in (np.arange(1 << 17), np.arange(2**31 - (1 << 17), 2**31)):
        keys = tie_key(ids)
        assert np.array_equal(keys, tie_key(torch.from_numpy(ids)).numpy())
        assert keys.min() >= 0
        assert keys.max() < 2**32 - 1
        assert len(np.unique(keys)) == len(keys)
        assert abs(np.corrcoef(np.arange(len(keys)), keys)[0, 1]) < 0.01


@given(n=st.integers(1, 700), k=st.integers(1, 700), double=st.booleans())
def test_equal_scores_are_in_one_order_whoever_ranks(device, n, k, double):
    dtype = torch.float64 if double else torch.float32
    queries, items = (t.to(device, dtype) for t in no_scores(2, n))
    graph = Graph.from_edges([], [], 2, n).to(device)
    expected = [ranking(range(n), lambda i: 0)[:k] + [-1] * max(k - n, 0)] * 2
    assert retrieve(queries, items, k).ids.tolist() == expected
    assert topk(graph, torch.full((2, n), -0.0, dtype=dtype, device=device), k)[0].tolist() == expected
    assert ppr_topk(graph, [0, 1], k).ids.tolist() == expected


@on_the_cpu
@pytest.mark.parametrize("kind", ["exact", "faiss"])
def test_an_index_keeps_that_order(kind):
    if kind == "faiss":
        pytest.importorskip("faiss", reason="needs faiss: an extra")
    queries, items = no_scores(3, 90)
    index = Index.build(items.numpy(), kind, **({"factory": "Flat"} if kind == "faiss" else {}))
    assert index.search(queries.numpy(), 90)[0].tolist() == [ranking(range(90), lambda i: 0)] * 3


@given(st.data(), st.integers(2, 300))
def test_a_subset_ranks_like_the_whole(device, data, n):
    generator = torch.Generator().manual_seed(n)
    queries, items = (torch.randint(-1, 2, (m, 3), generator=generator).float().to(device) for m in (4, n))
    subset = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1)))
    whole = retrieve(queries, items, n).ids
    part = retrieve(queries, items, len(subset), items_subset=torch.tensor(subset, device=device)).ids
    inside = torch.isin(whole, torch.tensor(subset, device=device))
    assert torch.equal(part, whole[inside].reshape(4, -1))


def test_ties_at_the_bound_of_many_tiles(device):
    """Items of one score that come after a query's buffer was cut still take the places that their keys give them."""
    n = 2000
    items = torch.ones(n, 1, device=device)
    items[torch.arange(0, n, 7)] = 2
    score = items[:, 0].tolist()
    expected = ranking(range(n), score.__getitem__)
    for k in (1, 20, 290, 700):
        assert retrieve(torch.ones(60, 1, device=device), items, k).ids.tolist() == [expected[:k]] * 60


@on_the_cpu
def test_a_scorer_that_says_nothing_has_the_recall_of_chance():
    train, test = skewed()
    rng = np.random.default_rng(1)

    def recall(score):
        row = torch.as_tensor(score, dtype=torch.float32)
        return evaluate(lambda users: row.expand(len(users), -1), test, train)["recall@20"]

    chance = [recall(rng.permutation(train.n_items)) for _ in range(200)]
    popular = recall(train.item_degree)
    assert popular > max(chance)
    assert recall(np.zeros(train.n_items)) <= np.quantile(chance, 0.9)


@on_the_cpu
def test_what_fills_the_list_of_a_sparse_scorer_is_not_what_is_popular():
    train, _ = skewed()
    model = ItemKNN(train, neighbours=1)
    ids, scores = model.recommend(np.arange(train.n_users), 400)
    fill = ids[scores == 0]
    share = np.bincount(fill, minlength=train.n_items)[:50].sum() / len(fill)
    unseen = 1 - train.to_scipy().toarray()
    assert share < 1.1 * unseen[:, :50].sum() / unseen.sum()


@on_the_cpu
def test_neighbours_of_one_similarity_are_cut_by_the_same_order():
    graph = Graph(sp.csr_array(np.ones((2, 40))))  # all items are alike
    matrix = ItemKNN(graph, neighbours=5).matrix().toarray()
    for j in range(40):
        assert set(np.flatnonzero(matrix[:, j])) == set(ranking([i for i in range(40) if i != j], lambda i: 0)[:5])


def test_pinsage_cuts_neighbourhoods_by_the_same_order():
    near = Neighborhoods(torch.arange(12).flip(0)[None], torch.full((1, 12), 1 / 12))
    assert near.reweighted(torch.ones(12), 1.0, 5).ids.tolist() == [ranking(range(12), lambda i: 0)[:5]]


@on_the_cpu
def test_a_ranker_that_says_nothing_leaves_the_candidates_order():
    class Nothing:
        def fit(self, x, y):
            pass

        def predict(self, x):
            return np.zeros(len(x))

    data = synthetic_interactions(40, 30, 250)
    part, _ = data.split_valid(0.3)
    candidates = Popularity(part)
    model = TwoStage(candidates, Nothing(), n_candidates=10).fit(data)
    found = model.candidates.recommend(data.user_ids[:5], 10)[0]
    blocks = list(model.ranked(candidates.graph, torch.arange(5), 10))
    assert candidates.raw_items(blocks[0][1]).tolist() == found.tolist()
