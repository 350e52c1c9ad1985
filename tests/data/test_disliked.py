"""What min_rating leaves out stays known, as the pairs that a recommendation may leave out."""

import math

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from fastgcn_rec.data import Interactions, make_dataset, synthetic_interactions

rows = st.lists(st.tuples(st.integers(0, 8), st.sampled_from("abcdef"), st.integers(1, 5)), min_size=1, max_size=60)


def pairs(data, edges):
    return set(zip(data.user_ids[edges.users].tolist(), data.item_ids[edges.items].tolist(), strict=True))


@given(
    rows, st.integers(1, 5), st.sampled_from([None, 2]), st.sampled_from(["none", "random", "temporal", "leave-k-out"])
)
def test_it_holds_the_pairs_that_never_were_rated_so_high(rows, min_rating, k_core, split):
    users, items, rating = zip(*rows, strict=True)
    events = Interactions.from_raw(users, items, rating, range(len(rows)))
    try:
        data = make_dataset("ratings", events, split, min_rating=min_rating, k_core=k_core)
    except ValueError:  # nothing is left
        reject()
    best = {}
    for user, item, value in rows:
        best[user, item] = max(value, best.get((user, item), 0))
    known = {pair for pair in best if pair[0] in data.user_ids.tolist() and pair[1] in data.item_ids.tolist()}
    assert pairs(data, data.disliked) == {pair for pair in known if best[pair] < min_rating}
    assert len(data.disliked) == len(pairs(data, data.disliked))
    assert not pairs(data, data.disliked) & (pairs(data, data.train) | pairs(data, data.test))


def events():
    return Interactions.from_raw([1, 1, 2, 2, 3], [5, 6, 5, 6, 6], rating=np.array([1, 5, 5, 1, 5], np.float32))


def test_another_numbering_keeps_it_and_the_fingerprint_is_without_it():
    data = make_dataset("ratings", events(), "none", min_rating=4)
    turned = data.renumbered(np.arange(data.n_users)[::-1], np.arange(data.n_items)[::-1])
    assert pairs(turned, turned.disliked) == pairs(data, data.disliked) == {(1, 5), (2, 6)}
    assert turned.disliked.ids == (turned.user_ids, turned.item_ids)
    without = make_dataset("ratings", events().filter_rating(4), "none")
    assert (without.fingerprint(), len(without.disliked)) == (data.fingerprint(), 0)


def test_it_is_empty_where_nothing_is_too_low():
    assert len(make_dataset("ratings", events(), "none", min_rating=-math.inf).disliked) == 0
    assert len(synthetic_interactions(20, 40, 40).disliked) == 0


def test_it_is_compared_in_the_precision_of_the_ratings():
    low = Interactions.from_raw([1, 2], [1, 1], rating=np.array([0.1, 0.2], np.float32))
    assert len(low.disliked(0.1)) == 0
    with pytest.raises(ValueError, match="needs ratings"):
        Interactions.from_raw([1], [1]).disliked(1)
