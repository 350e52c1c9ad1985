"""The commands recommend and similar: lists on the screen and in files, users however they are named."""

import csv
import functools
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import code_of

from fastgcn_rec import LightGCN, Recommender
from fastgcn_rec.cli import main
from fastgcn_rec.data import Interactions, make_dataset
from fastgcn_rec.ranking.export import write_recommendations


def saved(folder, text_ids=False):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 40, 300), rng.integers(100, 130, 300)
    if text_ids:
        users, items = [f"u,{u}" for u in users], [f'the "{i}"' for i in items]
    model = LightGCN(make_dataset("toy", Interactions.from_raw(users, items), split="none"), 8, 1)
    model.save(folder / "model.npz")
    return model


def rows_of(path):
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: an extra")
        table = parquet.read_table(path).to_pydict()
        return list(zip(*(table[name] for name in ("user", "rank", "item", "score")), strict=True))
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["user", "rank", "item", "score"]
    return rows


@pytest.mark.parametrize("text_ids", [False, True])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_file_holds_what_recommend_gives_block_by_block(tmp_path, suffix, text_ids):
    model, out = saved(tmp_path, text_ids), tmp_path / "new" / f"recs{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow: an extra")
    n = write_recommendations(model, out, k=25, block_users=7, progress=False)  # more than some users have left
    rows = rows_of(out)
    assert len(rows) == n
    kind = int if not text_ids else str
    got = [(kind(user), int(rank), kind(item), np.float32(score)) for user, rank, item, score in rows]
    blocks = [model.recommend(model.user_ids[at : at + 7], 25) for at in range(0, 40, 7)]
    ids, scores = (np.concatenate(parts).tolist() for parts in zip(*blocks, strict=True))
    expected = [
        (user, rank + 1, ids[row][rank], np.float32(scores[row][rank]))
        for row, user in enumerate(model.user_ids.tolist())
        for rank in range(25)
        if scores[row][rank] > -np.inf
    ]
    assert len(expected) < 40 * 25
    assert got == expected
    assert [p.name for p in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_interrupted_file_is_not_there_and_the_old_one_stays(tmp_path, suffix, monkeypatch):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow: an extra")
    model, out = saved(tmp_path), tmp_path / f"recs{suffix}"
    plain, calls = model.places, []

    def stop_in_the_second_block(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*args)

    for old in (None, b"old"):
        if old:
            out.write_bytes(old)
        calls.clear()
        with monkeypatch.context() as patched:
            patched.setattr(model, "places", stop_in_the_second_block)
            with pytest.raises(KeyboardInterrupt):
                write_recommendations(model, out, block_users=10, progress=False)
        assert out.exists() == (old is not None)
        assert old is None or out.read_bytes() == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.npz", out.name]


def test_no_users_give_a_file_with_the_columns_alone(tmp_path):
    model = saved(tmp_path)
    assert write_recommendations(model, tmp_path / "recs.csv", [], progress=False) == 0
    assert rows_of(tmp_path / "recs.csv") == []


def test_the_command_line_takes_arguments_a_file_or_all(tmp_path, capsys):
    model, out = saved(tmp_path), tmp_path / "recs.csv"
    first, second = model.user_ids[:2].tolist()
    assert main(["recommend", str(tmp_path), str(first), str(second), "-k", "3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    ids, _ = model.recommend([first, second], 3)
    for line, user, row in zip(printed, (first, second), ids, strict=True):
        assert line.startswith(f"user {user}: ")
        assert [int(part.split()[0]) for part in line.split(": ")[1].split(", ")] == row.tolist()
    (tmp_path / "users.txt").write_text(f"{second}\n\n{first}\n")
    arguments = ["recommend", str(tmp_path), "--k", "3", "--out", str(out), "--quiet"]
    assert main([*arguments, "--users", str(tmp_path / "users.txt")]) == 0
    assert [int(row[0]) for row in rows_of(out)] == [second] * 3 + [first] * 3
    assert "6 recommendations to 2 users" in capsys.readouterr().out
    assert main([*arguments, "--users", "all"]) == 0
    assert len(rows_of(out)) == 3 * model.n_users
    assert "to all users" in capsys.readouterr().out


def test_similar_items_on_the_command_line(tmp_path, capsys):
    model = saved(tmp_path, text_ids=True)
    item = model.item_ids[0]
    assert main(["similar", str(tmp_path / "model.npz"), item, "-k", "2"]) == 0
    ids, cosines = model.similar_items([item], 2)
    expected = ", ".join(f"{i} ({c:.4g})" for i, c in zip(ids[0].tolist(), cosines[0].tolist(), strict=True))
    assert capsys.readouterr().out == f"item {item}: {expected}\n"


def test_errors(tmp_path, capsys, monkeypatch):
    model, out = saved(tmp_path), tmp_path / "recs.csv"

    def fails(*arguments):
        assert main([str(a) for a in arguments]) == 2
        return capsys.readouterr().err

    assert "either as arguments or by --users" in fails("recommend", tmp_path)
    assert "either as arguments or by --users" in fails("recommend", tmp_path, "1", "--users", "all")
    assert "item ids are integers of 64 bits, got 'x'" in fails("similar", tmp_path, "x")
    assert "holds 1 id that is not among the 40 users" in fails("recommend", tmp_path, 999, "--out", out)
    assert "one of .csv, .csv.gz, .jsonl, .jsonl.gz, .parquet, got '.txt'" in fails(
        "recommend", tmp_path, "--users", "all", "--out", "recs.txt"
    )
    assert "nowhere.txt" in fails("recommend", tmp_path, "--users", tmp_path / "nowhere.txt")
    assert not out.exists()
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        write_recommendations(model, out, k=0)
    with pytest.raises(ValueError, match="block_users must be >= 1, got 0"):
        write_recommendations(model, out, block_users=0)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'fastgcn_rec\[parquet\]', or write a \.csv"):
        write_recommendations(model, out.with_suffix(".parquet"))


def test_a_run_that_is_not_finished_says_so(tmp_path, capsys):
    (tmp_path / "checkpoint.npz").write_bytes(b"")
    assert main(["recommend", str(tmp_path), "1"]) == 2
    assert "not finished" in capsys.readouterr().err
    assert main(["recommend", str(tmp_path / "nowhere"), "1"]) == 2
    assert "nowhere does not exist; MODEL is a model.npz, or the folder that train wrote" in capsys.readouterr().err


def test_an_id_that_the_terminal_cannot_show_is_escaped(models, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert code_of("recommend", models / "texts.npz", "Jos\u00e9") == 0
    assert raw.getvalue().startswith(b"user Jos\\xe9: ")


@pytest.mark.parametrize("users", [["ann"], ["ann", " blank "], ["--", "-Ab3"], ["--", "ann", "-Ab3"]])
def test_options_stand_anywhere(models, users, capsys):
    words = ["recommend", str(models / "texts.npz"), *users]
    assert code_of(*words) == 0
    plain = capsys.readouterr().out
    assert plain.count("user ") == len([u for u in users if u != "--"])
    last = words.index("--") if "--" in words else len(words)
    for at in [place for place in (1, 2, last) if place <= last]:
        assert code_of(*words[:at], "--quiet", "-k", 10, *words[at:]) == 0
        assert capsys.readouterr().out == plain
        assert code_of(*words[:at], "--k=10", *words[at:]) == 0
        assert capsys.readouterr().out == plain


FILES = {
    "a BOM and CRLF": ("integers", b"\xef\xbb\xbf1\r\n2\r\n", [1, 2]),
    "no end of the last line": ("integers", b"1\n2", [1, 2]),
    "blank lines and blanks around": ("integers", b"\n1\n \t \n 2 \n\n", [1, 2]),
    "UTF-16": ("texts", "ann\r\nJos\u00e9\r\n".encode("utf-16"), ["ann", "Jos\u00e9"]),
    "UTF-32": ("integers", "1\n2\n".encode("utf-32"), [1, 2]),
    "old line ends": ("integers", b"1\r2\r", [1, 2]),
    "compressed": ("integers", gzip.compress(b"1\n2\n"), [1, 2]),
    "Latin-1": ("texts", "ann\nJos\u00e9\n".encode("latin-1"), ["ann", "Jos\u00e9"]),
    "another kind of line end in an id": ("texts", "\ufeffline\u2028sep\r\nann\n".encode(), ["line\u2028sep", "ann"]),
    "blanks that an id has and that it has not": ("texts", b" blank \n ann \n", [" blank ", "ann"]),
    "an id that begins with -": ("texts", b"-Ab3\n", ["-Ab3"]),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_users(models, tmp_path, name, capsys):
    model, content, users = FILES[name]
    (tmp_path / "users.txt").write_bytes(content)
    assert code_of("recommend", models / f"{model}.npz", "--users", tmp_path / "users.txt", "-k", 1) == 0
    out = capsys.readouterr().out
    assert out.count("user ") == len(users)
    assert all(f"user {user}: " in out for user in users)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32-be"])
def test_a_file_of_users_in_another_encoding_is_refused(models, tmp_path, encoding, capsys):
    (tmp_path / "users.txt").write_text("1\n2\n", encoding=encoding)
    assert code_of("recommend", models / "integers.npz", "--users", tmp_path / "users.txt") == 2
    said = capsys.readouterr().err
    assert "users.txt" in said
    assert "save it as UTF-8" in said


@pytest.mark.parametrize("text", ["9" * 30, "9" * 5000, str(2**63), str(-(2**63) - 1), "1_0", "1.0", "\u0661", "x", ""])
def test_what_is_no_integer_of_64_bits_is_no_id(models, text, capsys):
    assert code_of("recommend", models / "integers.npz", "--", text) == 2
    said = capsys.readouterr().err
    assert "user ids are integers of 64 bits, got" in said
    assert len(said) < 200


def test_a_file_of_another_kind_is_no_model(models, tmp_path, capsys):
    np.savez(tmp_path / "other.npz", x=np.arange(3))
    (tmp_path / "text.npz").write_text("no archive")
    for path in (tmp_path / "other.npz", tmp_path / "text.npz", tmp_path / "nowhere.npz", tmp_path):
        assert code_of("recommend", path, "1") == 2
        assert path.name in capsys.readouterr().err


def test_some_items_alone_and_without_some(tmp_path, capsys):
    model = saved(tmp_path)
    users, items = model.user_ids[:2].tolist(), model.item_ids.tolist()
    (tmp_path / "only.txt").write_text("".join(f"{i}\n" for i in items[:12]), encoding="utf-16")
    (tmp_path / "without.txt").write_text(f"{items[0]}\r\n{items[5]}\r\n999\r\n")
    words = [*users, "-k", 4, "--only", tmp_path / "only.txt", "--without", tmp_path / "without.txt"]
    assert code_of("recommend", tmp_path, *words) == 0
    said = capsys.readouterr()
    assert said.err == f"--without {tmp_path / 'without.txt'}: 1 of 3 items are not known to the model: 999\n"
    ids, _ = model.recommend(users, 4, items=items[:12], exclude=[items[0], items[5]])
    for line, row in zip(said.out.splitlines(), ids.tolist(), strict=True):
        assert [int(part.split()[0]) for part in line.split(": ")[1].split(", ")] == [i for i in row if i >= 0]
    assert code_of("similar", tmp_path, items[3], *words[2:]) == 0
    ids, _ = model.similar_items([items[3]], 4, among=items[:12], exclude=[items[0], items[5]])
    assert [int(part.split()[0]) for part in capsys.readouterr().out.split(": ")[1].split(", ")] == ids[0].tolist()
    (tmp_path / "only.txt").write_text("998\n999\n")
    assert code_of("recommend", tmp_path, *words) == 2
    assert "only.txt: none of its 2 items is known to the model, such as 998" in capsys.readouterr().err


def test_lists_go_to_files_of_any_form_or_to_standard_output_with_the_columns_that_are_named(
    ml_100k, capsys, monkeypatch
):
    out = ml_100k / "run"
    assert code_of("train", "ml-100k", "--recipe", "popularity", "--out", out, "--split", "random") == 0
    (ml_100k / "users.txt").write_text("2\n\n1\n")
    (ml_100k / "without.txt").write_text("1\n")
    model = Recommender.load(out / "model.npz")
    ids, scores = model.recommend([2, 1], 3, exclude=[1])
    rows = [
        [str(user), str(rank + 1), str(item), f"{score}", f"film {item - 1}"]
        for user, row, values in zip([2, 1], ids.tolist(), scores, strict=True)
        for rank, (item, score) in enumerate(zip(row, values, strict=True))
    ]
    words = [
        "recommend",
        out,
        "--users",
        ml_100k / "users.txt",
        "-k",
        3,
        "--without",
        ml_100k / "without.txt",
        "--quiet",
    ]
    for name, read in (("a.csv", Path.read_bytes), ("a.csv.gz", lambda path: gzip.decompress(path.read_bytes()))):
        capsys.readouterr()
        assert code_of(*words, "--out", ml_100k / name, "--show", "title") == 0
        assert capsys.readouterr().out == f"6 recommendations to 2 users: {ml_100k / name}\n"
        header, *found = csv.reader(read(ml_100k / name).decode().splitlines())
        assert header == ["user", "rank", "item", "score", "title"]
        assert found == rows
    named = (ml_100k / "a.csv").read_bytes()
    assert code_of(*words, "--out", ml_100k / "a.csv") == 0  # on the screen and in files alike
    assert (ml_100k / "a.csv").read_bytes() == named
    words += ["--show", "none"]
    assert code_of(*words, "--out", ml_100k / "a.csv") == 0
    assert [row[:4] for row in rows] == rows_of(ml_100k / "a.csv")
    assert code_of(*words, "--out", ml_100k / "a.jsonl") == 0
    lists = [json.loads(line) for line in (ml_100k / "a.jsonl").read_text().splitlines()]
    assert [(one["user"], one["items"]) for one in lists] == [(2, ids[0].tolist()), (1, ids[1].tolist())]
    capsys.readouterr()
    assert code_of(*words, "--out", "-") == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == (ml_100k / "a.csv").read_text().splitlines()
    assert said.err == "6 recommendations to 2 users\n"
    assert code_of(*words, "--out", "-", "--format", "jsonl") == 0
    assert capsys.readouterr().out == (ml_100k / "a.jsonl").read_text()
    assert code_of(*words, "--out", ml_100k / "a.csv", "--format", "jsonl") == 2
    assert "--format is that of --out -" in capsys.readouterr().err


def test_users_come_by_standard_input_too_and_an_unknown_one_leaves_no_file(tmp_path):
    model = saved(tmp_path)
    run = functools.partial(subprocess.run, capture_output=True, check=False)
    words = [sys.executable, "-m", "fastgcn_rec", "recommend", str(tmp_path), "--users", "-", "-k", "2", "--quiet"]
    users = model.user_ids[:3].tolist()
    done = run([*words, "--out", "-"], input="\n".join(map(str, users)).encode())
    assert done.returncode == 0, done.stderr
    ids, _ = model.recommend(users, 2)
    assert [line.split(b",")[2] for line in done.stdout.splitlines()[1:]] == [b"%d" % i for i in ids.ravel()]
    done = run([*words, "--out", str(tmp_path / "x.csv")], input=b"1\n999\n")
    assert (done.returncode, (tmp_path / "x.csv").exists()) == (2, False)
    assert b"999" in done.stderr
    assert done.stderr.endswith(b"; --skip-unknown leaves them out, --liked takes what a new user has\n")


@pytest.mark.parametrize("out", [[], ["--out", "x.jsonl", "--quiet"]])
def test_unknown_users_are_left_out_and_counted_where_that_is_asked_for(tmp_path, capsys, monkeypatch, out):
    model = saved(tmp_path)
    monkeypatch.chdir(tmp_path)
    known = model.user_ids[:3].tolist()
    (tmp_path / "known.txt").write_text("".join(f"{user}\n" for user in known))
    (tmp_path / "some.txt").write_text("".join(f"{user}\r\n" for user in (990, *known, *range(991, 999))))
    (tmp_path / "none.txt").write_text("998\n999\n")
    results = []
    for name in ("known", "some"):
        assert code_of("recommend", ".", "--users", f"{name}.txt", *out, "--skip-unknown") == 0
        said = capsys.readouterr()
        results.append((said.out, (tmp_path / "x.jsonl").read_text() if out else ""))
        assert said.err == ("" if name == "known" else "9 of 12 users are not known to the model: 990, 991, 992, ...\n")
    assert results[0] == results[1]
    assert code_of("recommend", ".", "--users", "none.txt", *out, "--skip-unknown") == 2
    assert capsys.readouterr().err == "fastgcn-rec: none of the 2 users is known to the model, such as 998\n"


@pytest.mark.parametrize("text_ids", [False, True])
def test_somebody_whom_the_model_does_not_know_is_listed_for_by_what_he_has(tmp_path, capsys, text_ids):
    model = saved(tmp_path, text_ids)
    liked = model.item_ids[[3, 1]].tolist()
    assert code_of("recommend", tmp_path, "--liked", *liked, "-k", 4) == 0
    ids, scores = model.recommend_new([liked], 4)
    shown = ", ".join(f"{i} ({s:.4g})" for i, s in zip(ids[0], scores[0], strict=True))
    assert capsys.readouterr().out == f"who has {liked[0]}, {liked[1]}: {shown}\n"
    assert not set(liked) & set(ids[0].tolist())
    for words, error in (
        ([model.user_ids[0], "--liked", liked[0]], "or a new user's items by --liked"),
        (["--liked", liked[0], "--out", tmp_path / "x.csv"], "--liked shows its list"),
        (["--liked", liked[0], "--skip-unknown"], "--skip-unknown leaves out users; --liked names items"),
        (["--liked", 999 if not text_ids else "nothing"], "--liked holds 1 id that is not among the"),
    ):
        assert code_of("recommend", tmp_path, *words) == 2
        assert error in capsys.readouterr().err
