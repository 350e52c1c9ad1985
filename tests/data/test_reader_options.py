"""What a reader refuses by default, with the file, the line and the way out, and what each of its options does about it."""

import codecs
import gzip
import warnings
import zipfile

import pytest

from fastgcn_rec.data import read_csv, read_lightgcn, read_movielens, read_recbole


def raw_pairs(events):
    return list(zip(events.user_ids[events.users].tolist(), events.item_ids[events.items].tolist(), strict=True))


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


# ---- quotation marks


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("column", ["item", "note"])
@pytest.mark.parametrize("partner", [None, 5])
def test_a_quotation_mark_that_lost_its_partner_swallows_no_line(tmp_path, monkeypatch, chunk, column, partner):
    monkeypatch.setattr("fastgcn_rec.data.reading.text.CHUNK_ROWS", chunk)
    rows = [["user", "item", "note"], *([str(k), f"i{k}", f"n{k}"] for k in range(9))]
    at = rows[0].index(column)
    rows[3][at] = '"' + rows[3][at]
    if partner:
        rows[partner][at] += '"'
    path = write(tmp_path / "a.csv", "\n".join(map(",".join, rows)) + "\n")
    with pytest.raises(ValueError, match=r"a\.csv, line 4: a quot.*quoted=False.*the line is '2,"):
        read_csv(path)
    with pytest.raises(ValueError, match=r"a\.csv, line 4: a quot"):
        read_csv(path, bad_lines="skip")  # nobody knows where such a line ends
    plain = read_csv(path, quoted=False)
    assert len(plain) == 9
    assert ('"i2' in plain.item_ids.tolist()) == (column == "item")


def test_newlines_in_fields_are_read_where_they_are_meant(tmp_path):
    path = write(tmp_path / "a.csv", 'user,item\n"a\nb",1\n"c ""d""",2\n')
    with pytest.raises(ValueError, match=r"line 2: a quoted field goes on in the next line; newlines=True"):
        read_csv(path)
    assert read_csv(path, newlines=True).user_ids.tolist() == ["a\nb", 'c "d"']


def test_titles_of_a_release_are_held_to_the_same_rule(tmp_path):
    write(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp\n1,1,5,1\n1,2,4,2\n")
    write(tmp_path / "movies.csv", 'movieId,title,genres\n1,"Open (1999),Drama\n2,Two" (2000),Comedy\n')
    with pytest.raises(ValueError, match=r"movies\.csv, line 2: a quot"):
        read_movielens(tmp_path)


# ---- fields


def test_blanks_at_ends_of_ids_are_decided_by_the_user(tmp_path):
    path = write(tmp_path / "a.csv", 'user, item\n1,10\n2, 10\n3, "x, y"\n')
    with pytest.raises(ValueError, match=r"no column 'item' .* strip=True takes blanks around names away"):
        read_csv(path)
    write(tmp_path / "b.csv", path.read_text().rsplit("\n", 2)[0])
    with pytest.raises(ValueError, match=r"line 3: the item ' 10' has a blank at an end; .*strip=True .* strip=False"):
        read_csv(tmp_path / "b.csv", item=1)
    assert raw_pairs(read_csv(path, strip=True)) == [(1, "10"), (2, "10"), (3, "x, y")]
    path = write(tmp_path / "b.csv", "user,item,rating,time\na ,1, 2 , 3\n")
    kept = read_csv(path, rating="rating", time="time", strip=False)
    assert (kept.user_ids.tolist(), kept.rating.tolist(), kept.time.tolist()) == (["a "], [2], [3])


@pytest.mark.parametrize("chunk", [1, 100])
def test_an_id_in_two_forms_is_one_or_two_as_the_user_says(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr("fastgcn_rec.data.reading.text.CHUNK_ROWS", chunk)
    path = write(tmp_path / "a.csv", "user,item\n1,10\n1.0,11\n+1,12\n01,13\n")
    with pytest.raises(ValueError, match=r"line 3: the user '1\.0' is also written '1'; ids='integer' .* ids='text'"):
        read_csv(path)
    assert raw_pairs(read_csv(path, ids="integer")) == [(1, 10), (1, 11), (1, 12), (1, 13)]
    assert read_csv(path, ids="text").user_ids.tolist() == ["+1", "01", "1", "1.0"]
    with pytest.raises(ValueError, match=r"line 2: the user 'x' is not an integer below 2\*\*63; ids='text'"):
        read_csv(write(tmp_path / "b.csv", "user,item\nx,1\n"), ids="integer")
    with pytest.raises(ValueError, match="is not an integer below"):
        read_csv(write(tmp_path / "c.csv", f"user,item\n{2**63},1\n"), ids="integer")


def test_comments_and_runs_of_blanks_name_their_options(tmp_path):
    path = write(tmp_path / "a.txt", "% bip unweighted\n% 2 2 2\n1 10\n\n2 11\n")
    columns = {"user": 0, "item": 1, "sep": " ", "header": False}
    with pytest.raises(ValueError, match=r"line 2: must have 3 fields, got 4; comment='%' leaves out"):
        read_csv(path, **columns)
    assert raw_pairs(read_csv(path, **columns, comment="%")) == [(1, 10), (2, 11)]
    with pytest.raises(ValueError, match=r"line 6: must have 2 fields, got 3"):  # lines keep their numbers
        read_csv(write(tmp_path / "b.txt", path.read_text() + "1 2 3\n"), **columns, comment="%")
    for text in ("1  10\n2   11\n", "1  10\n2  11\n"):
        with pytest.raises(ValueError, match="sep=None takes any run of blanks"):
            read_csv(write(tmp_path / "c.txt", text), **columns)
        assert raw_pairs(read_csv(tmp_path / "c.txt", **{**columns, "sep": None})) == [(1, 10), (2, 11)]


@pytest.mark.parametrize("null", ["nan", "None", "NULL", "\\N", "<NA>", "", " "])
@pytest.mark.parametrize("chunk", [1, 100])
def test_missing_ids_are_no_ids(tmp_path, monkeypatch, null, chunk):
    monkeypatch.setattr("fastgcn_rec.data.reading.text.CHUNK_ROWS", chunk)
    path = write(tmp_path / "a.csv", f"user,item\n1,10\n2,{null}\n3,12\n")
    with pytest.raises(ValueError, match=r"a\.csv, line 3: the item .*(missing|empty).* bad_lines='skip'"):
        read_csv(path, strip=False)
    with pytest.warns(UserWarning, match=r"a\.csv: 1 lines are left out, the first is line 3: the item"):
        assert raw_pairs(read_csv(path, strip=False, bad_lines="skip")) == [(1, 10), (3, 12)]
    if null.strip():
        assert null in read_csv(path, missing=()).item_ids.tolist()


@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "1_0", "٣", "x", ""])
@pytest.mark.parametrize("column", ["rating", "time"])
def test_numbers_are_finite_and_ascii(tmp_path, value, column):
    path = write(tmp_path / "a.csv", f"user,item,{column}\n1,1,1\n1,2,{value}\n")
    with pytest.raises(ValueError, match=rf"a\.csv, line 3: the {column} "):
        read_csv(path, **{column: column})


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_bad_lines_are_left_out_and_counted(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr("fastgcn_rec.data.reading.text.CHUNK_ROWS", chunk)
    path = write(tmp_path / "a.csv", "user,item,rating\n1,1,5\n2,2\n3,3,x\n,4,4\n5,5,5\n6,6,6,6\n")
    with pytest.warns(UserWarning, match=r"4 lines are left out, the first is line 3: must have 3 fields, got 2"):
        events = read_csv(path, rating="rating", bad_lines="skip")
    assert (raw_pairs(events), events.rating.tolist()) == ([(1, 1), (5, 5)], [5, 5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_csv(write(tmp_path / "b.csv", "user,item\n1,1\n"), bad_lines="skip")) == 1


def test_a_name_that_stands_twice_and_long_fields_are_explained(tmp_path):
    with pytest.raises(ValueError, match="several columns are named 'user'; give the position of user"):
        read_csv(write(tmp_path / "a.csv", "user,user,item\n1,2,3\n"))
    for text in ("u" * 140_000 + ",item\n1,2\n", "user,item\n" + "u" * 140_000 + ",2\n"):
        with pytest.raises(ValueError, match=r"b\.csv, line \d: field larger than .* csv\.field_size_limit"):
            read_csv(write(tmp_path / "b.csv", text))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sep": ""}, ValueError, "sep must be"),
        ({"sep": "\n"}, ValueError, "sep must be"),
        ({"ids": "int"}, ValueError, "ids must be one of 'auto', 'integer', 'text', got 'int'"),
        ({"bad_lines": "warn"}, ValueError, "bad_lines must be one of 'error', 'skip'"),
        ({"missing": "nan"}, TypeError, r"write \['nan'\]"),
        ({"user": 1.0}, TypeError, "user must be a column's name or position, got float"),
    ],
)
def test_options_are_checked(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        read_csv(write(tmp_path / "a.csv", "user,item\n1,2\n"), **options)


# ---- lines and bytes


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_one_in_every_reader(tmp_path, end):
    def put(name, text):
        return write(tmp_path / name, text.replace("\n", end))

    assert raw_pairs(read_csv(put("a.csv", "user,item\n1,2\n3,4\n"))) == [(1, 2), (3, 4)]
    with pytest.raises(ValueError, match=r"line 4: must have 2 fields, got 3; the line is '5,6,7'"):
        read_csv(put("b.csv", "user,item\n1,2\n3,4\n5,6,7\n"))
    assert len(read_csv(put("c.txt", "1::2\n3::4\n"), 0, 1, sep="::", header=False)) == 2
    data = read_lightgcn(put("train.txt", "0 5 6\n\n1 7\n"))
    assert (sorted(data.user_ids.tolist()), len(data.train)) == ([0, 1], 3)
    with pytest.raises(ValueError, match=r"line 3: only integers .* the line is '1 x'"):
        read_lightgcn(put("bad.txt", "0 5\n\n1 x\n2 3\n"))
    assert len(read_recbole(put("t.inter", "user_id:token\titem_id:token\n1\t2\n3\t4\n"))) == 2
    assert len(read_movielens(put("u.data", "1\t2\t3\t4\n5\t6\t7\t8\n"))) == 2


def test_lightgcn_files_of_mixed_line_ends_are_read_line_by_line(tmp_path):
    data = read_lightgcn(write(tmp_path / "t.txt", "0 1\r1 2\r\n2 3\n\r3 4"))
    assert sorted(zip(data.user_ids[data.train.users], data.item_ids[data.train.items], strict=True)) == [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
    ]


def test_compressed_and_marked_files_are_read_and_others_named(tmp_path):
    text = "user,item\nZoë,1\n"
    for name, raw in {
        "gz": gzip.compress(text.encode()),
        "utf-8": text.encode(),
        "latin-1": text.encode("latin-1"),
        "utf-8-sig": text.encode("utf-8-sig"),
        "utf-16": text.encode("utf-16"),
        "utf-16-be": codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        "utf-32": text.encode("utf-32"),
    }.items():
        path = tmp_path / name
        path.write_bytes(raw)
        assert raw_pairs(read_csv(path)) == [("Zoë", 1)], name
    path.write_bytes(text.encode("utf-16-le"))
    with pytest.raises(ValueError, match="UTF-16 without a byte order mark; if so, encoding='utf-16-le'"):
        read_csv(path)
    assert raw_pairs(read_csv(path, encoding="utf-16-le")) == [("Zoë", 1)]
    with pytest.raises(ValueError, match=r"not text in ascii .* name another encoding="):
        read_csv(tmp_path / "utf-8", encoding="ascii")
    path.write_bytes(gzip.compress(text.encode())[:-9])
    with pytest.raises(ValueError, match="compressed by gzip and damaged"):
        read_csv(path)
    for inner in ("[Content_Types].xml", "x.npy"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(inner, text)
        for reader in (read_csv, read_lightgcn):
            with pytest.raises(ValueError, match=r"in a compressed archive|is a compressed archive .* not a text file"):
                reader(path)
    for raw in (gzip.compress(b"0 1 2\n"), "0 1 2\n".encode("utf-8-sig"), "0 1 2\n".encode("utf-16")):
        (tmp_path / "train.txt").write_bytes(raw)
        assert len(read_lightgcn(tmp_path / "train.txt").train) == 2
    (tmp_path / "train.txt").write_bytes("0 1".encode("utf-16")[:-1])
    with pytest.raises(ValueError, match=r"train\.txt: not text in utf-16"):
        read_lightgcn(tmp_path / "train.txt")


# ---- RecBole


def recbole(folder, inter, **others):
    write(folder / "t.inter", inter)
    for suffix, text in others.items():
        write(folder / f"t.{suffix}", text)
    return folder


@pytest.mark.parametrize(
    "before", ["item_id_list:token_seq", "item_price:float", "user_age:float", "items:token", "userx:token"]
)
def test_recbole_fields_are_taken_by_their_whole_name(tmp_path, before):
    name = before.split(":")[0]
    folder = recbole(
        tmp_path,
        f"{before}\tuser_id:token\titem_id:token\n9\t1\t7\n9\t2\t8\n",
        item=f"{before}\titem_id:token\n3.5\t7\n4\t8\n",
        user=f"{before}\tuser_id:token\n3.5\t1\n4\t2\n",
    )
    events = read_recbole(folder)
    assert raw_pairs(events) == [(1, 7), (2, 8)]
    assert events.item_info[name].tolist() == events.user_info[name].tolist() == ["3.5", "4"]


def test_recbole_fields_of_other_names_are_named_by_the_user(tmp_path):
    folder = recbole(
        tmp_path,
        "session_id:token\tartist_id:token\tweight:float\tplayed_date:float\n1\t7\t3\t5\n",
        item="title:token_seq\tartist_id:token\nRed Mug\t7\n",
    )
    with pytest.raises(ValueError, match="no field 'user_id' or 'user' for user; the fields are session_id, artist_id"):
        read_recbole(folder)
    with pytest.warns(UserWarning, match="no field is taken for the time; time='played_date' names one"):
        events = read_recbole(folder, user="session_id", item="artist_id")
    assert (events.rating, events.time) == (None, None)
    events = read_recbole(folder, "session_id", "artist_id", "weight", "played_date")
    assert (events.rating.tolist(), events.time.tolist(), events.item_info["title"].tolist()) == ([3], [5], ["Red Mug"])
    with pytest.raises(ValueError, match="no field 'stars' for rating"):
        read_recbole(folder, "session_id", "artist_id", "stars")
    with pytest.raises(ValueError, match="'user_id' more than once"):
        read_recbole(recbole(tmp_path, "user_id:token\tuser_id:token\titem_id:token\n"))


@pytest.mark.parametrize("field", ["timestamp", "time", "event_time", "datetime"])
def test_recbole_times_of_usual_names_are_read(tmp_path, field):
    found = read_recbole(recbole(tmp_path, f"user_id:token\titem_id:token\t{field}:float\n1\t7\t5\n"))
    assert found.time.tolist() == [5]


@pytest.mark.parametrize("chunk", [1, 100])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_a_quoted_field_holds_is_no_comment(tmp_path, monkeypatch, chunk, end):
    monkeypatch.setattr("fastgcn_rec.data.reading.text.CHUNK_ROWS", chunk)
    ids = [end.join(lines) for lines in (["a", "#b", "c"], ["a", "#d", "c"], ["a", "", "c"], ["#a", "#"], ["a"])]
    rows = ["#user,item", "user,item", *(f'{n},"{text}"{end}#x "y,{end}' for n, text in enumerate(ids)), "#"]
    path = write(tmp_path / "a.csv", end.join(rows))
    assert raw_pairs(read_csv(path, newlines=True, comment="#")) == list(enumerate(ids))
    plain = write(tmp_path / "b.csv", end.join(["#", "user,item", "#x", "1,2", '# "', "3,4"]))
    for quoted in (True, False):
        assert raw_pairs(read_csv(plain, quoted=quoted, comment="#")) == [(1, 2), (3, 4)]


def test_lines_behind_comments_keep_their_numbers(tmp_path):
    path = write(tmp_path / "a.csv", 'user,item\n#\n1,"a\n#b"\n#\n2,x,y\n')
    with pytest.raises(ValueError, match="line 6: must have 2 fields, got 3"):
        read_csv(path, newlines=True, comment="#")
