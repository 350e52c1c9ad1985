"""Arrow's columns give what whole columns give, however they are cut into batches."""

import datetime as dt
import decimal
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.data import Interactions, read_parquet

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: an extra")
pq = pytest.importorskip("pyarrow.parquet")

from fastgcn_rec.data.reading.arrow import BadRow, events_of  # noqa: E402

COLUMNS = {"user": "u", "item": "i"}
UTC = dt.timezone.utc
INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
MOMENTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))


def same(one, other):
    for name in ("users", "items", "user_ids", "item_ids", "rating", "time"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert a.dtype == b.dtype, name
            assert a.tolist() == b.tolist(), name


def cut(table, places):
    """The table's rows in batches that end at the places."""
    ends = sorted({min(place, len(table)) for place in places} | {len(table)})
    begins = [0, *ends[:-1]]
    return pa.Table.from_batches(
        [batch for begin, end in zip(begins, ends, strict=True) for batch in table.slice(begin, end - begin).to_batches()], table.schema
    )  # fmt: skip


@st.composite
def tables(draw):
    n = draw(st.integers(0, 30))

    def column(values):
        return draw(st.lists(values, min_size=n, max_size=n))

    def ids():
        few = draw(st.lists(draw(st.sampled_from([INTEGERS, TEXTS])), min_size=1, max_size=5))
        values = column(st.sampled_from(few))
        if isinstance(few[0], int):
            narrow = [pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.uint64()]
            kind = draw(st.sampled_from([k for k in narrow if fits(values, k)] + [pa.int64()]))
        else:
            kind = draw(
                st.sampled_from(
                    [pa.string(), pa.large_string(), *([pa.string_view()] if hasattr(pa, "string_view") else [])]
                )
            )
        array = pa.array(values, kind)
        if draw(st.booleans()) and "view" not in str(kind):
            array = array.dictionary_encode()
        return values, array

    users, user_array = ids()
    items, item_array = ids()
    numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
    rating, rating_array = draw(
        st.sampled_from([
            lambda: ((v := column(st.integers(-9, 9))), pa.array(v, pa.int16())),
            lambda: ((v := column(numbers)), pa.array(v, pa.float64())),
            lambda: ((v := np.array(column(numbers), np.float32)), pa.array(v)),
            lambda: ((v := np.array(column(st.booleans()), bool)), pa.array(v)),
            lambda: ((v := column(st.decimals(-999, 999, places=3))), pa.array(v, pa.decimal128(12, 3))),
            lambda: ((v := column(st.decimals(-(10**30), 10**30, places=5))), pa.array(v, pa.decimal256(40, 5))),
        ])
    )()  # fmt: skip
    unit, whole = draw(st.sampled_from(["s", "ms", "us", "ns"])), draw(st.booleans())
    stamps = column(
        MOMENTS.map(
            lambda t: (
                t.replace(microsecond=0)
                if whole or unit == "s"
                else t.replace(microsecond=t.microsecond // 1000 * 1000)
            )
        )
    )
    time, time_array = draw(
        st.sampled_from([
            lambda: (np.array(stamps, f"datetime64[{unit}]"), pa.array(stamps, pa.timestamp(unit))),
            lambda: (np.array(stamps, f"datetime64[{unit}]"), pa.array([t.replace(tzinfo=UTC) for t in stamps], pa.timestamp(unit, "Asia/Tokyo"))),
            lambda: ([t.date() for t in stamps], pa.array([t.date() for t in stamps], pa.date32())),
            lambda: ([t.date() for t in stamps], pa.array([t.date() for t in stamps], pa.date64())),
            lambda: ((v := [t.isoformat() for t in stamps]), pa.array(v, pa.string())),
            lambda: ((v := [t.isoformat() + z for t, z in zip(stamps, column(st.sampled_from(["Z", "+02:00", "-0330", "+09"])), strict=True)]), pa.array(v, pa.string()).dictionary_encode()),
            lambda: ((v := np.array(column(st.integers(-5, 5)), np.int64)), pa.array(v, pa.int64())),
            lambda: ((v := np.array(column(numbers), np.float64)), pa.array(v, pa.float64())),
        ])
    )()  # fmt: skip
    table = pa.table({"t": time_array, "u": user_array, "r": rating_array, "i": item_array})
    return (users, items, rating, time), cut(table, draw(st.lists(st.integers(0, 30), max_size=4)))


def fits(values, kind):
    try:
        return pa.array(values, kind) is not None
    except (pa.ArrowInvalid, OverflowError):
        return False


@given(tables())
def test_batches_give_what_columns_give(drawn):
    (users, items, rating, time), table = drawn
    if not len(table):
        users, items = (
            np.array(x, object if isinstance(y, str) else np.int64) for x, y in ((users, users), (items, items))
        )
    roles = {"user": "u", "item": 3, "rating": "r", "time": 0}
    found = events_of(table, roles)
    if len(table):
        same(found, Interactions.from_raw(users, items, rating, time))
    else:
        assert (len(found), found.n_users, found.rating.size, found.time.size) == (0, 0, 0, 0)
    same(events_of(iter(table.to_batches()), roles) if table.to_batches() else found, found)


@given(
    st.lists(st.integers(-(2**33), 2**33), min_size=1, max_size=9),
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.lists(st.integers(0, 9), max_size=3),
)
def test_numbers_of_a_unit_are_the_moments_that_they_count(values, unit, places):
    table = cut(pa.table({"u": [1] * len(values), "i": [1] * len(values), "t": values}), places)
    moments = table.set_column(2, "t", table.column("t").cast(pa.timestamp(unit)))
    roles = COLUMNS | {"time": "t"}
    same(events_of(table, roles, time_unit=unit), events_of(moments, roles))
    assert events_of(table, roles).time.tolist() == values
    assert (
        events_of(table.set_column(2, "t", table.column("t").cast(pa.float64())), roles, time_unit="s").time.tolist()
        == values
    )


def test_a_units_name_is_one_of_four():
    with pytest.raises(ValueError, match="time_unit must be one of 's', 'ms', 'us', 'ns' or None, got 'h'"):
        events_of(pa.table({"u": [1], "i": [1]}), COLUMNS, time_unit="h")


@pytest.mark.parametrize(
    ("role", "column", "error", "says"),
    [
        ("user", pa.array([1, 2, None, 4, None]), ValueError, "column 'x' for user holds 2 nulls; drop those rows; the first is, at row 2"),
        ("rating", pa.array([1.0, None, 3.0, 4.0, 5.0]), ValueError, "column 'x' for rating holds 1 nulls"),
        ("rating", pa.array([1.0, 2.0, 3.0, float("nan"), 5.0]), ValueError, "column 'x' for rating: must be finite, got nan.*at row 3"),
        ("time", pa.array([1.0, 2.0, 3.0, 4.0, float("inf")]), ValueError, "column 'x' for time: must be finite, got inf.*at row 4"),
        ("time", pa.array(["2020-01-01"] * 4 + ["soon"]), ValueError, "column 'x' for time: 'soon' is no ISO date.*at row 4"),
        ("time", pa.array(["2020-01-01"] * 4 + ["2020-06-31"]), ValueError, "column 'x' for time: '2020-06-31' is not a date.*at row 4"),
        ("item", pa.array([1, 2, 3, 4, 2**64 - 1], pa.uint64()), ValueError, "column 'x' for item: must fit int64.*at row 4"),
        ("time", pa.array([1, 2, 3, 4, 2**64 - 1], pa.uint64()), ValueError, r"column 'x' for time: must be below 2\*\*63.*at row 4"),
        ("user", pa.array([1.0] * 5), TypeError, "column 'x' for user must be integers or strings, got double .pandas makes floats"),
        ("user", pa.array([b"a"] * 5), TypeError, "column 'x' for user must be integers or strings, got binary"),
        ("user", pa.array([True] * 5), TypeError, "column 'x' for user must be integers or strings, got bool"),
        ("item", pa.array([[1]] * 5), TypeError, "column 'x' for item must be integers or strings, got list"),
        ("rating", pa.array(["1"] * 5), TypeError, "column 'x' for rating must be numbers, got string"),
        ("time", pa.array([True] * 5), TypeError, "column 'x' for time must be numbers or dates, got bool"),
        ("time", pa.array([1] * 5, pa.duration("s")), TypeError, r"column 'x' for time must be numbers or dates, got duration\[s\]"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_event_is_named_by_column_and_row(role, column, error, says):
    table = pa.table({"u": list(range(5)), "i": list(range(5)), "x": column})
    with pytest.raises(error, match=says):
        events_of(cut(table, [2, 3]), COLUMNS | {role: "x"})


@pytest.mark.skipif(not hasattr(pa, "uuid"), reason="pyarrow has no type of UUIDs")
def test_a_uuid_is_refused_by_name():
    column = pa.array([bytes(range(16))], pa.uuid())
    with pytest.raises(TypeError, match=r"for user must be integers or strings, got extension<arrow\.uuid>; cast it"):
        events_of(pa.table({"u": column, "i": [1]}), COLUMNS)


def test_ids_of_two_kinds_in_two_batches_are_refused():
    batches = [
        pa.RecordBatch.from_pydict({"u": pa.array([1]), "i": pa.array([1])}),
        pa.RecordBatch.from_pydict({"u": pa.array(["1"]), "i": pa.array([1])}),
    ]
    with pytest.raises(TypeError, match="column 'u' for user must be all integers or all strings"):
        events_of(batches, COLUMNS)


def test_columns_are_named_or_counted():
    table = pa.table({"u": [1], "i": [2]})
    for columns, says in (
        ({"user": "u"}, "columns must name user and item"),
        ({**COLUMNS, "title": "t"}, "columns must name user and item"),
        ({"user": "u", "item": "k"}, "there is no column 'k' for item; the columns are u, i"),
        ({"user": "u", "item": 2}, "item=2 is outside the columns 0 to 1"),
    ):
        with pytest.raises(ValueError, match=says):
            events_of(table, columns)
    with pytest.raises(TypeError, match="item must be a column's name or position, got float"):
        events_of(table, {"user": "u", "item": 1.0})
    twice = pa.Table.from_arrays([pa.array([1])] * 3, names=["u", "u", "i"])
    with pytest.raises(ValueError, match="several columns are named 'u' for user"):
        events_of(twice, COLUMNS)
    assert events_of(twice, {"user": 0, "item": 2}).n_users == 1


def test_texts_become_what_a_parser_makes_of_them():
    table = cut(pa.table({"u": ["07", "7", "b", "07"], "i": ["1"] * 4, "r": ["1,5", "2", "1,5", "x"]}), [1, 3])

    def whole(texts):
        return np.array([len(text) for text in texts.texts()], np.int64)

    def numbers(texts):
        from fastgcn_rec.data.rows import BadValue

        if "x" in texts:
            raise BadValue(texts.index("x"), "is no number")
        return np.array([float(text.replace(",", ".")) for text in texts])

    found = events_of(table, COLUMNS, ids={"user": whole})
    assert (found.user_ids.tolist(), found.users.tolist()) == ([1, 2], [1, 0, 0, 1])
    assert events_of(table.slice(0, 3), COLUMNS | {"rating": "r"}, parse={"rating": numbers}).rating.tolist() == [
        1.5,
        2.0,
        1.5,
    ]
    with pytest.raises(BadRow, match="column 'r' for rating: is no number, at row 3"):
        events_of(table, COLUMNS | {"rating": "r"}, parse={"rating": numbers})

    def refused(texts):
        from fastgcn_rec.data.rows import BadValue

        raise BadValue(texts.texts().index("b"), "no b")

    with pytest.raises(BadRow, match="column 'u' for user: no b, at row 2"):
        events_of(table, COLUMNS, ids={"user": refused})


def test_a_dictionary_may_hold_texts_twice_and_texts_that_nobody_has():
    column = pa.DictionaryArray.from_arrays(pa.array([3, 1, 1]), pa.array(["none", "a", "a", "b"]))
    found = events_of(pa.table({"u": column, "i": [1, 1, 1]}), COLUMNS)
    assert (found.user_ids.tolist(), found.users.tolist()) == (["a", "b"], [1, 0, 0])


def test_decimals_are_rounded_as_python_rounds_them():
    values = [decimal.Decimal("4.35"), decimal.Decimal("0.1"), decimal.Decimal("-2.675")]
    column = pa.array(values, pa.decimal128(30, 3)).slice(1)
    found = events_of(pa.table({"u": [1, 1], "i": [1, 2], "r": column}), COLUMNS | {"rating": "r"})
    assert found.rating.tolist() == [0.1, -2.675]


# ---- Parquet


def test_many_files_are_read_as_one(tmp_path):
    rows = [(u, i, t) for u in range(9) for i in range(7) for t in (u * i,)]
    users, items, times = (list(column) for column in zip(*rows, strict=True))
    whole = Interactions.from_raw([f"u{u}" for u in users], items, time=times)
    cuts = [0, 10, 11, 40, len(rows)]
    for n, (begin, end) in enumerate(itertools.pairwise(cuts)):
        kinds = (pa.int32(), pa.int64())
        table = pa.table({
            "i": pa.array(items[begin:end], kinds[n % 2]),
            "time": times[begin:end],
            "u": pa.array([f"u{u}" for u in users[begin:end]]),
        })  # fmt: skip
        pq.write_table(
            table if n != 2 else table.set_column(2, "u", table.column("u").dictionary_encode()),
            tmp_path / f"part-{n}.parquet",
            row_group_size=7,
        )
    (tmp_path / "_SUCCESS").write_text("")
    files = sorted(tmp_path.glob("*.parquet"))
    for path in (
        tmp_path,
        files,
        [str(f) for f in files],
        tmp_path / "part-*.parquet",
        str(tmp_path / "part-[0-3].parquet"),
    ):
        same(read_parquet(path, "u", "i", time="time"), whole)
    same(read_parquet(files, 2, 0, time=1), whole)
    with pytest.raises(FileNotFoundError, match=r"no file matches .*plays-\*.parquet"):
        read_parquet(tmp_path / "plays-*.parquet")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.parquet does not exist"):
        read_parquet([files[0], tmp_path / "nowhere.parquet"])
    with pytest.raises(ValueError, match="empty list"):
        read_parquet([])


def test_files_are_found_as_those_of_text_are(tmp_path, monkeypatch):
    table = pa.table({"user": [1, 2], "item": [3, 4]})
    for name in ("a.parquet", "b.parquet", "_a.parquet", ".b.parquet"):
        pq.write_table(table, tmp_path / name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path, "~/*.parquet", "~", [tmp_path / "a.parquet", "~/b.parquet"]):
        assert len(read_parquet(path)) == 4
    with pytest.raises(ValueError, match=r"a\.parquet is named more than once"):
        read_parquet([tmp_path, tmp_path / "a.parquet"])
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    with pytest.raises(ValueError, match="files of several kinds"):
        read_parquet(tmp_path)


def test_folders_names_are_columns(tmp_path):
    for day, items in (("2020-01-02", [1, 2]), ("2020-01-01", [3])):
        (tmp_path / f"day={day}").mkdir()
        pq.write_table(pa.table({"user": [7] * len(items), "item": items}), tmp_path / f"day={day}" / "a.parquet")
    events = read_parquet(tmp_path, time="day")
    assert events.item_ids[events.items].tolist() == [3, 1, 2]
    assert events.time.tolist() == [1577836800, 1577923200, 1577923200]


def test_the_file_and_its_row_are_named(tmp_path):
    for n, column in enumerate(([1, 2, 3], [4, 5, None], [6.0])):
        pq.write_table(pa.table({"user": column, "item": column}), tmp_path / f"{n}.parquet")
    with pytest.raises(ValueError, match=r"1\.parquet: column 'user' for user holds 1 nulls.*at row 2"):
        read_parquet([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    with pytest.raises(TypeError, match=r"2\.parquet: column 'user' for user must be integers"):
        read_parquet([tmp_path / "0.parquet", tmp_path / "2.parquet"])
    pq.write_table(pa.table({"user": [1]}), tmp_path / "3.parquet")
    with pytest.raises(ValueError, match=r"3\.parquet: there is no column 'item', which the first file has"):
        read_parquet([tmp_path / "0.parquet", tmp_path / "3.parquet"])
    whole = (tmp_path / "0.parquet").read_bytes()
    (tmp_path / "4.parquet").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match=r"4\.parquet: not a Parquet file that can be read"):
        read_parquet([tmp_path / "0.parquet", tmp_path / "4.parquet"])


@pytest.mark.parametrize("seed", range(4))
def test_rows_with_nulls_are_left_out_as_many_as_are_allowed(tmp_path, seed, monkeypatch):
    monkeypatch.setattr("fastgcn_rec.data.reading.parquet.BATCH_ROWS", 7)
    rng = np.random.default_rng(seed)
    columns = {name: [None if rng.random() < 0.1 else int(v) for v in rng.integers(0, 9, 60)] for name in ("user", "item", "time", "other")}  # fmt: skip
    table = pa.table(columns)
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for file, part in zip(files, (table.slice(0, 25), table.slice(25)), strict=True):
        pq.write_table(part, file)
    bad = [row for row in range(60) if any(columns[name][row] is None for name in ("user", "item", "time"))]
    whole = table.drop(["other"]).filter([row not in bad for row in range(60)])
    with pytest.warns(UserWarning, match=rf"^\S+{'ab'[bad[0] >= 25]}\.parquet and 1 more: {len(bad)} rows are left out, the first is row {bad[0] % 25}"):  # fmt: skip
        events = read_parquet(files, time="time", skip_bad_lines=len(bad))
    same(events, events_of(whole, {"user": "user", "item": "item", "time": "time"}))
    with pytest.raises(
        ValueError, match=rf"\.parquet: column .* the first at row {bad[0] % 25}; skip_bad_lines={len(bad)} "
    ):
        read_parquet(files, time="time", skip_bad_lines=len(bad) - 1)


def test_rows_behind_those_that_are_left_out_are_counted_in_the_file(tmp_path):
    times = ["2020-01-02", None, "2020-01-03", None, "soon"]
    pq.write_table(pa.table({"user": [1] * 5, "item": [2] * 5, "time": times}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: .*soon.*at row 4"):
        read_parquet(tmp_path / "a.parquet", time="time", skip_bad_lines=2)


def test_only_the_columns_that_are_asked_for_are_read(tmp_path):
    table = pa.table({"user": [1, 2], "item": [1, 2], "blob": [b"x" * 10, None]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert len(read_parquet(tmp_path / "a.parquet")) == 2
