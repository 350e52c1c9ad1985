"""One table in the shapes in which tables lie about: the same data set from each, without an option, and again from what was found."""

import bz2
import csv
import gzip
import io
import json
import random
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from fastgcn_rec.data import DataSpec, load_dataset, make_dataset, read_frame

RNG = random.Random(7)
N = 400
BASE = 1_600_000_000
USERS = [f"u{RNG.randint(1, 40)}" for _ in range(N)]
ITEMS = [f"The {RNG.randint(1, 30)}, again" for _ in range(N)]
STARS = [RNG.choice([1, 2.5, 3, 4.5, 5]) for _ in range(N)]
TIMES = [BASE + RNG.randint(0, 10**6) for _ in range(N)]
NAMES = ["listener", "song title", "stars", "listened_at"]


def iso(seconds, zone="Z", hours=0):
    return str(np.datetime64(seconds + 3600 * hours, "s")) + zone


def table(times=TIMES, sep=",", header=True, stars=str, quoting=csv.QUOTE_MINIMAL, rows=slice(None), ends="\n"):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=sep, quoting=quoting, lineterminator=ends)
    if header:
        writer.writerow(NAMES)
    writer.writerows(list(zip(USERS, ITEMS, map(stars, STARS), times, strict=True))[rows])
    return out.getvalue()


def comma(value):
    return str(value).replace(".", ",")


def packed(name, text):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, text)
    return out.getvalue()


SHAPES = {
    "plays.csv": lambda: table().encode(),
    "tabs.tsv": lambda: table(sep="\t").encode(),
    "semicolons.csv": lambda: table(sep=";", stars=comma).encode(),
    "bars.txt": lambda: table(sep="|").encode(),
    "quoted.csv": lambda: table(quoting=csv.QUOTE_ALL, ends="\r\n").encode(),
    "zones.csv": lambda: table([iso(t, "+02:00", 2) for t in TIMES]).encode(),
    "iso.csv": lambda: table([iso(t, "") for t in TIMES]).encode(),
    "ms.csv": lambda: table([1000 * t for t in TIMES]).encode(),
    "us.csv": lambda: table([10**6 * t for t in TIMES]).encode(),
    "utf16.csv": lambda: table().encode("utf-16"),
    "bom.csv": lambda: table().encode("utf-8-sig"),
    "plays.csv.gz": lambda: gzip.compress(table().encode()),
    "plays.csv.bz2": lambda: bz2.compress(table().encode()),
    "plays.zip": lambda: packed("plays.csv", table()),
    "headerless.csv": lambda: table(header=False).encode(),
    "comment.csv": lambda: ("# exported\n# by hand\n" + table()).encode(),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return make_dataset(
        "x", read_frame({"user": USERS, "item": ITEMS, "rating": STARS, "time": TIMES}), "temporal-user", min_rating=2
    )


def same(found, expected):
    assert found.fingerprint() == expected.fingerprint()
    for part in ("train", "test"):
        ours, theirs = getattr(found, part), getattr(expected, part)
        for column in ("users", "items", "time"):
            assert getattr(ours, column).tolist() == getattr(theirs, column).tolist()


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_one_data_set(name, tmp_path, expected):
    path = tmp_path / name
    path.write_bytes(SHAPES[name]())
    spec = DataSpec.of(path, split="temporal-user", min_rating=2)
    same(spec.load(), expected)
    again = DataSpec.from_dict(json.loads(json.dumps(spec.resolved().to_dict())))
    same(again.load(), expected)
    assert again.resolved() == again
    assert again.describe() == spec.describe()


def test_many_files_are_one_table(tmp_path, expected, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "days").mkdir()
    for n in range(4):
        part = table(rows=slice(100 * n, 100 * n + 100))
        (tmp_path / "days" / f"plays-{n}.csv").write_text(part)
    whole = {"split": "temporal-user", "min_rating": 2}
    parts = [f"days/plays-{n}.csv" for n in range(4)]
    for source in ("days", "days/plays-*.csv", parts):
        same(load_dataset(source, **whole), expected)
    assert [DataSpec.of(source).name for source in ("days", "days/plays-*.csv", parts)] == ["days", "plays", "plays-0"]


def test_parquet_is_guessed_alike(tmp_path, expected):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    columns = dict(zip(NAMES, (USERS, ITEMS, STARS, TIMES), strict=True))
    (tmp_path / "days").mkdir()
    for times in (np.array(TIMES) * 1000, np.array(TIMES, "datetime64[s]"), [iso(t) for t in TIMES]):
        whole = pyarrow.table({**columns, "listened_at": times})
        parquet.write_table(whole, tmp_path / "plays.parquet")
        for n in range(2):
            parquet.write_table(whole.slice(200 * n, 200), tmp_path / "days" / f"{n}.parquet")
        for source in ("plays.parquet", "days", "days/*.parquet"):
            same(load_dataset(tmp_path / source, split="temporal-user", min_rating=2), expected)


def test_leading_zeros_stay(tmp_path):
    (tmp_path / "z.csv").write_text("user,item\n" + "".join(f"{n % 40:03d},{n % 30:04d}\n" for n in range(120)))
    data = load_dataset(tmp_path / "z.csv", split="none")
    assert sorted(data.user_ids)[:2] == ["000", "001"]
    assert set(data.item_ids) == {f"{n:04d}" for n in range(30)}


def test_blanks_are_a_separator_of_their_own(tmp_path):
    (tmp_path / "b.txt").write_text("".join(f"{n % 40}  {n % 30}   {BASE + n}\n" for n in range(120)))
    spec = DataSpec.of(tmp_path / "b.txt", split="none")
    assert spec.describe() == "user=column 0, item=column 1, time=column 2 (s since 1970), sep='blanks'"
    assert spec.resolved().reading["sep"] == "blanks"
    assert len(spec.load().train) == 120


def test_standard_input_is_read_once_and_is_a_file_for_others(tmp_path):
    code = (
        "import json\nfrom fastgcn_rec.data import DataSpec\nspec = DataSpec.of('-', split='temporal-user', min_rating=2)\n"
        "assert spec.name == 'standard-input' == spec.resolved().name\n"
        "again = DataSpec.from_dict(json.loads(json.dumps(spec.resolved().to_dict())))\n"
        "print(spec.describe(), spec.load().fingerprint() == DataSpec.of('-', split='temporal-user', min_rating=2).load().fingerprint()"
        " == again.load().fingerprint(), again.source == ('-',))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=table().encode(), capture_output=True, check=False)
    assert done.stdout.decode().splitlines() == [
        "user=listener, item=song title, rating=stars, time=listened_at (s since 1970) True True"
    ], done.stderr.decode()


def test_what_is_not_one_table_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(ValueError, match="files of several kinds"):
        load_dataset(tmp_path)
    with pytest.raises(ValueError, match="format 'npz' is of one file or folder, got 2"):
        load_dataset([tmp_path / "a.csv", tmp_path / "b.json"], format="npz")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        load_dataset(tmp_path / "*.tsv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="the file is empty"):
        load_dataset(tmp_path / "empty.csv")
