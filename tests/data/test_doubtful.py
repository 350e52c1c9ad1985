"""What would be read as something else than it is, in silence: it is refused by what decides, or read as what it is."""

import gzip
import os
import threading

import numpy as np
import pytest

from fastgcn_rec.data import DataSpec, load_dataset, read_csv, read_frame
from fastgcn_rec.data.reading.files import files_of

pa = pytest.importorskip("pyarrow")
S = 1_600_000_000


def put(folder, text, name="a.csv"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def events(path, **given):
    return DataSpec.of(path, **given).interactions()


def table(header, *columns, n=60):
    rows = [",".join(str(column(row)) for column in columns) for row in range(n)]
    return "\n".join(([header] if header else []) + rows) + "\n"


def user(row):
    return f"c{row * 7 % 9}"


def item(row):
    return f"p{row * 5 % 11}"


@pytest.mark.parametrize("values", [[1, 2, 3, 4], [5, 1, 5, 1], [1, 2, 1, 2]], ids=["more", "ratings", "flags"])
@pytest.mark.parametrize(
    "name", ["qty", "cost", "age", "country", "year", "gender", "revenue", "status", "eventType", "count", "price"]
)
def test_what_is_said_of_an_event_is_not_taken_for_its_item(tmp_path, name, values):
    text = table(f"customer,{name}", user, lambda row: values[row % 4])
    with pytest.raises(ValueError, match="which column is the item"):
        events(put(tmp_path, text))
    assert len(events(put(tmp_path, text), item=name)) == 60


def at(odd, size):
    """Times of which those of the rows `odd` are of another size."""
    return lambda row: size if row in odd else S + row


@pytest.mark.parametrize("rows", [60, 3000])
@pytest.mark.parametrize("size", [0, -1, 1000 * S, 10**6 * S, 7])
def test_times_of_several_sizes_are_refused_wherever_they_stand(tmp_path, rows, size):
    path = put(tmp_path, table("user,item,at", user, item, at({rows - 2}, size), n=rows))
    with pytest.raises(ValueError, match=r"of several sizes, such as .*time_unit='ms'"):
        events(path)
    assert events(path, time_unit="").time[rows - 2] == size
    columns = {"user": ["a"] * rows, "item": [1] * rows, "at": [at({rows - 2}, size)(row) for row in range(rows)]}
    for frame in (columns, pa.table(columns)):
        with pytest.raises(ValueError, match="of several sizes"):
            read_frame(frame)
        assert read_frame(frame, time_unit="").time[rows - 2] == size


@pytest.mark.parametrize("first", ["", "# by us\n"])
def test_the_unit_of_times_is_that_of_files_with_rows(tmp_path, first):
    put(tmp_path, "", "00.csv")
    for name, rows in (("0.csv", 0), ("1.csv", 60)):
        put(tmp_path, first + table("user,item,at", user, item, lambda row: (S + row) * 1000, n=rows), name)
    assert events(tmp_path).time.tolist() == [S + row for row in range(60)]
    put(tmp_path, first + table("user,item,at", user, item, lambda row: S + row), "2.csv")
    with pytest.raises(ValueError, match="as seconds of the 'ms' that the first rows seem to count"):
        events(tmp_path)


def test_the_unit_of_times_is_that_of_the_first_batch_with_rows():
    schema = pa.schema([("user", pa.string()), ("item", pa.int64()), ("at", pa.int64())])
    full = pa.RecordBatch.from_pydict({"user": ["a", "b"], "item": [1, 2], "at": [S * 1000, S * 1000]}, schema=schema)
    reader = pa.RecordBatchReader.from_batches(schema, [full.slice(0, 0), full])
    assert read_frame(reader).time.tolist() == [S, S]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (table("0,1,2", *[lambda row: row * 7 % 31] * 2, lambda row: row % 5 + 1), "header=True or header=False"),
        (table(",0,1", lambda row: row, *[lambda row: row * 7 % 31] * 2), "which column is the user"),
        (table("1,2,3", user, item, lambda row: row % 5 + 1), "header=True or header=False"),
        ("ann,book\nbob,tea\ncid,milk\n", "header=True or header=False"),
        (table("", lambda row: row, lambda row: row * 7 % 31, lambda row: row % 5 + 1, n=6), "column 0 may number the rows"),
        (table("x,item,x", lambda row: f"q{row}", item, user), "The column at position 0 'x' is named as another|which column is the user"),
        (table(",item", user, item), "The column at position 0 has no name"),
        ("#a,5\n#b,6\nann,7\nbob,5\n", "may be a comment or a row; comment='#'"),
        ("# by us\nuser,item\n#ann,5\nbob,6\n", "may be a comment or a row; comment='#' .* '#ann,5'"),
    ],
)  # fmt: skip
def test_names_rows_and_comments_that_may_be_each_other_are_refused(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        events(put(tmp_path, text))


@pytest.mark.parametrize("filling", [1, 60_000], ids=["small", "by Arrow"])
@pytest.mark.parametrize("again", ["user,item\n", "\ufeffuser,item\n", "\ufeffann,tea\n"])
def test_joined_files_are_seen(tmp_path, again, filling):
    text = "user,item\n" + "ann,tea of the morning\n" * filling + again + "bob,cake\n"
    said = rf"line {filling + 2}: .*where files were joined"
    with pytest.raises(ValueError, match=said):
        events(put(tmp_path, text))
    with pytest.raises(ValueError, match=said):
        read_csv(put(tmp_path, text))
    with pytest.warns(UserWarning, match="1 lines are left out"):
        assert len(read_csv(put(tmp_path, text), skip_bad_lines=1)) == filling + 1


@pytest.mark.parametrize("n", [1, 200_000])
def test_a_text_that_is_utf_8_but_for_a_few_bytes_is_not_taken_for_latin_1(tmp_path, n):
    good = "user,item\n" + "é,ü\nb,ñ\n" * n
    with pytest.raises(ValueError, match=rf"utf-8 throughout: {3 * n} characters are, and 1 bytes are of none"):
        events(put(tmp_path, good.encode() + b"c,\xe9\n"))
    assert events(put(tmp_path, good.encode())).user_ids.tolist() == ["b", "é"]
    assert events(put(tmp_path, good.encode("latin-1"))).user_ids.tolist() == ["b", "é"]
    windows = put(tmp_path, "user,item\nann,caf’é\nbob,tea\n".encode("cp1252"))
    with pytest.raises(ValueError, match="no character 0x92; encoding= names what it is, such as 'cp1252'"):
        events(windows)
    plain = put(tmp_path, "user,item\nann,tea\n".encode("utf-16-le"), "b.csv")
    with pytest.raises(ValueError, match="if so, encoding='utf-16-le'"):
        events(plain)
    assert len(events(plain, encoding="utf-16-le")) == 1
    assert events(windows, encoding="cp1252").item_ids.tolist() == ["caf’é", "tea"]


def test_a_file_counts_once_under_all_its_names(tmp_path):
    path = put(tmp_path, "user,item\nann,tea\n", "data/a.csv")
    (tmp_path / "b.csv").symlink_to(path)
    (tmp_path / "c.csv").hardlink_to(path)
    for other in (tmp_path / "b.csv", tmp_path / "c.csv", tmp_path / "data" / ".." / "data" / "a.csv"):
        with pytest.raises(ValueError, match=r"the same file as .* would count twice"):
            files_of([path, other])


def test_links_to_folders_are_followed_once_and_broken_ones_named(tmp_path):
    put(tmp_path, "user,item\nann,tea\n", "elsewhere/b.csv")
    put(tmp_path, "user,item\nbob,tea\n", "data/a.csv")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "round").symlink_to(tmp_path / "data")
    assert [path.name for path in files_of(tmp_path / "data")] == ["a.csv", "b.csv"]
    (tmp_path / "data" / "c.csv").symlink_to(tmp_path / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match=r"c\.csv is a symbolic link to .*nowhere\.csv"):
        files_of(tmp_path / "data")


def test_a_named_pipe_is_read_once(tmp_path):
    os.mkfifo(tmp_path / "plays.csv")
    raw = gzip.compress(b"user,item\nann,tea\nbob,tea\n")
    feeder = threading.Thread(target=(tmp_path / "plays.csv").write_bytes, args=(raw,), daemon=True)
    feeder.start()
    assert len(load_dataset(tmp_path / "plays.csv", split="none").train) == 2
    feeder.join()


@pytest.mark.parametrize("sep", [" ", "\t"])
def test_triples_in_files_of_lists_are_refused(tmp_path, sep):
    rows = [(row % 7, row % 11, row % 5 + 1) for row in range(40)]
    for name in ("train.txt", "test.txt"):
        put(tmp_path, "".join(sep.join(map(str, row)) + "\n" for row in rows), name)
    for source in (tmp_path / "train.txt", tmp_path):
        with pytest.raises(ValueError, match=r"a user and its items, or a user, an item and more.*format='csv'"):
            load_dataset(source)
    read = events(tmp_path / "train.txt", format="csv")
    assert (len(read), read.rating is None) == (40, False)
    with pytest.warns(UserWarning, match="pairs of test are pairs of train"):
        assert len(load_dataset(tmp_path, format="lightgcn").train)


def test_a_column_of_a_better_name_is_not_passed_over_in_silence(tmp_path):
    dates = put(tmp_path, table("customer,sku,session_id", lambda row: f"2011-01-{row % 28 + 1:02d}", item, user))
    with pytest.raises(ValueError, match=r"which column is the user\? customer has the name of one, but no ids"):
        events(dates)
    german = put(
        tmp_path, table("user,item,at,updated_at", user, item, lambda row: f"{row % 28 + 1}.12.2020", lambda row: S)
    )
    with pytest.raises(ValueError, match=r"how are the times of at .* written"):
        events(german)
    read = events(german, time_format="%d.%m.%Y")
    assert read.time[0] == 1_606_780_800


def test_decimal_commas_are_seen_beside_ids_that_look_like_numbers(tmp_path):
    rows = "".join(f"{row % 9}e5;p{row % 11};{row % 5},5\n" for row in range(60))
    read = events(put(tmp_path, "user;item;rating\n" + rows))
    assert (read.user_ids[1], read.rating[0]) == ("1e5", 0.5)
    thousands = "".join(f"u{row % 9};p{row % 11};{row % 5}.5;1,{row:03d}\n" for row in range(60))
    assert events(put(tmp_path, "user;item;rating;revenue\n" + thousands)).rating[0] == 0.5


@pytest.mark.parametrize("role", ["rating", "time"])
def test_none_is_none_beside_a_column_without_a_name(role):
    frame = {"user": ["a", "b"], "item": [1, 2], "": [5, 6]}
    assert getattr(read_frame(frame, **{role: ""}), role) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"user": 1, "item": 2}\n{"user": 3, "item": 4}\n', "is JSON, not a table"),
        (
            "%%MatrixMarket matrix coordinate real general\n%\n3 3 2\n1 2 1.0\n3 3 2.0\n",
            "Matrix Market file, not a table",
        ),
        ("user,items\nu1,a|b|c\nu2,a|d\n", "items has the name of one, but no ids"),
        ('user,items\nu1,"[1,2,3]"\nu2,"[4,5]"\n', "items has the name of one, but no ids"),
    ],
)
def test_what_is_no_table_of_events_is_refused(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        events(put(tmp_path, text))


def test_names_above_an_empty_column_are_names(tmp_path):
    read = events(put(tmp_path, "user,item,rating,at,\n3,4,5,100,\n5,6,1,200,\n"))
    assert (read.user_ids.tolist(), read.time.tolist()) == ([3, 5], [100, 200])


def test_sources_and_separators_of_another_kind_are_named(tmp_path):
    with pytest.raises(TypeError, match="source must be a name, a path or a list of paths, got int"):
        DataSpec.from_dict({"source": 5})
    with pytest.raises(ValueError, match="sep must be a text without line ends, or 'blanks'"):
        events(put(tmp_path, "user,item\na,b\n"), sep="")


def test_users_and_items_cannot_be_none(tmp_path):
    with pytest.raises(ValueError, match="which column is the user"):
        events(put(tmp_path, "user,item\na,b\n"), user="")


def test_columns_of_one_name_in_parquet_are_refused_where_they_are_meant(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array([1]), pa.array(["x"])], names=["user", "item", "user"])
    parquet.write_table(table, tmp_path / "a.parquet")
    for given in ({}, {"user": 2}, {"user": 0}):
        with pytest.raises(
            ValueError, match=r"a\.parquet: .*user and user may be|several columns are named as that of user is"
        ):
            events(tmp_path / "a.parquet", **given)


def test_a_damaged_part_is_named_where_the_first_rows_are_looked_at(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("a", "b"):
        parquet.write_table(pa.table({"user": [name], "item": [1]}), tmp_path / f"{name}.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"parquet: not a Parquet file that can be read"):
        events(tmp_path)


# ---- frames


def test_columns_that_are_named_by_other_numbers_than_their_positions_are_not_swapped():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({1: [1, 2, 1], 2: [5, 6, 7]})
    read = read_frame(frame, user=1, item=2)
    assert (read.user_ids[read.users].tolist(), read.item_ids[read.items].tolist()) == ([1, 2, 1], [5, 6, 7])
    read = read_frame(pd.DataFrame({1: [1, 2, 1], 0: [5, 6, 7]}), user=0, item=1)
    assert (read.user_ids[read.users].tolist(), read.item_ids[read.items].tolist()) == ([5, 6, 7], [1, 2, 1])
    two = pd.DataFrame([[1, 2], [3, 4]], columns=pd.MultiIndex.from_tuples([("a", "user"), ("a", "item")]))
    assert read_frame(two).item_ids.tolist() == [2, 4]


def test_nulls_among_the_values_of_a_dictionary_or_of_runs_are_nulls():
    texts = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), pa.array(["a", None]))
    runs = pa.RunEndEncodedArray.from_arrays([1, 3], ["a", None])
    for column in (texts, runs):
        with pytest.raises(ValueError, match=r"column 'user' for user holds [12] nulls"):
            read_frame(pa.table({"user": column, "item": [1, 2, 3]}), user="user")


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view"])
def test_dictionaries_and_runs_of_all_texts_are_read(kind):
    if kind == "string_view" and int(pa.__version__.split(".")[0]) < 18:
        pytest.skip("pyarrow makes no views of texts before 18")
    values = pa.array(["z", "a", "b"]).cast(kind)
    runs = pa.RunEndEncodedArray.from_arrays([1, 4], pa.array([S, S + 1]))
    codes = pa.DictionaryArray.from_arrays(pa.array([1, 2, 1, 1], pa.int8()), values)
    read = read_frame(pa.table({"user": codes, "item": [1, 2, 3, 4], "time": runs}), time="time")
    assert read.user_ids.tolist() == ["a", "b"]
    assert read.time.tolist() == [S, S + 1, S + 1, S + 1]


def test_a_refused_relation_leaves_its_connection_free():
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as own:
        plays = own.sql("select range % 7 as a, range % 5 as b from range(30)")
        with pytest.raises(ValueError, match="which column is the user"):
            read_frame(plays)
        with pytest.raises(TypeError, match="must be integers or strings"):
            read_frame(own.sql('select 1.5 as "user", 2 as item from range(30)'), user="user")
        assert len(read_frame(plays, user="a", item="b")) == 30


def test_what_is_no_table_is_refused_by_what_it_is():
    pd = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match="one alone, a Series"):
        read_frame(pd.Series(["a"]))
    with pytest.raises(TypeError, match="the column 'user' must be a list or an array, got int64"):
        read_frame({"user": np.int64(3), "item": [1]})
    assert len(read_frame({"user": iter("ab"), "item": iter([1, 2])})) == 2
    pl = pytest.importorskip("polars")
    with pytest.raises(TypeError, match="one alone, a Series"):
        read_frame(pl.Series(["a"]))


def test_moments_that_python_has_not_are_no_reason_to_fail():
    nanoseconds = pa.array([S * 10**9 + 1, S * 10**9 + 7], pa.timestamp("ns"))
    far = pa.array([2**62, 0], pa.timestamp("us"))
    for column in (nanoseconds, far):
        assert len(read_frame(pa.table({"user": ["a", "b"], "item": [1, 2], "time": column}))) == 2
