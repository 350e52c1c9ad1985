"""The documents: their code runs, their commands can be given, what they name is there, and no measured figure in them was typed."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from pages import BLOCK, DOCS, PAGES, ROOT, run_blocks, text_of, write_small_files

from fastgcn_rec.cli.program import parser
from fastgcn_rec.experiments.recipes import RECIPES

SOURCES = [f for room in ("fastgcn_rec", "csrc", "benchmarks", "tests", "scripts") for f in (ROOT / room).rglob("*.*")]
MADE = re.compile(r"<!-- (table|figure): [^\n]*? -->.*?<!-- end -->", re.DOTALL)

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the documents are not beside the tests")


def names_of(pages):
    return [page.relative_to(ROOT).as_posix() for page in pages]


@pytest.mark.parametrize(
    "page", names_of(page for page in PAGES if BLOCK.search(text_of(page)) and page.name != "lecture.md")
)
def test_a_page_runs_from_top_to_bottom(page, ml_100k, monkeypatch):
    if "sklearn" in text_of(ROOT / page):
        pytest.importorskip("sklearn")
    monkeypatch.chdir(ml_100k)
    write_small_files(Path.cwd())
    names = run_blocks(ROOT / page)
    if "evaluate(model" in text_of(ROOT / page):
        assert (
            0 <= importlib.import_module("fastgcn_rec").evaluate(names["model"], names["data"].test)["recall@20"] <= 1
        )


@pytest.mark.parametrize("page", names_of(PAGES))
def test_no_block_of_python_escapes(page):
    """Blocks that a list indents, or whose fence is spelled in another way, would be shown and never run."""
    text = text_of(ROOT / page)
    fences = re.findall(r"^[ \t>]*(?:`{3,}|~{3,})[ \t]*\{?\.?([\w-]*)", text, re.MULTILINE)[::2]
    assert set(fences) <= {"python", "toml", "console", "sh", ""}
    assert fences.count("python") == len(BLOCK.findall(text))
    for code in re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        assert not re.search(r"^(?:import|from) \w+|^>>> ", code, re.MULTILINE), "Python in a fence without a language"


def test_the_lecture_runs_from_top_to_bottom(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(DOCS / "lecture.md")
    assert names["found"]["recall@20"] > names["popularity"]


def test_the_commands_that_the_documents_show_can_be_parsed():
    text = "\n".join(map(text_of, PAGES))
    commands = re.findall(r"^fastgcn-rec (.*)$", text, re.MULTILINE)
    commands += [c for c in re.findall(r"`fastgcn-rec (\w+ [^`]*)`", text) if "..." not in c]
    assert len(commands) >= 15
    for command in commands:
        words = shlex.split(command, comments=True)
        parser(words).parse_args(words)
    for module in re.findall(r"python -m (benchmarks[\w.]*)", text):
        folder = ROOT / module.replace(".", "/")
        assert folder.is_dir() or folder.with_suffix(".py").is_file(), module


@pytest.mark.parametrize("page", names_of(PAGES))
def test_the_places_and_names_of_a_page_are_there(page):
    text = text_of(ROOT / page)
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / page).parent / link).exists(), f"{page} leads to {link}"
    for place in re.findall(
        r"(?<![\w/.])((?:fastgcn_rec|csrc|tests|benchmarks|scripts|docs)/(?:[\w.-]+/)*[\w-]*(?:\.\w+)*)", text
    ):
        if Path(place).stem not in {"x", "FILE"}:  # any op, any file
            assert (ROOT / place).exists(), f"{page} names {place}"
    for name in re.findall(r"\bfgr\.\w+|(?<![\w/])fastgcn_rec(?:\.\w+)+", text):
        first, *parts = name.replace("fgr", "fastgcn_rec", 1).split(".")
        value = importlib.import_module(first)
        for part in parts:
            value = (
                getattr(value, part) if hasattr(value, part) else importlib.import_module(f"{value.__name__}.{part}")
            )


def test_the_pages_that_the_sources_name_are_there():
    named = {
        (f.name, name)
        for f in SOURCES
        if f.suffix in {".py", ".h", ".cpp", ".cu", ".cuh", ".sh"}
        for name in re.findall(r"docs/\w+\.md", text_of(f))
    }
    assert len(named) >= 10
    assert [pair for pair in named if not (ROOT / pair[1]).is_file()] == []


@pytest.mark.parametrize("page", names_of(page for page in PAGES))
def test_no_measured_figure_of_a_page_was_typed(page):
    """Shares with three digits and more, and times and rates in sentences, come from benchmarks/results by ``python -m benchmarks report --docs``."""
    text = MADE.sub("", text_of(ROOT / page))
    assert re.findall(r"(?<![\w.])0?\.\d{3,}", text) == []
    assert re.findall(r"\d (?:ms|GB/s|GFLOP/s|times as fast|times faster)\b", text) == []


def test_the_figures_of_the_recipes_are_those_of_the_results():
    results = "".join(map(text_of, (ROOT / "benchmarks" / "results").glob("*.json")))
    known = {round(float(value), 4) for value in re.findall(r'"(?:recall|ndcg)@20": ([\d.]+)', results)}
    figures = [float(value) for recipe in RECIPES.values() for value in re.findall(r"(?<!\d)\.\d{4}", recipe.expected)]
    assert len(figures) > 10
    assert [figure for figure in figures if figure not in known] == []


def test_the_readme_fits_a_screen_and_a_half():
    lines = text_of(ROOT / "README.md").splitlines()
    assert len(lines) <= 80
    assert max(map(len, lines)) <= 120


def test_the_index_has_every_page():
    index = text_of(DOCS / "README.md")
    assert [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index] == []


def test_the_floors_of_the_design_are_those_that_are_checked():
    tomllib = pytest.importorskip("tomllib")
    contracts = tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    checked = [set(layer.split(" | ")) for layer in contracts[0]["layers"] if layer != "__main__"]
    table = re.findall(r"^\| \d+ \| (.*?) \|", text_of(DOCS / "design.md"), re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", rooms)) for rooms in table] == checked
