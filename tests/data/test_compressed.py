"""Files that something compressed: read by their first bytes, whatever they are named; damaged or endless ones are refused by name."""

import bz2
import gzip
import io
import lzma
import random
import sys
import zipfile

import pytest

from fastgcn_rec.data import read_csv, read_lightgcn, read_movielens, read_parquet, read_recbole
from fastgcn_rec.data.reading.compressed import archive_of, exists, kind_of, open_bytes

TEXT = "user,item\n" + "".join(f"u{n},{n * 7 % 1000}\n" for n in range(20_000))


def zipped(raw, name="a.csv", **options):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        archive.writestr(name, raw)
    return out.getvalue()


def zstd(raw):
    return pytest.importorskip("zstandard").ZstdCompressor(write_checksum=True).compress(raw)


PACK = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd, "zip": zipped}
STREAMS = [kind for kind in PACK if kind != "zip"]


def content(path):
    with open_bytes(path) as stream:
        return stream.read()


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("name", ["a.csv", "a", "a.gz"])
def test_what_compressed_a_file_is_known_by_its_bytes(tmp_path, kind, name):
    path = tmp_path / name
    path.write_bytes(PACK[kind](TEXT.encode()))
    assert kind_of(path) == kind
    assert content(path) == TEXT.encode()
    events = read_csv(path)
    assert (len(events), events.user_ids[events.users[7]], events.item_ids[events.items[7]]) == (20_000, "u7", 49)


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_one_behind_the_other_are_one_file(tmp_path, kind):
    (tmp_path / "a").write_bytes(b"".join(PACK[kind](part) for part in (b"user,item\n", b"", b"1,2\n", b"3,4\n")))
    assert content(tmp_path / "a") == b"user,item\n1,2\n3,4\n"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
@pytest.mark.parametrize("kind", PACK)
def test_encodings_are_found_in_what_is_compressed(tmp_path, kind, encoding):
    (tmp_path / "a").write_bytes(PACK[kind]("user,item\nZoë,1\n".encode(encoding)))
    assert read_csv(tmp_path / "a").user_ids.tolist() == ["Zoë"]


@pytest.mark.parametrize("kind", PACK)
def test_a_damaged_archive_is_refused_by_name_or_read_whole(tmp_path, kind):
    whole, path = PACK[kind](TEXT.encode()), tmp_path / "a.csv"
    for case in range(60):
        draw = random.Random(f"{kind} {case}")
        at = draw.randrange(16, len(whole))
        raw = whole[:at] if case % 3 == 0 else whole[:at] + bytes([draw.randrange(256)]) + whole[at + 1 :]
        raw = whole + draw.randbytes(40) if case % 7 == 1 and kind != "zip" else raw
        path.write_bytes(raw)
        try:
            found = content(path)
        except ValueError as error:
            found, said = None, str(error)
        assert found == TEXT.encode() or (found is None and str(path) in said and kind in said)


@pytest.mark.parametrize("kind", STREAMS)
def test_an_archive_that_ends_too_early_is_damaged(tmp_path, kind):
    whole = PACK[kind](TEXT.encode())
    for cut in (len(whole) // 2, len(whole) - 1):
        (tmp_path / "a").write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=f"a is compressed by {kind} and damaged"):
            read_csv(tmp_path / "a")


@pytest.mark.parametrize("kind", PACK)
def test_what_grows_beyond_measure_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("fastgcn_rec.data.reading.compressed._FREE", 1 << 16)
    (tmp_path / "a").write_bytes(PACK[kind](b"user,item\n" + b"0" * (8 << 20)))
    with pytest.raises(ValueError, match=rf"is compressed by {kind} and grows to more than 200 times its size"):
        read_csv(tmp_path / "a")
    (tmp_path / "b").write_bytes(PACK[kind](TEXT.encode()))
    assert content(tmp_path / "b") == TEXT.encode()


@pytest.mark.parametrize("kind", PACK)
def test_what_is_no_text_stays_so_when_it_is_compressed(tmp_path, kind):
    for raw, said in {
        gzip.compress(b"x" * 99): f"compressed twice, by {kind} and by gzip",
        b"PAR1" + b"x" * 99: f"is a Parquet file, not a text file; it is compressed by {kind}: unpack it first",
        b"SQLite format 3\0" + b"x" * 99: "is an SQLite database",
    }.items():
        (tmp_path / "a").write_bytes(PACK[kind](raw))
        with pytest.raises(ValueError, match=said):
            read_csv(tmp_path / "a")


@pytest.mark.parametrize("kind", PACK)
def test_parquet_that_is_compressed_outside_is_refused_by_name(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"user": [1], "item": [2]}), path)
    assert len(read_parquet(path)) == 1
    path.write_bytes(PACK[kind](path.read_bytes()))
    for name in [path, path / "a.csv"] if kind == "zip" else [path]:
        with pytest.raises(
            ValueError, match=f"is compressed by {kind}; Parquet compresses its own columns, so unpack it first"
        ):
            read_parquet(name)


@pytest.mark.parametrize("there", ["zstandard", "pyarrow"])
def test_zstd_is_read_by_what_is_there_and_else_says_what_to_install(tmp_path, monkeypatch, there):
    if sys.version_info >= (3, 14):
        pytest.skip("Python reads it itself")
    path = tmp_path / "a.csv"
    whole = zstd(TEXT.encode())
    pytest.importorskip(there)
    for name in {"zstandard", "pyarrow"} - {there}:
        monkeypatch.setitem(sys.modules, name, None)
    path.write_bytes(whole + whole)
    assert content(path) == TEXT.encode() * 2
    path.write_bytes(whole[:-5])
    with pytest.raises(ValueError, match="compressed by zstd and damaged"):
        content(path)
    monkeypatch.setitem(sys.modules, there, None)
    with pytest.raises(ImportError, match=r"pip install 'fastgcn_rec\[zstd\]'"):
        content(path)


# ---- zip archives


def archive(path, **files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, text in files.items():
            out.writestr(name.replace("__", "/"), text)
    return path


def test_a_file_in_an_archive_has_a_path_and_errors_name_it(tmp_path):
    path = archive(tmp_path / "x.zip", **{"in__a.csv": "user,item\n1,2\n", "in__b.csv": "user,item\n3\n"})
    inner = path / "in" / "a.csv"
    assert (archive_of(inner), exists(inner), exists(path / "in" / "c.csv"), exists(tmp_path / "c")) == (
        path,
        True,
        False,
        False,
    )
    assert len(read_csv(inner)) == len(read_csv(str(inner))) == 1
    with pytest.raises(ValueError, match=r"x\.zip/in/b\.csv, line 2: must have 2 fields"):
        read_csv(path / "in" / "b.csv")
    with pytest.raises(FileNotFoundError, match=r"holds no c\.csv; its files are in/a\.csv, in/b\.csv"):
        read_csv(path / "c.csv")
    with pytest.raises(ValueError, match=r"is a zip archive of 2 files; name one of them: .*x\.zip/in/a\.csv"):
        read_lightgcn(path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.csv", "b/../../a.csv"])
def test_a_file_that_leads_out_of_its_archive_is_refused(tmp_path, name):
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    with pytest.raises(ValueError, match="which is outside of it"):
        read_csv(archive(tmp_path / "x.zip", **{name: "user,item\n1,2\n"}))


def test_an_encrypted_or_damaged_archive_is_refused(tmp_path):
    raw = bytearray(zipped(b"user,item\n1,2\n"))
    path = tmp_path / "x.zip"
    path.write_bytes(raw[:-30])
    with pytest.raises(ValueError, match=r"x\.zip is compressed by zip and damaged"):
        read_csv(path)
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="is encrypted; unpack it first"):
        read_csv(path)


def test_known_forms_are_read_from_their_archives(tmp_path):
    path = archive(
        tmp_path / "ml-1m.zip",
        **{"ml__ratings.dat": "1::2::5::10\n", "ml__movies.dat": "2::Two (1999)::Drama\n", "ml__README": "x"},
    )
    for events in (read_movielens(path), read_movielens(path / "ml" / "ratings.dat")):
        assert (len(events), events.item_info["title"].tolist()) == (1, ["Two"])
    path = archive(
        tmp_path / "r.zip",
        **{"t.inter": "user_id:token\titem_id:token\n1\t7\n", "t.item": "item_id:token\ttitle:token_seq\n7\tRed\n"},
    )
    assert read_recbole(path / "t.inter").item_info["title"].tolist() == ["Red"]
    (tmp_path / "train.txt").write_bytes(zipped(b"0 1 2\n"))
    assert len(read_lightgcn(tmp_path / "train.txt").train) == 2
