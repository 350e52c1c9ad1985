"""Tables in memory: every library's gives what the columns give, by Arrow's interface and without it; what is wrong is named."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgcn_rec.data import Interactions, load_dataset, make_dataset, read_frame
from fastgcn_rec.data.reading import frames

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")

NAMED = {"user": "who", "item": "what", "rating": "how", "time": "when"}
UTC = dt.timezone.utc


def same(found, expected):
    for column in ("users", "items", "user_ids", "item_ids", "rating", "time"):
        ours, theirs = getattr(found, column), getattr(expected, column)
        assert (ours is None) == (theirs is None), column
        if ours is not None:
            assert ours.dtype == theirs.dtype, column
            assert ours.tolist() == theirs.tolist(), column


def duck(table):
    duckdb = pytest.importorskip("duckdb")
    return duckdb.from_arrow(table)


KINDS = {
    "dict": dict,
    "pandas": pandas.DataFrame,
    "pandas with an index": lambda columns: pandas.DataFrame(columns).set_index(["who", "what"]),
    "pandas of Arrow": lambda columns: pandas.DataFrame(columns).convert_dtypes(dtype_backend="pyarrow"),
    "pandas of its own": lambda columns: pandas.DataFrame(columns).astype({"how": "Float64"}).convert_dtypes(),
    "pandas categories": lambda columns: pandas.DataFrame(columns).astype({"who": "category", "what": "category"}),
    "polars": polars.DataFrame,
    "polars, lazy": lambda columns: polars.DataFrame(columns).lazy(),
    "arrow": pyarrow.table,
    "arrow's batch": lambda columns: pyarrow.table(columns).combine_chunks().to_batches()[0],
    "arrow's reader": lambda columns: pyarrow.table(columns).to_reader(2),
    "duckdb": lambda columns: duck(pyarrow.table(columns)),
}
IDS = st.one_of(st.lists(st.integers(-(2**40), 2**40)), st.lists(st.sampled_from(["ann", "bob", "7", "07", "ä", " x"])))
TIMES = st.sampled_from(
    [
        lambda n: list(range(n)),
        lambda n: [1_600_000_000_000 + 500 * row for row in range(n)],
        lambda n: [row / 4 + 0.125 for row in range(n)],
        lambda n: [dt.datetime(2020, 1, 1, 12) + dt.timedelta(seconds=row) for row in range(n)],
        lambda n: [dt.datetime(2020, 1, 1, tzinfo=UTC) + dt.timedelta(milliseconds=row) for row in range(n)],
        lambda n: [dt.date(2020, 1, 1 + row % 28) for row in range(n)],
        lambda n: [f"2020-01-{1 + row % 28:02d} 10:00:00+02:00" for row in range(n)],
    ]
)


@pytest.fixture(params=[True, False], ids=["arrow", "columns"])
def with_arrow(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(frames, "_arrow", lambda: None)
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_what_its_columns_give(kind, with_arrow):
    if not with_arrow and kind.startswith("arrow"):
        pytest.skip("Arrow's own tables are there only where it is")

    @settings(max_examples=25, deadline=None)
    @given(IDS, IDS, st.sampled_from([float, int, bool, np.float32]), TIMES)
    def check(users, items, number, moments):
        n = max(1, min(len(users), len(items)))
        users, items = ((ids or [1])[:n] for ids in (users, items))
        n = min(len(users), len(items))
        columns = {"who": users[:n], "what": items[:n], "how": np.arange(n).astype(number), "when": moments(n)}
        expected = Interactions.from_raw(
            columns["who"], columns["what"], columns["how"], columns["when"],
            time_unit="ms" if columns["when"][0] == 1_600_000_000_000 else None,
        )  # fmt: skip
        frame = KINDS[kind](columns)
        found = read_frame(frame, **NAMED)
        if kind == "pandas of its own" or kind == "pandas of Arrow":  # which makes float64 of float32
            expected = Interactions.from_raw(
                columns["who"], columns["what"], np.asarray(columns["how"], found.rating.dtype), columns["when"],
                time_unit="ms" if columns["when"][0] == 1_600_000_000_000 else None,
            )  # fmt: skip
        same(found, expected)

    check()


def test_columns_are_guessed_as_of_files(tmp_path):
    columns = {
        "listener": ["ann", "bob"] * 20,
        "song": list(range(20)) * 2,
        "at": [1_600_000_000_000 + n for n in range(40)],
    }
    frame = pandas.DataFrame(columns)
    frame.to_csv(tmp_path / "t.csv", index=False)
    from_file = load_dataset(tmp_path / "t.csv", split="temporal-user")
    for made in (
        make_dataset(frame, split="temporal-user"),
        make_dataset(frame, "temporal-user"),
        make_dataset("t", frame, "temporal-user"),
        load_dataset(frame, split="temporal-user"),
        make_dataset("t", polars.DataFrame(columns), "temporal-user", user="listener"),
    ):
        assert made.fingerprint() == from_file.fingerprint()
        assert np.array_equal(made.test.time, from_file.test.time)
    assert make_dataset(frame, split="none").name == "data"
    kept = read_frame(frame, time_unit="").time
    assert kept.tolist() == columns["at"]


def test_columns_by_position_and_frames_without_names():
    frame = pandas.DataFrame(np.array([[1, 7], [1, 8], [2, 7]]))
    same(read_frame(frame), Interactions.from_raw([1, 1, 2], [7, 8, 7]))
    same(read_frame(frame, user=1, item=0), Interactions.from_raw([7, 8, 7], [1, 1, 2]))
    with pytest.raises(ValueError, match="user=5 is outside the columns 0 to 1"):
        read_frame(frame, user=5)
    twice = pandas.concat([frame, frame], axis=1)
    twice.columns = ["user", "user", "item", "x"]
    with pytest.raises(ValueError, match="several columns are named 'user'; give the position of user"):
        read_frame(twice, user="user", item="item")
    same(read_frame(twice, user=0, item=2), Interactions.from_raw([1, 1, 2], [1, 1, 2]))


WRONG = {
    "NaN among pandas' integers": (lambda: pandas.DataFrame({"user": [1, None, 2], "item": [1, 2, 3]}), ValueError,
        r"column 'user' for user has missing values in 1 of 3 rows, the first in row 1; frame.dropna\(subset=\['user'\]\) drops them, and .astype\('int64'\)"),
    "pandas.NA": (lambda: pandas.DataFrame({"user": pandas.array([1, None], "Int64"), "item": [1, 2]}), ValueError, r"in 1 of 2 rows.*dropna"),
    "None among texts": (lambda: pandas.DataFrame({"user": ["a", None, None], "item": [1, 2, 3]}), ValueError, r"in 2 of 3 rows, the first in row 1"),
    "an index with NaN": (lambda: pandas.DataFrame({"user": ["a", None], "item": [1, 2]}).set_index("user"), ValueError,
        r"frame.reset_index\(\).dropna\(subset=\['user'\]\)"),
    "NaT": (lambda: pandas.DataFrame({"user": [1, 2], "item": [2, 3], "time": pandas.to_datetime([None, "2020-01-01"])}), ValueError, "column 'time' for time has missing"),
    "nulls of Polars": (lambda: polars.DataFrame({"user": [1, None], "item": [1, 2]}), ValueError, "Polars DataFrame: .*column 'user' for user h.*(nulls|missing)"),
    "nulls of Arrow": (lambda: pyarrow.table({"user": [1, None], "item": [1, 2]}), ValueError, "Arrow table: column 'user' for user holds 1 nulls"),
    "None in a dict": ({"user": [1, None], "item": [1, 2]}.copy, ValueError, "the frame: the column 'user' for user has missing values in 1 of 2 rows"),
    "floats": (lambda: pandas.DataFrame({"user": [1.0, 2.0], "item": [1, 2]}), TypeError, "pandas makes floats of integers where values are missing"),
    "two kinds": (lambda: pandas.DataFrame({"user": [1, "a"], "item": [1, 2]}), TypeError, "the pandas DataFrame: users must be all integers or all strings"),
    "no such column": (lambda: pandas.DataFrame({"u": [1]}), ValueError, "the pandas DataFrame: no column 'user' for user; the columns are u"),
    "dates of an unknown form": (lambda: pandas.DataFrame({"user": [1], "item": [2], "time": ["12/1/2010"]}), ValueError, "time_format='%d/%m/%Y' or"),
    "no table": (lambda: [1, 2], TypeError, "must be of pandas, Polars, Arrow or DuckDB, or a dict of columns, got list"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_the_way_out(case, with_arrow):
    if not with_arrow and "Arrow" in case:
        pytest.skip("Arrow's own tables are there only where it is")
    make, kind, said = WRONG[case]
    with pytest.raises(kind, match=said):
        read_frame(make(), user="user", item="item")


def test_a_column_of_weights_weighs(tmp_path):
    frame = pandas.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1], "n": [3, 4, 5], "stars": [1, 2, 3]})
    assert sorted(make_dataset(frame, "none", weight="n").train.weight.tolist()) == [3, 4, 5]
    assert sorted(make_dataset(frame, "none", rating="stars", weight="rating").train.weight.tolist()) == [1, 2, 3]
    with pytest.raises(ValueError, match="must be one column"):
        make_dataset(frame, "none", rating="stars", weight="n")
    with pytest.raises(ValueError, match="user is of tables, but inter is Interactions"):
        make_dataset("x", read_frame(frame), user="user")


def test_a_table_that_cannot_be_handed_over_is_named():
    class Old:  # as of DuckDB 1.1.0
        def __arrow_c_stream__(self):
            raise AssertionError

    with pytest.raises(
        TypeError, match=r"the table \(.* does not give its columns as Arrow asks for them: .*; a newer .* may"
    ):
        read_frame(Old(), "user", "item")


def test_no_rows_are_no_events():
    for frame in (polars.DataFrame({"user": [], "item": []}), {"user": [], "item": []},
                  pyarrow.table({"user": pyarrow.array([], "int64"), "item": pyarrow.array([], "string")})):  # fmt: skip
        assert len(read_frame(frame)) == 0


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "dict", True])
def test_a_part_of_a_data_set_is_a_table_again(kind):
    events = Interactions.from_raw(
        ["ann", "ann", "bob", "bob"] * 5, list(range(10)) * 2, [1.5, 2.5] * 10, list(range(20))
    )
    data = make_dataset("x", events, "temporal-user", test=0.4, valid=0.2, weight="rating")
    parts = {
        part: read_frame(data.to_frame(part, kind), "user", "item", "weight", "time", time_unit="")
        for part in ("train", "valid", "test")
    }
    for part, found in parts.items():
        edges = data.part(part)
        assert len(edges) == len(found)
        assert found.user_ids[found.users].tolist() == data.user_ids[edges.users].tolist()
        assert found.item_ids[found.items].tolist() == data.item_ids[edges.items].tolist()
        assert found.rating.tolist() == edges.weight.tolist()
        assert found.time.tolist() == edges.time.tolist()
    whole = data.to_frame(None, kind)
    assert list(whole["part"].to_pylist() if kind == "arrow" else whole["part"]) == [
        part for part, found in parts.items() for _ in range(len(found))
    ]


def test_a_data_set_without_times_has_no_column_of_them():
    data = make_dataset("x", Interactions.from_raw([1, 1, 2], [1, 2, 1]), "none")
    assert list(data.to_frame(kind="dict")) == ["user", "item", "part"]
    assert list(data.to_frame("test", kind="dict")["user"]) == []
    assert len(data.to_frame(None)) == 3
    with pytest.raises(ValueError, match="part must be one of 'train', 'valid', 'test', got 'tset'"):
        data.to_frame("tset")
    with pytest.raises(ValueError, match="kind must be True or one of"):
        data.to_frame(kind="excel")
