"""Interactions: coding of raw ids, selection, filters and the k-core."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.data import Interactions

pairs = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 6)), max_size=60)


def from_pairs(rows):
    return Interactions.from_raw([u for u, _ in rows], [i for _, i in rows])


def raw_pairs(events):
    return list(zip(events.user_ids[events.users].tolist(), events.item_ids[events.items].tolist(), strict=True))


def test_codes_are_ranks_of_the_sorted_raw_ids():
    events = Interactions.from_raw(["zoe", "ann", "zoe"], [30, -1, 7])
    assert events.user_ids.tolist() == ["ann", "zoe"]
    assert events.item_ids.tolist() == [-1, 7, 30]
    assert events.users.tolist() == [1, 0, 1]
    assert events.items.tolist() == [2, 0, 1]
    assert events.users.dtype == events.items.dtype == np.int32


@pytest.mark.parametrize("ids", [np.array(["b", "a"], object), np.array(["b", "a"]), ["b", "a"], ("b", "a")])
def test_string_ids_of_any_container_become_texts(ids):
    events = Interactions.from_raw(ids, [1, 2])
    assert events.user_ids.dtype == object
    assert events.users.tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64, object])
def test_integer_ids_of_any_width_become_int64(dtype):
    events = Interactions.from_raw(np.array([9, 3], dtype), [1, 2])
    assert events.user_ids.dtype == np.int64
    assert events.user_ids.tolist() == [3, 9]


@pytest.mark.parametrize(
    "users", [[1, "a"], np.array([1, "a"], object), [1.5, 2.0], [True, False], [None, 1], [1.0, "x"]]
)
def test_ids_that_are_neither_integers_nor_strings_are_a_type_error(users):
    with pytest.raises(TypeError, match="users must be"):
        Interactions.from_raw(users, [1, 2])


def test_unsigned_ids_beyond_int64_are_refused():
    with pytest.raises(ValueError, match="pass such ids as strings"):
        Interactions.from_raw(np.array([2**63], np.uint64), [1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": [1], "items": [1, 2]}, "same length, got 1 and 2"),
        ({"users": [[1]], "items": [1]}, "one-dimensional"),
        ({"rating": [1.0]}, r"rating must have one value an event = \[2\]"),
        ({"time": [1, np.nan]}, "time must be finite, got nan"),
        ({"rating": [np.inf, 1]}, "rating must be finite, got inf"),
        ({"time": ["2020-01-01", "yesterday"]}, "'yesterday' is no ISO date .* at position 1"),
        ({"time": np.array(["2020-01-01", "NaT"], "datetime64[D]")}, "NaT"),
        ({"item_ids": [4, 9]}, "items holds 1 id that is not among the 2 item_ids: 5"),
        ({"item_ids": [4, 5, 4]}, "item_ids must be unique, got 4 more than once"),
        ({"item_info": {"title": ["a", "b"]}}, "item_info needs item_ids"),
        ({"item_ids": [4, 5], "item_info": {"title": ["a"]}}, "one row an item id = 2"),
        ({"user_info": {"age": [7]}}, "user_info needs user_ids"),
    ],
)
def test_bad_values_are_value_errors_that_say_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        Interactions.from_raw(**{"users": [1, 2], "items": [4, 5], **arguments})


@pytest.mark.parametrize(
    "arguments", [{"rating": ["a", "b"]}, {"time": ["a", 5]}, {"time": [True, False]}, {"item_ids": ["4", "5"]}]
)
def test_columns_of_the_wrong_kind_are_type_errors(arguments):
    with pytest.raises(TypeError):
        Interactions.from_raw([1, 2], [4, 5], **arguments)


def test_dates_become_seconds_and_keep_fractions():
    whole = Interactions.from_raw([1], [1], time=np.array(["1970-01-02"], "datetime64[D]"))
    assert whole.time.dtype == np.int64
    assert whole.time.tolist() == [86400]
    fraction = Interactions.from_raw([1], [1], time=np.array(["1970-01-01T00:00:01.5"], "datetime64[ms]"))
    assert fraction.time.tolist() == [1.5]


def test_item_columns_follow_the_sorted_ids():
    events = Interactions.from_raw([1], [8], item_ids=[9, 8, 2], item_info={"title": ["nine", "eight", "two"]})
    assert events.item_info["title"].tolist() == ["two", "eight", "nine"]
    assert events.compact().item_info["title"].tolist() == ["eight"]
    events = Interactions.from_raw([1], [8], user_ids=[2, 1], user_info={"age": [20, 10]})
    assert events.user_info["age"].tolist() == [10, 20]
    assert events.compact().user_info["age"].tolist() == [10]


def test_select_keeps_the_id_spaces_and_every_column():
    events = Interactions.from_raw([1, 2, 3], [4, 5, 6], rating=[1, 2, 3], time=[7, 8, 9])
    for which in (np.array([False, True, True]), np.array([1, 2])):
        part = events.select(which)
        assert raw_pairs(part) == [(2, 5), (3, 6)]
        assert part.rating.tolist() == [2, 3]
        assert part.time.tolist() == [8, 9]
        assert part.n_users == 3
    assert len(events.select([])) == 0


def test_select_refuses_a_mask_of_another_length_and_other_kinds():
    events = Interactions.from_raw([1, 2], [4, 5])
    with pytest.raises(ValueError, match=r"shape \[2\]"):
        events.select(np.array([True]))
    with pytest.raises(TypeError, match="float64"):
        events.select(np.array([0.5]))


def test_filter_rating_keeps_the_threshold_itself_and_needs_ratings():
    events = Interactions.from_raw([1, 2, 3], [4, 5, 6], rating=[3.5, 4, 4.5])
    assert raw_pairs(events.filter_rating(4)) == [(2, 5), (3, 6)]
    with pytest.raises(ValueError, match="have none"):
        Interactions.from_raw([1], [1]).filter_rating(4)


def test_first_events_takes_the_earliest_and_the_first_row_of_a_tie():
    events = Interactions.from_raw([1, 1, 1, 2, 2], [5, 5, 5, 5, 5], time=[3, 1, 1, 7, 7])
    assert events.first_events().tolist() == [1, 3]


def reference_core(rows, k_user, k_item):
    """Remove one offending id at a time until none is left."""
    rows = list(rows)
    while True:
        users, items = {}, {}
        for u, i in rows:
            users.setdefault(u, set()).add(i)
            items.setdefault(i, set()).add(u)
        bad_user = next((u for u in users if len(users[u]) < k_user), None)
        bad_item = next((i for i in items if len(items[i]) < k_item), None)
        if bad_user is None and bad_item is None:
            return rows
        rows = [(u, i) for u, i in rows if (u != bad_user if bad_user is not None else i != bad_item)]


@given(pairs, st.integers(0, 4), st.none() | st.integers(0, 4))
def test_k_core_is_what_removing_one_id_at_a_time_leaves(rows, k_user, k_item):
    core = from_pairs(rows).k_core(k_user, k_item)
    expected = reference_core(rows, k_user, k_user if k_item is None else k_item)
    assert raw_pairs(core) == expected
    assert core.user_ids.tolist() == sorted({u for u, _ in expected})
    assert core.item_ids.tolist() == sorted({i for _, i in expected})


def test_k_core_peels_a_chain_from_both_ends_until_nothing_is_left():
    chain = [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (3, 4)]
    assert len(from_pairs(chain).k_core(2)) == 0
    ring = [*chain, (4, 4), (4, 1)]
    assert len(from_pairs(ring).k_core(2)) == len(ring)


def test_k_core_counts_distinct_pairs():
    assert len(Interactions.from_raw([1, 1, 1], [5, 5, 5]).k_core(2, 1)) == 0


def test_k_core_refuses_what_is_no_count():
    events = Interactions.from_raw([1], [1])
    with pytest.raises(TypeError, match="k_user must be an int, got "):
        events.k_core(2.0)
    with pytest.raises(ValueError, match="k_item must be >= 0, got -1"):
        events.k_core(1, -1)


@given(pairs)
def test_compact_drops_exactly_the_unused_ids(rows):
    events = from_pairs([*rows, (100, 100)])
    part = events.select(np.arange(len(rows)))
    assert raw_pairs(part.compact()) == rows
    assert part.compact().user_ids.tolist() == sorted({u for u, _ in rows})
