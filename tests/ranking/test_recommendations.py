"""Lists of any origin: read back as they were written, judged as a model's are, and what must not stand in them is counted."""

import gzip
import json
import sys

import numpy as np
import pytest

from fastgcn_rec import ItemKNN, Recommendations, evaluate, read_recommendations, write_recommendations
from fastgcn_rec.data import Edges, Interactions, build_dataset, make_dataset, synthetic_interactions
from fastgcn_rec.data.reading.ranked import read_ranked
from fastgcn_rec.ranking.metrics import METRICS

KS = (1, 5, 30)


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(80, 60, 900, seed=3)


@pytest.fixture(scope="module")
def named():
    """Texts as ids, with what separators, quotes and lines do to them."""
    rng = np.random.default_rng(5)
    users = np.array([f'u "{n}", {n}' for n in range(50)], object)[rng.integers(0, 50, 700)]
    items = np.array([f"i\t{n}é" for n in range(40)], object)[rng.integers(0, 40, 700)]
    return make_dataset("named", Interactions.from_raw(users, items), split="random", seed=1)


def of_all(model, data):
    """Bits, so that what is NaN is equal too."""
    found = evaluate(model, data, ks=KS, metrics=METRICS, degrees=(8, 12), groups=["activity", "popularity"])
    return {name: np.float64(value).tobytes() for name, value in found.items()}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet"])
@pytest.mark.parametrize("which", ["data", "named"])
def test_written_lists_are_judged_as_the_model_that_made_them(which, suffix, tmp_path, request):
    own = request.getfixturevalue(which)
    model, path = ItemKNN(own), tmp_path / f"lists{suffix}"
    write_recommendations(model, path, k=max(KS), progress=False)
    assert of_all(read_recommendations(path, own), own) == of_all(model, own)


def rows_of(data, seed=0, most=12):
    """Lists with ties in the scores, short ones, none, and all that must not stand in them, as columns of raw ids in any order of rows."""
    rng = np.random.default_rng(seed)
    users, items = [], []
    for user in range(data.n_users + 3):  # three that there are not
        count = int(rng.integers(0, most)) if user % 5 else 0
        users += [user] * count
        items += rng.integers(0, data.n_items + 4, count).tolist()
    users, items = np.array(users), np.array(items)
    score = rng.integers(0, 4, len(users)) / 4 - 0.5
    order = rng.permutation(len(users))
    raw_users = np.concatenate((data.user_ids, 10**6 + np.arange(3)))[users[order]]
    raw_items = np.concatenate((data.item_ids, 10**6 + np.arange(4)))[items[order]]
    return raw_users, raw_items, score[order]


def by_hand(data, users, items, score, invalid, k):
    """Recall and hits' places of every user with a test item, in plain Python."""
    place = {raw: n for n, raw in enumerate(data.user_ids.tolist())}
    item_place = {raw: n for n, raw in enumerate(data.item_ids.tolist())}
    lists = {n: [] for n in range(data.n_users)}
    for row in sorted(range(len(users)), key=lambda n: -score[n]):  # stable: ties by the order of rows
        if users[row] in place:
            lists[place[users[row]]].append(item_place.get(items[row], -1))
    seen = set(zip(data.train.users.tolist(), data.train.items.tolist(), strict=True))
    wanted = {}
    for user, item in zip(data.test.users.tolist(), data.test.items.tolist(), strict=True):
        wanted.setdefault(user, set()).add(item)
    recalls, shown = [], set()
    for user, relevant in wanted.items():
        kept, before = [], set()
        for item in lists[user]:
            bad = item < 0 or item in before or (user, item) in seen
            before.add(item)
            kept += [None] * (bad and invalid == "miss") + [item] * (not bad)
        recalls.append(len(relevant & set(kept[:k])) / len(relevant))
        shown |= {item for item in kept[:k] if item is not None}
    return np.mean(recalls), len(shown) / data.n_items


@pytest.mark.parametrize("rows_together", [7, 1 << 22])
@pytest.mark.parametrize("invalid", ["drop", "miss"])
def test_what_must_not_stand_in_a_list_is_left_out_or_missed(data, invalid, rows_together, monkeypatch):
    monkeypatch.setattr(sys.modules["fastgcn_rec.ranking.recommendations"], "_ROWS", rows_together)
    users, items, score = rows_of(data)
    lists = Recommendations(data, users, items, score=score, invalid=invalid)
    for k in (1, 4, 30):
        got = evaluate(lists, data, ks=k, metrics=["recall", "coverage"])
        assert tuple(got.values())[:2] == pytest.approx(by_hand(data, users, items, score, invalid, k), abs=1e-12)
    assert of_all(Recommendations(data, users, items, rank=-score, invalid=invalid), data) == of_all(lists, data)


def test_the_report_counts_what_the_lists_hold(data):
    users, items, score = rows_of(data)
    report = Recommendations(data, users, items, score=score, invalid="miss").report(k=3)
    own = users < 10**6
    known = own & (items < 10**6)
    pairs = list(zip(users[known].tolist(), items[known].tolist(), strict=True))
    assert (report.rows, report.other_users) == (len(users), int((~own).sum()))
    assert report.unknown_items == int((own & ~known).sum())
    assert report.repeated == len(pairs) - len(set(pairs))
    assert report.users == len(set(users[own].tolist()))
    had = {(data.user_ids[u], data.item_ids[i]) for u, i in zip(data.train.users, data.train.items, strict=True)}
    tested = set(data.user_ids[np.unique(data.test.users)].tolist())
    assert report.seen == len({pair for pair in pairs if pair in had and pair[0] in tested})
    assert report.without == len(tested - set(users.tolist()))
    good = {
        user: len({i for u, i in pairs if u == user and (u, i) not in had}) for user in tested & set(users.tolist())
    }
    assert report.short == sum(count < 3 for count in good.values())
    keys = list(zip(users[own].tolist(), score[own].tolist(), strict=True))
    assert report.ties == len(keys) - len(set(keys))
    assert min(report.other_users, report.unknown_items, report.repeated, report.seen, report.without, report.ties) > 0
    assert f"{report.seen} rows of items that the user has already" in str(report)
    clean = Recommendations(data, data.user_ids[data.test.users], data.item_ids[data.test.items], invalid="drop")
    assert str(clean.report(k=1)).count("\n") == 0


def test_what_is_refused_is_counted(data):
    one, other = data.user_ids[:1], data.item_ids[:2]
    with pytest.raises(
        ValueError,
        match=r"items that are not in .*: 1 rows; items that stand in the list before: 1 rows; invalid='drop' \(--invalid drop\)",
    ):
        Recommendations(data, np.repeat(one, 4), [*other, other[0], 10**6])
    tested = int(data.test.users[0])
    had = data.item_ids[data.train.items[data.train.users == tested]]
    lists = Recommendations(data, np.repeat(data.user_ids[tested], len(had)), had)
    with pytest.raises(ValueError, match=rf"{len(had)} rows of the \d+ lists have items that their users have already"):
        evaluate(lists, data)
    assert evaluate(lists, data, part="train", ks=len(had))[f"recall@{len(had)}"] > 0  # of which nothing comes before
    with pytest.raises(ValueError, match="none of the 1 users of the lists is one of the 80"):
        Recommendations(data, ["ann"], ["tea"])
    with pytest.raises(ValueError, match="score and rank: one of them"):
        Recommendations(data, one, other[:1], score=[1.0], rank=[1])
    with pytest.raises(ValueError, match=r"invalid must be one of \('refuse', 'drop', 'miss'\), got 'keep'"):
        Recommendations(data, one, other[:1], invalid="keep")
    with pytest.raises(TypeError, match="data must be a Dataset, got Graph"):
        Recommendations(data.graph(), one, other[:1])
    with pytest.raises(ValueError, match="part must be one of"):
        Recommendations(data, one, other[:1]).report("all")


def test_integers_and_texts_of_the_same_ids_are_the_same(data):
    users, items, score = rows_of(data)
    texts = Recommendations(data, users.astype(str), items.astype(str), score=score, invalid="drop")
    assert of_all(texts, data) == of_all(Recommendations(data, users, items, score=score, invalid="drop"), data)


def test_what_is_given_stays_as_it_is(data):
    users, items, score = rows_of(data)
    before = users.copy(), items.copy(), score.copy()
    evaluate(Recommendations(data, users, items, score=score, invalid="drop"), data)
    for now, then in zip((users, items, score), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_lists_recommend(data):
    users, items = data.user_ids[[0, 0, 1]], data.item_ids[[50, 51, 52]]
    lists = Recommendations(data, users, items, score=[0.5, 0.75, 1.0], invalid="drop")
    ids, scores = lists.recommend(data.user_ids[:2], k=3, exclude_seen=False)
    assert ids.tolist() == [[items[1], items[0], -1], [items[2], -1, -1]]
    assert scores.tolist() == [[0.75, 0.5, -np.inf], [1.0, -np.inf, -np.inf]]


# --- files of others ------------------------------------------------------------------------------------------------

TEXTS = {
    "user,item,score\n1,7,-0.5\n1,8,0.25\n": ("user", "item", "score"),
    "userId;movieId;prediction;timestamp\n1;7;0.5;9\n1;8;0.75;9\n": ("userId", "movieId", "prediction"),
    "rank\titem_id\tuser_id\tscore\n2\t7\t1\t0.9\n1\t8\t1\t0.1\n": ("user_id", "item_id", "rank"),
    "uid,iid,est\n1,7,3.5\n1,8,4.5\n": ("uid", "iid", "est"),
    "1\t7\t0.5\n1\t8\t1.5\n": (0, 1, 2),
    "1 Q0 7 9 0.5 run\n1 Q0 8 9 1.5 run\n": (0, 2, 4),
    "who,what\n1,8\n1,7\n": ("who", "what", None),
    "1,8\n1,7\n": (0, 1, None),
    "1 8 7\n2\n": (None, None, None),
    '{"user": 1, "items": [8, 7], "scores": [1, 2]}\n': ("user", "items", None),
    '{"user_id": 1, "item_id": 7, "score": 0.5}\n\n{"user_id": 1, "item_id": 8, "score": 1.5}': (
        "user_id",
        "item_id",
        "score",
    ),
    '{"user": 1, "item": 7, "score": 3, "rank": 2}\n{"user": 1, "item": 8, "score": 1, "rank": 1}': (
        "user",
        "item",
        "rank",
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_columns_are_found_and_said(text, tmp_path):
    path = tmp_path / "lists.txt"
    path.write_text(text)
    _, by, said = read_ranked([str(path)], {}, {})
    users, items, order = TEXTS[text]
    named = [
        f"{r}={n}" if isinstance(n, str) else f"{r}=column {n}"
        for r, n in (("user", users), ("item", items))
        if n is not None
    ]
    how = "the file" if by == "file" else f"{by}={order}" if isinstance(order, str) else f"{by}=column {order}"
    assert said == (
        f"{', '.join(named)}, in the order of {how}" if named else "a user and its items on a line, best first"
    )
    own = build_dataset("two", Edges([], []), Edges([0, 1], [1, 1]), np.array([1, 2]), np.array([7, 8]))
    path_gz = tmp_path / "lists.gz"
    path_gz.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, path_gz):
        assert evaluate(read_recommendations(file, own), own, ks=[1, 2])["recall@1"] == 0.5  # user 1's list is 8, 7


def test_columns_that_are_named_count(tmp_path, data):
    path = tmp_path / "lists.csv"
    path.write_text("a,b,c,d\n1,7,0.5,2\n1,8,1.5,3\n")
    events, by, _ = read_ranked([str(path)], {"user": "a", "item": 1, "rank": "d"}, {})
    assert (events.user_ids.tolist(), events.item_ids.tolist(), by, events.rating.tolist()) == (
        [1],
        [7, 8],
        "rank",
        [2, 3],
    )
    for wrong, says in (
        ({"user": "x"}, "no column 'x' for user; the columns are a "),
        ({"user": "a", "item": 0}, "the column 'a' is given for user and item"),
        ({"user": "a"}, r"which column of the lists is the item\? item= \(--list-item\) names it"),
        ({"user": "a", "item": "b", "score": "c", "rank": "d"}, "score='c' and rank='d': one of them"),
        ({"user": 9}, "no column 9 for user"),
    ):
        with pytest.raises(ValueError, match=says):
            read_ranked([str(path)], wrong, {})
    with pytest.raises(TypeError, match="user must be a column's name or position, got bool"):
        read_ranked([str(path)], {"user": True}, {})
    for text, says in (
        ("1,7,1\n1,8,2\n", "column 2 may be ranks or scores"),
        ("1,7,x\n1,8,y\n", "column 2 holds no ranks or scores"),
        ("user,item,score,prediction\n1,7,1,2\n", r"is the score\? score and prediction may be"),
        ("user,member,item\n1,2,3\n", r"is the user\? user and member may be"),
        ("user,item,score\n1,7,nan\n", "nan"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=says):
            read_recommendations(path, data)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '{"user": 1, "items": [7]}\n{"user": 2, "items": 8}\n',
            r"lines 1 to 2: 'items' must be a list, as in the first line, got 8 in line 2",
        ),
        ('{"user": 1, "items": [7]}\n{"user": 2}\n', "no 'items' in line 2 of these"),
        ('{"user": 1, "items": [7]}\n{"user": 2, "items": [7]\n', r"line 2: must be an object of JSON; the line is"),
        ('{"user": 1, "items": [7]}\n[1]\n', r"line 2: must be an object of JSON"),
        ('{"user": 1, "items": [7, "a"]}\n', "must be all integers or all strings"),
        ('{"user": 1, "items": [7.5]}\n', "must be integers or strings"),
        (
            '{"user": 1, "thing": 1, "items": [7]}\n',
            r"which key is the item\? thing and items may be\.|which key is the item\? items and thing may be\.",
        ),
        ('{"x": 1}\n', r"which key is the user\? user= \(--list-user\) names it; the keys are x"),
        ('{"user": 1, "item": 7, "score": "x"}\n', "rating must be numbers"),
    ],
)
def test_json_lines_that_are_no_lists(text, says, tmp_path, data):
    path = tmp_path / "lists.jsonl"
    path.write_text(text)
    with pytest.raises((TypeError, ValueError), match=says):
        read_recommendations(path, data)


def test_many_json_lines_are_read_block_by_block(tmp_path, named, monkeypatch):
    monkeypatch.setattr(sys.modules["fastgcn_rec.data.reading.json_lines"], "_BYTES", 100)
    model, path = ItemKNN(named), tmp_path / "lists.jsonl"
    write_recommendations(model, path, k=max(KS), progress=False)
    assert of_all(read_recommendations(path, named), named) == of_all(model, named)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    with path.open("w") as file:
        for row in rows:
            for rank, item in enumerate(row["items"]):
                file.write(json.dumps({"rank": rank, "who": row["user"], "what": item}) + "\n")
    assert of_all(read_recommendations(path, named), named) == of_all(model, named)


def duckdb_relation(columns):
    duckdb = pytest.importorskip("duckdb")
    return duckdb.from_arrow(pytest.importorskip("pyarrow").table(columns))


FRAMES = {
    "dict": dict,
    "pandas": lambda columns: pytest.importorskip("pandas").DataFrame(columns),
    "polars": lambda columns: pytest.importorskip("polars").DataFrame(columns),
    "lazy": lambda columns: pytest.importorskip("polars").LazyFrame(columns),
    "arrow": lambda columns: pytest.importorskip("pyarrow").table(columns),
    "duckdb": duckdb_relation,
}


@pytest.mark.parametrize("kind", FRAMES)
def test_tables_in_memory_are_lists(kind, data):
    users, items, score = rows_of(data)
    table = FRAMES[kind]({"user": users.tolist(), "item": items.tolist(), "score": score.tolist()})
    expected = of_all(Recommendations(data, users, items, score=score, invalid="drop"), data)
    assert of_all(read_recommendations(table, data, invalid="drop"), data) == expected
    with pytest.raises(ValueError, match="a table in memory takes no sep"):
        read_recommendations(table, data, sep=",")


def test_a_reader_of_batches_is_no_table(data):
    arrow = pytest.importorskip("pyarrow")
    reader = arrow.table({"user": [1], "item": [2]}).to_reader()
    with pytest.raises(TypeError, match=r"got a reader of batches; pass its read_all\(\)"):
        read_recommendations(reader, data)


@pytest.mark.parametrize("source", [5, None])
def test_a_source_of_no_kind_is_named(source):
    data = synthetic_interactions(30, 20, 90)
    with pytest.raises(TypeError, match="source must be a path, a list of paths or a table, got"):
        read_recommendations(source, data)


def test_ids_that_the_data_do_not_have_are_shown_as_they_are_written():
    data = synthetic_interactions(30, 20, 90)
    with pytest.raises(ValueError, match="they are 70, 71 in the lists and "):
        Recommendations(data, np.array([70, 71]), np.array([1, 2]))


@pytest.mark.parametrize("sep", [" ", "\t"])
def test_lines_of_a_user_and_as_many_items_each_are_lists_too(tmp_path, sep):
    path = tmp_path / "lists.txt"
    path.write_text("".join(f"{user}{sep}{sep.join(map(str, range(60, 40, -1)))}\n" for user in (1, 2)))
    events, by, said = read_ranked([str(path)], {}, {})
    assert (events.user_ids.tolist(), by, len(events)) == ([1, 2], "file", 40)
    assert events.item_ids[events.items[:3]].tolist() == [60, 59, 58]
    assert said == "a user and its items on a line, best first"
