"""Known events in files and frames of random shapes: what is read, with every guess, is exactly they, or the shape is refused by name."""

import bz2
import gzip
import lzma
import random
import shutil
import warnings
from datetime import datetime, timezone

import pytest

from fastgcn_rec.data import DataSpec, read_frame
from fastgcn_rec.data.reading import plain_text

pa = pytest.importorskip("pyarrow")
CASES = 60  # of each kind
NAMES = {
    "user": ["user", "user_id", "userId", "customer", "CustomerID", "uid", "who", "Kunde"],
    "item": ["item", "item_id", "movieId", "product", "StockCode", "iid", "what", "Artikelnummer", "sku"],
    "rating": ["rating", "stars", "score"],
    "time": ["timestamp", "time", "at", "created_at", "date", "ts", "Datum"],
}
IDS = [
    lambda draw: draw.randrange(1, 40),
    lambda draw: draw.randrange(-20, 20),
    lambda draw: 2**64 + draw.randrange(40),
    lambda draw: f"{draw.randrange(40):05d}",
    lambda draw: f"{draw.randrange(40)}.0",
    lambda draw: f"{draw.randrange(9)}e{draw.randrange(9)}",
    lambda draw: draw.choice("😀é日ж") + str(draw.randrange(20)),
    lambda draw: draw.choice(["Lee, Ann", "Kay; Bob", 'the "x"', "a|b", "x\ty", "#x"]) + str(draw.randrange(9)),
    lambda draw: draw.choice(["a1", "7", "007", "b"]),
    lambda draw: f"2011-01-{draw.randrange(1, 28):02d}",
]  # fmt: skip
BESIDE = {
    "price": lambda draw, row: round(draw.random() * 9, 2),
    "quantity": lambda draw, row: draw.randrange(1, 5),
    "row": lambda draw, row: row,
    "": lambda draw, row: row,
    "country": lambda draw, row: draw.choice(["DE", "FR"]),
    "birthday": lambda draw, row: "1990-01-01",
    "note": lambda draw, row: "",
    "age": lambda draw, row: draw.randrange(20, 70),
    "order_id": lambda draw, row: 10**6 + row,
    "category": lambda draw, row: draw.choice("abc"),
    "session_id": lambda draw, row: f"s{row // 3}",
}
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
DATES = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M:%S"]


def drawn(draw):
    """(events by role, columns of them and of other things: role or "", name, values)."""
    n = draw.choice([1, 2, 5, 12, 30, 60, 200])
    events = {role: [kind(draw) for _ in range(n)] for role, kind in zip(NAMES, draw.choices(IDS, k=2), strict=False)}
    if draw.random() < 0.6:
        events["rating"] = [draw.choice(draw.choice([[1, 2, 3, 4, 5], [0.5, 1.0, 2.5]])) * 1.0 for _ in range(n)]
    if draw.random() < 0.7:
        events["time"] = [draw.choice([900_000_000, 1_600_000_000]) + draw.randrange(10**7) for _ in range(n)]
    columns = [(role, draw.choice(NAMES[role]), values) for role, values in events.items()]
    form = draw.choice([*UNITS, *DATES])
    for at, (role, name, values) in enumerate(columns):
        if role == "time":
            whens = [value * UNITS[form] if form in UNITS else written(value, form) for value in values]
            columns[at] = (role, name, whens)
    for name in draw.sample(list(BESIDE), draw.choice([0, 0, 1, 2, 4])):
        columns.append(("", name, [BESIDE[name](draw, row) for row in range(n)]))
    draw.shuffle(columns)
    return events, columns


def written(seconds, form):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime(form)


def put(draw, folder, columns):
    """The files of a table, in a random form."""
    sep = draw.choice([",", ";", "\t", "|"])
    mark = "." if sep == "," else draw.choice(".,")
    every, end = draw.random() < 0.4, draw.choice(["\n", "\r\n", "\r"])

    def cell(value):
        text = str(value).replace(".", mark) if isinstance(value, float) else str(value)
        special = every or any(odd in text for odd in (sep, '"', "#"))
        return '"' + text.replace('"', '""') + '"' if special else text

    lines = [sep.join(map(cell, row)) for row in zip(*(values for _, _, values in columns), strict=True)]
    cuts = sorted(draw.randrange(len(lines) + 1) for _ in range(draw.choice([0, 0, 1, 2])))
    encoding = draw.choice(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
    pack = draw.choice([bytes, gzip.compress, bz2.compress, lzma.compress])
    for n, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(lines)], strict=True)):
        body = end.join([sep.join(cell(name) for _, name, _ in columns), *lines[start:stop]])
        (folder / f"{n}.csv").write_bytes(pack((body + draw.choice(["", end])).encode(encoding)))


def judged(read, events, given):
    try:
        found = read()
    except (ValueError, TypeError) as error:
        assert any(name in str(error) for name in ("frame", "Frame", "table", "relation", "shape-")), error  # noqa: PT017
        return False
    assert list(map(str, found.user_ids[found.users])) == list(map(str, events["user"]))
    assert list(map(str, found.item_ids[found.items])) == list(map(str, events["item"]))
    for role, values in (("rating", found.rating), ("time", found.time)):
        assert values is None or values.tolist() == events.get(role)
        assert values is not None or not given or role not in events
    return True


def given_to(draw, columns):
    """Sometimes the columns are named, or counted, and not guessed."""
    if draw.random() < 0.7:
        return {}
    named = {role: draw.choice([name, at]) for at, (role, name, _) in enumerate(columns) if role}
    return {"rating": "", "time": "", **named}


def test_text_files(tmp_path, monkeypatch):
    read = 0
    for case in range(CASES):
        draw = random.Random(f"text {case}")
        monkeypatch.setattr(plain_text, "SMALL", draw.choice([0, 1 << 20]))
        events, columns = drawn(draw)
        folder = tmp_path / f"shape-{case}"
        folder.mkdir()
        put(draw, folder, columns)
        given = given_to(draw, columns)
        read += judged(lambda f=folder, g=given: DataSpec.of(f, **g).interactions(), events, given)
        shutil.rmtree(folder)
    assert read > CASES / 2


@pytest.mark.parametrize("kind", ["dict", "pandas", "categorical", "polars", "lazy", "arrow", "reader", "duckdb"])
def test_frames(kind):
    module = {"categorical": "pandas", "lazy": "polars", "dict": "pyarrow", "arrow": "pyarrow", "reader": "pyarrow"}
    pytest.importorskip(module.get(kind, kind))
    read = 0
    for case in range(CASES):
        draw = random.Random(f"frame {case}")
        events, columns = drawn(draw)
        if any(isinstance(value, int) and value >= 2**63 for role in ("user", "item") for value in events[role]):
            continue
        given = given_to(draw, columns)
        read += judged(lambda c=columns, g=given: read_frame(framed(kind, c), **g), events, given)
    assert read > CASES / 4


def framed(kind, columns):
    table = pa.table({name: values for _, name, values in columns})
    few = max(1, len(table) // 3)
    batches = [part for batch in table.to_batches(few) for part in (batch.slice(0, 0), batch)]
    if kind == "dict":
        return table.to_pydict()
    if kind in ("pandas", "categorical"):
        frame = table.to_pandas()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas, on its own future
            return frame.astype("category") if kind == "categorical" else frame
    if kind in ("polars", "lazy"):
        import polars

        return polars.from_arrow(table) if kind == "polars" else polars.from_arrow(table).lazy()
    if kind == "duckdb":
        import duckdb

        return duckdb.from_arrow(table)
    whole = pa.Table.from_batches(batches, table.schema)
    return whole if kind == "arrow" else pa.RecordBatchReader.from_batches(table.schema, batches)
