"""The synthetic generator: exact counts, distinct pairs, the promised degrees and a taste that can be learned."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.data import synthetic, synthetic_edges, synthetic_interactions


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.integers(0, 3), st.floats(0, 2))
def test_any_size_gives_exactly_the_edges_asked_for_all_distinct(n_users, n_items, fill, seed, power):
    n_edges = n_users + int(fill * n_users * (max(1, n_items // 4) - 1))
    users, items = synthetic_edges(n_users, n_items, n_edges, dim=min(4, n_items), seed=seed, power=power)
    assert users.dtype == items.dtype == np.int32
    assert len(users) == len(items) == n_edges
    assert len(set(zip(users.tolist(), items.tolist(), strict=True))) == n_edges
    assert set(users.tolist()) == set(range(n_users))
    assert 0 <= items.min() <= items.max() < n_items


def test_outcome_depends_on_the_arguments_alone_and_on_each_of_them():
    base = synthetic_edges(200, 100, 2000)
    again = synthetic_edges(200, 100, 2000, dim=16, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(base, again, strict=True))
    for change in ({"seed": 1}, {"dim": 8}, {"power": 0.5}):
        assert not np.array_equal(base[1], synthetic_edges(200, 100, 2000, **change)[1])


def test_first_edges_are_the_same_in_every_release():
    users, items = synthetic_edges(200, 100, 2000, seed=7)
    assert np.bincount(users)[:6].tolist() == [5, 4, 9, 6, 7, 25]
    assert items[:6].tolist() == [53, 62, 77, 0, 3, 49]


def test_chunks_join_without_a_seam(monkeypatch):
    monkeypatch.setattr(synthetic, "CHUNK_EDGES", 300)
    users, items = synthetic_edges(200, 100, 2000)
    assert len(set(zip(users.tolist(), items.tolist(), strict=True))) == 2000
    assert np.array_equal(np.bincount(users), np.bincount(synthetic_edges(200, 100, 2000)[0]))
    data = synthetic_interactions(200, 100, 2000)
    assert len(data.train) + len(data.test) == 2000


def test_chunks_draw_numbers_of_their_own(monkeypatch):
    monkeypatch.setattr(synthetic, "CHUNK_EDGES", 500)
    items = synthetic_edges(100, 100, 1000, dim=1, power=0)[1]
    assert not np.array_equal(items[:500], items[500:])


def test_degrees_fall_as_the_power_law_says():
    users, items = synthetic_edges(20_000, 10_000, 400_000, power=0.8)
    degree = np.sort(np.bincount(users))[::-1]
    rank = np.arange(20_000) + 1 + 200.0
    scale = degree.sum() / (rank**-0.8).sum()
    assert np.abs(degree - scale * rank**-0.8).max() <= 2
    item_degree = np.sort(np.bincount(items, minlength=10_000))[::-1]
    middle = slice(100, 5_000)
    slope = np.polyfit(np.log(np.arange(10_000)[middle] + 21.0), np.log(item_degree[middle]), 1)[0]
    assert -0.95 < slope < -0.6


def test_power_zero_gives_equal_degrees():
    assert set(np.bincount(synthetic_edges(50, 100, 500, power=0)[0]).tolist()) == {10}


def test_data_set_holds_out_each_users_share_of_the_same_edges():
    data = synthetic_interactions(300, 200, 3000, seed=2, test=0.3)
    users, items = synthetic_edges(300, 200, 3000, seed=2)
    both = [(data.user_ids[p.users].tolist(), data.item_ids[p.items].tolist()) for p in (data.train, data.test)]
    found = {pair for u, i in both for pair in zip(u, i, strict=True)}
    assert found == set(zip(users.tolist(), items.tolist(), strict=True))
    degree = np.bincount(users)
    share = np.minimum(np.floor(degree * 0.3 + 0.5), degree - 1)
    assert np.bincount(both[1][0], minlength=300).tolist() == share.tolist()
    assert data.report().overlap == 0
    assert len(synthetic_interactions(300, 200, 3000, test=None).test) == 0


def test_a_model_of_the_planted_rank_beats_popularity():
    data = synthetic_interactions(2000, 1000, 60_000, dim=8, seed=1)
    shape = (data.n_users, data.n_items)
    train = scipy.sparse.csr_array((np.ones(len(data.train)), (data.train.users, data.train.items)), shape=shape)
    test = np.zeros(shape, bool)
    test[data.test.users, data.test.items] = True

    def recall(scores):
        scores = np.where(train.toarray() > 0, -np.inf, scores)
        top = np.argpartition(-scores, 20, axis=1)[:, :20]
        hits = np.take_along_axis(test, top, axis=1).sum(1)
        return (hits / np.maximum(test.sum(1), 1)).mean()

    popularity = recall(np.tile(train.sum(0), (shape[0], 1)))
    u, s, vt = scipy.sparse.linalg.svds(train, k=8, random_state=0)
    assert recall(u * s @ vt) > 1.5 * popularity > 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 8, 9), "n_edges must lie between n_users = 10 and .* = 20, got 9"),
        ((10, 8, 21), "= 20, got 21"),
        ((0, 8, 9), "n_users must be >= 1, got 0"),
        ((10, 8, 15, 9), "dim must be at most n_items = 8, got 9"),
        ((10, 8, 15, 2, -1), "seed must be >= 0, got -1"),
        ((10, 8, 15, 2, 0, -0.5), r"power must lie in \[0, 4\], got -0.5"),
        ((2**31, 8, 15), r"n_users must be below 2\*\*31"),
    ],
)
def test_bad_arguments_are_value_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        synthetic_edges(*arguments)
