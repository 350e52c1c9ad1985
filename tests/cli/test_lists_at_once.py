"""One command from a file of one's own to everybody's recommendations."""

import csv
import itertools

import numpy as np
import pytest
from commands import code_of

from fastgcn_rec.data import load_dataset
from fastgcn_rec.experiments.recipes import RECIPES


def write(path, n_users, n_items, n_events):
    rng = np.random.default_rng(0)
    users = rng.integers(0, n_users, n_events)
    items = (3 * (rng.zipf(1.4, n_events) % (n_items // 3)) + users % 3) % n_items
    with open(path, "w") as file:
        file.write("customer_id,sku\n")
        np.savetxt(file, np.stack([users, items], 1), "%d", ",")


@pytest.mark.parametrize("size", [(40, 30, 600), pytest.param((60_000, 3_000, 3_000_000), marks=pytest.mark.slow)])
def test_lists_come_with_the_training_and_are_those_of_python(size, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "sales.csv", *size)
    words = ["train", "sales.csv", "--recipe", "itemknn", "--recommend", "lists.csv", "--top", 3, "--quiet"]
    assert code_of(*words) == 0
    data = load_dataset("sales.csv")
    ids, scores = RECIPES["itemknn"].make_model(data).recommend(data.user_ids, 3)
    expected = [
        (str(user), str(rank), str(item))
        for user, row, values in zip(data.user_ids.tolist(), ids.tolist(), scores.tolist(), strict=True)
        for rank, item, value in zip(itertools.count(1), row, values)
        if value > -np.inf
    ]
    assert len(expected) > 2 * data.n_users
    with open("lists.csv", newline="", encoding="utf-8") as written:
        assert [(row["user"], row["rank"], row["item"]) for row in csv.DictReader(written)] == expected
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == f"{len(expected):,} recommendations to {data.n_users:,} users: lists.csv"
    (tmp_path / "lists.csv").unlink()
    assert code_of(*words) == 0  # the run is there already; its lists are written anew
    assert (tmp_path / "lists.csv").exists()


@pytest.mark.parametrize(
    "words", [["--top", 3], ["--recommend", "lists.xlsx"], ["--recommend", "lists.csv", "--top", 0]]
)
def test_what_is_wrong_with_the_lists_is_said_before_the_training(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "sales.csv", 40, 30, 600)
    assert code_of("train", "sales.csv", "--recipe", "itemknn", *words) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["sales.csv"]
