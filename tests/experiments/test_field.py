"""The field: all recipes on all data, cell by cell."""

import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

import fastgcn_rec
from fastgcn_rec.experiments.measured import Run
from fastgcn_rec.experiments.rows import Row

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    not Path(fastgcn_rec.__file__).is_relative_to(ROOT), reason="benchmarks run from the checkout they belong to"
)


@pytest.fixture
def field(monkeypatch):
    """The module, whose models are measured in no time: (the module, the names that were measured)."""
    monkeypatch.syspath_prepend(ROOT)
    module, asked = importlib.import_module("benchmarks.field"), []

    def measured(name, task):
        asked.append((name, task["seed"]))
        if name == "ease":
            return Run(Row(name, error="does not fit"))
        return Run(Row(name, 0.25 + task["seed"], 0.5, 2.0, 1.0, 2**20), *users())

    def users():
        return np.arange(3), np.array([[0.0, 0.25, 0.5], [0.5, 0.5, 0.5]])

    monkeypatch.setattr(module, "measured", measured)
    return module, asked


def test_it_goes_on_where_it_was_stopped_and_measures_what_changed(field, small_gowalla, tmp_path, monkeypatch):
    module, asked = field
    file = tmp_path / "cells.json"

    def run(*flags):
        asked.clear()
        code = module.main(["--data", "gowalla", "--models", "popularity", "ease", "mf", "--json", str(file), *flags])
        return code, [name for name, _ in asked]

    assert run("--no-times") == (1, ["popularity", "ease", "mf"])
    cells = {cell["name"]: cell for cell in json.loads(file.read_text())["records"]}
    assert cells["ease"]["error"] == "does not fit"
    assert "recall@20" not in cells["ease"]
    assert (cells["mf"]["recall@20"], cells["mf"]["n_users"], cells["mf"]["peak_mib"]) == (0.25, 3, 1)
    assert cells["mf"]["recall@20.low"] < cells["mf"]["recall@20.high"]
    assert "seconds_train" not in cells["mf"]
    assert cells["mf"]["settings"]["model"] == "MF"
    assert run("--no-times") == (1, ["ease"])  # what failed is tried again
    assert run() == (1, ["popularity", "ease", "mf"])  # with times
    assert run() == (1, ["ease"])
    recipes = importlib.import_module("fastgcn_rec.experiments.recipes").RECIPES
    monkeypatch.setitem(recipes, "mf", dataclasses.replace(recipes["mf"], model_options={"embedding_dim": 8}))
    assert run() == (1, ["ease", "mf"])
    assert run("--seeds", "2") == (1, ["ease", "mf", "mf"])  # of fewer seeds than are wanted
    with pytest.raises(SystemExit):
        run("--seeds", "0")
    assert run("--again", "--seeds", "2") == (1, ["popularity", "ease", "mf", "mf"])
    cell = next(cell for cell in json.loads(file.read_text())["records"] if cell["name"] == "mf")
    assert (cell["recall@20"], cell["seeds"]) == (0.75, 2)
    assert cell["recall@20.sd"] == pytest.approx(2**-0.5)


def test_cells_of_other_machines_are_taken_over(field, small_gowalla, tmp_path):
    module, _ = field
    for name, models in (("here", ["popularity"]), ("there", ["mf", "ease"])):
        module.main(["--data", "gowalla", "--models", *models, "--json", str(tmp_path / f"{name}.json")])
    module.main(["--data", "--json", str(tmp_path / "here.json"), "--merge", str(tmp_path / "there.json")])
    cells = module.read_cells(tmp_path / "here.json")
    assert [cell["name"] for cell in cells] == ["mf", "ease", "popularity"]
    old, new = {"data": "d", "name": "mf", "date": "2026-01-01"}, {"data": "d", "name": "mf", "date": "2026-01-02"}
    assert module.joined([new], [old]) == module.joined([old], [new]) == [new]
    assert module.joined([old], [{**new, "error": "no memory"}]) == [old]
    now = {**old, "settings": module.settings_of("mf")}
    assert (
        module.joined([now], [new]) == module.joined([new], [now]) == [now]
    )  # what another version measured is no newer
    with pytest.raises(FileNotFoundError, match=r"--merge .*no\.json: there is no such file"):
        module.main(["--data", "--json", str(tmp_path / "here.json"), "--merge", str(tmp_path / "no.json")])
    content = json.loads((tmp_path / "here.json").read_text())
    for key in ("data", "name", "fingerprint", "recall@20", "seeds"):
        record = {other: value for other, value in content["records"][0].items() if other != key}
        (tmp_path / "less.json").write_text(json.dumps({**content, "records": [record]}))
        with pytest.raises(ValueError, match=r"less\.json holds no results of `python -m benchmarks results`"):
            module.read_cells(tmp_path / "less.json")
    (tmp_path / "other.json").write_text('{"records": []}')
    with pytest.raises(ValueError, match=r"other.json holds no results of `python -m benchmarks results`"):
        module.read_cells(tmp_path / "other.json")


def test_the_table_has_intervals_and_published_lines_beside(field):
    documents = importlib.import_module("benchmarks.documents")
    shared = {
        "date": "2026-11-27",
        "machine": {"processor": "p", "threads": 1, "isa_level": "v3"},
        "file": "field.json",
    }
    cell = {"case": "field", "data": "gowalla", "name": "mf", "recall@20": 0.15, "ndcg@20": 0.125, **shared}
    cell |= {"recall@20.low": 0.149, "recall@20.high": 0.151, "ndcg@20.low": 0.123, "ndcg@20.high": 0.127}
    cell |= {"seconds_train": 12.0, "seconds_rank": 3.0, "peak_mib": 88}
    before = {
        "case": "recipe",
        "data": "gowalla",
        "name": "mf",
        "recall@20": 0.1,
        "ndcg@20": 0.1,
        **shared,
        "date": "2026-11-01",
    }
    published = {
        "case": "published",
        "data": "gowalla",
        "name": "Toy",
        "recall@20": 0.2,
        "ndcg@20": 0.1,
        "source": "a page",
        **shared,
    }
    lines = documents.table("field", [cell, published, before]).splitlines()
    assert lines[2:4] == ["| Toy, published | .2000 / .1000 |  |  |  | a page |", "| `mf` | .1500 ± .0010 / .1250 ± .0020 |  |  |  |  |"]  # fmt: skip
    assert "| `mf` | 12 + 3 s, 88 MiB |  |  |  |" in documents.table("field: time and memory", [cell])
