"""Damaged files of every reader: an error that names the file, or a data set with as many rows as the file has lines. Nothing else."""

import io
import random
import re
import warnings
import zipfile

import numpy as np
import pytest
import scipy.sparse

from fastgcn_rec.data import read_csv, read_lightgcn, read_movielens, read_npz, read_parquet, read_recbole

CASES = 40  # of each kind of file
N = 30
DRAW = random.Random(5)
ROWS = [
    (DRAW.randrange(1, 12), DRAW.randrange(1, 15), DRAW.randrange(1, 6), 978_300_000 + DRAW.randrange(10**6))
    for _ in range(N)
]


def lines(form, header="", rows=ROWS):
    return (header + "".join(form.format(*row) + "\n" for row in rows)).encode()


ITEMS = [(item, f"Film {item}", 1960 + item) for item in range(1, 15)]
FLAGS = "|".join("01"[n % 2] for n in range(19))
TEXT = {
    "lightgcn": (
        {"train.txt": lines("{0} {1} {2}"), "test.txt": lines("{0} {1}", rows=ROWS[:9])},
        lambda d: read_lightgcn(d / "train.txt", d / "test.txt"),
        None,
    ),
    "csv": (
        {"a.csv": lines("{0},{1},{2},{3},n{0}", "user,item,rating,time,note\n")},
        lambda d: read_csv(d / "a.csv", rating="rating", time="time"),
        1,
    ),
    "quoted": (
        {"a.csv": lines('"u {0}","it,{1}",2011-12-{1:02d} 12:50:{0:02d}', "user,item,when\n")},
        lambda d: read_csv(d / "a.csv", time="when"),
        1,
    ),
    "unquoted": (
        {"a.csv": lines('u"{0},i{1}', "user,item\n")},
        lambda d: read_csv(d / "a.csv", quoted=False, strip=False, missing=(), ids="text"),
        1,
    ),
    "colons": (
        {"a.csv": lines("{}::{}::{}::{}")},
        lambda d: read_csv(d / "a.csv", 0, 1, 2, 3, sep="::", header=False),
        0,
    ),
    "recbole": (
        {
            "t.inter": lines("{}\t{}\t{}\t{}", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"),
            "t.item": lines("{}\t{}\t{}", "item_id:token\ttitle:token_seq\tyear:token\n", ITEMS),
            "t.user": lines("{}\t{}", "user_id:token\tage:token\n", [(u, 20 + u) for u in range(1, 12)]),
        },
        read_recbole,
        1,
    ),
    "ml-100k": (
        {
            "u.data": lines("{}\t{}\t{}\t{}"),
            "u.item": lines("{0}|{1} ({2})|01-Jan-1995||http://x|" + FLAGS, rows=ITEMS),
            "u.user": lines("{}|{}|F|job|12345", rows=[(u, 20 + u) for u in range(1, 12)]),
        },
        read_movielens,
        0,
    ),
    "ml-1m": (
        {
            "ratings.dat": lines("{}::{}::{}::{}"),
            "movies.dat": lines("{0}::{1} ({2})::Action|Drama", rows=ITEMS),
            "users.dat": lines("{}::F::{}::1::12345", rows=[(u, 20 + u) for u in range(1, 12)]),
        },
        read_movielens,
        0,
    ),
    "ml-20m": (
        {
            "ratings.csv": lines("{},{},{}.5,{}", "userId,movieId,rating,timestamp\n"),
            "movies.csv": lines('{0},"{1}, The ({2})",Action|Drama', "movieId,title,genres\n", ITEMS),
        },
        read_movielens,
        1,
    ),
}
SPECIAL = [
    b"\0", b'"', b"'", b"\r", b"\n", b"\r\n", b"\x1f", b"\xef\xbb\xbf", b"\xff", b"\xc3\x28", "\u2028".encode(), "\u0663".encode(), b"\t", b",",
    b"::", b"|", b"\\", b"#", b"-1", b"1e400", b"nan", b"inf", b"9" * 19, b"9" * 30, b"1_0", b" ", b"+7", b"007", b"7.0", b"now", b"NaT", b"\x0b",
    b"\x1a", b"\x85", b"A" * 5000, b"x" * 131_073, b"\xed\xa0\x80",
]  # fmt: skip


def damaged(raw, draw):
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        kind, at = draw.randrange(9), draw.randrange(len(raw) + 1)
        rows = raw.split(b"\n")
        row = draw.randrange(len(rows))
        if kind <= 2:
            raw = raw[:at] + draw.choice(SPECIAL) + raw[at:]
        elif kind == 3:
            raw = raw[:at] + bytes([draw.randrange(256)]) + raw[at + 1 :]
        elif kind == 4:
            raw = raw[:at] + raw[at + draw.randrange(1, 60) :]
        elif kind == 5:
            raw = raw[:at]
        elif kind == 6:
            raw = raw.replace(b"\n", draw.choice([b"\r\n", b"\r"]))
        elif kind == 7:
            raw = b"\n".join([*rows[:row], rows[row] * draw.choice([0, 2, 50]), *rows[row:]])
        else:
            raw = draw.choice([b"", b"\n\n", b" ", b"\xef\xbb\xbf", draw.randbytes(draw.randrange(1, 300))])
    return raw


def rows_of(raw, header):
    """Lines that are not blank, by any of the three ends."""
    found = [line for line in re.split(rb"\r\n|\n|\r", raw.removeprefix(b"\xef\xbb\xbf")) if line]
    return max(len(found) - header, 0)


def judged(read, folder, expected):
    said, found = str(folder), None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = read(folder)
    except (ValueError, TypeError) as error:
        said = str(error)
    assert str(folder) in said
    assert len(said) < 2000
    assert None in (expected, found) or len(found) == expected


@pytest.mark.parametrize("kind", TEXT)
def test_a_damaged_text_file_is_refused_by_name_or_read_line_by_line(tmp_path, kind):
    files, read, header = TEXT[kind]
    assert read(put(tmp_path, files)) is not None
    for case in range(CASES):
        draw = random.Random(f"{kind} {case}")
        changed = draw.choice([next(iter(files)), *files])
        now = {**files, changed: damaged(files[changed], draw)}
        if kind == "lightgcn":
            total = sum(max(len(line.split()) - 1, 0) for raw in now.values() for line in re.split(rb"\r\n|\n|\r", raw))
            judged(
                lambda d: range((x := read(d)).dropped_duplicates + len(x.train) + len(x.test)),
                put(tmp_path, now),
                total,
            )
        else:
            judged(read, put(tmp_path, now), rows_of(now[next(iter(files))], header))


def put(folder, files):
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


def flipped(raw, draw):
    at = draw.choice(
        [
            draw.randrange(len(raw)),
            draw.randrange(min(len(raw), 300)),
            len(raw) - 1 - draw.randrange(min(len(raw), 900)),
        ]
    )
    kind = draw.randrange(4)
    if kind == 0:
        return raw[:at]
    if kind == 1:
        return raw[:at] + raw[at + draw.randrange(1, 100) :]
    return raw[:at] + bytes([draw.randrange(256)]) + raw[at + 1 :]


MATRIX = scipy.sparse.csr_array(
    (np.array([r[2] for r in ROWS]), ([r[0] for r in ROWS], [r[1] for r in ROWS])), (12, 15)
)
NUMBERS = [-1, 10**9, 2**31 - 1, -(2**31), 0, 100]


def altered(raw, draw):
    """The same archive with other numbers, shapes or kinds in one member, checksums right."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = {name: np.load(io.BytesIO(archive.read(name))) for name in archive.namelist()}
    name = draw.choice(list(members))
    array, kind = members[name], draw.randrange(5)
    if kind <= 1 and array.ndim and array.dtype.kind in "iuf":
        array = array.copy()
        array.reshape(-1)[draw.randrange(array.size)] = draw.choice(NUMBERS)
    elif kind == 2 and array.ndim:
        array = draw.choice(
            [array[:-1], array[None], np.concatenate([array, array]), array[:0], array.astype("f4"), array.astype("U8")]
        )
    elif kind == 3:
        name, array = (
            "shape.npy",
            np.array(draw.choice([[2**40, 2**40], [2**31, 2], [-1, 5], [0, 0], [2, 2], [3, 3, 3]])),
        )
    else:
        name, array = "format.npy", np.array(draw.choice([b"csc", b"coo", b"bsr", b"dia", b"xxx", b"lil"]))
    members[name] = array
    out = io.BytesIO()
    np.savez(out, **{name.removesuffix(".npy"): own for name, own in members.items()})
    return out.getvalue()


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_a_damaged_matrix_is_refused_by_name_or_its_numbers_are_in_range(tmp_path, form):
    whole = io.BytesIO()
    scipy.sparse.save_npz(whole, MATRIX.asformat(form))
    path = tmp_path / "m.npz"
    path.write_bytes(whole.getvalue())
    assert len(read_npz(path)) == MATRIX.nnz
    for case in range(2 * CASES):
        draw = random.Random(f"{form} {case}")
        path.write_bytes((altered if case % 2 else flipped)(whole.getvalue(), draw))
        judged(lambda d: read_npz(d / "m.npz"), tmp_path, None)


def test_a_damaged_parquet_file_is_refused_by_name(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    users, items, stars, times = map(list, zip(*ROWS, strict=True))
    whole, path = io.BytesIO(), tmp_path / "a.parquet"
    plain = {"user": users, "item": items, "rating": [float(r) for r in stars], "time": times}

    def read(folder):
        return read_parquet(folder / "a.parquet", rating="rating", time="time")

    parquet.write_table(pa.table(plain), whole)
    for case in range(CASES):
        path.write_bytes(flipped(whole.getvalue(), random.Random(f"parquet {case}")))
        judged(read, tmp_path, None)
    u = pa.array(users)
    for other in (
        u.cast(pa.float64()), pa.array([None, *users[1:]]), pa.array([[x] for x in users]), u.cast(pa.string()).dictionary_encode(),
        u.cast(pa.decimal128(21, 2)), pa.array([x % 2 == 0 for x in users]), u.cast(pa.timestamp("s", "UTC")), u.cast(pa.int32()).cast(pa.date32()),
        pa.array([2**64 - 1] * N, pa.uint64()), pa.array([b"a\xff"] * N), pa.array([float("nan")] * N), pa.array([{"a": 1}] * N),
        u.cast(pa.int32()).cast(pa.time32("s")), u.cast(pa.duration("s")), u.cast(pa.string()), pa.nulls(N),
    ):  # fmt: skip
        for column in plain:
            parquet.write_table(pa.table({**plain, column: other}), path)
            judged(read, tmp_path, N)
    parquet.write_table(pa.Table.from_arrays([u, u, u, u, u], names=["user", "user", "item", "rating", "time"]), path)
    with pytest.raises(ValueError, match="several columns are named 'user'"):
        read(tmp_path)
