"""Data by one record: known names, files of every format, what is said of them, and the record as JSON."""

import json

import numpy as np
import pytest
import scipy.sparse

from fastgcn_rec.data import DataSpec, load_dataset, make_dataset, read_csv

PLAYS = "listener,song,stars,at\nann,7,3,10\nann,8,4,11\nbob,7,5,12\nbob,9,1,13\ncid,8,2,14\n"


@pytest.fixture
def plays(tmp_path):
    (tmp_path / "plays.csv").write_text(PLAYS)
    return tmp_path / "plays.csv"


NAMED = {"user": "listener", "item": "song"}


def same(a, b):
    assert a.fingerprint() == b.fingerprint()
    for part in ("train", "test"):
        ours, theirs = getattr(a, part), getattr(b, part)
        for column in ("users", "items", "time", "weight"):
            x, y = getattr(ours, column), getattr(theirs, column)
            assert (x is None) == (y is None), column
            assert x is None or np.array_equal(x, y), column


def test_a_file_is_what_its_reader_and_make_dataset_give(plays):
    data = load_dataset(plays, **NAMED, time="at", split="temporal", test=0.4)
    same(data, make_dataset("plays", read_csv(plays, **NAMED, time="at"), "temporal", test=0.4))
    rated = load_dataset(plays, **NAMED, rating="stars", time="", min_rating=3)
    same(rated, make_dataset("plays", read_csv(plays, **NAMED, rating="stars"), min_rating=3))


def test_every_format_is_known_by_its_content(plays, tmp_path):
    pyarrow = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    pyarrow.write_table(pa.table({"listener": ["ann"], "song": [7]}), tmp_path / "p")
    scipy.sparse.save_npz(tmp_path / "m.npz", scipy.sparse.csr_matrix([[0, 2], [1, 0]]))
    (tmp_path / "r.inter").write_text("user_id:token\titem_id:token\n1\t7\n")
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "ratings.dat").write_text("1::1193::5::978300760\n")
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "train.txt").write_text("0 1 2\n1 2\n")
    (tmp_path / "split" / "test.txt").write_text("0 3\n")
    found = {
        source: DataSpec.of(tmp_path / source, **columns).resolved().reading["format"]
        for source, columns in {
            "plays.csv": NAMED, "p": NAMED, "m.npz": {}, "r.inter": {}, "ml": {}, "ml/ratings.dat": {}, "split": {}
        }.items()
    }  # fmt: skip
    assert found == {
        "plays.csv": "csv", "p": "parquet", "m.npz": "npz", "r.inter": "recbole", "ml": "movielens", "ml/ratings.dat": "movielens",
        "split": "lightgcn",
    }  # fmt: skip
    for source in ("m.npz", "r.inter", "ml"):
        assert len(load_dataset(tmp_path / source, split="none").train)
    data = load_dataset(tmp_path / "split")
    assert (data.name, len(data.train), len(data.test)) == ("split", 3, 1)
    same(data, load_dataset(tmp_path / "split" / "train.txt", test=tmp_path / "split" / "test.txt"))
    with pytest.raises(ValueError, match="comes with its split and takes no options, got seed"):
        load_dataset(tmp_path / "split", seed=1)
    with pytest.raises(ValueError, match="comes with its split, so it has no events"):
        DataSpec.of(tmp_path / "split").interactions()


def test_no_rating_and_no_time_are_said_by_an_empty_name(tmp_path):
    (tmp_path / "u.data").write_text("1\t7\t0\t978300760\n1\t8\t5\t978300761\n")
    with pytest.raises(ValueError, match="min_rating must be given"):
        load_dataset(tmp_path / "u.data", split="none")


def test_weights_are_a_column_or_the_ratings(plays):
    weighed = load_dataset(plays, **NAMED, weight="stars", split="none")
    assert sorted(weighed.train.weight.tolist()) == [1, 2, 3, 4, 5]
    same(weighed, load_dataset(plays, **NAMED, rating="stars", weight="stars", split="none"))
    same(weighed, load_dataset(plays, **NAMED, rating="stars", weight="rating", split="none"))
    with pytest.raises(ValueError, match="must be one column"):
        load_dataset(plays, **NAMED, rating="stars", weight="at")


def test_the_record_is_json_and_comes_back(plays, tmp_path):
    spec = DataSpec.of(
        plays,
        **NAMED,
        rating="stars",
        min_rating=np.float32(2),
        k_core=(1, 1),
        missing=(),
        split="random",
        seed=np.int64(3),
    )
    again = DataSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    same(again.load(), spec.load())
    resolved = DataSpec.from_dict(json.loads(json.dumps(spec.resolved().to_dict())))
    assert resolved.resolved() == resolved
    same(resolved.load(), spec.load())


def test_relative_paths_are_taken_from_a_folder(plays, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = DataSpec.of("plays.csv", **NAMED, items="items.csv", test="test.txt")
    moved = DataSpec.from_dict(spec.to_dict(), base=tmp_path)
    assert moved.source == (str(plays),)
    assert (moved.beside["items"], moved.split["test"]) == (str(tmp_path / "items.csv"), str(tmp_path / "test.txt"))
    assert DataSpec.from_dict({"source": "gowalla"}, base=tmp_path).source == ("gowalla",)
    assert DataSpec.from_dict({"source": "-"}, base=tmp_path).source == ("-",)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"source": "x", "colums": {}}, "'colums'"),
        ({"source": "x", "columns": {"usr": "a"}}, "'columns.usr'"),
        ({"source": "x", "reading": {"separator": ","}}, "'reading.separator'"),
        ({"source": "x", "split": {"tset": 0.1}}, "'split.tset'"),
        ({"columns": {}}, "needs 'source'"),
    ],
)
def test_keys_that_there_are_not_are_named(values, text):
    with pytest.raises(ValueError, match=text):
        DataSpec.from_dict(values)


def test_options_that_there_are_not_are_named(plays):
    with pytest.raises(ValueError, match="no option 'seperator'; did you mean 'sep'"):
        load_dataset(plays, seperator=";")
    with pytest.raises(ValueError, match=r"format 'npz'.* takes no options 'sep'"):
        load_dataset(plays, format="npz", sep=";")
    with pytest.raises(ValueError, match="ml-100k takes no columns 'user'"):
        load_dataset("ml-100k", user="who")


def test_what_is_no_name_and_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="got 'gowala', and no file or folder is named so"):
        load_dataset("gowala")
    for missing in ("plays.csv", "./gowala"):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            load_dataset(missing)
    (tmp_path / "gowalla").mkdir()
    assert DataSpec.of("gowalla").known
    assert not DataSpec.of("./gowalla").known


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/plays.csv.gz", "plays"),
        ("plays-*.csv", "plays"),
        ("gowalla", "gowalla"),
        ("a b.tsv", "a-b"),
        ("plays/*.csv", "plays"),
    ],
)
def test_names_are_short(source, name):
    assert DataSpec.of(source).name == name


def test_parts_of_a_record_are_mappings():
    with pytest.raises(TypeError, match="columns of a data spec must be a mapping, got list"):
        DataSpec.from_dict({"source": "x", "columns": ["user"]})


def test_a_column_that_is_not_there_is_named(plays):
    for given in ({"user": "who"}, {"item": 9}, {"time": "when"}):
        with pytest.raises(ValueError, match=f"{next(iter(given))}"):
            load_dataset(plays, **given)
    with pytest.raises(TypeError, match="user must be a column's name or position, got float"):
        load_dataset(plays, user=1.5, item="song")
