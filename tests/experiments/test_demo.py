"""What the demo shows, on small data."""

import sys

import numpy as np
import pytest

from fastgcn_rec import LightGCN, TrainConfig
from fastgcn_rec.data import Interactions, make_dataset
from fastgcn_rec.experiments import demo


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
