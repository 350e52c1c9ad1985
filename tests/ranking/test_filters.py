"""Which items a list may hold: against the whole list, filtered by hand, for whatever ranks."""

import functools

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from every_model import EVERY, FOREIGN, small_data, trained
from every_vectors import ByScore
from hypothesis import given
from hypothesis import strategies as st

import fastgcn_rec as fgr
from fastgcn_rec.data import Edges, Interactions, make_dataset
from fastgcn_rec.ops.dense import dense
from fastgcn_rec.ranking import filters
from fastgcn_rec.ranking import lists as ranked_lists
from fastgcn_rec.ranking.asked import is_list

K = 5


class Own:
    """Ranks by itself, as somebody's own class would."""

    def __init__(self, model):
        self.model, self.graph, self.user_ids, self.item_ids = model, model.graph, model.user_ids, model.item_ids

    def ranked(self, seen, users, k):
        return self.model.ranked(seen, users, k)


def two_stage(data):
    part, _ = data.split_valid(0.3)
    return fgr.TwoStage(fgr.MF(part, 8), ByScore(), n_candidates=data.n_items, use_ppr=False).fit(data)


RANKERS = {name: functools.partial(trained, name) for name in [*EVERY, *FOREIGN]} | {
    "Indexed": lambda: fgr.Indexed(trained("MF")),
    "Indexed cosine": lambda: fgr.Indexed(trained("MF cosine")),
    "Indexed FAISS": lambda: pytest.importorskip("faiss") and fgr.Indexed(trained("MF"), "faiss", factory="Flat"),
    "scores": lambda: fgr.ranking.as_ranker(trained("MF").scorer(), small_data()),
    "ranks itself": lambda: fgr.ranking.as_ranker(Own(trained("MF"))),
    "TwoStage": lambda: two_stage(small_data()),
}


@functools.cache
def ranker(name):
    return fgr.ranking.as_ranker(RANKERS[name]())


@functools.cache
def whole(name, how):
    """The whole list of everybody, raw ids and scores."""
    model = ranker(name)
    if how == "users":
        return model.recommend(model.user_ids, model.n_items, exclude_seen=False)
    return model.recommend_new(news(), model.n_items, exclude_seen=False)


def news():
    ids = small_data().item_ids
    return [ids[[0, 3, 7]].tolist(), ids[[2]].tolist(), []]


def by_hand(lists, seen, items, exclude, none=-1):
    """The first K of each whole list that may stand in it."""
    ids, scores = np.full((len(lists[0]), K), none, lists[0].dtype), np.full((len(lists[0]), K), -np.inf, np.float32)
    for row, (own, its) in enumerate(zip(*lists, strict=True)):
        may = [
            n
            for n, item in enumerate(own.tolist())
            if item not in seen[row]
            and (items is None or item in items[row])
            and (exclude is None or item not in exclude[row])
            and its[n] > -np.inf
        ][:K]
        ids[row, : len(may)], scores[row, : len(may)] = own[may], its[may]
    return ids, scores


def given_as(form, value, n, data):
    """The argument that says what ``value``, a list for all or n lists, does; and that as n sets."""
    if value is None:
        return None, None
    each = value if form != "all" else [value] * n
    sets = [set(row) for row in each]
    if form == "matrix":
        rows = np.repeat(np.arange(n), [len(row) for row in each])
        columns = data.items_of(np.array([item for row in each for item in row], np.int64))
        value = sp.csr_matrix((np.full(len(rows), -2.0), (rows, columns)), (n, data.n_items))
    return value, sets


@st.composite
def arguments(draw, n, data):
    """(items, exclude) as arguments and as sets."""
    found = []
    for _ in range(2):
        form = draw(st.sampled_from(["none", "all", "each", "matrix"]))
        ids = st.lists(st.sampled_from(data.item_ids.tolist()), max_size=data.n_items)  # repeated ones too
        if form == "none":
            found.append((None, None))
        elif form == "all":
            found.append(given_as(form, draw(ids), n, data))
        else:
            found.append(given_as(form, draw(st.lists(ids, min_size=n, max_size=n)), n, data))
    return found


def same(found, wanted):
    assert np.array_equal(found[0], wanted[0])
    assert np.array_equal(found[1], wanted[1])


@pytest.mark.parametrize("name", RANKERS)
@given(st.data())
def test_lists_are_the_whole_ones_filtered(name, draw):
    model, data = ranker(name), small_data()
    users = draw.draw(st.lists(st.sampled_from(range(data.n_users)), min_size=1, max_size=6))
    (items, only), (exclude, without) = draw.draw(arguments(len(users), data))
    exclude_seen = draw.draw(st.booleans())
    graph = data.graph().to_scipy()
    seen = [set(data.item_ids[graph[[u]].indices].tolist()) if exclude_seen else set() for u in users]
    found = model.recommend(data.user_ids[users], K, exclude_seen, items, exclude)
    ids, scores = whole(name, "users")
    wanted = by_hand((ids[users], scores[users]), seen, only, without)
    assert np.array_equal(found[0], wanted[0])
    if (
        name == "Indexed FAISS"
    ):  # rounds scores in its own way where it finds an item, and not where users have items of their own
        assert np.allclose(found[1], wanted[1], rtol=1e-6)
    else:
        assert np.array_equal(found[1], wanted[1])


@pytest.mark.parametrize("factory", ["HNSW4,Flat", "IVF8,Flat"])
@given(st.data())
def test_an_index_goes_on_until_lists_are_full(factory, draw):
    """One that finds little at first: every list has all that may stand in it, up to K, and nothing else."""
    pytest.importorskip("faiss")
    indexed, data = approximate(factory), small_data()
    users = draw.draw(st.lists(st.sampled_from(range(data.n_users)), min_size=1, max_size=6))
    (items, only), (exclude, without) = draw.draw(arguments(len(users), data))
    ids, scores = indexed.recommend(data.user_ids[users], K, False, items, exclude)
    every = set(data.item_ids.tolist())
    for row, own in enumerate(ids):
        may = (every if only is None else only[row]) - (set() if without is None else without[row])
        found = own[scores[row] > -np.inf].tolist()
        assert len(set(found)) == len(found) == min(K, len(may))
        assert set(found) <= may


@functools.cache
def approximate(factory):
    return fgr.Indexed(trained("MF"), "faiss", factory=factory, effort=1)


FOLDING = [*EVERY, *FOREIGN, "Indexed", "Indexed cosine"]


@pytest.mark.parametrize("name", FOLDING)
@given(st.data())
def test_so_are_those_of_new_users(name, draw):
    model, data = ranker(name), small_data()
    (items, only), (exclude, without) = draw.draw(arguments(len(news()), data))
    exclude_seen = draw.draw(st.booleans())
    seen = [set(own) if exclude_seen else set() for own in news()]
    same(model.recommend_new(news(), K, exclude_seen, items, exclude), by_hand(whole(name, "new"), seen, only, without))


def sides(model):
    """Which neighbours it has: (the method, the raw ids)."""
    yield model.similar_items, model.item_ids
    if model.vectors() is not None or isinstance(model, fgr.UserKNN):
        yield model.similar_users, model.user_ids


@pytest.mark.parametrize("name", FOLDING)
@given(st.data())
def test_so_are_neighbours(name, draw):
    for similar, ids in sides(ranker(name)):
        asked = draw.draw(st.lists(st.sampled_from(ids.tolist()), min_size=1, max_size=5))
        some = st.lists(st.sampled_from(ids.tolist()), max_size=ids.size)
        each = st.lists(some, min_size=len(asked), max_size=len(asked))
        among, exclude = draw.draw(st.none() | each), draw.draw(st.none() | each | some)
        found = similar(asked, K, among, exclude)
        none = "" if ids.dtype == object else -1
        without = [exclude or ()] * len(asked) if exclude is None or not any(map(is_list, exclude)) else exclude
        same(found, by_hand(similar(asked, ids.size), [set()] * len(asked), among, without, none))


def test_what_was_disliked_does_not_come_back():
    rows = [(u, i, 5) for u in range(20) for i in range(5)] + [(0, 9, 1)] + [(u, 9, 5) for u in range(1, 20)]
    data = make_dataset("ratings", Interactions.from_raw(*zip(*rows, strict=True)), split="none", min_rating=4)
    for model in (fgr.EASE(data, reg=10.0), fgr.MF(data, 4)):
        assert model.recommend([0], 1)[0].tolist() == [[9]]
        assert model.recommend([0, 1, 0], 1, exclude=data.disliked)[0].tolist() == [[-1], [-1], [-1]]
        assert model.recommend([0, 1], 1, exclude_seen=False, items=[9], exclude=data.disliked)[0].tolist() == [
            [-1],
            [9],
        ]


def test_edges_are_of_the_users_that_are_asked_for():
    model, data = trained("MF"), small_data()
    some = data.train.select(slice(0, 60))
    users = data.user_ids[[7, 0, 7]]
    lists = [data.item_ids[some.items[some.users == u]].tolist() for u in (7, 0, 7)]
    for option in ("items", "exclude"):
        same(model.recommend(users, K, False, **{option: some}), model.recommend(users, K, False, **{option: lists}))


@pytest.mark.parametrize("option", ["items", "exclude"])
def test_wrong_ones_are_named(option):
    model, data = trained("MF"), small_data()
    users = data.user_ids[:3]
    for value, error, says in [
        ([100, 101], ValueError, f"{option} holds 1 id that is not among the 34 items of the model: 101"),
        ([[100], [], [101]], ValueError, f"{option} holds 1 id that is not among"),
        (["tea"], TypeError, f"{option} must be integers"),
        (
            [[100]],
            ValueError,
            f"recommend: {option} must be raw ids, for all, or 3 lists of them, one for each, got 1 lists",
        ),
        ([[100], 100, [100]], TypeError, f"recommend: {option} must be raw ids, or lists of raw ids, got both: 100"),
        (sp.csr_matrix((3, 5)), ValueError, rf"recommend: {option} must have shape \[lists, n_items\] = \[3, 34\]"),
        (Edges([0], [34]), IndexError, f"recommend: {option} must hold internal ids, items below 34, got 34"),
        (make_other().train, ValueError, f"recommend: {option} has other users"),
        (1.5, TypeError, f"{option} must be integers"),
    ]:
        with pytest.raises(error, match=says):
            model.recommend(users, **{option: value})
    with pytest.raises(TypeError, match=f"recommend_new: {option} must be raw ids, .* got Edges"):
        model.recommend_new([[100]], **{option: data.train})


def make_other():
    return make_dataset("other", Interactions.from_raw(["a", "b"], [100, 103]), split="none")


@pytest.mark.parametrize("ids", [lambda own: set(own), tuple, np.array, torch.tensor, lambda own: iter(own)])
def test_ids_come_in_any_container(ids):
    model, own = trained("MF"), small_data().item_ids[:4].tolist()
    users = small_data().user_ids[:2]
    same(model.recommend(users, K, items=ids(own)), model.recommend(users, K, items=own))
    same(model.recommend(users, K, exclude=[ids(own), ids([])][:2]), model.recommend(users, K, exclude=[own, []]))


def test_a_single_id_and_nobody():
    model, data = trained("MF"), small_data()
    same(model.recommend("u03", K, exclude=103), model.recommend(["u03"], K, exclude=[103]))
    nobody = np.zeros(0, object)
    assert model.recommend(nobody, K, items=[103], exclude=[])[0].shape == (0, K)
    assert model.recommend(nobody, K, items=sp.csr_matrix((0, data.n_items)))[0].shape == (0, K)


def test_many_lists_are_taken_in_parts(monkeypatch):
    """Whatever the sizes of the parts."""
    model, data = trained("MF"), small_data()
    rng = np.random.default_rng(0)
    own = [rng.choice(data.item_ids, rng.integers(0, 30)).tolist() for _ in range(data.n_users)]
    for option in ("items", "exclude"):
        wanted = model.recommend(data.user_ids, K, **{option: own})
        with monkeypatch.context() as patch:
            patch.setattr(filters, "_PAIRS_AT_ONCE", 40)
            patch.setattr(ranked_lists, "_PAIRS_TOGETHER", 7)
            patch.setattr(ranked_lists, "_QUERIES_TOGETHER", 3)
            same(model.recommend(data.user_ids, K, **{option: own}), wanted)


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 7), st.integers(1, 20))
def test_parts_hold_all_lists_and_no_more_pairs_than_they_must(sizes, most, together):
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    parts = list(filters.in_blocks(starts, most, together))
    assert [n for part in parts for n in range(part.start, part.stop)] == list(range(len(sizes)))
    for part in parts:
        own = sizes[part]
        assert 1 <= len(own) <= most
        assert sum(own) <= together or len(own) == 1
        more = sizes[part.start : part.stop + 1]
        assert part.stop == len(sizes) or len(own) == most or sum(more) > together  # nor fewer


def test_no_matrix_of_scores_is_made_of_vectors(monkeypatch):
    """Users with some items of their own: the products that are made stay few, whatever the number of items."""
    rng = np.random.default_rng(0)
    model, made = fgr.Vectors(rng.normal(size=(2000, 4)), rng.normal(size=(20000, 4))), []

    def counted(x, w):
        made.append(len(x) * len(w))
        return dense(x, w)

    monkeypatch.setattr(ranked_lists, "dense", counted)
    model.recommend(np.arange(2000), 3, False, items=rng.integers(0, 20000, (2000, 5)))
    assert max(made) <= 128 * 1024
    assert sum(made) < 2000 * 20000 / 20


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "dict", True])
def test_tables_have_a_row_a_recommendation(kind):
    pytest.importorskip({"arrow": "pyarrow", "dict": "numpy", True: "pandas"}.get(kind, kind))
    model, data = trained("MF"), small_data()
    ids = data.item_ids[:2].tolist()
    for table, users, lists in [
        (model.recommend(data.user_ids[:3], 4, False, items=ids, as_frame=kind), data.user_ids[:3], model.recommend(data.user_ids[:3], 2, False, items=ids)),
        (model.recommend_new(news(), 4, False, items=ids, as_frame=kind), np.arange(3), model.recommend_new(news(), 2, False, items=ids)),
    ]:  # fmt: skip
        columns = {name: np.asarray(table[name]).tolist() for name in ("user", "rank", "item", "score")}
        assert list(table.keys() if kind == "dict" else getattr(table, "column_names", table.columns)) == list(columns)
        assert columns["user"] == np.repeat(users, 2).tolist()
        assert columns["rank"] == [1, 2] * 3
        assert columns["item"] == lists[0].ravel().tolist()
        assert columns["score"] == lists[1].ravel().tolist()
    with pytest.raises(ValueError, match="recommend: as_frame must be True or one of"):
        model.recommend(data.user_ids[:3], as_frame="spark")
    with pytest.raises(ValueError, match="recommend_new: as_frame must be True or one of"):
        model.recommend_new(news(), as_frame="spark")
