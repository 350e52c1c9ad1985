"""Text files by the kernel and by the reader in Python: the same events, the same errors, on whatever a file may hold."""

import gzip
import random
import sys
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastgcn_rec.data import read_csv, read_movielens, read_recbole
from fastgcn_rec.data.reading import plain_text

pytest.importorskip("pyarrow")


@pytest.fixture
def blocks(monkeypatch):
    """Small files go by the kernel too, in small blocks; returns what it made of each."""
    made = []
    by_kernel = plain_text._by_kernel

    def watched(*arguments):
        made.append(by_kernel(*arguments))
        return made[-1]

    monkeypatch.setattr(plain_text, "SMALL", 0)
    monkeypatch.setattr(plain_text, "BLOCK", 1 << 10)
    monkeypatch.setattr(plain_text, "_by_kernel", watched)
    return made


def outcome(read):
    """What is read, to the bit, with its warnings; or the error."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            events = read()
        except (ValueError, TypeError) as error:
            return type(error), str(error)
    arrays = [events.users, events.items, events.user_ids, events.item_ids, events.rating, events.time]
    return [[None if a is None else (a.dtype, a.tolist()) for a in arrays], [str(warning.message) for warning in said]]


def both(read, blocks):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_text, "SMALL", 1 << 60)
        pure = outcome(read)
    blocks.clear()
    fast = outcome(read)
    assert fast == pure
    return pure


IDS = [
    "7",
    "12",
    "-3",
    "u1",
    "ü",
    "007",
    "+7",
    "7.0",
    "12.0",
    "9" * 19,
    "9" * 25,
    "nan",
    "",
    " 7",
    "7 ",
    "a b",
    "NULL",
    "0",
    "-0",
    "٣",
    "\u2028",
    "x" * 70,
]
NUMBERS = [
    "1",
    "2.5",
    "-1",
    "+3",
    ".5",
    "5.",
    "1e3",
    "1E-400",
    "1e999",
    "nan",
    "inf",
    "",
    " 4",
    "4 ",
    "1_0",
    "0x1p3",
    "4,5",
    "٣",
    "x",
    "12345678901234567.25",
]
TIMES = [
    "5",
    "1300000000",
    "1300000000000",
    "-1",
    "1.5",
    "007",
    "2011-12-09",
    "2011-12-09 12:50",
    "2011-12-09T12:50:00.25Z",
    "2011-06-31",
    "2011-12-09 12:50:00+02:00",
    "",
    "x",
    str(2**63),
    "9" * 25,
]
CHAOS = [
    '"',
    '""',
    '","',
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\0",
    "\ufeff",
    "\x1f",
    "'",
    "#",
    " ",
    "\x85",
    "a" * 3000,
    "\x0b",
]


def drawn_file(draw):
    """(the bytes of a file, options that it may be read with), mostly plain."""
    kinds = draw.choice([1, 1, 2, 4, 99])  # how many of the odd values are in use

    def some(values, plain):
        return [*plain, *draw.sample(values, min(kinds, len(values)))] if draw.random() < 0.2 else plain

    ids = [some(IDS, draw.choice([["1", "2", "30"], ["u1", "u2", "u3"]])) for _ in "ui"]
    numbers, times = (
        some(NUMBERS, ["1", "2.5", "4"]),
        some(TIMES, draw.choice([["5", "70"], ["2011-12-09", "2011-12-10 01:02:03"], ["1300000000500"]])),
    )
    sep = draw.choice([",", ",", ";", "\t", "|", "::", "§", " "])
    end = draw.choice(["\n", "\n", "\n", "\r\n", "\r\n", "\r"])
    quotes = draw.choice([0, 0, 0.3, 1])
    notes = ["", "note", "a,b", 'say "x"', "é"] if draw.random() < 0.3 else ["", "note", "é"]

    def written(field):
        if draw.random() < quotes or (sep in field and draw.random() < 0.9):
            return '"' + field.replace('"', '""') + '"'
        return field

    rows = [[draw.choice(ids[0]), draw.choice(ids[1]), draw.choice(numbers), draw.choice(times), draw.choice(notes)]
            for _ in range(draw.choice([0, 1, 5, 60, 300]))]  # fmt: skip
    header = draw.random() < 0.8
    lines = ([["user", "item", "n", "at", "note"]] if header else []) + rows
    text = "".join(sep.join(map(written, row)) + end for row in lines)
    if draw.random() < 0.3:
        text = text.removesuffix(end)
    for _ in range(draw.choice([0, 0, 0, 0, 0, 1, 3])):
        at = draw.randrange(len(text) + 1)
        text = text[:at] + draw.choice([*CHAOS, sep]) + text[at:]
    raw = text.encode(draw.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16"]), "ignore")
    if draw.random() < 0.1:
        raw = raw[: draw.randrange(len(raw) + 1)]
    if draw.random() < 0.1:
        raw = gzip.compress(raw)
    columns = {"user": 0, "item": 1, "rating": draw.choice([None, 2]), "time": draw.choice([None, 3])}
    options = {
        "sep": sep, "header": header, "quoted": draw.random() < 0.8, "newlines": draw.random() < 0.05, "strip": draw.choice([None, None, True, False]),
        "ids": draw.choice(["auto", "auto", "integer", "text"]), "missing": draw.choice([("nan", "NULL"), ("nan", "NULL"), (), ("7",)]),
        "bad_lines": draw.choice(["error", "error", "skip"]), "decimal": draw.choice([".", ".", "," if sep != "," else "."]),
        "time_unit": draw.choice([None, None, "ms"]), "comment": draw.choice([None] * 9 + ["#"]),
    }  # fmt: skip
    return raw, columns | options


@pytest.mark.parametrize("part", range(8))
def test_both_readers_agree_on_fuzzed_files(tmp_path, blocks, part):
    ways = {"kernel": 0, "python": 0, "error": 0}
    for case in range(150):
        draw = random.Random(f"{part} {case}")
        raw, options = drawn_file(draw)
        path = tmp_path / "a.csv"
        path.write_bytes(raw)
        found = both(lambda path=path, options=options: read_csv(path, **options), blocks)
        ways["kernel" if any(e is not None for e in blocks) else "python" if isinstance(found, list) else "error"] += 1
    assert min(ways.values()) > 5, ways  # the test says something of each


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.lists(
        st.lists(st.sampled_from(['"', ",", "a", "\n", "\r\n", '""', '","', "1", " ", '",\n"']), max_size=12),
        max_size=8,
    )
)
def test_both_readers_agree_on_any_order_of_marks(tmp_path_factory, blocks, lines):
    path = tmp_path_factory.mktemp("marks") / "a.csv"
    path.write_bytes(("user,item\n" + "\n".join(map("".join, lines))).encode())
    both(lambda: read_csv(path, strip=False, missing=()), blocks)


@pytest.mark.parametrize("sep", [",", "\t", "::", "§"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(
    ("row", "options"),
    [
        ("{0},{1},{2},{3}", {}),
        ("u{0},{1},{2}.5,2011-12-09 12:50:{0:02d}", {}),
        ('u{0},"i{1}",{2}.5,2011-12-09T12:50:{0:02d}+02:00', {}),
        ("0{0},+{1},{2},{3}", {"ids": "integer"}),
        ("{0},{1},{2},{3}000", {"time_unit": "ms"}),
        ("{0},{1},{2},09.12.2011 12:50:{0:02d}", {"time_format": "%d.%m.%Y %H:%M:%S"}),
        (" {0}, i{1}, {2}, {3}", {"strip": True}),
    ],
)
def test_plain_files_go_by_the_kernel_in_many_blocks(tmp_path, blocks, sep, header, row, options):
    if '"' in row and sep != ",":
        pytest.skip("only one byte separates quoted fields")
    if options.get("strip") and sep == "\t":
        pytest.skip("blanks are the separator")
    rows = [row.format(n * 7 % 53, n * 11 % 31, n % 5, 1_300_000_000 + n).replace(",", sep) for n in range(500)]
    text = "\r\n".join([*([f"user{sep}item{sep}n{sep}at"] if header else []), *rows])
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        (tmp_path / "a.csv").write_bytes(text.encode(encoding))
        given_encoding = {"encoding": encoding} if encoding == "latin-1" else {}
        found = both(
            lambda more=given_encoding: read_csv(tmp_path / "a.csv", 0, 1, 2, 3, sep, header, **options, **more), blocks
        )
        assert isinstance(found, list)
        assert [len(events) for events in blocks] == [500]


def test_ids_and_times_that_change_their_form_late_are_read_alike(tmp_path, blocks):
    rows = [f"{n},{n % 50},{n}" for n in range(400)]
    for last in (
        "x,1,1",
        "1,x,1",
        "1,1,1.5",
        "x,y,1.5",
        "07,1,1",
        "1,1,2011-12-09",
        "1.0,1,1",
        "1,1,x",
        "1,1",
        '1,"1,1',
    ):
        (tmp_path / "a.csv").write_text("\n".join(["user,item,at", *rows, last]))
        both(lambda: read_csv(tmp_path / "a.csv", time="at"), blocks)
        assert (blocks[0] is None) == (last in ("1,1,2011-12-09", "1.0,1,1", "1,1,x", "1,1", '1,"1,1')), last


ODD = [
    "0x" + "F" * 9,
    "-0x10",
    "+5",
    "0",
    "-0",
    "00",
    "-",
    "",
    "9" * 18,
    "9" * 19,
    str(2**63 - 1),
    str(-(2**63)),
    str(2**63),
    "1e3",
    "1.0",
    "\t1",
    "-01",
]


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(ODD)
        | st.integers(-(2**63), 2**63 - 1).map(str)
        | st.text(st.sampled_from("-+0 19"), max_size=5),
        max_size=3,
    )
)
def test_integers_are_those_that_python_writes(texts):
    import pyarrow

    try:
        expected = [int(text) for text in texts]
        expected = (
            expected if list(map(str, expected)) == texts and all(-(2**63) <= n < 2**63 for n in expected) else None
        )
    except ValueError:
        expected = None
    found = plain_text._integers(pyarrow.array(["x", *texts], pyarrow.string()).slice(1))
    assert (None if found is None else found.to_pylist()) == expected


def test_files_of_one_table_go_by_the_kernel_together(tmp_path, blocks):
    for name, rows in {"a": ["1,2"], "b": ["x,3", "1,4"], "c": []}.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(["user,item", *rows]))
    both(lambda: read_csv(tmp_path), blocks)
    assert len(blocks[0]) == 3
    (tmp_path / "d.csv").write_text("user,item\n1,2,3\n")
    assert "d.csv, line 2: must have 2 fields" in both(lambda: read_csv(tmp_path), blocks)[1]


def test_known_formats_go_by_the_kernel_too(tmp_path, blocks):
    (tmp_path / "ratings.dat").write_text("".join(f"{n % 9}::{n % 7}::{n % 5}::{n}\n" for n in range(300)))
    both(lambda: read_movielens(tmp_path), blocks)
    assert len(blocks[0]) == 300
    (tmp_path / "t.inter").write_text(
        "user_id:token\titem_id:token\n" + "".join(f"u{n % 9}\t{n % 7}\n" for n in range(300))
    )
    both(lambda: read_recbole(tmp_path), blocks)
    assert len(blocks[0]) == 300


def test_texts_that_need_no_decision_become_ids_as_they_stand(tmp_path, blocks, monkeypatch):
    monkeypatch.setattr(plain_text, "parse_ids", lambda *arguments: pytest.fail("was called"))
    rows = [(user, item) for user in ("ann", "J\u00fcrgen", "a b", "1.5") for item in ("12", "x7", "v1.10", "-")]
    (tmp_path / "a.csv").write_text("user,item\n" + "".join(f'"{user}",{item}\n' for user, item in rows), "utf-8")
    found = read_csv(tmp_path / "a.csv")
    assert blocks == [found]
    assert found.user_ids.tolist() == sorted({user for user, _ in rows})
    assert [(found.user_ids[u], found.item_ids[i]) for u, i in zip(found.users, found.items, strict=True)] == rows


def test_small_files_do_not_import_arrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.csv", None)
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    assert len(read_csv(tmp_path / "a.csv")) == 1
    monkeypatch.setattr(plain_text, "SMALL", 0)
    assert len(read_csv(tmp_path / "a.csv")) == 1


def test_a_file_that_is_damaged_late_is_refused_by_the_reader_in_python(tmp_path, blocks):
    text = "user,item\n" + "".join(f"{n},{n % 50}\n" for n in np.random.default_rng(1).integers(0, 10**6, 9000))
    whole = gzip.compress(text.encode())
    for raw, said in {
        whole[:-9]: "compressed by gzip and damaged",
        whole[:3000]: "compressed by gzip and damaged",
    }.items():
        (tmp_path / "a.csv").write_bytes(raw)
        assert said in both(lambda: read_csv(tmp_path / "a.csv"), blocks)[1]
