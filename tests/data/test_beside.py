"""Tables of items and users beside the events: of any kind, by the right column, aligned, and said."""

import json

import numpy as np
import pytest

from fastgcn_rec.data import DataSpec, Interactions, load_dataset, make_dataset
from fastgcn_rec.data.beside import attach

EVENTS = "user,movieId,at\n" + "".join(f"{n % 7},{10 + n % 5},{n}\n" for n in range(35))
MOVIES = [
    ("14", "Four Rooms", "Comedy", 1995, "1995-12-25"),
    ("10", "Ten, and more", "Drama", 1979, "1979-10-05"),
    ("11", "Eleven", "Crime", 2001, "2001-12-07"),
    ("12", "Twelve", "Sci-Fi", 1995, "1996-01-05"),
    ("99", "Nobody's", "Drama", 1999, "1999-09-09"),
]
NAMES = ["movieId", "movie title", "genre", "year", "released"]


@pytest.fixture
def events(tmp_path):
    (tmp_path / "plays.csv").write_text(EVENTS)
    return tmp_path / "plays.csv"


def written(path, names=NAMES, rows=MOVIES, sep=","):
    quoted = [[f'"{value}"' if sep in str(value) else str(value) for value in row] for row in rows]
    path.write_text("".join(sep.join(row) + "\n" for row in ([names] if names else []) + quoted))
    return path


def titles(data):
    return dict(zip(data.item_ids.tolist(), data.item_info["title"].tolist(), strict=True))


TITLES = {10: "Ten, and more", 11: "Eleven", 12: "Twelve", 13: "", 14: "Four Rooms"}


def kinds(tmp_path):
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    columns = dict(zip(NAMES, zip(*[(int(row[0]), *row[1:]) for row in MOVIES], strict=True), strict=True))
    frame = pandas.DataFrame(columns)
    frame["released"] = pandas.to_datetime(frame["released"])
    parquet.write_table(pyarrow.Table.from_pandas(frame), tmp_path / "movies.parquet")
    (tmp_path / "m.item").write_text(
        "movieId:token\tmovie title:token_seq\tgenre:token_seq\tyear:float\treleased:token\n"
        + "".join("\t".join(map(str, row)) + "\n" for row in MOVIES)
    )
    return {
        "csv": written(tmp_path / "movies.csv"),
        "semicolons": written(tmp_path / "movies.txt", sep=";"),
        "recbole": tmp_path / "m.item",
        "parquet": tmp_path / "movies.parquet",
        "frame": frame,
        "indexed": frame.set_index("movieId"),
        "arrow": pyarrow.Table.from_pandas(frame),
        "dict": columns,
    }


@pytest.mark.parametrize("kind", ["csv", "semicolons", "recbole", "parquet", "frame", "indexed", "arrow", "dict"])
def test_tables_of_every_kind_give_the_same_columns(kind, events, tmp_path):
    data = load_dataset(events, items=kinds(tmp_path)[kind], split="none")
    assert titles(data) == TITLES
    of = {item: n for n, item in enumerate(data.item_ids.tolist())}
    assert data.item_info["genre"][of[12]] == "Sci-Fi"
    assert data.item_info["year"][of[14]] == 1995
    assert np.isnan(data.item_info["year"][of[13]])
    assert str(data.item_info["released"][of[10]])[:10] == "1979-10-05"
    assert data.fingerprint() == load_dataset(events, split="none").fingerprint()


def test_columns_are_chosen_and_users_have_theirs(events, tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("user,name,age,zip\n" + "".join(f"{n},N{n},{20 + n},{n:05d}\n" for n in range(6)))
    movies = written(tmp_path / "movies.csv")
    data = load_dataset(events, items=movies, item_columns=["year"], users=people, split="none")
    assert list(data.item_info) == ["year"]
    assert list(data.user_info) == ["name", "age", "zip"]
    ages = dict(zip(data.user_ids.tolist(), data.user_info["age"].tolist(), strict=True))
    assert [ages[n] for n in range(6)] == [20, 21, 22, 23, 24, 25]
    assert np.isnan(ages[6])
    assert sorted(data.user_info["zip"])[:2] == ["", "00000"]
    with pytest.raises(
        ValueError,
        match="no column 'jahr' in item_columns; the columns are movieId, movie title, genre, year, released",
    ):
        load_dataset(events, items=movies, item_columns=["jahr"])


def test_the_ids_are_found_by_name_or_by_their_values(events, tmp_path):
    rows = [(n, *row) for n, row in enumerate(MOVIES, 10)]  # "no" has ids as well, fewer of which mean anything
    for names in (["no", "movieId", *NAMES[1:]], ["no", "item_id", *NAMES[1:]], ["no", "film", *NAMES[1:]]):
        data = load_dataset(events, items=written(tmp_path / "m.csv", names, rows), split="none")
        assert titles(data) == TITLES, names
    data = load_dataset(events, items=written(tmp_path / "m.csv", ["x", "label", "g", "y", "z"]), split="none")
    assert titles(data) == TITLES
    data = load_dataset(events, items=written(tmp_path / "m.csv", None), split="none")
    assert list(data.item_info) == ["1", "2", "3", "4"]
    with pytest.raises(ValueError, match=r"which column holds the ids of the items.* a and b may do; call it movieId"):
        load_dataset(events, items=written(tmp_path / "m.csv", ["a", "b"], [("10", "11"), ("11", "10")]))


def test_ids_of_two_kinds_are_compared_as_texts(tmp_path):
    events = Interactions.from_raw([1, 2], ["7", "x"])
    for table in ({"item": [7, 8], "title": ["a", "b"]}, {"item": [7.0, None], "title": ["a", "b"]}):
        assert attach(events, "items", table).item_info["title"].tolist() == ["a", ""]


def test_how_many_matched_is_said(events, tmp_path, recwarn):
    said = []
    movies = written(
        tmp_path / "movies.csv",
        rows=[*MOVIES, ("10", "Again", "x", 1, "2000-01-01"), ("", "None", "x", 1, "2000-01-01")],
    )
    data = DataSpec.of(events, items=movies, split="none").load(said.append)
    assert said == [
        f"{movies}: 4 of 5 items by movieId; title=movie title, genre, year, released; 1 more have no events; 1 rows repeat an id, of which the first row counts; "
        "1 rows have no id"
    ]
    assert titles(data) == TITLES
    assert not recwarn
    few = written(tmp_path / "few.csv", rows=MOVIES[:1])
    with pytest.warns(UserWarning, match="1 of 5 items by movieId"):
        load_dataset(events, items=few, split="none")
    with pytest.raises(
        ValueError,
        match=r"none of the 1 ids of its column 'movieId' are items of the events; they are 'x' there and 10, 11, 12, ... in",
    ):
        load_dataset(
            events, items=written(tmp_path / "none.csv", rows=[("x", "t", "g", 1, "2000-01-01")]), split="none"
        )


def test_items_without_events_are_kept_cold_where_asked(events, tmp_path):
    movies = written(tmp_path / "movies.csv")
    plain = load_dataset(events, split="temporal-user")
    kept = load_dataset(events, items=movies, keep_items=True, split="temporal-user")
    assert set(kept.item_ids) - set(plain.item_ids) == {99}
    assert titles(kept)[99] == "Nobody's"
    degrees = np.bincount(kept.train.items, minlength=kept.n_items)
    assert degrees[kept.items_of([99])[0]] == 0
    assert list(np.lexsort((kept.item_ids, -degrees))) == list(range(kept.n_items))
    for part in ("train", "test"):
        ours, theirs = getattr(kept, part), getattr(plain, part)
        pairs = [
            sorted(zip(d.user_ids[p.users].tolist(), d.item_ids[p.items].tolist(), strict=True))
            for d, p in ((kept, ours), (plain, theirs))
        ]
        assert pairs[0] == pairs[1]
    core = load_dataset(events, items=movies, keep_items=True, k_core=2, split="none")
    assert 99 in core.item_ids
    found = DataSpec.of(events, items=movies, keep_items=True).interactions()
    assert found.item_ids.tolist() == [10, 11, 12, 13, 14, 99]
    assert found.item_ids[found.items].tolist() == [10 + n % 5 for n in range(35)]
    assert (
        make_dataset("x", found, "none").fingerprint()
        == load_dataset(events, items=movies, keep_items=True, split="none").fingerprint()
    )
    with pytest.raises(ValueError, match="keep_items is of items=, which is not given"):
        load_dataset(events, keep_items=True)


def test_known_splits_and_frames_have_them_too(tmp_path):
    (tmp_path / "train.txt").write_text("0 1 2\n1 2\n")
    (tmp_path / "test.txt").write_text("0 3\n")
    movies = written(tmp_path / "movies.csv", ["item", "title"], [(str(n), f"T{n}") for n in range(5)])
    data = load_dataset([tmp_path], items=movies)
    assert titles(data) == {1: "T1", 2: "T2", 3: "T3"}
    frame = {"user": [0, 1], "item": [1, 2]}
    assert titles(load_dataset(frame, items=movies, split="none")) == {1: "T1", 2: "T2"}
    assert titles(load_dataset(frame, items={"item": [2, 1], "name": ["b", "a"]}, split="none")) == {1: "a", 2: "b"}


def test_the_events_file_may_hold_the_titles(tmp_path):
    path = tmp_path / "sales.csv"
    path.write_text(
        "CustomerID,StockCode,Description\n" + "".join(f"{n % 7},S{n % 5},Thing {n % 5}\n" for n in range(35))
    )
    data = load_dataset(path, items=path, item_columns=["Description"], split="none")
    assert titles(data) == {f"S{n}": f"Thing {n}" for n in range(5)}


def test_the_record_keeps_them(events, tmp_path):
    movies = written(tmp_path / "movies.csv")
    spec = DataSpec.of(events, items=movies, item_columns=["year"], keep_items=True, split="none")
    again = DataSpec.from_dict(json.loads(json.dumps(spec.resolved().to_dict())))
    assert again.load().fingerprint() == spec.load().fingerprint()
    assert list(again.load().item_info) == ["year"]
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist"):
        DataSpec.of(events, items=tmp_path / "none.csv").resolved()


@pytest.mark.parametrize(
    ("columns", "title"),
    [
        ({"Bezeichnung": ["Topf, rot", "Topf, blau"], "Gruppe": ["a b", "a c"]}, "Bezeichnung"),
        ({"Titel": ["Topf", "Krug"], "Untertitel": ["rot", "blau"]}, "Titel"),
        ({"title": [1, 2], "name": ["a", "b"]}, "title"),
        ({"benaming": ["rode pan", "blauwe pan"], "soort": ["pan", "pan"], "prijs": [1.5, 2.0]}, "benaming"),
        ({"line": ["red pan", "red pan"], "ean": ["0401", "0402"]}, None),
        ({"one": ["red pan", "blue pan"], "two": ["rode pan", "blauwe pan"]}, None),
        ({"url": ["http://x/1", "http://x/2"]}, None),
    ],
)
def test_a_title_is_told_by_its_name_or_by_its_texts(columns, title):
    events, said = Interactions.from_raw([1, 2], [7, 8]), []
    info = attach(events, "items", {"item": [7, 8], **columns}, say=said.append).item_info
    assert {name: column.tolist() for name, column in info.items()} == {
        "title" if name == title else name: values for name, values in columns.items()
    }
    assert (f"title={title}" in said[0]) == (title not in (None, "title"))
