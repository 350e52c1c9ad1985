"""Files as people have them: one command from each to recommendations, and the same lists from Python."""

import bz2
import gzip
import json
import sys
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from commands import code_of

import fastgcn_rec as fgr
from fastgcn_rec.data import load_dataset
from fastgcn_rec.experiments.recipes import RECIPES

PAIRS = np.random.default_rng(0).integers(0, [40, 60], (700, 2)).tolist()
ROWS = [(u, i, 1500000000 + k * 86400 // 3, 1 + k % 5) for k, (u, i) in enumerate(PAIRS)]


def text(head, row, sep=",", rows=ROWS):
    return "\n".join([*([sep.join(head)] if head else []), *(sep.join(map(str, row(*one))) for one in rows)]) + "\n"


def iso(second):
    return datetime.fromtimestamp(second, timezone(timedelta(hours=2))).isoformat()


def semicolons(folder):
    (folder / "s.csv").write_text(
        text(["Kunde", "Artikel", "Preis", "Zeit"], lambda u, i, t, r: (f"K{u}", f"A{i}", f"{r},50", t), ";")
    )
    return ["s.csv", "--user", "Kunde", "--item", "Artikel", "--time", "Zeit"], {
        "user": "Kunde",
        "item": "Artikel",
        "time": "Zeit",
    }


def decimals(folder):
    (folder / "d.csv").write_text(text(["user", "item", "stars"], lambda u, i, t, r: (u, i, f"{r},5"), ";"))
    return ["d.csv", "--rating", "stars", "--decimal", ",", "--min-rating", "2.5"], {
        "rating": "stars",
        "decimal": ",",
        "min_rating": 2.5,
    }


def quoted_commas(folder):
    (folder / "q.csv").write_text(text(["user_id", "title"], lambda u, i, t, r: (u, f'"Film, the {i}. ""one"""')))
    return ["q.csv", "--item", "title"], {"item": "title"}


def zones(folder):
    (folder / "z.csv").write_text(text(["user_id", "item_id", "when"], lambda u, i, t, r: (u, i, iso(t))))
    return ["z.csv", "--time", "when"], {"time": "when"}


def milliseconds(folder):
    (folder / "m.csv").write_text(text(["listener", "song", "at"], lambda u, i, t, r: (f"u{u}", f"s{i}", t * 1000)))
    return ["m.csv"], {}


def form_of_times(folder):
    when = [datetime.fromtimestamp(t, timezone.utc).strftime("%d.%m.%Y %H:%M") for _, _, t, _ in ROWS]
    (folder / "f.csv").write_text(
        "user,item,date\n" + "".join(f"{u},{i},{w}\n" for (u, i, _, _), w in zip(ROWS, when, strict=True))
    )
    return ["f.csv", "--time-format", "%d.%m.%Y %H:%M"], {"time_format": "%d.%m.%Y %H:%M"}


def utf_16(folder):
    (folder / "w.csv").write_text(
        text(["user", "item"], lambda u, i, t, r: (f"Jürgen {u}", f"Straße {i}")), encoding="utf-16"
    )
    return ["w.csv"], {}


def latin_1(folder):
    (folder / "l.csv").write_text(
        text(["user", "item"], lambda u, i, t, r: (f"Jürgen {u}", f"Straße {i}")), encoding="latin-1"
    )
    return ["l.csv", "--encoding", "latin-1"], {"encoding": "latin-1"}


def compressed(folder):
    (folder / "c.csv.gz").write_bytes(gzip.compress(text(["user", "item"], lambda u, i, t, r: (u, i)).encode()))
    return ["c.csv.gz"], {}


def leading_zeros(folder):
    (folder / "n.csv").write_text(text(["user", "item"], lambda u, i, t, r: (f"{u:05d}", f"{i:03d}")))
    return ["n.csv"], {}


def headerless(folder):
    (folder / "h.csv").write_text(text(None, lambda u, i, t, r: (u, i, t)))
    return ["h.csv", "--no-header"], {"header": False}


def tabs(folder):
    (folder / "t.tsv").write_text(text(["user", "item"], lambda u, i, t, r: (u, i), "\t"))
    return ["t.tsv", "--sep", "tab"], {"sep": "\t"}


def a_glob_and_a_folder(folder):
    (folder / "parts").mkdir()
    (folder / "parts/a.csv").write_text(text(["user", "item"], lambda u, i, t, r: (u, i), rows=ROWS[:400]))
    (folder / "parts/b.csv.bz2").write_bytes(
        bz2.compress(text(["user", "item"], lambda u, i, t, r: (u, i), rows=ROWS[400:]).encode())
    )
    return ["parts/*.csv*"], {}


def recbole(folder):
    (folder / "r.inter").write_text(
        text(["user_id:token", "item_id:token", "timestamp:float"], lambda u, i, t, r: (u, i, t), "\t")
    )
    return ["r.inter"], {}


def bad_lines(folder):
    (folder / "b.csv").write_text(text(["user", "item"], lambda u, i, t, r: (u, i)) + "7\n8,9,10\n")
    return ["b.csv", "--skip-bad-lines", "2"], {"skip_bad_lines": 2}


def parquet(folder):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    users, items, times, _ = (np.array(column) for column in zip(*ROWS, strict=True))
    parquet.write_table(
        pa.table({"user": users, "item": items, "at": times.astype("datetime64[s]")}), folder / "p.parquet"
    )
    return ["p.parquet", "--time", "at"], {"time": "at"}


SHAPES = [semicolons, decimals, quoted_commas, zones, milliseconds, form_of_times, utf_16, latin_1, compressed, leading_zeros, headerless, tabs,
          a_glob_and_a_folder, recbole, bad_lines, parquet]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@pytest.mark.filterwarnings("ignore:.*bad:UserWarning", "ignore:.*left out:UserWarning")
def test_one_command_from_a_file_to_recommendations_and_the_same_from_python(shape, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words, options = shape(tmp_path)
    assert code_of("train", *words, "--recipe", "itemknn", "--split", "random", "--out", "run") == 0, (
        capsys.readouterr()
    )
    data = load_dataset(words[0], **options, split="random")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["fingerprint"] == data.fingerprint()
    assert len(data.train) > 300
    model = RECIPES["itemknn"].make_model(data)
    capsys.readouterr()
    assert code_of("recommend", "run", "--users", "all", "-k", 3) == 0
    ids, scores = model.recommend(data.user_ids, 3)
    for line, user, row, values in zip(capsys.readouterr().out.splitlines(), data.user_ids, ids, scores, strict=True):
        assert line == f"user {user}: " + ", ".join(
            f"{i} ({s:.4g})" for i, s in zip(row, values, strict=True) if s > -np.inf
        )
    assert code_of("train", "run", "--quiet") == 0  # what was found is in its file
    assert capsys.readouterr().out.endswith("model.npz: the same bits\n")
    assert code_of("inspect", *words, "--split", "random") == 0


def test_titles_beside_the_events_are_in_the_lists(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plays.csv").write_text(text(["listener", "song"], lambda u, i, t, r: (f"u{u}", f"s{i}")))
    (tmp_path / "songs.csv").write_text(text(["song", "name", "year"], lambda i: (f"s{i}", f'"Song, no. {i}"', 1990 + i), rows=[(i,) for i in range(60)]))  # fmt: skip
    words = ["plays.csv", "--items", "songs.csv", "--split", "none", "--recipe", "popularity", "--out", "run"]
    assert code_of("train", *words, "--item-columns", "name", "year") == 0
    data = load_dataset("plays.csv", items="songs.csv", item_columns=["name", "year"], split="none")
    model = fgr.Popularity(data)
    ids, scores = model.recommend(["u1"], 2)
    capsys.readouterr()
    assert code_of("recommend", "run", "u1", "-k", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    width = max(map(len, ids[0]))
    assert lines == ["user u1:", *(f"  {s:9.4g}  {i:{width}}  Song, no. {i[1:]}" for i, s in zip(ids[0], scores[0], strict=True))]  # fmt: skip
    assert code_of("recommend", "run", "u1", "-k", 2, "--show", "year") == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(f"  {1990 + int(ids[0][0][1:])}")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert code_of("train", tmp_path / "run") == 0
    assert capsys.readouterr().out.endswith("model.npz: the same bits\n")
