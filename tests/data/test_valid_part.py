"""A validation part of one's own: cut by a split, brought along, or set; the rest stays as it is without one."""

import dataclasses
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.data import (
    Edges,
    Interactions,
    build_dataset,
    make_dataset,
    split_leave_k_out,
    split_new_items,
    split_random,
    split_temporal,
)

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 8)), min_size=1, max_size=70)
shares = st.sampled_from([(0.3, 0.2), (0.2, 0.1), (0.1, 0.1), (0.5, 0.45)])
PER_USER = {
    "random": lambda e, test, valid: split_random(e, test, 3, valid),
    "temporal-user": lambda e, test, valid: split_temporal(e, test, "user", valid),
}
SPLITS = PER_USER | {
    "temporal": lambda e, test, valid: split_temporal(e, test, valid=valid),
    "leave-k-out": lambda e, test, valid: split_leave_k_out(e, int(10 * test), valid=valid and int(10 * valid)),
    "leave-k-out-random": lambda e, test, valid: split_leave_k_out(
        e, int(10 * test), "random", 3, valid and int(10 * valid)
    ),
    "new-items": lambda e, test, valid: split_new_items(e, test, 3, valid),
}


def events_of(triples):
    users, items, time = zip(*triples, strict=True)
    return Interactions.from_raw(users, items, time=time)


def raw_pairs(data, part):
    return sorted(zip(data.user_ids[part.users].tolist(), data.item_ids[part.items].tolist(), strict=True))


def degrees(events, which):
    return np.bincount(events.users[which], minlength=events.n_users)


@given(rows, shares, st.sampled_from(sorted(SPLITS)))
def test_a_validation_part_is_taken_from_train_and_the_test_part_is_the_same_as_without(triples, share, name):
    events = events_of(triples)
    train, valid, test = SPLITS[name](events, *share)
    rest, alone = SPLITS[name](events, share[0], None)
    assert test.tolist() == alone.tolist()
    assert sorted([*train, *valid]) == rest.tolist()
    assert all((np.diff(part) > 0).all() and part.dtype == np.int64 for part in (train, valid, test))


@given(rows, shares, st.sampled_from(sorted(PER_USER)))
def test_shares_are_of_all_that_a_user_has_and_one_item_stays(triples, share, name):
    events = events_of(triples)
    train, valid, test = PER_USER[name](events, *share)
    for degree, kept, chosen_on, held in zip(
        *(degrees(events, which) for which in (events.first_events(), train, valid, test)), strict=True
    ):
        assert held == min(np.floor(degree * share[0] + 0.5), max(degree - 1, 0))
        assert chosen_on == min(np.floor(degree * share[1] + 0.5), max(degree - held - 1, 0))
        assert kept >= min(degree, 1)


@given(rows, shares)
def test_one_cut_in_time_follows_another(triples, share):
    events = events_of(triples)
    parts = split_temporal(events, share[0], valid=share[1])
    ordered = [row for part in parts for row in part]
    by_time = sorted(ordered, key=lambda row: (events.time[row], row))
    sizes = np.cumsum([len(part) for part in parts])[:-1]
    assert [sorted(part.tolist()) for part in np.split(np.array(by_time), sizes)] == [part.tolist() for part in parts]


@given(rows, shares, st.sampled_from(["temporal-user", "leave-k-out"]))
def test_a_users_validation_items_lie_between_the_others_in_time(triples, share, name):
    events = events_of(triples)
    for user in range(events.n_users):
        times = [
            [(events.time[row], row) for row in part if events.users[row] == user]
            for part in SPLITS[name](events, *share)
        ]
        held = [part for part in times if part]
        assert all(max(before) < min(after) for before, after in itertools.pairwise(held))


@given(rows, st.integers(1, 3), st.integers(1, 3), st.sampled_from(["time", "random"]))
def test_leave_k_out_holds_out_of_those_with_enough(triples, k, valid, by):
    events = events_of(triples)
    parts = split_leave_k_out(events, k, by, valid=valid)
    degree = degrees(events, events.first_events())
    assert degrees(events, parts[1]).tolist() == np.where(degree > k + valid, valid, 0).tolist()
    assert degrees(events, parts[2]).tolist() == np.where(degree > k, k, 0).tolist()


@given(rows, shares)
def test_an_item_is_new_in_one_part_only(triples, share):
    events = events_of(triples)
    items = [set(events.items[part].tolist()) for part in split_new_items(events, share[0], valid=share[1])]
    assert sum(map(len, items)) == len(set.union(*items)) == len(np.unique(events.items))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: split_random(e, 0.5, valid=0.5), r"test \+ valid must be below 1, got 0.5 \+ 0.5: nothing would be"),
        (lambda e: split_random(e, valid=0), "valid must lie strictly between 0 and 1, got 0"),
        (lambda e: split_temporal(e, 0.6, valid=0.6), r"test \+ valid must be below 1"),
        (lambda e: split_new_items(e, 0.9, valid=0.2), r"test \+ valid must be below 1"),
        (lambda e: split_leave_k_out(e, valid=0), "valid must be >= 1, got 0"),
        (lambda e: make_dataset("x", e, "none", valid=0.1), "split='none' has no option 'valid'"),
    ],
)
def test_shares_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(Interactions.from_raw([1, 2], [1, 2], time=[1, 2]))


# --- the data set -----------------------------------------------------------------------------------------------------


def three_parts(split="random", seed=0, **options):
    rng = np.random.default_rng(seed)
    events = Interactions.from_raw(
        rng.integers(40, size=900), rng.integers(30, size=900), rng.uniform(1, 5, 900), np.arange(900)
    )
    given = {"valid": 2, "k": 2} if split == "leave-k-out" else {"valid": 0.1}
    return make_dataset("three", events, split, **given | options), events


@pytest.mark.parametrize("split", ["random", "temporal", "temporal-user", "leave-k-out", "new-items"])
def test_every_split_makes_one_and_nothing_is_lost(split):
    data, events = three_parts(split, weight="rating")
    without = make_dataset("three", events, split, weight="rating", **({"k": 2} if split == "leave-k-out" else {}))
    assert len(data.valid) > 0
    assert raw_pairs(data, data.test) == raw_pairs(without, without.test)
    assert sorted(raw_pairs(data, data.train) + raw_pairs(data, data.valid)) == raw_pairs(without, without.train)
    assert data.dropped_duplicates == without.dropped_duplicates > 0
    assert data.valid.ids[0] is data.user_ids
    assert data.valid.ids[1] is data.item_ids
    assert data.valid.time is not None
    assert data.valid.weight is not None
    degree = np.bincount(data.train.users, minlength=data.n_users)  # of train alone
    assert (np.diff(degree) <= 0).all()
    assert data.graph().n_edges == len(data.train)
    assert data.graph(parts=("train", "valid")).n_edges == len(data.train) + len(data.valid)
    assert data.graph(parts="valid").n_edges == len(data.valid)


def test_the_fingerprint_and_the_report_say_that_there_is_one():
    data, events = three_parts()
    counts = [str(n) for n in (data.n_users, data.n_items, len(data.train), len(data.valid), len(data.test))]
    assert data.fingerprint().split("-")[:5] == counts
    assert f"{len(data.train)} train + {len(data.valid)} valid + {len(data.test)} test" in repr(data)
    assert f"{len(data.train)} train + {len(data.valid)} valid + {len(data.test)} test" in str(data.report())
    swapped = dataclasses.replace(data, valid=data.test, test=data.valid)
    lost = dataclasses.replace(data, valid=Edges([], []))
    other = dataclasses.replace(data, valid=data.valid.select(np.arange(len(data.valid) - 1)))
    shuffled = dataclasses.replace(data, valid=data.valid.select(np.arange(len(data.valid))[::-1]))
    assert len({d.fingerprint() for d in (data, swapped, lost, other)}) == 4
    assert shuffled.fingerprint() == data.fingerprint()
    assert "valid" not in repr(lost) + str(lost.report())
    plain = make_dataset("three", events, "random")
    assert "valid" not in repr(plain) + str(plain.report())
    assert len(plain.fingerprint().split("-")) == 5


def test_renumbering_keeps_the_pairs_of_all_parts():
    data, _ = three_parts(seed=3)
    rng = np.random.default_rng(0)
    for other in (data.renumbered(rng.permutation(data.n_users), rng.permutation(data.n_items)), data.clustered(3)):
        assert other.fingerprint() == data.fingerprint()
        assert raw_pairs(other, other.valid) == raw_pairs(data, data.valid)
        assert other.valid.ids[0] is other.user_ids


def test_pickles_keep_it_and_those_of_before_have_none():
    data, _ = three_parts()
    again = pickle.loads(pickle.dumps(data))
    assert again.fingerprint() == data.fingerprint()
    assert again.valid.ids[0] is again.user_ids
    state = {name: value for name, value in vars(data).items() if name in {f.name for f in dataclasses.fields(data)}}
    old = type(data).__new__(type(data))
    old.__setstate__({name: value for name, value in state.items() if name not in ("valid", "disliked")})
    assert len(old.valid) == len(old.disliked) == 0
    assert old.fingerprint() == dataclasses.replace(data, valid=Edges([], [])).fingerprint()
    assert len(old.split_valid(0.2)[1]) > 0
    elsewhere = pickle.dumps(data, protocol=2).replace(b"fastgcn_rec.data.edges\n", b"fastgcn_rec.data.dataset\n")
    assert pickle.loads(elsewhere).fingerprint() == data.fingerprint()


def test_pairs_of_train_are_left_out_of_valid_and_counted():
    ids = np.array([1, 2, 3])
    data = build_dataset(
        "toy", Edges([0, 1], [0, 1]), Edges([2], [2]), ids, ids, valid=Edges([0, 0, 2, 0], [0, 2, 2, 2])
    )
    assert raw_pairs(data, data.valid) == [(1, 3), (3, 3)]
    assert data.dropped_duplicates == 2
    assert data.report().overlap == 1  # (3, 3), which stands in valid and in test
    with pytest.raises(ValueError, match=r"valid.items must lie in \[0, 3\), the positions of item_ids, got 5 to 5"):
        build_dataset("toy", Edges([0], [0]), Edges([], []), ids, ids, valid=Edges([0], [5]))


def test_a_part_can_be_set_and_is_trained_on_no_longer():
    data, _ = three_parts()
    part, held = data.split_valid(0.2, seed=1)
    assert part.valid is data.valid
    by_ids, in_train = data.with_valid(held), part.with_valid(held)
    raw = Interactions.from_raw(data.user_ids[held.users], data.item_ids[held.items])
    for made in (by_ids, in_train, data.with_valid(raw)):
        assert made.fingerprint() == by_ids.fingerprint()
        assert raw_pairs(made, made.train) == raw_pairs(part, part.train)
        assert raw_pairs(made, made.valid) == raw_pairs(data, held)
        assert made.user_ids is data.user_ids
    twice = data.with_valid(Edges([0, 0], [1, 1]))
    assert len(twice.valid) == 1
    assert twice.dropped_duplicates == data.dropped_duplicates + 1


def test_a_part_of_other_ids_is_refused():
    data, _ = three_parts()
    other, _ = three_parts(seed=5)
    with pytest.raises(ValueError, match=r"valid has other (users|items) than three, or numbers them otherwise"):
        data.with_valid(other.valid)
    with pytest.raises(ValueError, match=r"valid.users must lie in \[0, 40\), the internal ids of three, got 40"):
        data.with_valid(Edges([40], [0]))
    with pytest.raises(ValueError, match="valid holds 1 id that is not among the 40 users of three: 77"):
        data.with_valid(Interactions.from_raw([77], [0]))
    with pytest.raises(TypeError, match=r"valid must be Edges of internal ids, .* or Interactions, got list"):
        data.with_valid([(0, 1)])
    with pytest.raises(ValueError, match="part must be one of 'train', 'valid', 'test', got 'dev'"):
        data.part("dev")


def test_edges_with_and_without_weights_make_no_one_graph():
    data, _ = three_parts(weight="rating")
    bare = data.with_valid(Edges(data.valid.users, data.valid.items))
    with pytest.raises(ValueError, match="edges with weights and edges without"):
        bare.graph(parts=("train", "valid"))
    assert bare.graph(parts=["test"]).n_edges == len(data.test)
