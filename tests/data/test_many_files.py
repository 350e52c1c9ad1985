"""Sources of several files: lists, globs, folders, archives and standard input; one table of them all, and bad lines that are counted."""

import gzip
import os
import subprocess
import sys
import zipfile

import pytest

from fastgcn_rec.data import read_csv
from fastgcn_rec.data.reading.files import files_of, suffix_of


def put(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def pairs(events):
    return list(zip(events.user_ids[events.users].tolist(), events.item_ids[events.items].tolist(), strict=True))


ONE, TWO = "user,item\n1,10\n", "user,item\n2,20\n3,30\n"


def test_every_way_of_naming_files_gives_one_table(tmp_path):
    put(
        tmp_path,
        **{
            "d__a.csv": ONE,
            "d__b.csv.gz": gzip.compress(TWO.encode()),
            "d___SUCCESS": "",
            "d__.a.csv.crc": "x",
            "d__a.csv.md5": "x",
        },
    )
    folder = tmp_path / "d"
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for name, text in {"in/a.csv": ONE, "in/b.csv": TWO, "__MACOSX/in/._a.csv": "x"}.items():
            archive.writestr(name, text)
    expected = [(1, 10), (2, 20), (3, 30)]
    for source in (
        folder, str(folder), f"{folder}/*.csv*", f"{tmp_path}/**/*.csv*", [folder / "a.csv", f"{folder}/b.csv.gz"],
        (folder / "a.csv", folder / "b.csv.gz"), tmp_path / "d.zip", f"{tmp_path}/d.zip/in/*.csv", tmp_path / "d.zip" / "in",
    ):  # fmt: skip
        assert pairs(read_csv(source)) == expected, source
    assert pairs(read_csv([folder / "b.csv.gz", folder / "a.csv"])) == [*expected[1:], expected[0]]
    assert [path.name for path in files_of(folder)] == ["a.csv", "b.csv.gz"]


def test_a_folder_is_read_at_any_depth_and_a_literal_name_wins_over_a_glob(tmp_path):
    put(
        tmp_path,
        **{"d__y=1__a.csv": ONE, "d__y=2__a.csv": TWO, "d___temporary__a.csv": "x", "[a].csv": ONE, "a.csv": TWO},
    )
    assert len(read_csv(tmp_path / "d")) == 3
    assert len(read_csv(tmp_path / "[a].csv")) == 1


def test_files_of_several_kinds_none_and_twice_are_refused(tmp_path):
    put(tmp_path, **{"d__a.csv": ONE, "d__b.csv.gz": b"", "d__README.md": "x", "d__c.parquet": "x", "e___SUCCESS": ""})
    with pytest.raises(
        ValueError, match=r"several kinds: 1 \.md \(README\.md\); 2 \.csv \(a\.csv, b\.csv\.gz\).* or .*/\*\.csv"
    ):
        read_csv(tmp_path / "d")
    for source, said in {
        str(tmp_path / "e"): "holds no files of data",
        f"{tmp_path}/x*.csv": "no file matches",
        f"{tmp_path}/x.csv": "does not exist",
        f"{tmp_path}/d/a.csv/b.csv": "does not exist",
    }.items():
        with pytest.raises(FileNotFoundError, match=said):
            read_csv(source)
    with pytest.raises(ValueError, match="named more than once"):
        read_csv([tmp_path / "d" / "a.csv", f"{tmp_path}/d/*.csv"])
    for source, error in (([], ValueError), (7, TypeError), ([7], TypeError)):
        with pytest.raises(error, match="a source must"):
            read_csv(source)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.csv", ".csv"),
        ("a.TSV.gz", ".tsv"),
        ("a.gz", ""),
        ("part-00000", ""),
        ("log.20111209", ""),
        ("a.b.c.snappy.parquet", ".parquet"),
    ],
)
def test_the_suffix_of_a_compressed_file_is_that_before(tmp_path, name, suffix):
    assert suffix_of(tmp_path / name) == suffix


def test_headers_must_be_the_same_and_the_first_that_differs_is_named(tmp_path):
    put(tmp_path, **{"1.csv": ONE, "2.csv": ONE, "3.csv": "item,user\n10,1\n", "4.csv": "x,y\n"})
    with pytest.raises(
        ValueError, match=r"3\.csv has the columns item, user, and .*1\.csv has user, item; .* the same header"
    ):
        read_csv(f"{tmp_path}/*.csv")
    put(tmp_path, **{"3.csv": "", "4.csv": TWO})  # a file without a byte holds nothing, as Spark writes them
    assert len(read_csv(f"{tmp_path}/*.csv")) == 4
    put(tmp_path, **{"p__1": "1,2\n", "p__2": "3,4\n5\n"})
    with pytest.raises(ValueError, match=r"p/2, line 2: must have 2 fields, got 1"):
        read_csv(tmp_path / "p", 0, 1, header=False)
    with pytest.raises(ValueError, match="the file is empty"):
        read_csv(put(tmp_path / "q", **{"1.csv": "", "2.csv": ""}))


def test_what_is_asked_of_a_column_is_asked_of_all_files(tmp_path):
    put(tmp_path, **{"1.csv": "user,item,at\n1,a,5\n", "2.csv": "user,item,at\n1.0,b,6\n"})
    with pytest.raises(ValueError, match=r"2\.csv, line 2: the user '1\.0' is also written '1'"):
        read_csv(f"{tmp_path}/*.csv")
    put(tmp_path, **{"2.csv": "user,item,at\n2,b,2011-12-09\n"})
    with pytest.raises(
        ValueError,
        match=r"2\.csv, line 2: the time '2011-12-09' is a date while those before are numbers; use one form; the column is 'at'",
    ):
        read_csv(f"{tmp_path}/*.csv", time="at")
    put(tmp_path, **{"2.csv": "user,item,at\nx,b,6\n"})
    assert pairs(read_csv(f"{tmp_path}/*.csv")) == [("1", "a"), ("x", "b")]


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_so_many_bad_lines_are_left_out_over_all_files_and_one_more_is_an_error(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr("fastgcn_rec.data.reading.text.CHUNK_ROWS", chunk)
    put(tmp_path, **{"1.csv": "user,item\n1\n1,2\n,3\n", "2.csv": "user,item\n4,5\nnan,5\n7,8,9\n"})
    source = f"{tmp_path}/*.csv"
    said = r"1\.csv and 1 more: 4 lines are left out, the first is .*line 2: must .*; line 4: the user is empty.*; .*2\.csv, line 3: the user 'nan'[^;]*; [^;]*$"
    for options in ({"skip_bad_lines": 4}, {"skip_bad_lines": 9}, {"bad_lines": "skip"}):
        with pytest.warns(UserWarning, match=said):
            assert pairs(read_csv(source, **options)) == [(1, 2), (4, 5)]
    for most, at in ((3, r"2\.csv, line 4: must have 2"), (1, r"1\.csv, line 4: the user is empty")):
        with pytest.raises(
            ValueError, match=rf"{at}.* \(bad lines before it: {most}, as many as skip_bad_lines={most} leaves"
        ):
            read_csv(source, skip_bad_lines=most)
    with pytest.raises(ValueError, match="skip_bad_lines must be"):
        read_csv(source, skip_bad_lines=-1)


def test_decimal_commas_are_read_by_option_and_named_without(tmp_path):
    path = put(tmp_path, **{"a.csv": "user;item;stars;at\n1;2;4,5;1,5\n1;3;-2;2\n"}) / "a.csv"
    events = read_csv(path, rating="stars", time="at", sep=";", decimal=",")
    assert (events.rating.tolist(), events.time.tolist()) == ([4.5, -2], [1.5, 2])
    with pytest.raises(
        ValueError,
        match=r"line 2: the rating '4,5' is not a finite number, unless decimal=',' is given; the column is 'stars'",
    ):
        read_csv(path, rating="stars", sep=";")
    put(tmp_path, **{"b.csv": "user;item;stars\n1;2;4.5\n"})
    with pytest.raises(ValueError, match=r"'4\.5' is not a finite number, unless decimal='\.'"):
        read_csv(tmp_path / "b.csv", rating="stars", sep=";", decimal=",")
    for value in ("1.234,5", "1,2,3", "x", "1_0,5", "n,an"):
        put(tmp_path, **{"b.csv": f"user;item;stars\n1;2;{value}\n"})
        with pytest.raises(ValueError, match=r"line 2: the rating .* is not a finite number such as 4 or 4,5"):
            read_csv(tmp_path / "b.csv", rating="stars", sep=";", decimal=",")
    for options, said in (({"decimal": ","}, "must differ"), ({"decimal": "x"}, "decimal must be one of")):
        with pytest.raises(ValueError, match=said):
            read_csv(path, **options)


def test_what_stands_for_none_may_be_an_integer(tmp_path):
    path = put(tmp_path, **{"a.csv": "user,item\n1,2\n-1,3\n"}) / "a.csv"
    with pytest.raises(ValueError, match="line 3: the user '-1' stands for a missing value"):
        read_csv(path, missing=["-1"])
    assert read_csv(path, missing=["-2"]).user_ids.tolist() == [-1, 1]


def test_encodings_by_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("user,item\n€,1\n".encode("cp1252"))
    assert read_csv(path, encoding="cp1252").user_ids.tolist() == ["€"]
    for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-32-le"):
        raw = "\ufeffuser,item\n€,1\n".encode(
            encoding.replace("utf-16", "utf-16-le") if encoding == "utf-16" else encoding
        )
        path.write_bytes(raw)
        assert read_csv(path, encoding=encoding).user_ids.tolist() == ["€"], encoding
    for name in ("latin-9x", "rot13"):
        with pytest.raises(ValueError, match="encoding must be one that Python knows"):
            read_csv(path, encoding=name)


STDIN = """
import sys
from fastgcn_rec.data import read_csv
from fastgcn_rec.data.reading.files import files_of
print(len(read_csv("-")), len(read_csv("-")), files_of("-")[0])
"""


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_is_read_once_and_its_file_removed(tmp_path, pack):
    done = subprocess.run(
        [sys.executable, "-c", STDIN],
        input=pack(TWO.encode()),
        capture_output=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=True,
    )
    first, second, path = done.stdout.decode().split()
    assert (first, second) == ("2", "2")
    assert path.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
