"""Texts are object arrays of str everywhere: what they cost, what they keep, and how they are looked up."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec import Index, LightGCN, Popularity, Recommender
from fastgcn_rec.core import ids as raw
from fastgcn_rec.data import Interactions, make_dataset, read_csv, read_recbole

texts = st.sampled_from(["".join(p) for n in range(4) for p in product("a\0é\U0001f600", repeat=n)])


def containers(values):
    """The same texts as people hold them."""
    yield list(values)
    yield np.array(values)
    yield np.array(values, object)
    if hasattr(np.dtypes, "StringDType"):
        yield np.array(values, np.dtypes.StringDType())
    try:
        import pyarrow as pa

        yield from (pa.array(values), pa.array(values, pa.large_string()), pa.chunked_array([values[:1], values[1:]]))
        yield pa.array(values).dictionary_encode()
    except ImportError:
        pass
    try:
        import pandas as pd

        yield from (
            pd.Series(values),
            pd.Series(values, dtype="category"),
            pd.Series(values, dtype="string"),
            pd.Index(values),
        )
    except ImportError:
        pass


def test_texts_of_any_container_become_the_same_array_of_str():
    for ids in containers(["b", "a", "c"]):
        events = Interactions.from_raw(ids, [1, 2, 3], item_ids=[3, 2, 1], item_info={"title": ids})
        assert events.user_ids.dtype == events.item_info["title"].dtype == np.dtype(object)
        assert [type(v) for v in events.user_ids] == [str] * 3
        assert events.user_ids[events.users].tolist() == ["b", "a", "c"]
        assert events.item_info["title"].tolist() == ["c", "a", "b"]


def long_csv(folder, n, text):
    (folder / "a.csv").write_text("user,item\n" + "".join(f"u{k},{k % 7}\n" for k in range(n)) + f"{text},1\n")
    return lambda: read_csv(folder / "a.csv")


def long_recbole(folder, n, text):
    (folder / "a.inter").write_text("user_id:token\titem_id:token\n1\t1\n")
    rows = "".join(f"{k}\tword\n" for k in range(n)) + f"{n}\t{text}\n"
    (folder / "a.item").write_text("item_id:token\ttitle:token_seq\n" + rows)
    return lambda: read_recbole(folder)


def long_list(folder, n, text):
    ids = [f"u{k}" for k in range(n)] + [text]
    return lambda: Interactions.from_raw(ids, range(n + 1), item_ids=range(n + 1), item_info={"title": ids})


def long_request(folder, n, text):
    ids = [f"u{k}" for k in range(n)] + [text]
    model = Popularity(make_dataset("a", Interactions.from_raw(ids, [0] * (n + 1)), split="none"))
    return lambda: model.recommend(ids, 1)


@pytest.mark.parametrize("make", [long_csv, long_recbole, long_list, long_request])
def test_a_long_text_costs_what_it_has_and_not_that_for_every_row(tmp_path, make):
    run = make(tmp_path, 2000, "x" * 100_000)
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20  # 2,000 rows of 100,000 characters: 800 MB


ENDS = ["a", "a\0", "a\0\0", "\0", "b"]


def test_texts_that_differ_in_nuls_alone_stay_apart_through_every_file_and_answer(tmp_path):
    data = make_dataset("a", Interactions.from_raw(ENDS, ENDS), split="none")
    assert sorted(data.user_ids.tolist()) == sorted(ENDS)
    LightGCN(data, 4).save(tmp_path / "m.npz")
    model = Recommender.load(tmp_path / "m.npz")
    assert model.user_ids.tolist() == data.user_ids.tolist()
    assert sorted(model.recommend("a\0", 5, exclude_seen=False)[0][0].tolist()) == sorted(ENDS)
    index = Index.build(np.eye(5), ids=ENDS)
    assert index.search(np.eye(5), 1)[0].ravel().tolist() == ENDS
    (tmp_path / "a.csv").write_bytes(b"user,item\na\0,1\na,1\n")
    assert read_csv(tmp_path / "a.csv", quoted=False).user_ids.tolist() == [
        "a",
        "a\0",
    ]  # Python 3.10's csv knows no NUL


def fingerprint(ids):
    return make_dataset("a", Interactions.from_raw(ids, [1] * len(ids)), split="none").fingerprint()


def test_fingerprints_of_texts_are_those_on_record_and_tell_nuls_apart():
    """The first were computed when ids were fixed-width unicode."""
    assert fingerprint(["ann", "bob", "Zoë"]) == "3-1-3-0-d61b73f361fdeca2"
    assert fingerprint(["", "7"]) == "2-1-2-0-5062f2d05fa19b68"
    assert len({fingerprint(ids) for ids in (["a\0", "b"], ["a", "\0b"], ["a", "b"], ["a\0", "b\0"])}) == 4


@given(st.lists(texts, unique=True, max_size=40), st.lists(texts, max_size=40), st.randoms())
def test_texts_are_found_as_a_dictionary_finds_them(space, wanted, random):
    own, given_ids = raw.as_texts(space), raw.as_texts(wanted)
    _, order, ordered = raw.IdIndex.of(own)
    assert ordered.tolist() == sorted(space)
    assert raw.among(ordered, given_ids).tolist() == [v in space for v in wanted]
    unknown = sorted({repr(v) for v in wanted if v not in space})

    def look(ids):
        return order[raw.codes_of(ids, ordered, "ids", "known")]

    if unknown:
        with pytest.raises(
            ValueError, match=f"holds {len(unknown)} ids? that (is|are) not among the {len(space)} known"
        ):
            look(given_ids)
    else:
        assert look(given_ids).tolist() == [space.index(v) for v in wanted]
    for value in space[:1]:  # few ids in a long space are searched, not hashed
        assert look(raw.as_texts([value])).tolist() == [0]


@given(st.lists(texts, max_size=30))
def test_codes_of_texts_are_ranks(ids):
    distinct, codes = raw.factorize(raw.as_texts(ids))
    assert distinct.tolist() == sorted(set(ids))
    assert distinct[codes].tolist() == ids


def test_ids_at_no_position_are_none():
    for space, none in ((raw.as_texts(["x", "y"]), ""), (np.array([7, 8]), -1)):
        assert raw.ids_at(space, np.array([[1, -1]])).tolist() == [[space[1], none]]
        assert raw.ids_at(space[:0], np.array([-1])).tolist() == [none]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("abc", r"got one text; write \['abc'\]"),
        (["a", None], "must be ids throughout, got the missing value None at position 1"),
        ([1.0, float("nan")], "the missing value nan at position 1"),
        (np.array([1.0, 2.0]), "pandas makes floats of integers where values are missing"),
        (["a", 1], "all integers or all strings, got int, str"),
        ([True, 2], "all integers or all strings, got bool, int"),
        ([2**70, 1], r"integers below 2\*\*63 or strings"),
        ([b"a", b"b"], "got dtype"),
        ({3, 4}, r"must be a list or an array, whose order counts, got a set; pass sorted\("),
        ({"a": 3}, r"must be a list or an array of ids, got {'a': 3}"),
        (np.ma.masked_array([3, 4], [True, False]), "must be ids throughout, got masked ones; drop those rows first"),
    ],
)
def test_what_is_no_id_is_named_with_a_way_out(ids, message):
    with pytest.raises(TypeError, match=message):
        Interactions.from_raw(ids, [1] * len(ids))


def test_missing_texts_of_a_column_are_empty_and_missing_numbers_nan():
    columns = {"title": ["x", None, float("nan")], "price": [1, None, 3], "when": np.array(["2020-01-01"] * 3, "M8[s]")}
    info = Interactions.from_raw([1], [1], item_ids=[1, 2, 3], item_info=columns).item_info
    assert info["title"].tolist() == ["x", "", ""]
    np.testing.assert_array_equal(info["price"], [1, np.nan, 3])
    assert info["when"].dtype.kind == "M"
    for bad, message in ((["x", 1, 2], "all numbers or all strings, got int, str"), ([{}, {}, {}], "got dict")):
        with pytest.raises(TypeError, match=rf"item_info\['c'\] must .*{message}"):
            Interactions.from_raw([1], [1], item_ids=[1, 2, 3], item_info={"c": bad})


def test_columns_of_a_data_frame_are_taken_as_they_are():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"title": ["x", None], "kind": pd.Categorical(["a", "b"]), "n": pd.array([1, None], "Int64")})
    info = Interactions.from_raw([1], [1], item_ids=[1, 2], item_info=frame).item_info
    assert (info["title"].tolist(), info["kind"].tolist()) == (["x", ""], ["a", "b"])
    np.testing.assert_array_equal(info["n"], [1, np.nan])
