import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support import graphs, on_the_cpu, random_graph, same_bits_in_any_order

from fastgcn_rec import Graph, sample_batch, sample_negatives, uniform_rows


@given(graphs(), st.integers(0, 2**62))
def test_negatives_are_unseen_or_missing(device, graph, seed):
    users = torch.arange(graph.n_users, device=device)
    seen = graph.to_scipy().toarray() > 0
    negatives = sample_negatives(graph.to(device), users, 3, seed)
    for u, row in enumerate(negatives.tolist()):
        for item in row:
            assert (item == -1) == seen[u].all()
            assert item == -1 or not seen[u, item]


def test_negatives_are_uniform_over_the_unseen_items(device):
    graph = Graph.from_edges([0] * 4, [0, 3, 4, 9], 1, 12).to(device)
    counts = np.bincount(sample_negatives(graph, [0], 40_000, seed=3).cpu().numpy().ravel(), minlength=12)
    assert counts[[0, 3, 4, 9]].sum() == 0
    assert stats.chisquare(np.delete(counts, [0, 3, 4, 9])).pvalue > 1e-4


def test_a_user_who_has_seen_all_but_one_always_gets_that_one(device):
    n = 1000
    graph = Graph.from_edges(np.zeros(n - 1, np.int64), np.delete(np.arange(n), 617), 1, n).to(device)
    assert sample_negatives(graph, [0], 50, seed=1).unique().tolist() == [617]


def test_draws_depend_on_seed_row_and_draw_alone(device):
    graph = random_graph().to(device)
    users = torch.arange(40, device=device)
    all_rows = sample_negatives(graph, users, 5, seed=11)
    assert torch.equal(sample_negatives(graph, users[:7], 2, seed=torch.tensor([11], device=device)), all_rows[:7, :2])
    assert not torch.equal(sample_negatives(graph, users, 5, seed=12), all_rows)


@pytest.mark.parametrize("by", ["edge", "user"])
def test_batches_are_edges_with_unseen_negatives_and_slices_of_one_stream(device, by):
    graph = random_graph().to(device)
    seen = random_graph().to_scipy().toarray() > 0
    users, pos, neg = (t.cpu() for t in sample_batch(graph, 300, 2, seed=5, offset=100, by=by))
    assert seen[users, pos].all()
    assert not seen[users[:, None], neg].any()
    tail = sample_batch(graph, 100, 2, seed=5, offset=300, by=by)
    for whole, part in zip((users, pos, neg), tail, strict=True):
        assert torch.equal(whole[200:], part.cpu())
    same_bits_in_any_order(lambda: sample_batch(graph, 3000, 2, seed=5, by=by), device)


@given(graphs(min_edges=1), st.integers(0, 2**40))
def test_an_epoch_by_edge_visits_every_edge_once(device, graph, seed):
    for epoch in (0, 1, 7):
        users, pos, _ = sample_batch(graph.to(device), graph.n_edges, 0, seed=seed, offset=epoch * graph.n_edges)
        visited = sorted(zip(users.tolist(), pos.tolist(), strict=True))
        rows = np.repeat(np.arange(graph.n_users), graph.user_degree.numpy())
        assert visited == sorted(zip(rows.tolist(), graph.indices.tolist(), strict=True))


def test_epochs_by_edge_differ_in_order():
    graph = random_graph(500, 400, 5000)
    first, second = (sample_batch(graph, 64, 0, seed=1, offset=o)[0] for o in (0, graph.n_edges))
    assert not torch.equal(first, second)


def test_by_user_draws_users_uniformly_then_their_items_uniformly(device):
    graph = Graph.from_edges([0, 2, 2, 2, 3], [1, 0, 1, 2, 2], 5, 3)  # users 1 and 4 have no edge
    users, pos, _ = (t.cpu() for t in sample_batch(graph.to(device), 30_000, 0, seed=9, by="user"))
    assert set(users.unique().tolist()) == {0, 2, 3}
    assert stats.chisquare(np.bincount(users.numpy())[[0, 2, 3]]).pvalue > 1e-4
    assert stats.chisquare(np.bincount(pos[users == 2].numpy())).pvalue > 1e-4


def test_opcheck(device):
    graph = random_graph().to(device)
    seed = torch.tensor([3], device=device)
    csr = (graph.indptr, graph.indices, graph.indptr_t)
    torch.library.opcheck(
        torch.ops.fastgcn_rec.sample_negatives.default,
        (*csr, None, torch.arange(4, device=device), 2, seed, seed, 1, 0),
    )
    torch.library.opcheck(torch.ops.fastgcn_rec.sample_batch.default, (*csr, None, seed, seed, 8, 2, 0))


@on_the_cpu
def test_errors():
    graph = random_graph()
    with pytest.raises(IndexError, match=r"users: id 40 at position 1 is outside \[0, 40\)"):
        sample_negatives(graph, [0, 40], 1, seed=0)
    with pytest.raises(ValueError, match="n must be >= 0, got -1"):
        sample_negatives(graph, [0], -1, seed=0)
    with pytest.raises(ValueError, match="no edges"):
        sample_batch(Graph.from_edges([], [], 2, 2), 4, seed=0)
    with pytest.raises(ValueError, match="'edge' or 'user', got 'item'"):
        sample_batch(graph, 4, seed=0, by="item")


def philox(key: int, lo: int, hi: int) -> list[int]:
    """Philox4x32-10 as Salmon et al. 2011 give it."""
    c, k, mask = [lo & 0xFFFFFFFF, lo >> 32, hi & 0xFFFFFFFF, hi >> 32], [key & 0xFFFFFFFF, key >> 32], 0xFFFFFFFF
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q & mask, (p >> 32) ^ c[3] ^ k[1], p & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


@given(
    st.integers(0, 2**62),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**24 - 1),
    st.integers(0, 2**40),
    st.integers(0, 9),
)
def test_uniform_rows_are_philoxs_by_id(device, seed, step, place, first, dim):
    ids = [first, 0, first]
    u = uniform_rows(torch.tensor(ids, device=device), dim, seed=seed, step=step, place=place).cpu()
    blocks = (dim + 3) // 4
    for row, i in zip(u.double().tolist(), ids, strict=True):
        words = [w for b in range(blocks) for w in philox(seed, i * blocks + b, place << 40 | 9 << 32 | step)]
        assert row == [(w >> 8) / 2**24 for w in words[:dim]]


def test_uniform_rows_are_uniform_and_the_same_bits_in_any_order(device):
    ids = torch.arange(3000, device=device)
    u = uniform_rows(ids, 5, seed=3)
    assert stats.kstest(u.flatten().cpu().numpy(), "uniform").pvalue > 1e-4
    for other in ({"seed": 4}, {"seed": 3, "step": 1}, {"seed": 3, "place": 1}):
        assert not torch.equal(uniform_rows(ids, 5, **other), u)
    same_bits_in_any_order(lambda: [uniform_rows(ids, 5, seed=3)], device)
    scalars = torch.tensor(3, device=device), torch.tensor(0, device=device), 0
    torch.library.opcheck(torch.ops.fastgcn_rec.uniform_rows.default, (ids[:7], 5, *scalars))


@on_the_cpu
def test_uniform_rows_errors_say_what_is_wrong():
    for options, message in (
        ({"dim": -1}, "dim must be >= 0, got -1"),
        ({"place": 2**24}, "place must lie in"),
        ({"step": -1}, "step must lie in"),
        ({"seed": torch.tensor(1.0)}, "seed as a tensor must be one int64"),
    ):
        with pytest.raises(ValueError, match=message):
            uniform_rows([1], **{"dim": 2, "seed": 0, **options})
    with pytest.raises(TypeError, match="ids must be int64 or int32"):
        uniform_rows([0.5], 2, seed=0)
