"""Parts that come split, from files of every kind, tables and Interactions: the same data set as from the events at once."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgcn_rec.data import DataSpec, Edges, Interactions, load_dataset, make_dataset, read_lightgcn, read_split

PARTS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def whole():
    rng = np.random.default_rng(0)
    events = Interactions.from_raw(
        rng.integers(3, 43, 900), rng.integers(100, 130, 900), rng.integers(1, 6, 900), 10**9 + np.arange(900)
    )
    return make_dataset("whole", events, split="temporal-user", valid=0.1)


def columns_of(data, part):
    edges = data.part(part)
    return {
        "user": data.user_ids[edges.users],
        "item": data.item_ids[edges.items],
        "rating": np.ones(len(edges), int),
        "time": edges.time,
    }


def interactions(data, part):
    columns = columns_of(data, part)
    return Interactions.from_raw(columns["user"], columns["item"], columns["rating"], columns["time"])


def csv(data, part, folder, sep=",", suffix="csv", header="user,item,rating,time"):
    path = folder / f"{part}.{suffix}"
    lines = zip(*(column.tolist() for column in columns_of(data, part).values()), strict=True)
    path.write_text("\n".join([header, *(sep.join(map(str, line)) for line in lines)]) + "\n")
    return path


def parquet(data, part, folder):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as pq

    path = folder / f"{part}.parquet"
    pq.write_table(pa.table(columns_of(data, part)), path)
    return path


def recbole(data, part, folder):
    path = csv(data, part, folder, "\t", "inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float")
    (folder / "plays.item").write_text(
        "item_id:token\tname:token\n" + "".join(f"{i}\tname {i}\n" for i in data.item_ids)
    )
    return path.rename(folder / f"plays.part{1 + PARTS.index(part)}.inter")


def lists(data, part, folder):
    path, columns = folder / f"{part}.txt", columns_of(data, part)
    lines = [
        " ".join(map(str, [user, *columns["item"][columns["user"] == user].tolist()]))
        for user in np.unique(columns["user"])
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def npz(data, part, folder):
    path, columns = folder / f"{part}.npz", columns_of(data, part)
    shape = data.user_ids.max() + 1, data.item_ids.max() + 1
    sp.save_npz(path, sp.csr_matrix((columns["rating"], (columns["user"], columns["item"])), shape))
    return path


FILES = {
    "csv": csv,
    "csv.gz": lambda data, part, folder: packed(csv(data, part, folder)),
    "tsv": lambda data, part, folder: csv(data, part, folder, "\t", "tsv", "user\titem\trating\ttime"),
    "parquet": parquet,
    "recbole": recbole,
    "lists": lists,
    "npz": npz,
}
SOURCES = FILES | {
    "Interactions": lambda data, part, folder: interactions(data, part),
    "dict": lambda data, part, folder: columns_of(data, part),
    "pandas": lambda data, part, folder: pytest.importorskip("pandas").DataFrame(columns_of(data, part)),
    "polars": lambda data, part, folder: pytest.importorskip("polars").DataFrame(columns_of(data, part)),
}


def packed(path):
    import gzip

    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return target


def raw_pairs(data, part):
    edges = data.part(part)
    return sorted(zip(data.user_ids[edges.users].tolist(), data.item_ids[edges.items].tolist(), strict=True))


def same(found, whole):
    if found.n_users != whole.n_users or found.n_items != whole.n_items:  # of matrices, whose rows are users
        assert all(raw_pairs(found, part) == raw_pairs(whole, part) for part in PARTS)
    else:
        assert found.fingerprint() == whole.fingerprint()
        assert found.user_ids.tolist() == whole.user_ids.tolist()


@pytest.mark.parametrize("kind", SOURCES)
def test_the_parts_of_every_kind_make_the_data_set_they_were_cut_from(kind, whole, tmp_path):
    parts = {part: SOURCES[kind](whole, part, tmp_path) for part in PARTS}
    found = read_split(**parts, name="plays")
    same(found, whole)
    assert found.name == "plays"
    if kind not in ("lists", "npz"):
        assert [len(found.part(part).time) for part in PARTS] == [len(whole.part(part)) for part in PARTS]
    without = read_split(parts["train"], test=parts["test"], name="plays")
    assert len(without.valid) == 0
    assert raw_pairs(without, "test") == raw_pairs(whole, "test")


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "npz"])
def test_a_folder_of_parts_is_their_split(kind, whole, tmp_path):
    folder = tmp_path / "plays"
    folder.mkdir()
    paths = {part: FILES[kind](whole, part, folder) for part in PARTS}
    (folder / ".hidden").write_text("x")
    spec = DataSpec.of(folder)
    for found in (read_split(folder), load_dataset(folder), spec.load(), DataSpec.from_dict(spec.to_dict()).load()):
        same(found, whole)
        assert found.name == "plays"
    with pytest.raises(ValueError, match="plays comes with its split, so it has no events"):
        spec.interactions()
    with pytest.raises(ValueError, match="plays comes with its split and takes no options, got seed"):
        load_dataset(folder, seed=3)
    given = load_dataset(paths["train"], valid=paths["valid"], test=paths["test"])
    same(given, whole)
    paths["valid"].unlink()
    if kind != "recbole":  # whose parts are numbered
        assert len(load_dataset(folder).valid) == 0


def test_recbole_parts_bring_the_columns_of_their_one_file(whole, tmp_path):
    for part in PARTS:
        recbole(whole, part, tmp_path)
    found = read_split(tmp_path)
    assert found.item_info["title"].tolist() == [f"name {i}" for i in found.item_ids]


def test_lightgcn_takes_a_third_file(whole, tmp_path):
    train, valid, test = (lists(whole, part, tmp_path) for part in PARTS)
    same(read_lightgcn(train, test, valid_path=valid), whole)
    alone = read_lightgcn(train, valid_path=valid)
    assert len(alone.test) == 0
    assert raw_pairs(alone, "valid") == raw_pairs(whole, "valid")


def test_one_file_of_lists_is_events_to_be_split(whole, tmp_path):
    found = load_dataset(lists(whole, "train", tmp_path), split="random", test=0.3, seed=2)
    assert sorted(raw_pairs(found, "train") + raw_pairs(found, "test")) == raw_pairs(whole, "train")
    assert len(found.test) > 0


pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), min_size=1, max_size=25)


@settings(max_examples=50)
@given(pairs, pairs, pairs)
def test_pairs_in_several_parts_are_counted_and_said(train, valid, test):
    given = {
        part: Interactions.from_raw(*zip(*rows, strict=True))
        for part, rows in zip(PARTS, (train, valid, test), strict=True)
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_split(**given, name="toy")
    lost, both = len(set(valid) & set(train)), len(set(test) & (set(train) | set(valid)))
    said = [str(one.message) for one in caught]
    assert len(said) == bool(lost or both)
    assert all((f"{lost} of {len(set(valid))} pairs of valid are" in text) == bool(lost) for text in said)
    assert all((f"{both} of {len(set(test))} pairs of test are" in text) == bool(both) for text in said)
    assert raw_pairs(found, "train") == sorted(set(train))
    assert raw_pairs(found, "valid") == sorted(set(valid) - set(train))
    assert raw_pairs(found, "test") == sorted(set(test))
    assert found.report().overlap == both
    rows = len(train) + len(valid) + len(test)
    assert found.dropped_duplicates == rows - len(found.train) - len(found.valid) - len(found.test)


def test_weights_and_thresholds_are_those_of_all_parts():
    train = {"u": [1, 2, 3], "i": [5, 6, 5], "stars": [5, 2, 4]}
    test = {"u": [1], "i": [6], "stars": [3]}
    columns = {"user": "u", "item": "i"}
    found = read_split(train, test=test, **columns, weight="stars")
    assert sorted(found.train.weight.tolist()) == [2, 4, 5]
    assert found.test.weight.tolist() == [3]
    assert read_split(train, test=test, **columns, rating="stars").train.weight is None
    assert len(read_split(train, test=test, **columns, rating="stars", min_rating=4).train) == 2
    with pytest.raises(ValueError, match="test: min_rating must be given where ratings are not all above 0"):
        read_split(train, test={**test, "stars": [0]}, **columns, rating="stars")
    with pytest.raises(ValueError, match="weight='rating' needs ratings, but train has none"):
        read_split(Interactions.from_raw([1], [2]), weight="rating")
    with pytest.raises(ValueError, match="rating='stars' and weight='u' must be one column"):
        read_split(train, **columns, rating="stars", weight="u")


def test_a_folder_takes_thresholds_and_weights_and_known_names_no_files(whole, tmp_path):
    (tmp_path / "train.csv").write_text("user,item,stars\n1,5,5\n2,6,2\n3,5,4\n1,6,3\n")
    (tmp_path / "test.csv").write_text("user,item,stars\n2,5,4\n3,6,1\n")
    found = load_dataset(tmp_path, rating="stars", min_rating=4)
    assert (len(found.train), len(found.test)) == (2, 1)
    for options in ({"weight": "stars"}, {"rating": "stars", "weight": "rating"}):
        assert sorted(load_dataset(tmp_path, **options).train.weight.tolist()) == [2, 3, 4, 5]
    assert load_dataset(tmp_path, rating="stars").train.weight is None
    with pytest.raises(ValueError, match="gowalla takes no files for 'valid'"):
        load_dataset("gowalla", valid=str(tmp_path / "test.csv"))


def test_columns_of_users_and_items_are_those_of_any_part():
    one = Interactions.from_raw([1, 1], [5, 6], item_ids=[5, 6], item_info={"title": ["five", "six"], "year": [1, 2]})
    two = Interactions.from_raw(
        [2], [7], item_ids=[6, 7], item_info={"title": ["other", "seven"]}, user_ids=[2], user_info={"age": [30]}
    )
    found = read_split(one, test=two, name="x")
    assert dict(zip(found.item_ids.tolist(), found.item_info["title"].tolist(), strict=True)) == {
        5: "five",
        6: "six",
        7: "seven",
    }
    assert dict(zip(found.item_ids.tolist(), found.item_info["year"].tolist(), strict=True)) == {5: 1, 6: 2, 7: 0}
    assert dict(zip(found.user_ids.tolist(), found.user_info["age"].tolist(), strict=True)) == {1: 0, 2: 30}


def test_what_does_not_fit_is_named(whole, tmp_path):
    path = csv(whole, "train", tmp_path)
    with pytest.raises(ValueError, match=r"the user ids are integers in train, texts in test; ids='text' reads"):
        read_split(path, test=Interactions.from_raw(["a"], [1]))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv does not exist"):
        read_split(path, test=tmp_path / "nowhere.csv")
    with pytest.raises(TypeError, match="valid must be a path, a table or Interactions, got float"):
        read_split(path, valid=0.1)
    with pytest.raises(TypeError, match="train must be a path, a table or Interactions, got Edges"):
        read_split(Edges([0], [0]))
    csv(whole, "test", tmp_path)
    (tmp_path / "test.tsv").write_text("x")
    with pytest.raises(ValueError, match=r"holds several files for test: test\.csv, test\.tsv; name the files of all"):
        load_dataset(tmp_path)
    with pytest.raises(ValueError, match=r"test=b\.csv must be beside one file of train, got a\.csv, c\.csv"):
        DataSpec.of(["a.csv", "c.csv"], test="b.csv").resolved()
    with pytest.raises(ValueError, match=r"takes no options 'separator'"):
        read_split(path, separator=";")


def test_a_part_is_read_as_train_is(tmp_path):
    """Of a part with few rows nothing is guessed: columns and times mean what they mean in train."""
    rng = np.random.default_rng(0)
    rows = [f"{u},{i},{1_600_000_000_000 + 1000 * n}" for n, (u, i) in enumerate(rng.integers(0, 20, (200, 2)))]
    (tmp_path / "train.csv").write_text("\n".join(["listener,song,at", *rows]) + "\n")
    (tmp_path / "test.csv").write_text("listener,song,at\n3,25,86400000\n")
    (tmp_path / "valid.csv").write_text("listener,song,at\n")
    found = load_dataset(tmp_path)
    assert len(found.valid) == 0
    assert found.train.time.min() == 1_600_000_000
    assert found.test.time.tolist() == [86400]
