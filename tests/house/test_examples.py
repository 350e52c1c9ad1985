"""The examples run as their first lines say, and what they show is so."""

import os
import re
import subprocess
import sys

import pytest
from pages import ROOT, text_of

EXAMPLES = {
    "from_a_frame": ["--events", "4000"],
    "own_model": [],
    "kernels_beside_torch": ["--edges", "20000", "--rounds", "2", "--picture", "race.png"],
    "items_by_text": ["--epochs", "15"],
    "two_stages": [],
}
FILES = sorted((ROOT / "examples").glob("*.py"))


def recalls(said):
    """By name, of lines such as "gated  Recall@20 0.3332"."""
    return {name: float(value) for name, value in re.findall(r"^(\S.*?)\s+Recall@\d+ ([\d.]+)", said, re.MULTILINE)}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    made = {}

    def run(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            command = [sys.executable, "-W", "ignore", str(ROOT / "examples" / f"{name}.py"), *EXAMPLES[name]]
            one_thread = {
                **os.environ,
                "OMP_NUM_THREADS": "1",
            }  # threads of tiny steps wait for each other on a busy machine
            done = subprocess.run(command, cwd=folder, env=one_thread, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            made[name] = done.stdout, folder
        return made[name]

    return run


def test_every_example_is_run_and_is_on_the_page():
    assert {file.stem for file in FILES} == set(EXAMPLES)
    assert {
        name for name in EXAMPLES if f"(../examples/{name}.py)" not in text_of(ROOT / "docs" / "examples.md")
    } == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_fits_in_the_head_and_says_how_it_is_run(file):
    text = text_of(file)
    assert len(text.splitlines()) <= 100
    assert f": python examples/{file.name}" in text.splitlines()[0]


@pytest.mark.slow
def test_a_frame_becomes_lists_of_the_best_model(said):
    out, folder = said("from_a_frame")
    found = recalls(out)
    best = re.search(r"^(\w+): (\d+) lists in lists.csv", out, re.MULTILINE)
    assert found[best[1]] > found["popularity"]
    lines = text_of(folder / "lists.csv").splitlines()
    assert lines[0] == "user,rank,item,score"
    assert len(lines) - 1 == 5 * int(best[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own_model", "items_by_text"])
def test_what_is_trained_is_above_popularity(said, name):
    popularity, *others = recalls(said(name)[0]).items().__reversed__()
    assert popularity[0] == "popularity"
    assert min(value for _, value in others) > 1.2 * popularity[1]


@pytest.mark.slow
def test_a_new_item_goes_to_those_who_buy_its_kind(said):
    lines = re.findall(r"who buys (\w+): (.*) \(", said("items_by_text")[0])
    assert len(lines) == 3
    assert all(kind in title for kind, title in lines)


@pytest.mark.slow
def test_the_race_names_its_contenders_and_draws_them(said):
    out, folder = said("kernels_beside_torch")
    assert re.findall(r"^(\S.*?)  +[\d.]+ ms", out, re.MULTILINE) == ["fastgcn_rec", "torch, CSR", "torch, COO"]
    assert (folder / "race.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_two_stages_stay_below_what_their_candidates_hold(said):
    out = said("two_stages")[0]
    assert recalls(out)["two stages"] < float(re.search(r"'recall@100': ([\d.]+)", out)[1])
