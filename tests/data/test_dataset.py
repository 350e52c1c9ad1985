"""Dataset: numbering, identity, look-up of raw ids, the report and the validation cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.data import Edges, Interactions, build_dataset, make_dataset

rows = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=60)


def dataset_of(train, test=(), users=None, items=None):
    """A data set from raw integer pairs."""
    user_ids = np.unique([u for u, _ in [*train, *test]]) if users is None else np.array(users)
    item_ids = np.unique([i for _, i in [*train, *test]]) if items is None else np.array(items)

    def edges(pairs):
        pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return Edges(np.searchsorted(user_ids, pairs[:, 0]), np.searchsorted(item_ids, pairs[:, 1]))

    return build_dataset("toy", edges(train), edges(test), user_ids, item_ids)


def raw_pairs(data, part):
    return set(zip(data.user_ids[part.users].tolist(), data.item_ids[part.items].tolist(), strict=True))


@given(rows, rows)
def test_numbering_is_by_training_degree_then_raw_id_and_loses_nothing(train, test):
    data = dataset_of(train, test)
    assert raw_pairs(data, data.train) == set(train)
    assert raw_pairs(data, data.test) == set(test)
    for ids, codes in ((data.user_ids, data.train.users), (data.item_ids, data.train.items)):
        degree = np.bincount(codes, minlength=ids.size)
        order = list(zip((-degree).tolist(), ids.tolist(), strict=True))
        assert order == sorted(order)
    assert data.train.users.dtype == data.test.items.dtype == np.int32
    assert data.dropped_duplicates == len(train) - len(set(train)) + len(test) - len(set(test))


@given(rows, rows, st.randoms(use_true_random=False))
def test_fingerprint_ignores_the_order_of_rows_and_repeats(train, test, random):
    shuffled = [*train, train[0]]
    random.shuffle(shuffled)
    one, two = dataset_of(train, test), dataset_of(shuffled, test)
    assert one.fingerprint() == two.fingerprint()
    counts = [one.n_users, one.n_items, len(set(train)), len(set(test))]
    assert one.fingerprint().split("-")[:4] == [str(c) for c in counts]
    assert len(one.fingerprint().split("-")[4]) == 16


def test_fingerprint_tells_ids_pairs_parts_and_cold_ids_apart():
    base = [(1, 5), (2, 6)]
    versions = [
        dataset_of(base),
        dataset_of([(1, 6), (2, 5)]),
        dataset_of([(1, 5), (3, 6)]),
        dataset_of([(1, 5)], [(2, 6)]),
        dataset_of([(2, 6)], [(1, 5)]),
        dataset_of(base, users=[1, 2, 3]),
        dataset_of(base, items=[5, 6, 7]),
        make_dataset("toy", Interactions.from_raw(["1", "2"], [5, 6]), "none"),
        make_dataset("toy", Interactions.from_raw(["1", "2"], ["5", "6"]), "none"),
    ]
    assert len({data.fingerprint() for data in versions}) == len(versions)


def test_fingerprint_is_the_same_in_every_release():
    data = dataset_of([(1, 5), (2, 6), (2, 5)], [(1, 6)])
    assert data.fingerprint() == "2-2-3-1-9a5515dd5ae90279"


def test_raw_ids_are_found_and_unknown_ones_are_named():
    events = Interactions.from_raw(["a", "b", "b", "c"], [7, 7, 9, 9])
    data = make_dataset("cafe", events, "none")
    assert data.user_ids[data.users_of(["c", "a", "a"])].tolist() == ["c", "a", "a"]
    assert data.item_ids[data.items_of(np.array([9, 7]))].tolist() == [9, 7]
    assert data.users_of([]).tolist() == []
    with pytest.raises(ValueError, match=r"raw_ids holds 2 ids that are not among the 3 users of cafe: 'd', 'zz'"):
        data.users_of(["a", "zz", "d"])
    with pytest.raises(TypeError, match="raw_ids must be integers as the items of cafe are, got strings"):
        data.items_of(["7"])


def test_columns_and_times_follow_their_rows():
    events = Interactions.from_raw(
        [1, 2, 2],
        [5, 6, 6],
        time=[30, 20, 10],
        item_ids=[5, 6, 7],
        item_info={"title": ["five", "six", "seven"]},
        user_ids=[2, 1],
        user_info={"age": [20, 10]},
    )
    data = make_dataset("toy", events, "none")
    assert data.item_info["title"][data.items_of([7, 5, 6])].tolist() == ["seven", "five", "six"]
    assert data.user_info["age"][data.users_of([1, 2])].tolist() == [10, 20]
    order = data.users_of([1, 2])
    assert data.train.time[[data.train.users.tolist().index(u) for u in order]].tolist() == [30, 10]


def test_report_counts_what_is_odd_about_a_data_set():
    data = dataset_of([(1, 5), (1, 5), (1, 6), (2, 5)], [(1, 6), (3, 7)])
    report = data.report()
    assert (report.users, report.items, report.train, report.test) == (3, 3, 3, 2)
    assert (report.duplicates, report.overlap) == (1, 1)
    assert (report.cold_users, report.cold_items, report.users_without_test) == (1, 1, 1)
    assert report.density == pytest.approx(4 / 9)
    assert report.user_degree == (0, 1.0, 2)
    assert report.item_degree == (0, 1.0, 2)
    assert report.published is None
    assert report.fingerprint == data.fingerprint()
    for shown in ("toy", "1 without a training edge", "3 train + 2 test", data.fingerprint(), "not on record"):
        assert shown in str(report)


def test_report_says_when_a_data_set_is_not_the_published_one():
    data = build_dataset("gowalla", Edges([0], [0]), Edges([], []), np.array([1]), np.array([1]))
    assert data.report().published is False
    assert "differs from the published split" in str(data.report())


def test_report_of_nothing_is_all_zeros():
    report = make_dataset("none", Interactions.from_raw([], []), "none").report()
    assert (report.users, report.density, report.item_degree) == (0, 0.0, (0, 0.0, 0))


@given(rows, st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from(["random", "temporal", "order"]))
def test_validation_cut_takes_each_users_share_and_leaves_one(pairs, fraction, by):
    users, items = zip(*pairs, strict=True)
    events = Interactions.from_raw(users, items, time=np.arange(len(pairs)))
    data = make_dataset("toy", events, "none")
    fit, valid = data.split_valid(fraction, seed=1, by=by)
    assert not raw_pairs(data, fit.train) & raw_pairs(data, valid)
    assert raw_pairs(data, fit.train) | raw_pairs(data, valid) == set(pairs)
    degree = np.bincount(data.train.users, minlength=data.n_users)
    share = np.minimum(np.floor(degree * fraction + 0.5), np.maximum(degree - 1, 0))
    assert np.bincount(valid.users, minlength=data.n_users).tolist() == share.tolist()
    assert fit.test is data.test
    assert fit.user_ids is data.user_ids
    if by != "random":  # rows are in the order of time here
        for user in np.unique(valid.users):
            assert fit.train.time[fit.train.users == user].max() < valid.time[valid.users == user].min()


def test_the_last_rows_of_each_user_are_held_out_of_data_without_times():
    pairs = [(u, i) for i in (7, 3, 9, 0, 5) for u in (2, 0, 1)]
    data = dataset_of(pairs)
    assert data.train.time is None
    assert raw_pairs(data, data.split_valid(0.4, by="order")[1]) == {(u, i) for u in range(3) for i in (0, 5)}


def test_random_validation_cut_depends_on_the_seed_and_not_on_the_order_of_rows():
    pairs = [(u, i) for u in range(8) for i in range(20)]
    one, two = dataset_of(pairs), dataset_of(pairs[::-1])
    cut = [raw_pairs(data, data.split_valid(0.3, seed)[1]) for data, seed in ((one, 0), (two, 0), (one, 1))]
    assert cut[0] == cut[1]
    assert cut[0] != cut[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 0.0}, "fraction must lie strictly between 0 and 1, got 0.0"),
        ({"by": "temporal"}, "needs times, but toy has none"),
        ({"by": "week"}, "by must be 'random', 'temporal' or 'order', got 'week'"),
    ],
)
def test_bad_validation_cuts_are_value_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        dataset_of([(1, 2)]).split_valid(**arguments)


def test_edges_take_any_integers_and_refuse_the_rest():
    assert Edges(np.array([1], np.uint8), [2]).items.dtype == np.int32
    assert len(Edges([], [])) == 0
    with pytest.raises(TypeError, match="users must be integers"):
        Edges([0.5], [1])
    with pytest.raises(ValueError, match=r"items must lie in \[0, 2\*\*31\), got -1 to -1"):
        Edges([0], [-1])
    with pytest.raises(ValueError, match="one length, got 1 and 2"):
        Edges([0], [1, 2])


def test_build_refuses_unsorted_ids_and_edges_outside_them():
    none, one = Edges([], []), Edges([0], [0])
    with pytest.raises(ValueError, match="user_ids must be sorted and unique"):
        build_dataset("x", one, none, np.array([2, 1]), np.array([1]))
    with pytest.raises(ValueError, match=r"test.items must lie in \[0, 1\), the positions of item_ids, got 3 to 3"):
        build_dataset("x", one, Edges([0], [3]), np.array([1]), np.array([1]))
    with pytest.raises(ValueError, match="one row an item = 1"):
        build_dataset("x", one, none, np.array([1]), np.array([1]), {"title": np.array(["a", "b"])})


def test_graph_holds_the_training_edges_only():
    data = dataset_of([(1, 5), (1, 6), (2, 5)], [(2, 6), (3, 7)])
    graph = data.graph()
    assert (graph.n_users, graph.n_items, graph.n_edges) == (3, 3, 3)
    rebuilt = set()
    for user in range(graph.n_users):
        row = graph.indices[int(graph.indptr[user]) : int(graph.indptr[user + 1])]
        rebuilt |= {(int(data.user_ids[user]), int(data.item_ids[i])) for i in row.tolist()}
    assert rebuilt == {(1, 5), (1, 6), (2, 5)}


def blocks(n_blocks=8, users=60, items=40):
    """Users mostly have items of their own block; ids are shuffled."""
    rng = np.random.default_rng(0)
    n_users, n_items = n_blocks * users, n_blocks * items
    u = np.repeat(np.arange(n_users), 12)
    own = u % n_blocks + n_blocks * rng.integers(0, items, u.size)
    i = np.where(rng.random(u.size) < 0.9, own, rng.integers(0, n_items, u.size))
    info = {"title": np.array([f"item {n}" for n in range(n_items)])}
    people, known = {"age": np.arange(n_users) + 7}, np.arange(n_users)
    events = Interactions.from_raw(u, i, item_info=info, item_ids=np.arange(n_items), user_info=people, user_ids=known)
    return make_dataset("blocks", events, split="random", test=0.2)


def test_clusters_lie_together_and_the_data_stay_the_same():
    data = blocks()
    ordered = data.clustered(8)
    assert ordered.fingerprint() == data.fingerprint()
    assert ordered.item_info["title"].tolist() == [f"item {n}" for n in ordered.item_ids]
    assert ordered.user_info["age"].tolist() == (ordered.user_ids + 7).tolist()
    assert ordered.clustered(8).user_ids.tolist() == data.clustered(8).clustered(8).user_ids.tolist()
    # A block's items lie within about an eighth of all ids, where by degree they lie everywhere.
    spread = [np.mean([np.std(np.flatnonzero(d.item_ids % 8 == b)) for b in range(8)]) for d in (data, ordered)]
    assert spread[0] > 0.25 * data.n_items
    assert spread[1] < 0.1 * data.n_items
    for side in ("users", "items"):  # by degree within a cluster: it falls but where a cluster begins
        degree = np.bincount(getattr(ordered.train, side))
        assert (np.diff(degree) > 0).sum() <= 8


def test_data_too_small_for_clusters_stay_as_they_are():
    data = make_dataset("toy", Interactions.from_raw([1, 2, 2], [3, 3, 4]), split="none")
    assert data.clustered() is data
    with pytest.raises(ValueError, match="n_clusters must be >= 1, got 0"):
        data.clustered(0)


def test_columns_of_another_length_are_refused():
    ids, edges = np.array([1, 2]), Edges([0, 1], [0, 1])
    for info, one in (("item_info", "an item"), ("user_info", "a user")):
        with pytest.raises(ValueError, match=rf"{info}\['x'\] must have one row {one} = 2, got \[3\]"):
            build_dataset("toy", edges, edges, ids, ids, **{info: {"x": np.zeros(3)}})


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_negative_ids_are_refused_of_every_dtype(dtype):
    fine, bad = np.array([0, 1], dtype), np.array([1, -1], dtype)
    for name, pair in (("users", (bad, fine)), ("items", (fine, bad))):
        with pytest.raises(ValueError, match=rf"{name} must lie in \[0, 2\*\*31\), got -1 to 1"):
            Edges(*pair)
