"""The form of a text file from its first rows: found where it is plain, refused with the options that decide where it is not."""

import csv
import gzip
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastgcn_rec.data import read_csv
from fastgcn_rec.data.reading.sniff import head, sniff
from fastgcn_rec.data.reading.text import TextFormat


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    return path


ROWS = [["user", "item", "stars", "when"], *([f"u{n % 7}", n % 5, n % 3, 1_300_000_000 + n] for n in range(40))]


@pytest.mark.parametrize("sep", ["\t", "::", ";", "|", ",", "  "])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_headers_are_found(tmp_path, sep, header, encoding):
    path = write(tmp_path, "".join(sep.join(map(str, row)) + "\r\n" for row in ROWS[not header :]), encoding)
    form = sniff(path)
    assert (form.sep, form.header, form.decimal, form.comment) == (sep.strip(" ") or None, header, ".", None)
    names, rows = head(path, form, 3)
    assert names == (ROWS[0] if header else [])
    assert rows == [list(map(str, row)) for row in ROWS[1:4]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from([",", ";", "\t", "|"]),
    st.booleans(),
    st.lists(
        st.tuples(st.text(st.sampled_from('ab ,;|\t"é'), max_size=6), st.integers(-5, 999)), min_size=1, max_size=30
    ),
)
def test_what_the_csv_module_writes_with_a_header_is_read_back(tmp_path, sep, all_quoted, rows):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=sep, quoting=csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL)
    writer.writerows([("item", "user", "n"), *((text, number, number) for text, number in rows)])
    path = write(tmp_path, out.getvalue())
    form = sniff(path)
    assert (form.sep, form.header, form.quoted) == (sep, True, True)
    assert head(path, form)[1] == [[text, str(number), str(number)] for text, number in rows]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("user;item;stars\n1;2;4,5\n2;2;3\n", {"sep": ";", "decimal": ","}),
        ("1;2,5\n2;3,5\n", {"sep": ";", "decimal": ",", "header": False}),
        ("user;item;stars;lat\n1;2;4,5;52.5\n", {"sep": ";", "decimal": "."}),
        ("user;item;stars\n1;2;4.5\n", {"sep": ";", "decimal": "."}),
        (
            'userId,movieId,title\n1,2,"Bug\'s Life, A (1998)"\n1,3,Two|Three\n',
            {"sep": ",", "quoted": True, "header": True},
        ),
        ('user\titem\n1\t5" pipe\n2\t"x\n3\ty\n', {"sep": "\t", "quoted": False}),
        ("% bip\n% 2 2 2\n1 10\n2 11\n", {"sep": None, "comment": "%", "header": False}),
        ("# from the shop\nuser,item,n\n1,2,3\n", {"sep": ",", "comment": "#", "header": True}),
        ("2011-12-09 12:50:00,ann,7\n2011-12-10 12:50:00,bob,8\n", {"sep": ",", "header": False}),
        ("customer,what else\nann,tea\nbob,cake\n", {"header": True}),
        ("ann,tea\nbob,cake\nann,cake\n", {"header": False}),
        ("1,2\n", {"header": False}),
        ("u1,i5\nu2,i7\n", {"header": False}),
        ("purchaser,thingy\nu2,tea\nu3,cake\n", {"header": True}),
        ("user,item\n", {"header": True}),
        ("user,item,n\n1,2,3\n1,2\n1,2,4\n", {"sep": ",", "header": True}),  # the reader says which line is short
        ("user,item,n\n1,2,3\n" + "1,x,4\n" * 30 + "1,x,?\n", {"header": True}),
    ],
)
def test_forms_are_found(tmp_path, text, found):
    form = sniff(write(tmp_path, text))
    assert {name: getattr(form, name) for name in found} == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a b\nc\n", r"no separator divides all lines.*sep= \(--sep\) names it"),
        ("0 1 2 3\n1 2\n2 3 4\n3 1\n", "no separator divides all lines"),
        ("1,a|b\n2,c|d\n", r"the separator may be '\|' \(2 fields\), ',' \(2 fields\); sep= says which"),
        ("a1;b,c\na2;d,e\n", "the separator may be ';' .* ','"),
        (
            "#user,item\n1,2\n",
            "may be a comment or the names of the columns; comment='#' leaves it out, comment='' takes it",
        ),
        ("tea,cake\nmilk,bread\n", "header=True or header=False says which; it is 'tea', 'cake'"),
        ("col1,col2\nu2,i7\n", "header=True or header=False says which"),
        ("", "the file is empty"),
    ],
)
def test_what_is_doubtful_is_refused_with_the_option_that_decides(tmp_path, text, said):
    with pytest.raises(ValueError, match=rf"a\.csv: .*{said}"):
        sniff(write(tmp_path, text))


def test_what_is_given_is_not_guessed(tmp_path):
    path = write(tmp_path, "tea,cake\nmilk,bread\n")
    assert sniff(path, header=True).header
    assert not sniff(path, header=False).header
    assert sniff(path, names=["cake"]).header
    path = write(tmp_path, "1,a|b\n2,c|d\n")
    assert sniff(path, sep="|", header=False).sep == "|"
    assert head(path, sniff(path, sep=","))[1] == [["1", "a|b"], ["2", "c|d"]]
    path = write(tmp_path, "#user,item\n1,2\n")
    assert sniff(path, comment="#").header is False
    assert head(path, sniff(path, comment=""))[0] == ["#user", "item"]
    path = write(tmp_path, "user;item;stars\n1;2;4,5\n")
    assert sniff(path, decimal=".").decimal == "."
    assert sniff(path, sep=None).sep is None
    assert sniff(path, encoding="latin-1", strip=True, ids="text", missing=("x",)) == TextFormat(
        sep=";", decimal=",", encoding="latin-1", strip=True, ids="text", missing=("x",)
    )


def test_the_head_of_a_large_compressed_file_is_enough(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    with gzip.open(path, "wt") as file:
        file.write("user\titem\n" + "1\t2\n" * 500_000 + "é")
    with monkeypatch.context() as only_the_head:
        only_the_head.setattr("fastgcn_rec.data.reading.compressed._FREE", 3 << 19)
        only_the_head.setattr("fastgcn_rec.data.reading.compressed._FOLDS", 0)
        form = sniff(path)
    assert (form.sep, form.header) == ("\t", True)
    with pytest.raises(ValueError, match="line 500002: must have 2 fields"):
        read_csv(path, sep=form.sep)
