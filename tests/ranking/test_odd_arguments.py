"""Ids in the containers that users have, and what is none: the same lists, or an error that says what to pass."""

import io

import numpy as np
import pytest
import torch
from every_model import EVERY, FOREIGN, small_data, trained

import fastgcn_rec as fgr
from fastgcn_rec import write_recommendations
from fastgcn_rec.data import Interactions, make_dataset
from fastgcn_rec.ranking import as_ranker
from fastgcn_rec.ranking.writers import FORMATS

K = 4


def same(found, wanted):
    assert np.array_equal(found[0], wanted[0])
    assert np.array_equal(found[1], wanted[1])


def own_lists():
    ids = small_data().item_ids
    return np.random.default_rng(0).choice(ids, (3, 7)).tolist()


LISTS = {
    "array": np.array,
    "tensor": torch.tensor,
    "list of tensors": lambda rows: list(map(torch.tensor, rows)),
    "list of float arrays of nothing": lambda rows: [np.array([], int), *map(np.array, rows[1:])],
    "objects": lambda rows: np.array([*rows, []], object)[:-1],
    "pandas": lambda rows: pytest.importorskip("pandas").Series(rows),
    "list of pandas": lambda rows: list(map(pytest.importorskip("pandas").Series, rows)),
    "polars": lambda rows: pytest.importorskip("polars").Series(rows),
    "arrow": lambda rows: pytest.importorskip("pyarrow").array(rows),
    "arrow in chunks": lambda rows: pytest.importorskip("pyarrow").chunked_array([rows[:1], rows[1:]]),
    "generators": lambda rows: (iter(row) for row in rows),
    "sets": lambda rows: tuple(map(set, rows)),
}


@pytest.mark.parametrize("container", LISTS)
def test_lists_come_in_any_container(container):
    model, data, rows = trained("MF"), small_data(), own_lists()
    if container == "list of float arrays of nothing":
        rows[0] = []
    make = LISTS[container]
    for option in ("items", "exclude"):
        wanted = model.recommend(data.user_ids[:3], K, False, **{option: rows})
        same(model.recommend(data.user_ids[:3], K, False, **{option: make(rows)}), wanted)
        same(model.recommend_new(make(rows), K, **{option: make(rows)}), model.recommend_new(rows, K, **{option: rows}))


@pytest.mark.parametrize("nothing", [[], np.array([]), np.zeros(0, object), torch.tensor([]), iter([])])
def test_nothing_is_no_ids(nothing):
    model, data = trained("MF"), small_data()
    assert model.recommend(data.user_ids[:2], K, items=nothing)[0].tolist() == [[-1] * K] * 2
    assert model.recommend(nothing, K)[0].shape == (0, K)


@pytest.mark.parametrize("kind", [*EVERY, *FOREIGN])
def test_lists_go_back_in_for_the_next_page(kind):
    """With their padding, which is no id."""
    model, data = trained(kind), small_data()
    whole = model.recommend(data.user_ids, data.n_items)
    last = int((whole[0] >= 0).sum(1).min())
    for first in (3, last + 2):  # some of these are padded
        shown, _ = model.recommend(data.user_ids, first)
        same(
            model.recommend(data.user_ids, data.n_items - first, exclude=shown),
            (whole[0][:, first:], whole[1][:, first:]),
        )


def test_padding_of_texts_and_an_id_that_looks_like_it():
    for ids, padding in ((["tea", "milk"], ""), ([7, 8], -1)):
        model = fgr.Vectors(np.ones((2, 1)), np.array([[2.0], [1.0]]), item_ids=ids)
        found, _ = model.recommend([0, 1], 2, False, exclude=np.array([[ids[0], padding], [padding, padding]], object))
        assert found.tolist() == [[ids[1], padding], ids]
        with pytest.raises(ValueError, match="exclude holds 1 id that is not among"):
            model.recommend([0, 1], 2, False, exclude=[[ids[0], padding], []])
    model = fgr.Vectors(np.ones((2, 1)), np.array([[2.0], [1.0]]), item_ids=[-1, 5])
    assert model.recommend([0, 1], 1, False, exclude=np.array([[-1], [5]]))[0].tolist() == [[5], [-1]]


@pytest.mark.parametrize("option", ["items", "exclude"])
def test_what_names_no_ids_says_what_to_pass(option):
    model, data = trained("MF"), small_data()
    users, ids = data.user_ids[:2], data.item_ids[:3].tolist()
    cases = [
        (dict.fromkeys(ids), r"got a dict; for lists by user pass \[given.get\(user, \[\]\) for user in users\]"),
        (np.ones(data.n_items, bool), r"got a mask; pass ids\[mask\], or scipy.sparse.csr_array"),
        (np.ma.array([ids, ids], mask=[[0, 0, 1], [0, 0, 0]]), "must be ids throughout, got masked ones; pass lists"),
        ([np.ma.array(ids, mask=[0, 0, 1]), ids], "must be ids throughout, got masked ones; pass lists"),
        (data, "must be raw ids, lists of them, a SciPy sparse matrix or Edges, got Dataset"),
        (data.graph(), "must be raw ids, lists of them, a SciPy sparse matrix or Edges, got Graph"),
        ([{100: 1}, {100: 1}], "must be integers below"),
    ]
    for name in ("pandas", "polars"):
        frame = pytest.importorskip(name).DataFrame({"item": ids})
        cases.append((frame, "got a table, DataFrame; pass one of its columns"))
    for value, says in cases:
        with pytest.raises(TypeError, match=f"{option} .*{says}|{option} {says}"):
            model.recommend(users, **{option: value})
    with pytest.raises(TypeError, match=r"similar_items: exclude must be raw ids, .* got a dict"):
        model.similar_items([100], exclude={100: 1})
    with pytest.raises(TypeError, match=r"user_items must be raw ids, .* got a dict"):
        model.recommend_new({"ann": [100]})
    with pytest.raises(ValueError, match="must have one or two dimensions"):
        model.recommend(users, **{option: np.zeros((2, 1, 1), int)})


@pytest.mark.parametrize("value", [None, "no", [], 2, 0.0, np.array([True, True])])
def test_whether_what_is_seen_is_left_out_is_said_by_true_or_false(value):
    model, users = trained("MF"), small_data().user_ids[:2]
    with pytest.raises(TypeError, match="recommend: exclude_seen must be True or False"):
        model.recommend(users, K, value)
    with pytest.raises(TypeError, match="recommend_new: exclude_seen must be True or False"):
        model.recommend_new([[100]], K, value)
    with pytest.raises(TypeError, match="write_recommendations: exclude_seen must be True or False"):
        write_recommendations(model, io.BytesIO(), users, format="csv", exclude_seen=value)
    for yes in (1, np.True_, torch.tensor(True)):
        same(model.recommend(users, K, yes), model.recommend(users, K))


@pytest.mark.parametrize("kind", ["MF", "EASE", "Popularity", "ranks itself"])
def test_more_places_than_items_cost_nothing_where_there_is_no_padding(kind):
    data = small_data()
    model = trained("MF" if kind == "ranks itself" else kind)
    if kind == "ranks itself":
        model = as_ranker(Strict(model))
    most, users = 2**31 - 1, data.user_ids[:3]
    wanted = model.recommend(users, data.n_items, as_frame="dict")
    for name, column in model.recommend(users, most, as_frame="dict").items():
        assert np.array_equal(column, wanted[name])
    file = io.BytesIO()
    assert write_recommendations(model, file, users, most, format="csv", progress=False) == len(wanted["item"])
    same(
        [lists[:, : data.n_items] for lists in model.recommend(users, data.n_items + 5, items=[100, 103])],
        model.recommend(users, data.n_items, items=[100, 103]),
    )
    if kind != "ranks itself":
        new = model.recommend_new([[100]], most, as_frame="dict")
        assert len(new["item"]) == data.n_items - 1
    with pytest.raises(ValueError, match="k must be <= 2147483647, got 2147483648"):
        model.recommend(users, most + 1)


class Own:
    """Ranks by itself; each of its blocks is ``changed``."""

    def __init__(self, model):
        self.model, self.graph, self.user_ids, self.item_ids = model, model.graph, model.user_ids, model.item_ids

    def ranked(self, seen, users, k):
        for block in self.model.ranked(seen, users, k):
            yield self.changed(*block)

    def changed(self, users, ids, scores):
        return users, ids, scores


class Strict(Own):
    """As ``torch.topk`` is with lists that are longer than what is listed."""

    def ranked(self, seen, users, k):
        assert k <= len(self.item_ids)
        yield from super().ranked(seen, users, k)


def test_lists_of_ones_own_have_scores_of_any_kind_and_no_gap():
    model, users = trained("MF"), small_data().user_ids[:3]
    own = Own(model)
    for options in ({}, {"exclude": [100]}):
        wanted = model.recommend(users, K, **options)
        for changed in (
            lambda users, ids, scores: (users, ids, scores.clone().requires_grad_()),
            lambda users, ids, scores: (users, ids, scores.double()),
            lambda users, ids, scores: (users.tolist(), ids.tolist(), scores.tolist()),
        ):
            own.changed = changed
            found = as_ranker(own).recommend(users, K, **options)
            same(found, wanted)
            assert found[1].dtype == np.float32
        own.changed = lambda users, ids, scores: (users, ids, scores.bfloat16())
        assert np.allclose(as_ranker(own).recommend(users, K, **options)[1], wanted[1], rtol=0.01)
        own.changed = lambda users, ids, scores: (users, ids.roll(1, 1).index_fill(1, torch.tensor([1]), -1), scores)
        with pytest.raises(ValueError, match="-1 must stand behind the last item of a list"):
            as_ranker(own).recommend(users, K, **options)

    class Nobody(Own):
        def ranked(self, seen, users, k):
            for user in users:
                yield from self.model.ranked(seen, user[None], k)

    for options in ({}, {"items": [100]}):
        assert as_ranker(Nobody(model)).recommend([], K, **options)[0].shape == (0, K)
    same(as_ranker(Nobody(model)).recommend(users, K), model.recommend(users, K))


def test_scores_that_have_a_gradient_rank():
    data = small_data()
    scores = torch.randn(data.n_users, data.n_items, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for options in ({}, {"items": [100, 103]}, {"items": [[100], [103]]}):
        found = as_ranker(lambda users: scores[users], data).recommend(data.user_ids[:2], K, **options)
        plain = as_ranker(lambda users: scores.detach()[users], data).recommend(data.user_ids[:2], K, **options)
        same(found, plain)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_takes_a_part_at_a_time_gets_all(format):
    """As an unbuffered one does where a disk is nearly full."""
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow: an extra")

    class Part(io.RawIOBase):
        got = b""

        def writable(self):
            return True

        def write(self, data):
            self.got += bytes(data)[:7]
            return min(len(data), 7)

    class Full(Part):
        def write(self, data):
            return None if len(self.got) > 99 else super().write(data)

    model, file, part = trained("MF"), io.BytesIO(), Part()
    for target in (file, part):
        write_recommendations(model, target, k=3, block_users=9, format=format, progress=False)
    assert part.got == file.getvalue()
    assert not part.closed
    with pytest.raises(BlockingIOError, match="takes no more now"):
        write_recommendations(model, Full(), k=3, block_users=9, format=format, progress=False)


def test_what_cannot_be_written_is_refused_before_anything_is_ranked(tmp_path):
    model, n = trained("MF"), small_data().n_items
    for columns, says in [
        ([1, 2], "columns must map names to arrays"),
        ({3: np.zeros(n)}, "columns must map names to arrays"),
        ({"a": np.zeros(n, complex)}, r"columns\['a'\] must be numbers, texts or dates, got dtype complex128"),
        ({"a": np.full(n, b"x")}, r"columns\['a'\] must be numbers, texts or dates"),
    ]:
        with pytest.raises(TypeError, match=says):
            write_recommendations(model, tmp_path / "r.csv", columns=columns, progress=False)
    with pytest.raises(TypeError, match="path must be a path or a file that is open for writing bytes, got None"):
        write_recommendations(model, None)
    with pytest.raises(ValueError, match=r"users: line 2 must be UTF-8, got b'.xff.xfe"):
        write_recommendations(model, tmp_path / "r.csv", io.BytesIO(b"u03\n\xff\xfe"), progress=False)
    assert not list(tmp_path.iterdir())


def test_a_data_set_after_a_refit_on_a_part_of_ones_own():
    """What does not fit says what does."""
    events = Interactions.from_raw(np.repeat(np.arange(20), 6), (np.arange(120) * 7) % 15)
    data = make_dataset("toy", events, test=0.3)
    model = fgr.MF(data, 4)
    fgr.fit(model, data, valid=data.test, refit=True, epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"or dataset.with_valid\(valid\) where these are of a validation part"):
        fgr.evaluate(model, data)
    assert fgr.evaluate(model, data.with_valid(data.test), part="valid")["n_users_evaluated"] > 0
    with pytest.raises(ValueError, match="parts must be one of 'train', 'valid', 'test', or several of them, got none"):
        data.graph(parts=[])
    with pytest.raises(ValueError, match="part must be one of 'train', 'valid', 'test', got None"):
        data.graph(parts=None)


@pytest.mark.parametrize("kind", [*EVERY, *FOREIGN])
def test_lists_that_are_longer_than_what_there_is_are_padded(kind):
    model, n = trained(kind), small_data().n_items
    new = [[100], [103, 106]]
    for short, long in (
        (model.similar_items([100, 103], K), model.similar_items([100, 103], n + 5)),
        (model.recommend_new(new, K), model.recommend_new(new, n + 5)),
        (model.recommend(model.user_ids[:2], K), model.recommend(model.user_ids[:2], n + 5)),
    ):
        same([lists[:, :K] for lists in long], short)
        assert long[0].shape == long[1].shape == (2, n + 5)
        assert (long[0][:, n:] == -1).all()
        assert np.isneginf(long[1][:, n:]).all()
        assert long[1].dtype == short[1].dtype == np.float32
