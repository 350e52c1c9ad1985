import csv
import sys

import numpy as np
import pytest

from fastgcn_rec import LightGCN, TrainConfig
from fastgcn_rec.cli.program import main
from fastgcn_rec.data import Interactions, make_dataset
from fastgcn_rec.experiments import demo
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
    plain, calls = model.recommend, []

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
            patched.setattr(model, "recommend", stop_in_the_second_block)
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
    expected = ", ".join(f"{i} ({c:.3f})" for i, c in zip(ids[0].tolist(), cosines[0].tolist(), strict=True))
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
    assert "one of .csv, .parquet, got '.txt'" in fails("recommend", tmp_path, "--users", "all", "--out", "recs.txt")
    assert "nowhere.txt" in fails("recommend", tmp_path, "--users", tmp_path / "nowhere.txt")
    assert not out.exists()
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        write_recommendations(model, out, k=0)
    with pytest.raises(ValueError, match="block_users must be >= 1, got 0"):
        write_recommendations(model, out, block_users=0)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'fastgcn_rec\[parquet\]', or write a \.csv"):
        write_recommendations(model, out.with_suffix(".parquet"))


def film_data():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 60, 900), rng.integers(0, 40, 900)
    titles = np.array([*demo._LIKED, *(f"Film {n}" for n in range(5, 40))])
    info = {"title": titles, "year": np.arange(1960, 2000), "genres": np.array(["Drama", "War|Western"] * 20)}
    events = Interactions.from_raw(users, items, time=np.arange(900), item_info=info, item_ids=np.arange(40))
    return make_dataset("films", events, split="temporal-user")


def test_the_demo_shows_a_new_user_and_two_stages(capsys):
    pytest.importorskip("sklearn", reason="needs scikit-learn: an extra")
    data = film_data()
    model = LightGCN(data, 64, 3)
    demo._show_new_user(model, data)
    lines = capsys.readouterr().out.splitlines()
    assert all(title in lines[1] for title in demo._LIKED)
    assert len(lines) == 12
    assert not {line.strip() for line in lines[2:]} & set(demo._LIKED)
    demo._show_two_stage(model, data, TrainConfig(batch_size=128), {"best_epoch": 2})
    out = capsys.readouterr().out
    assert "the candidates hold 1.0000 of what is wanted" in out  # 100 candidates of 40 films


def test_the_demo_goes_on_without_scikit_learn(capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    demo._show_two_stage(LightGCN(film_data(), 8, 1), film_data(), TrainConfig(), {"best_epoch": 1})
    assert "pip install 'fastgcn_rec[rank]'" in capsys.readouterr().out


def test_a_run_that_is_not_finished_says_so(tmp_path, capsys):
    (tmp_path / "checkpoint.npz").write_bytes(b"")
    assert main(["recommend", str(tmp_path), "1"]) == 2
    assert "not finished" in capsys.readouterr().err
