"""Recommendations in files and streams: the same lists in every form, block by block, for users in any number."""

import csv
import gzip
import io
import itertools
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from every_model import small_data, trained
from every_vectors import ByScore

import fastgcn_rec as fgr
from fastgcn_rec import write_recommendations
from fastgcn_rec.core.ids import as_texts
from fastgcn_rec.ranking.writers import FORMATS, SUFFIXES

TITLES = as_texts(['a "b", c', "d\ne", "é", "", *(f"title {n}" for n in range(30))])
YEARS = np.array([1900.5, np.nan, *range(32)])
COLUMNS = {"title": TITLES, "year": YEARS}


def rows_of_csv(raw):
    header, *rows = csv.reader(io.StringIO(raw.decode(), newline=""))
    kinds = {"user": str, "title": str, "rank": int, "item": int, "score": np.float32, "year": float}
    return {name: [kinds[name](row[n]) for row in rows] for n, name in enumerate(header)}


def rows_of_json(raw):
    users = [json.loads(line) for line in raw.decode().splitlines()]
    found = {
        "user": [line["user"] for line in users for _ in line["items"]],
        "rank": [rank for line in users for rank in range(1, 1 + len(line["items"]))],
    }
    names = {"item": "items", "score": "scores", "title": "title", "year": "year"}
    found |= {name: [value for line in users for value in line[own]] for name, own in names.items() if own in users[0]}
    found["score"] = [np.float32(score) for score in found["score"]]
    if "year" in found:
        found["year"] = [np.nan if year is None else year for year in found["year"]]
    return found


def rows_of_parquet(raw):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: an extra")
    return parquet.read_table(io.BytesIO(raw)).to_pydict()


READ = {"csv": rows_of_csv, "jsonl": rows_of_json, "parquet": rows_of_parquet}


def rows_of(raw, suffix):
    kind, *gz = suffix.removeprefix(".").split(".")
    return READ[kind](gzip.decompress(raw) if gz else raw)


def expected(model, users, k, columns=(), **options):
    rows = model.recommend(users, k, as_frame="dict", **options)
    at = small_data().items_of(rows["item"])
    return {name: column.tolist() for name, column in (rows | {name: COLUMNS[name][at] for name in columns}).items()}


def same(found, wanted):
    assert list(found) == list(wanted)
    for name, column in wanted.items():
        np.testing.assert_array_equal(found[name], column)


@pytest.mark.parametrize("columns", [(), ("title", "year")])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_form_holds_what_recommend_gives(tmp_path, suffix, columns):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow: an extra")
    model, data, path = trained("MF"), small_data(), tmp_path / f"recs{suffix}"
    rng = np.random.default_rng(0)
    own = [rng.choice(data.item_ids, 12).tolist() for _ in range(data.n_users)]
    given = {name: COLUMNS[name] for name in columns}
    for options in (
        {},
        {"items": own},
        {"exclude": own, "items": data.item_ids[:20]},
        {"exclude": data.train, "exclude_seen": False},
    ):
        n = write_recommendations(model, path, k=9, block_users=7, progress=False, columns=given, **options)
        wanted = expected(model, data.user_ids, 9, columns, **options)
        assert n == len(wanted["item"]) > 0
        same(rows_of(path.read_bytes(), suffix), wanted)
    before = path.read_bytes()
    write_recommendations(model, path, k=9, block_users=7, progress=False, columns=given, **options)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("format", FORMATS)
def test_an_open_file_gets_them_block_by_block(format):
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow: an extra")
    model, data, events = trained("MF"), small_data(), []

    class Stream(io.BytesIO):
        def flush(self):
            if self.tell():
                events.append("flushed")

    def users():
        for user in data.user_ids[:20]:
            events.append("asked")
            yield user

    file = Stream()
    write_recommendations(model, file, users(), 5, format=format, block_users=10, progress=False)
    assert not file.closed
    same(rows_of(file.getvalue(), format), expected(model, data.user_ids[:20], 5))
    if format != "parquet":  # whose rows come when there are enough of them
        assert [event for event, _ in itertools.groupby(events)] == ["asked", "flushed"] * 2


STREAMS = {
    "ids": lambda users: iter(users),
    "lists": lambda users: iter([users[:3], [], np.array(users[3:], object)]),
    "text": lambda users: io.StringIO("".join(f"{user}\n" for user in users)),
    "bytes": lambda users: io.BytesIO(b"\xef\xbb\xbf" + b"\r\n\r\n".join(user.encode() for user in users)),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_users_may_be_a_stream(tmp_path, stream):
    model, data = trained("MF"), small_data()
    users = data.user_ids[[4, 0, 9, 4, 30, 44]].tolist()
    for options in ({}, {"exclude": data.train, "exclude_seen": False}, {"items": data.item_ids[:9]}):
        for size in (2, 3, 100):
            n = write_recommendations(
                model, tmp_path / "r.csv", STREAMS[stream](users), 5, block_users=size, progress=False, **options
            )
            wanted = expected(model, users, 5, **options)
            assert n == len(wanted["user"])
            same(rows_of_csv((tmp_path / "r.csv").read_bytes()), wanted)
    assert write_recommendations(model, tmp_path / "r.csv", STREAMS[stream]([]), 5, progress=False) == 0
    assert (tmp_path / "r.csv").read_text() == "user,rank,item,score\n"


def test_streams_of_integers_and_what_is_none(tmp_path):
    model = fgr.Popularity(fgr.Graph.from_edges([0, 1, 2], [0, 1, 1]))
    path = tmp_path / "r.csv"
    assert write_recommendations(model, path, io.StringIO("2\n 0 \n"), 1, progress=False) == 2
    assert rows_of_csv(path.read_bytes())["user"] == ["2", "0"]
    before = path.read_bytes()
    for stream, says in [
        (io.StringIO("2\nx\n"), "users: line 2 must be a user id, an integer as the model's are, got 'x'"),
        (iter([2, 7]), "users holds 1 id that is not among the 3 users of the model: 7"),
    ]:
        with pytest.raises(ValueError, match=says):
            write_recommendations(model, path, stream, 1, progress=False)
    with pytest.raises(ValueError, match="of a stream of users: items must be raw ids, for all"):
        write_recommendations(model, path, iter([2, 1]), 1, items=[[0], [1]], progress=False)
    assert path.read_bytes() == before


@pytest.mark.parametrize("format", FORMATS)
def test_memory_does_not_grow_with_the_users(format):
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow: an extra")
    model, peaks = fgr.Vectors(np.ones((50, 2)), np.random.default_rng(0).normal(size=(60, 2))), []

    class Nowhere(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            return len(data)

    for n in (800, 800, 4_000):
        tracemalloc.start()
        users = (user % 50 for user in range(n))
        write_recommendations(
            model, Nowhere(), users, 10, exclude_seen=False, format=format, block_users=200, progress=False
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1]


PIPE = """
import sys, numpy as np, fastgcn_rec as fgr
model = fgr.Vectors(np.ones((50, 2)), np.ones((60, 2)))
try:
    fgr.write_recommendations(model, sys.stdout.buffer, (user % 50 for user in range(10**9)), format="csv", exclude_seen=False, progress=False)
except BrokenPipeError:
    print("closed", file=sys.stderr)
    sys.stdout = None
"""


def test_a_reader_that_goes_ends_it():
    """As with ``| head``: what nobody reads is not computed."""
    child = subprocess.Popen(
        [sys.executable, "-c", PIPE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    assert child.stdout.readline() == b"user,rank,item,score\n"
    child.stdout.close()
    assert b"closed" in child.stderr.read()
    child.stderr.close()
    child.wait(60)


def test_infinite_scores_are_recommendations():
    class Endless(ByScore):
        def predict(self, x):
            return np.where(x[:, 1] == 1, np.inf, -np.inf)  # by the rank

    data = small_data()
    part, _ = data.split_valid(0.3)
    two = fgr.TwoStage(fgr.MF(part, 8), Endless(), n_candidates=4, use_ppr=False).fit(data)
    file = io.BytesIO()
    assert write_recommendations(two, file, data.user_ids[:1], 3, format="csv", progress=False) == 3
    assert rows_of_csv(file.getvalue())["score"] == [np.inf, -np.inf, -np.inf]
    file = io.BytesIO()
    write_recommendations(two, file, data.user_ids[:1], 3, format="jsonl", progress=False)
    assert json.loads(file.getvalue())["scores"] == [None] * 3
    assert len(two.recommend(data.user_ids[:1], 3, as_frame="dict")["item"]) == 3


def test_errors(tmp_path):
    model, data = trained("MF"), small_data()
    for error, says, target, options in [
        (ValueError, "suffix must be one of .csv, .csv.gz, .* got '.gz'", tmp_path / "r.parquet.gz", {}),
        (ValueError, "format is for open files, that of r.csv", tmp_path / "r.csv", {"format": "csv"}),
        (ValueError, "format must be one of .* for an open file, got None", io.BytesIO(), {}),
        (ValueError, "format must be one of .* for an open file, got 'xml'", io.BytesIO(), {"format": "xml"}),
        (TypeError, "must take bytes, got a text file", io.StringIO(), {"format": "csv"}),
        (ValueError, "columns has 'item', which is a column of the lists", tmp_path / "r.csv", {"columns": {"item": TITLES}}),
        (ValueError, r"columns\['title'\] must have shape \[n_items\] = \[34\]", tmp_path / "r.csv", {"columns": {"title": TITLES[:3]}}),
        (ValueError, "the title '.udc00' holds half of a surrogate pair", tmp_path / "r.csv", {"columns": {"title": as_texts(["\udc00"] * 34)}}),
        (ValueError, "items holds 1 id that is not among", tmp_path / "r.csv", {"items": [1]}),
    ]:  # fmt: skip
        with pytest.raises(error, match=says):
            write_recommendations(model, target, data.user_ids, progress=False, **options)
    assert list(tmp_path.iterdir()) == []
