"""Lists of any library on the command line, judged as the model that made them."""

import io
import sys

import pytest
from commands import code_of

from fastgcn_rec.data.reading import files

DATA = ["plays.csv", "--user", "listener", "--item", "song", "--time", "at", "--split", "temporal-user"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with plays.csv, the run of a model, and its lists."""
    folder = tmp_path_factory.mktemp("lists")
    rows = [f"u{k * k % 97},s{k * 7 % 61},{1500000000 + k * 3600}" for k in range(1500)]
    (folder / "plays.csv").write_text("\n".join(["listener,song,at", *rows]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert code_of("train", *DATA, "--recipe", "popularity", "--out", "run") == 0
        assert code_of("recommend", "run", "--users", "all", "-k", 50, "--out", "lists.csv") == 0
    return folder


@pytest.fixture
def folder(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def said(capsys, *words, code=0):
    capsys.readouterr()
    assert code_of("evaluate", *words) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err.strip().splitlines()[-1]


def metrics(out):
    return [line for line in out.splitlines() if "@" in line or line.startswith("n_users")]


def test_lists_are_judged_as_their_model(folder, capsys, monkeypatch):
    expected = metrics(said(capsys, "run"))
    for data in (DATA, ["run"]):
        out = said(capsys, "lists.csv", *data)
        assert metrics(out) == expected
        assert "lists.csv: user=user, item=item, in the order of rank=rank\n" in out
    rows = (folder / "lists.csv").read_text().splitlines()[1:]
    (folder / "bare.tsv").write_text("".join("\t".join(row.split(",")[:3]) + "\n" for row in reversed(rows)))
    assert metrics(said(capsys, "bare.tsv", "run", "--list-rank", "1", "--list-item", "2")) == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "lists.csv").read_bytes())))
    files.spooled.cache_clear()
    assert metrics(said(capsys, "-", "run")) == expected
    files.spooled.cache_clear()


def test_what_must_not_stand_in_lists_is_said(folder, capsys):
    rows = (folder / "plays.csv").read_text().splitlines()[1:30]
    (folder / "bad.csv").write_text(
        "".join(f"{','.join(row.split(',')[:2])}\n" for row in ["u0,other", "who,s1", *rows])
    )
    assert "items that are not in plays: 1 rows" in said(capsys, "bad.csv", "run", code=2)
    out = said(capsys, "bad.csv", "run", "--invalid", "drop")
    for line in (
        "1 rows of items that are not in the data",
        "1 rows of users who are not in the data: left out",
        "rows of items that the user has already",
        "users with an item to be found have no list: they count 0",
    ):
        assert line in out
    assert "--invalid drop" in said(capsys, "bad.csv", "run", code=2)


def test_errors(folder, capsys):
    assert "lists.csv does not say of which data its lists are; name DATA too" in said(capsys, "lists.csv", code=2)
    assert "--invalid: of LISTS, and run holds a model; leave it out" in said(
        capsys, "run", "--invalid", "drop", code=2
    )
    assert "standard input is LISTS or DATA, not both" in said(capsys, "-", "-", code=2)
    assert "none.csv does not exist" in said(capsys, "none.csv", "run", code=2)
    assert "no column 'x' for score" in said(capsys, "lists.csv", "run", "--list-score", "x", code=2)


def test_what_is_measured_is_chosen(folder, capsys):
    (folder / "people.csv").write_text("listener,club\n" + "".join(f"u{n},{'ab'[n % 2]}\n" for n in range(97)))
    (folder / "songs.csv").write_text("song,genres\n" + "".join(f"s{n},{'x|y' if n % 3 else 'z'}\n" for n in range(61)))
    beside = ["--users-file", "people.csv", "--items", "songs.csv"]
    options = [
        "--ks",
        3,
        7,
        "--metrics",
        "recall",
        "diversity",
        "personalization",
        "--groups",
        "club",
        "popularity",
        "--vectors",
        "genres",
    ]
    for what in ("run", "lists.csv"):
        out = said(capsys, what, *DATA, *beside, *options)
        names = [line.split()[0] for line in metrics(out)]
        assert names[:4] == ["recall@3", "diversity@3", "recall@7", "diversity@7"]
        assert {"personalization@7", "recall@7[club=a]", "n_users_evaluated[club=b]", "recall@3[items=tail]"} <= set(
            names
        )
    assert "groups must be among activity, popularity, got 'club'" in said(capsys, "run", "--groups", "club", code=2)
