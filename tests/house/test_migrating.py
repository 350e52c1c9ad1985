"""The page for those who come from other libraries: each call of ours in its tables runs, and each of theirs where the library is installed."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from pages import BLOCK, DOCS, run_code, text_of, write_small_files

from fastgcn_rec.cli.program import parser

PAGE = DOCS / "migrating.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the page is not beside the tests")

MODULES = {"implicit": "implicit", "PyTorch Geometric": "torch_geometric"}
NOT_CODE = {"when it is constructed", "a loop of your own", "its second result"}


def sections():
    _, *found = re.split(r"^## From (.+)\n", text_of(PAGE), flags=re.MULTILINE) if PAGE.is_file() else [""]
    return dict(zip(found[::2], found[1::2], strict=True))


def rows_of(text):
    """The rows of a section's tables: (theirs, ours)."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [(row[-2], row[-1]) for row in rows if row[-1] != "here"]


def run_cell(cell, names):
    """Runs what stands in backticks; returns how many calls these were."""
    codes = re.findall(r"`([^`]+)`", cell)
    assert codes or cell in NOT_CODE, f"neither code nor a reason: {cell}"
    for code in codes:
        if code.startswith("fastgcn-rec "):
            words = shlex.split(code)[1:]
            parser(words).parse_args(words)
        else:
            run_code(code, 0, cell, names)
    return len(codes)


def run_section(title, names, skipped=False):
    """Runs the blocks above the sections and those of one section; with ``skipped`` also what pages leave out."""
    text = text_of(PAGE).split("\n## ", 1)[0] + "\n" + sections()[title]
    for block in BLOCK.finditer(text):
        if skipped or not block["not_run"]:
            run_code(block["code"], 0, title, names)
    return names


@pytest.fixture
def folder(ml_100k, monkeypatch):
    monkeypatch.chdir(ml_100k)
    write_small_files(Path.cwd())
    return ml_100k


@pytest.mark.parametrize("title", list(sections()))
def test_every_call_of_ours_runs(title, folder):
    names = run_section(title, {})
    assert sum(run_cell(ours, names) for _, ours in rows_of(sections()[title])) >= 12


@pytest.mark.filterwarnings("ignore:OpenBLAS", "ignore:Intel MKL")  # implicit's advice
@pytest.mark.parametrize("title", list(MODULES))
def test_every_call_of_theirs_runs(title, folder):
    pytest.importorskip(MODULES[title])
    names = run_section(title, {}, skipped=True)
    assert sum(run_cell(theirs, names) for theirs, _ in rows_of(sections()[title])) >= 10


def test_only_blocks_of_what_may_be_missing_are_not_run():
    skipped = [block["code"] for block in BLOCK.finditer(text_of(PAGE)) if block["not_run"]]
    assert [re.match(r"import (\w+)", code)[1] for code in skipped] == list(MODULES.values())


def test_pytorch_geometric_computes_the_same_with_the_same_weights(folder):
    pytest.importorskip("torch_geometric")
    names = run_section("PyTorch Geometric", {}, skipped=True)
    run_cell(rows_of(sections()["PyTorch Geometric"])[0][0], names)
    light, model, edges = names["light"], names["model"], names["edge_index"]
    model.load_state_dict(light.state_dict())
    torch.testing.assert_close(model.get_embedding(), light.get_embedding(edges), rtol=1e-5, atol=1e-6)
    for theirs, ours in rows_of(sections()["PyTorch Geometric"])[3:7]:
        one, other = (re.search("`(?:scores = )?(.+)`", cell)[1] for cell in (theirs, ours))
        torch.testing.assert_close(eval(one, names), eval(other, names), rtol=1e-5, atol=1e-6)


def test_weights_of_lightgcn_pytorch_go_to_the_rows_of_their_ids(folder):
    names = run_section("LightGCN-PyTorch", {})
    light, shop, theirs = names["light"], names["shop"], names["theirs"]
    for raw in (0, 7, 19):
        ego = light.ego_embedding()
        assert torch.equal(ego[shop.users_of([raw])[0]], theirs["embedding_user.weight"][raw])
        assert torch.equal(ego[shop.n_users + shop.items_of([raw])[0]], theirs["embedding_item.weight"][raw])


@pytest.mark.filterwarnings("ignore:OpenBLAS", "ignore:Intel MKL")
def test_vectors_of_implicit_give_its_lists(folder):
    pytest.importorskip("implicit")
    names = run_section("implicit", {}, skipped=True)
    for theirs, _ in rows_of(sections()["implicit"])[1:3]:
        run_cell(theirs, names)
    data, als, fgr = names["data"], names["als"], names["fgr"]
    rows, _ = als.recommend(range(5), names["user_items"][:5], N=5)
    ids, _ = fgr.Vectors(als.user_factors, als.item_factors, data).recommend(data.user_ids[:5], k=5)
    assert ids.tolist() == data.item_ids[rows].tolist()
