"""First events and shares of users are what sorting all of them gives, to the bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.core.philox import generator
from fastgcn_rec.data import rows as rows_module
from fastgcn_rec.data.rows import Distinct, first_events, last_ranks, latest, share_out


def by_sorting(users, items, n_items, time):
    keys = users.astype(np.int64) * n_items + items
    order = np.lexsort((np.zeros(keys.size) if time is None else time, keys))
    first = np.concatenate(([True], keys[order][1:] != keys[order][:-1])) if keys.size else np.zeros(0, bool)
    return order[first]


@st.composite
def events(draw):
    n_users, n_items = draw(st.sampled_from([(1, 1), (1, 300), (300, 1), (9, 7), (2**31 - 1, 2**31 - 1)]))
    n = draw(st.integers(0, 60))
    users, items = (
        np.array(draw(st.lists(st.integers(0, min(n_ - 1, 5)) | st.just(n_ - 1), min_size=n, max_size=n)), kind)
        for n_, kind in ((n_users, draw(KINDS)), (n_items, draw(KINDS)))
    )
    values = draw(
        st.sampled_from([
            st.integers(-2, 2), st.integers(-(2**63), 2**63 - 1), st.floats(), st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, 1.5])
        ])
    )  # fmt: skip
    time = draw(st.none() | st.lists(values, min_size=n, max_size=n).map(np.array))
    if time is not None and draw(st.booleans()) and time.dtype == np.int64:
        time = time.astype("datetime64[s]")
    return users, items, n_users, n_items, time


KINDS = st.sampled_from([np.int32, np.int64])


@given(events())
def test_first_events(drawn):
    users, items, n_users, n_items, time = drawn
    if n_users > 1000:  # every pair has a number, but indptr would have that many
        users, n_users = np.unique(users, return_inverse=True)[1].astype(users.dtype), max(np.unique(users).size, 1)
    found = first_events(users, items, n_users, n_items, time)
    expected = by_sorting(users, items, n_items, time)
    assert found.rows.tolist() == expected.tolist()
    assert found.degrees.tolist() == np.bincount(users[expected], minlength=n_users).tolist()


@given(events(), st.lists(st.integers(0, 4), max_size=3), st.integers(1, 40), st.booleans())
def test_shares(drawn, counts, at_a_time, drawn_by_chance):
    users, items, _, n_items, time = drawn
    users, n_users = np.unique(users, return_inverse=True)[1].astype(users.dtype), max(np.unique(users).size, 1)
    found = first_events(users, items, n_users, n_items, time)
    time = np.zeros(users.size, np.int64) if time is None else time
    quotas = [np.where(np.arange(n_users) % 3 == 0, 0, count) for count in counts]
    rows = by_sorting(users, items, n_items, None if drawn[4] is None else time)
    if drawn_by_chance:
        order = generator(7).random(rows.size)
    else:
        rows = np.sort(rows)
        order = time[rows]
    ranks = last_ranks(users[rows], order, n_users)
    of = np.zeros(rows.size, np.int64)
    for most in np.cumsum([np.zeros(n_users, np.int64), *quotas], axis=0)[1:]:
        of += ranks >= most[users[rows]]
    expected = [sorted(rows[of == number].tolist()) for number in reversed(range(1 + len(quotas)))]
    was = rows_module.DRAWN
    rows_module.DRAWN = at_a_time
    try:
        parts = share_out(found, users.size, quotas, generator(7).random if drawn_by_chance else time)
        items_of = parts.cut(items)
        sizes = parts.sizes
    finally:
        rows_module.DRAWN = was
    assert [part.tolist() for part in parts.rows()] == expected
    assert all(part.dtype == np.int64 for part in parts.rows())
    assert sizes == [len(part) for part in expected]
    assert [part.tolist() for part in items_of] == [items[part].tolist() for part in parts.rows()]
    assert all(part.dtype == items.dtype for part in items_of)


@given(events(), st.lists(st.integers(0, 20), max_size=3), st.integers(1, 40))
def test_the_latest_of_all_users_together(drawn, counts, at_a_time):
    users, items, _, n_items, time = drawn
    users, n_users = np.unique(users, return_inverse=True)[1].astype(users.dtype), max(np.unique(users).size, 1)
    found = first_events(users, items, n_users, n_items, time)
    time = np.arange(users.size) % 3 if time is None or (time.dtype.kind == "f" and np.isnan(time).any()) else time
    quotas = []
    for count in counts:  # together no more than there are
        quotas.append(min(count, found.rows.size - sum(quotas)))
    of_one = Distinct(found.rows, np.array([0, found.rows.size]))
    expected = share_out(of_one, users.size, [np.array([quota]) for quota in quotas], time)
    was = rows_module.DRAWN
    rows_module.DRAWN = at_a_time
    try:
        parts = latest(share_out(found, users.size, []), time, quotas)
    finally:
        rows_module.DRAWN = was
    assert parts.n_parts == expected.n_parts
    assert parts.labels.tolist() == expected.labels.tolist()


def test_many_events_on_any_number_of_threads():
    draw = np.random.default_rng(0)
    users = np.minimum(draw.integers(0, 20_000, 400_000), draw.integers(0, 20_000, 400_000)).astype(np.int64)
    items, time = draw.integers(0, 50, users.size), draw.integers(0, 1000, users.size)
    expected = by_sorting(users, items, 50, time)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            distinct = first_events(users, items, 20_000, 50, time)
            assert np.array_equal(distinct.rows, expected)
            found.append(share_out(distinct, users.size, [distinct.degrees // 2, distinct.degrees // 4], time).rows())
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
    assert np.array_equal(np.sort(np.concatenate(found[0])), np.sort(expected))


def test_ids_outside_their_space_are_named():
    with pytest.raises(IndexError, match=r"event 1 is of user 2 and item 0, outside \[0, 2\) and \[0, 1\)"):
        first_events(np.array([0, 2]), np.array([0, 0]), 2, 1)
    with pytest.raises(IndexError, match="event 0 is of user 0 and item -1"):
        first_events(np.array([0, 2]), np.array([-1, 0]), 3, 1)
    with pytest.raises(ValueError, match=r"n_users \* n_items must be below 2\*\*63"):
        first_events(np.array([0]), np.array([0]), 2**32, 2**31)
