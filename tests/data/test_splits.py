"""Splits: nothing lost, nothing on both sides, the right shares, the same outcome for the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.data import (
    Interactions,
    make_dataset,
    split_leave_k_out,
    split_new_items,
    split_random,
    split_temporal,
)

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 8)), min_size=1, max_size=70)
SPLITS = {
    "random": lambda e: split_random(e, 0.3, seed=3),
    "temporal": lambda e: split_temporal(e, 0.3),
    "temporal-user": lambda e: split_temporal(e, 0.3, by="user"),
    "leave-2-out": lambda e: split_leave_k_out(e, 2),
    "new-items": lambda e: split_new_items(e, 0.3, seed=3),
    "leave-2-out-random": lambda e: split_leave_k_out(e, 2, by="random", seed=3),
}


def events_of(triples):
    users, items, time = zip(*triples, strict=True)
    return Interactions.from_raw(users, items, time=time)


def pair_set(events, which):
    return set(zip(events.users[which].tolist(), events.items[which].tolist(), strict=True))


def halves_up(x):
    return int(np.floor(x + 0.5))


@given(rows, st.sampled_from(sorted(SPLITS)))
def test_every_pair_stands_on_one_side_once_as_its_earliest_event(triples, name):
    events = events_of(triples)
    train, test = SPLITS[name](events)
    taken = np.concatenate((train, test))
    earliest = {}
    for row, (u, i, t) in enumerate(triples):
        if (u, i) not in earliest or t < triples[earliest[u, i]][2]:
            earliest[u, i] = row
    assert sorted(taken.tolist()) == sorted(earliest.values())
    assert not pair_set(events, train) & pair_set(events, test)
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    assert train.dtype == test.dtype == np.int64


@given(rows, st.sampled_from(["random", "temporal-user"]))
def test_per_user_splits_take_each_users_share_and_leave_one(triples, name):
    events = events_of(triples)
    _, test = SPLITS[name](events)
    degree = np.bincount(events.users[events.first_events()], minlength=events.n_users)
    expected = [min(halves_up(d * 0.3), max(d - 1, 0)) for d in degree.tolist()]
    assert np.bincount(events.users[test], minlength=events.n_users).tolist() == expected


@given(rows, st.integers(0, 5))
def test_new_items_have_all_their_events_in_the_test_part(triples, seed):
    events = events_of(triples)
    train, test = split_new_items(events, 0.3, seed)
    n = len(np.unique(events.items))
    assert not set(events.items[train]) & set(events.items[test])
    assert len(set(events.items[test])) == min(halves_up(n * 0.3), n - 1)
    turned = events_of(triples[::-1])
    again = split_new_items(turned, 0.3, seed)[1]
    assert set(turned.item_ids[turned.items[again]]) == set(events.item_ids[events.items[test]])


@given(rows)
def test_global_temporal_split_has_one_cut_in_time(triples):
    events = events_of(triples)
    train, test = split_temporal(events, 0.3)
    n = len(train) + len(test)
    assert len(test) == min(halves_up(n * 0.3), n - 1)
    if len(test):
        latest, first = events.time[train].max(), events.time[test].min()
        assert latest <= first
        tied_train, tied_test = train[events.time[train] == first], test[events.time[test] == first]
        assert not len(tied_train) or not len(tied_test) or tied_train.max() < tied_test.min()


@given(rows)
def test_user_temporal_split_holds_out_each_users_latest(triples):
    events = events_of(triples)
    train, test = split_temporal(events, 0.3, by="user")
    for user in range(events.n_users):
        kept, held = train[events.users[train] == user], test[events.users[test] == user]
        if len(held):
            assert max((events.time[r], r) for r in kept) < min((events.time[r], r) for r in held)


@given(rows, st.integers(1, 4), st.sampled_from(["time", "random"]))
def test_leave_k_out_takes_k_of_users_with_more_than_k(triples, k, by):
    events = events_of(triples)
    train, test = split_leave_k_out(events, k, by=by)
    degree = np.bincount(events.users[events.first_events()], minlength=events.n_users)
    assert np.bincount(events.users[test], minlength=events.n_users).tolist() == np.where(degree > k, k, 0).tolist()
    if by == "time":
        for user in np.unique(events.users[test]):
            kept, held = train[events.users[train] == user], test[events.users[test] == user]
            assert max((events.time[r], r) for r in kept) < min((events.time[r], r) for r in held)


@given(rows, st.randoms(use_true_random=False))
def test_random_split_depends_on_the_seed_and_not_on_the_order_of_rows(triples, random):
    pairs = sorted({(u, i) for u, i, _ in triples})
    shuffled = pairs.copy()
    random.shuffle(shuffled)
    outcomes = []
    for order in (pairs, shuffled):
        events = Interactions.from_raw(*zip(*order, strict=True))
        outcomes.append(pair_set(events, split_random(events, 0.4, seed=5)[1]))
    assert outcomes[0] == outcomes[1]


def test_seeds_differ_and_random_splits_are_fair():
    events = Interactions.from_raw(np.zeros(1000, int), np.arange(1000))
    a, b = (split_random(events, 0.5, seed=s)[1] for s in (0, 1))
    assert 150 < len(set(a.tolist()) & set(b.tolist())) < 350  # 250 expected; equal splits would give 500
    assert 200 < (a < 500).sum() < 300


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: split_random(e, 1.0), "test must lie strictly between 0 and 1, got 1.0"),
        (lambda e: split_random(e, seed=-1), "seed must be >= 0, got -1"),
        (lambda e: split_temporal(e), "needs times"),
        (lambda e: split_leave_k_out(e), "needs times"),
        (lambda e: split_leave_k_out(e, 0), "k must be >= 1, got 0"),
        (lambda e: split_leave_k_out(e, by="later"), "by must be 'time' or 'random', got 'later'"),
        (lambda e: make_dataset("x", e, "weekly"), "split must be one of 'random'"),
        (
            lambda e: make_dataset("x", e, "none", items={"item": [1]}),
            "no option 'items'; it has none; load_dataset takes",
        ),
        (lambda e: make_dataset("x", e, "temporal", seed=1), "split='temporal' has no option 'seed'; it has test"),
        (lambda e: make_dataset("x", e, k_core=9), "leave none of 2 events"),
        (lambda e: make_dataset("x", e, min_rating=3), "have none"),
    ],
)
def test_bad_arguments_are_value_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(Interactions.from_raw([1, 2], [1, 2]))


def test_fractions_of_the_wrong_kind_are_type_errors():
    with pytest.raises(TypeError, match="test must be a number"):
        split_random(Interactions.from_raw([1], [1]), "0.2")


@pytest.mark.parametrize("split", ["random", "temporal", "temporal-user", "leave-k-out", "new-items", "none"])
def test_make_dataset_offers_every_split(split):
    rng = np.random.default_rng(0)
    events = Interactions.from_raw(rng.integers(9, size=200), rng.integers(30, size=200), time=np.arange(200))
    data = make_dataset("toy", events, split)
    distinct = len(events.first_events())
    assert len(data.train) + len(data.test) == distinct
    assert data.dropped_duplicates == 200 - distinct
    assert (len(data.test) == 0) == (split == "none")


def test_make_dataset_filters_first_and_drops_ids_that_lost_everything():
    events = Interactions.from_raw([1, 1, 2, 2, 3], [5, 6, 5, 6, 7], rating=[5, 5, 5, 5, 1])
    data = make_dataset("toy", events, "none", min_rating=4, k_core=(2, 2))
    assert data.user_ids.tolist() == [1, 2]
    assert data.item_ids.tolist() == [5, 6]
    assert make_dataset("toy", events.select(events.rating > 1), "none").n_users == 3


def test_an_empty_split_is_empty():
    train, test = split_random(Interactions.from_raw([], []))
    assert len(train) == len(test) == 0


@pytest.mark.parametrize("events", [[(1, 2)], ([1], [2]), None])
def test_what_is_no_interactions_is_told_how_to_become_them(events):
    with pytest.raises(TypeError, match="from_raw"):
        make_dataset("pairs", events)
