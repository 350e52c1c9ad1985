import re
import sys

import numpy as np
import pytest

from fastgcn_rec import MF, LightGCN, Popularity, write_recommendations, write_vectors
from fastgcn_rec.cli import main
from fastgcn_rec.data import Interactions, make_dataset, read_csv


def model_of(kind=LightGCN, **options):
    rng = np.random.default_rng(0)
    raw = Interactions.from_raw([f"u{u}" for u in rng.integers(0, 40, 300)], rng.integers(100, 130, 300))
    return kind(make_dataset("toy", raw, split="none"), 8, **options)


def read(path):
    if path.suffix == ".npz":
        with np.load(path) as file:
            return file["ids"], file["vectors"]
    columns = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: an extra").read_table(path).to_pydict()
    return np.array(columns["id"]), np.array(columns["vector"], np.float32)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("kind", [{"kind": MF}, {"num_layers": 2, "similarity": "cosine"}])
def test_inner_products_of_what_is_written_are_the_scores(tmp_path, suffix, kind):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow: an extra")
    model = model_of(**kind)
    items, users = tmp_path / f"items{suffix}", tmp_path / f"users{suffix}"
    assert (write_vectors(model, items), write_vectors(model, users, "users")) == (model.n_items, model.n_users)
    (item_ids, item_vectors), (user_ids, user_vectors) = read(items), read(users)
    assert item_ids.tolist() == model.item_ids.tolist()
    assert user_ids.tolist() == model.user_ids.tolist()
    assert item_vectors.dtype == np.float32
    wanted, scores = model.recommend(model.user_ids, 3)
    for row, vector in enumerate(user_vectors):
        columns = [item_ids.tolist().index(i) for i in wanted[row]]
        np.testing.assert_allclose(item_vectors[columns] @ vector, scores[row], rtol=1e-5, atol=1e-7)


def test_the_command_writes_them(tmp_path, capsys):
    model = model_of()
    model.save(tmp_path / "model.npz")
    assert main(["export", str(tmp_path), "--side", "users", "--out", str(tmp_path / "u.npz")]) == 0
    assert "40 vectors of users" in capsys.readouterr().out
    np.testing.assert_array_equal(read(tmp_path / "u.npz")[1], model.scoring_vectors()[0].numpy())


def test_an_id_that_utf_8_does_not_have_is_named_before_any_work_or_kept(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="needs pyarrow: an extra")
    fine = ["a\rb", "c\nd", 'e,"f', "\U0001f600", "ü", " ", "g\r\nh"]
    for half in ("\ud800", "x\udfffy", "\udcff"):
        for users, items in ((fine, [*fine[1:], half]), ([*fine[1:], half], fine)):
            model = MF(make_dataset("toy", Interactions.from_raw(users, items), split="none"), 4)
            side, other = ("items", "users") if half in items else ("users", "items")
            named = rf"(?s)x\.\w+: the {side[:-1]} id {re.escape(ascii(half))} holds half of a surrogate pair"
            with monkeypatch.context() as patched:
                patched.setattr(MF, "places", None)
                for name in ("x.csv", "x.parquet"):
                    with pytest.raises(ValueError, match=named):
                        write_recommendations(model, tmp_path / name, progress=False)
            with pytest.raises(ValueError, match=named):
                write_vectors(model, tmp_path / "x.parquet", side)
            assert not list(tmp_path.iterdir())
            assert write_vectors(model, tmp_path / "x.parquet", other) == len(fine)
            assert write_vectors(model, tmp_path / "x.npz", side) == len(fine)
            assert half in read(tmp_path / "x.npz")[0]
            for path in list(tmp_path.iterdir()):
                path.unlink()


def test_ids_with_line_ends_come_back_from_a_csv(tmp_path):
    ids = ["a\rb", "c\nd", 'e,"f', "g\r\nh", "\r-", "i"]
    model = Popularity(make_dataset("toy", Interactions.from_raw(ids, ids[::-1]), split="none"))
    n = write_recommendations(model, tmp_path / "x.csv", k=3, progress=False)
    back = read_csv(tmp_path / "x.csv", newlines=True, strip=False)
    assert len(back) == n == 18
    assert back.user_ids.tolist() == sorted(ids)
    assert (tmp_path / "x.csv").read_bytes().startswith(b"user,rank,item,score\n")


def test_errors(tmp_path, monkeypatch):
    model = model_of()
    with pytest.raises(ValueError, match=r"the suffix must be one of \.npz, \.parquet, got '\.txt'"):
        write_vectors(model, tmp_path / "v.txt")
    with pytest.raises(ValueError, match="side must be 'items' or 'users', got 'both'"):
        write_vectors(model, tmp_path / "v.npz", "both")
    with pytest.raises(TypeError, match="Popularity does not score by vectors"):
        write_vectors(Popularity(model.graph), tmp_path / "v.npz")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'fastgcn_rec\[parquet\]'"):
        write_vectors(model, tmp_path / "v.parquet")
    assert list(tmp_path.iterdir()) == []
