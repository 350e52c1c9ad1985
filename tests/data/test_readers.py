"""Readers: every format, its odd corners, and errors that show the file, the line number and the line."""

import sys

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastgcn_rec.data import read_csv, read_lightgcn, read_movielens, read_npz, read_parquet, read_recbole


def raw_pairs(events):
    return list(zip(events.user_ids[events.users].tolist(), events.item_ids[events.items].tolist(), strict=True))


def part_pairs(data, part):
    return sorted(zip(data.user_ids[part.users].tolist(), data.item_ids[part.items].tolist(), strict=True))


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


# ---- LightGCN


def test_lightgcn_files_allow_blank_lines_users_without_items_and_repeated_users(tmp_path):
    train = write(tmp_path / "train.txt", "0 10 11\n\n3\r\n7  12\t10 \n0 13")
    test = write(tmp_path / "test.txt", "0 14\n3\n9 10\n\n")
    data = read_lightgcn(train, test, "toy")
    assert part_pairs(data, data.train) == [(0, 10), (0, 11), (0, 13), (7, 10), (7, 12)]
    assert part_pairs(data, data.test) == [(0, 14), (9, 10)]
    assert sorted(data.user_ids.tolist()) == [0, 3, 7, 9]
    assert sorted(data.item_ids.tolist()) == [10, 11, 12, 13, 14]


def test_lightgcn_repeats_and_overlap_are_reported_and_not_fatal(tmp_path):
    train = write(tmp_path / "train.txt", "0 1 1 2\n")
    test = write(tmp_path / "test.txt", "0 2 3 3\n")
    data = read_lightgcn(train, test)
    report = data.report()
    assert (report.duplicates, report.overlap, report.train, report.test) == (2, 1, 2, 2)
    assert data.name == tmp_path.name


@pytest.mark.parametrize("text", ["", "\n\n", "5\n", "5"])
def test_lightgcn_file_without_pairs_gives_an_empty_part(tmp_path, text):
    data = read_lightgcn(write(tmp_path / "train.txt", text))
    assert len(data.train) == len(data.test) == 0
    assert data.user_ids.tolist() == ([5] if "5" in text else [])


@pytest.mark.parametrize("line", ["2 x 5", "2 -1", "2 1.5", "2 " + "9" * 19])
def test_lightgcn_malformed_line_is_shown_with_its_number(tmp_path, line):
    path = write(tmp_path / "train.txt", f"0 1\n1 2\n{line}\n3 4\n")
    with pytest.raises(ValueError, match=r"train\.txt, line 3: only integers") as error:
        read_lightgcn(path)
    assert repr(line) in str(error.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 10**18 - 1) | st.integers(0, 9), max_size=5), max_size=6))
def test_lightgcn_bulk_parser_equals_a_line_by_line_one(tmp_path, lines):
    path = write(tmp_path / "train.txt", "\n".join(" ".join(map(str, line)) for line in lines))
    data = read_lightgcn(path)
    assert part_pairs(data, data.train) == sorted({(line[0], i) for line in lines if line for i in line[1:]})
    assert sorted(data.user_ids.tolist()) == sorted({line[0] for line in lines if line})


# ---- CSV


def test_csv_reads_named_columns_in_any_order_with_quotes_and_a_byte_order_mark(tmp_path):
    path = write(tmp_path / "a.csv", '\ufeffwhen,item,"who, really",stars\n5,"x,1",ann,4.5\n\n6,"y\n2",bob,3\n')
    events = read_csv(path, user="who, really", item="item", rating="stars", time="when", newlines=True)
    assert raw_pairs(events) == [("ann", "x,1"), ("bob", "y\n2")]
    assert events.rating.tolist() == [4.5, 3]
    assert events.time.tolist() == [5, 6]
    assert events.time.dtype == np.int64


@pytest.mark.parametrize(
    ("ids", "kind"), [("1 20 -3", "i"), ("01 2 3", "O"), ("1 2 x", "O"), ("1.0 2 3", "O"), ("1 2 " + "9" * 25, "O")]
)
def test_ids_are_integers_only_if_every_one_is_canonical(tmp_path, ids, kind):
    path = write(tmp_path / "a.csv", "user,item\n" + "".join(f"{i},1\n" for i in ids.split()))
    events = read_csv(path)
    assert events.user_ids.dtype.kind == kind
    assert sorted(map(str, events.user_ids.tolist())) == sorted(ids.split())


def test_columns_that_change_kind_after_a_chunk_read_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr("fastgcn_rec.data.reading.text.CHUNK_ROWS", 2)
    path = write(tmp_path / "a.csv", "user,item,time\n7,1,1\n8,1,2\n9,1,3\nx,1,4.5\ny,1,5\n")
    events = read_csv(path, time="time")
    assert [u for u, _ in raw_pairs(events)] == ["7", "8", "9", "x", "y"]
    assert events.time.tolist() == [1, 2, 3, 4.5, 5]


def test_iso_dates_are_times(tmp_path):
    path = write(tmp_path / "a.csv", "user,item,time\n1,1,1970-01-01 00:01:00\n1,2,1970-01-02T00:00:00\n")
    assert read_csv(path, time="time").time.tolist() == [60, 86400]


def test_csv_without_a_header_takes_positions_and_long_separators(tmp_path):
    path = write(tmp_path / "a.txt", "1::7::5\n2::8::4\n")
    events = read_csv(path, user=0, item=1, rating=2, sep="::", header=False)
    assert raw_pairs(events) == [(1, 7), (2, 8)]
    with pytest.raises(ValueError, match="give a position such as user=0"):
        read_csv(path, user="user", item=1, sep="::", header=False)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3,4", "must have 3 fields, got 2"),
        ("3,4,5,6", "must have 3 fields, got 4"),
        ("3,4,five", "the rating 'five' is not a finite number"),
        (",4,5", "the user is empty"),
        ("3,4,", "the rating is empty"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_malformed_csv_line_is_shown_with_its_number(tmp_path, monkeypatch, line, message, chunk):
    monkeypatch.setattr("fastgcn_rec.data.reading.text.CHUNK_ROWS", chunk)
    path = write(tmp_path / "a.csv", f'user,item,rating\r\n"1\n1",2,3\r\n\r\n1,2,3\r\n{line}\r\n1,2,3\r\n')
    with pytest.raises(ValueError, match=rf"a\.csv, line 6: {message}") as error:
        read_csv(path, rating="rating", newlines=True)
    assert repr(line) in str(error.value)


def test_csv_missing_columns_files_and_content_are_named(tmp_path):
    path = write(tmp_path / "a.csv", "user,item\n1,2\n")
    with pytest.raises(ValueError, match="no column 'stars' for rating; the columns are user, item"):
        read_csv(path, rating="stars")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_csv(tmp_path / "b.csv")
    with pytest.raises(ValueError, match="the file is empty"):
        read_csv(write(tmp_path / "c.csv", ""))
    with pytest.raises(ValueError, match="outside the columns 0 to 1"):
        read_csv(path, user=5)


def test_csv_with_only_a_header_gives_no_events(tmp_path):
    assert len(read_csv(write(tmp_path / "a.csv", "user,item\n"))) == 0


# ---- Parquet and SciPy


def test_parquet_reads_strings_integers_and_timestamps(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    table = pa.table(
        {
            "who": ["b", "a"],
            "song": pa.array([7, 8], pa.int32()),
            "when": pa.array([1_500_000, 2_000_000], pa.timestamp("us")),
            "stars": [4.0, None],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    events = read_parquet(tmp_path / "a.parquet", "who", "song", time="when")
    assert raw_pairs(events) == [("b", 7), ("a", 8)]
    assert events.time.tolist() == [1.5, 2.0]
    with pytest.raises(ValueError, match="'stars' for rating holds 1 nulls"):
        read_parquet(tmp_path / "a.parquet", "who", "song", rating="stars")
    with pytest.raises(ValueError, match="no column 'user' for user"):
        read_parquet(tmp_path / "a.parquet")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"pip install 'fastgcn_rec\[parquet\]"):
        read_parquet(tmp_path / "a.parquet")


def test_npz_rows_are_users_and_empty_rows_stay(tmp_path):
    matrix = scipy.sparse.csr_array(np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3]]))
    matrix.data[0] = 0
    scipy.sparse.save_npz(tmp_path / "a.npz", matrix)
    events = read_npz(tmp_path / "a.npz")
    assert raw_pairs(events) == [(2, 0), (2, 2)]
    assert events.rating.tolist() == [1, 3]
    assert (events.n_users, events.n_items) == (3, 3)
    scipy.sparse.save_npz(tmp_path / "b.npz", scipy.sparse.coo_array(np.eye(2)))
    assert read_npz(tmp_path / "b.npz").rating is None


def test_npz_that_is_no_sparse_matrix_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.eye(2))
    with pytest.raises(ValueError, match="not a sparse matrix"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="not a sparse matrix"):
        read_npz(write(tmp_path / "b.npz", "no archive"))


# ---- RecBole and MovieLens

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t11\t3\t100\n2\t267\t5\t50\n2\t12\t1\t60\n"
ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "11\tCérémonie, La\t1995\tDrama\n"
    "12\tLand Before Time III (1995)\tV\tAnimation Children's\n"
    "99\tNever Rated\t1990\tDrama\n"
    "267\tunkonwn\tunkonwn\tunknown\n"
)
U_DATA = "1\t11\t3\t100\n2\t267\t5\t50\n2\t12\t1\t60\n"


def u_item_line(number, title, *genres):
    flags = "|".join("1" if g in genres else "0" for g in range(19))
    return f"{number}|{title}|01-Jan-1995||http://x|{flags}\n"


U_ITEM = (
    u_item_line(11, "Cérémonie, La (1995)", 8)
    + u_item_line(12, "Land Before Time III (1995) (V)", 3, 4)
    + u_item_line(267, "unknown", 0)
)


def test_movielens_100k_reads_alike_from_recbole_files_and_from_the_release(tmp_path):
    write(tmp_path / "toy.inter", INTER)
    write(tmp_path / "toy.item", ITEM)
    write(tmp_path / "u.data", U_DATA)
    write(tmp_path / "u.item", U_ITEM, "latin-1")
    write(
        tmp_path / "toy.user",
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n2\t53\tF\tother\t94043\n",
    )
    write(tmp_path / "u.user", "2|53|F|other|94043\n")
    for events in (read_recbole(tmp_path), read_movielens(tmp_path)):
        assert raw_pairs(events) == [(1, 11), (2, 267), (2, 12)]
        assert events.rating.tolist() == [3, 5, 1]
        assert events.time.tolist() == [100, 50, 60]
        assert events.item_ids.tolist() == [11, 12, 267]
        assert events.item_info["title"].tolist() == ["Cérémonie, La", "Land Before Time III", "unknown"]
        assert events.item_info["year"].tolist() == [1995, 1995, 0]
        assert events.item_info["genres"].tolist() == ["Drama", "Animation|Children's", "unknown"]
        assert set(events.item_info) == {"title", "year", "genres"}
        people = {name: column.tolist() for name, column in events.user_info.items()}
        assert people == {
            "age": ["", "53"],
            "gender": ["", "F"],
            "occupation": ["", "other"],
            "zip_code": ["", "94043"],
        }


def test_recbole_item_files_of_other_data_sets_keep_their_own_columns(tmp_path):
    write(tmp_path / "a.inter", "user_id:token\titem_id:token\nu1\tx\nu2\ty\n")
    write(tmp_path / "a.item", "item_id:token\tprice:float\ttags:token_seq\nx\t1.5\tred big\n")
    events = read_recbole(tmp_path / "a.inter")
    assert events.rating is None
    assert events.time is None
    assert events.item_info["price"].tolist() == ["1.5", ""]
    assert events.item_info["tags"].tolist() == ["red|big", ""]
    assert set(events.item_info) == {"price", "tags"}
    write(tmp_path / "a.user", "user_id:token\tage:float\tlikes:token_seq\nu2\t30\tred big\nu3\t4\t\n")
    events = read_recbole(tmp_path / "a.inter")
    assert {name: column.tolist() for name, column in events.user_info.items()} == {
        "age": ["", "30"],
        "likes": ["", "red|big"],
    }


def test_recbole_wrong_headers_and_folders_are_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \.inter file"):
        read_recbole(tmp_path)
    with pytest.raises(ValueError, match="line 1: every field must be NAME:TYPE"):
        read_recbole(write(tmp_path / "a.inter", "user_id\titem_id\n1\t2\n"))
    with pytest.raises(
        ValueError,
        match="no field 'item_id' or 'item' for item; the fields are user_id, thing: item= names one of them",
    ):
        read_recbole(write(tmp_path / "b.inter", "user_id:token\tthing:token\n1\t2\n"))
    with pytest.raises(ValueError, match=r"a\.inter, b\.inter; name one"):
        read_recbole(tmp_path)


def test_movielens_1m_and_csv_releases_read_alike(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir(), new.mkdir()
    write(old / "ratings.dat", "1::73::5::100\n2::2::4::50\n")
    write(old / "movies.dat", "2::Bug's Life, A (1998)::Comedy\n73::Misérables, Les (1995)::Drama|Musical\n", "latin-1")
    write(old / "users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n")
    write(new / "ratings.csv", "userId,movieId,rating,timestamp\n1,73,5.0,100\n2,2,4.0,50\n")
    write(
        new / "movies.csv",
        'movieId,title,genres\n2,"Bug\'s Life, A (1998)",Comedy\n73,"Misérables, Les (1995)",Drama|Musical\n',
    )
    for events in (read_movielens(old), read_movielens(new), read_movielens(old / "ratings.dat")):
        assert raw_pairs(events) == [(1, 73), (2, 2)]
        assert events.rating.tolist() == [5, 4]
        assert events.item_info["title"].tolist() == ["Bug's Life, A", "Misérables, Les"]
        assert events.item_info["genres"].tolist() == ["Comedy", "Drama|Musical"]
    assert read_movielens(old).user_info["age"].tolist() == ["1", "56"]
    assert read_movielens(old).user_info["occupation"].tolist() == ["10", "16"]
    assert read_movielens(new).user_info == {}


def test_movielens_without_titles_or_ratings(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"u\.data, ratings\.dat, ratings\.csv"):
        read_movielens(tmp_path)
    assert read_movielens(write(tmp_path / "ratings.dat", "1::2::3::4\n")).item_info == {}
    with pytest.raises(ValueError, match=r"ratings\.dat, line 2: must have 4 fields, got 3"):
        read_movielens(write(tmp_path / "ratings.dat", "1::2::3::4\n1::2::3\n"))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_npz_of_every_form_reads_alike(tmp_path, form):
    matrix = scipy.sparse.csr_array(np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3]]))
    scipy.sparse.save_npz(tmp_path / "a.npz", matrix.asformat(form))
    events = read_npz(tmp_path / "a.npz")
    assert sorted(zip(raw_pairs(events), events.rating.tolist(), strict=True)) == [
        ((0, 1), 2),
        ((2, 0), 1),
        ((2, 2), 3),
    ]


@pytest.mark.parametrize(
    ("member", "at", "value"),
    [
        ("indptr", 2, 10**8),
        ("indptr", 3, 0),
        ("indptr", 3, 2),
        ("indptr", 0, 1),
        ("indptr", 1, -1),
        ("indptr", 1, 3),
        ("indices", 0, 3),
        ("indices", 0, -1),
        ("shape", 0, 2**40),
        ("shape", 1, 10**9),
    ],
)
def test_npz_of_wrong_numbers_is_refused_before_they_are_used(tmp_path, member, at, value):
    scipy.sparse.save_npz(tmp_path / "a.npz", scipy.sparse.csr_array(np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3]])))
    with np.load(tmp_path / "a.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays[member] = arrays[member].astype(np.int64)
    arrays[member][at] = value
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=r"a\.npz: not a sparse matrix .*, or damaged"):
        read_npz(tmp_path / "a.npz")
