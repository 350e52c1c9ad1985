"""CONTRIBUTING.md does what it says: a copy of the package gets the files and lines of its sections, and runs what they run."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastgcn_rec

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
PACKAGE = Path(fastgcn_rec.__file__).parent
REGISTRY = {"fastgcn_rec/models/__init__.py", "fastgcn_rec/__init__.pyi", "fastgcn_rec/experiments/recipes.py", "tests/every_model.py"}  # fmt: skip

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the page is not beside the tests")

NEW = re.compile(r"^`(\S+)`, a new file:\n\n```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^`(\S+)`, after `(.+)`:\n\n```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| `(\S+)` \| `(.+)` \| `(.+)` \|$", re.MULTILINE)
RUN = re.compile(r"^```(python|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def sections():
    """The page's sections, by title."""
    _, *found = (
        re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE) if PAGE.is_file() else [""]
    )
    return dict(zip(found[::2], found[1::2], strict=True))


TESTED = [title for title, text in sections().items() if NEW.search(text) or BLOCK.search(text)]


def put(folder, text):
    """Does to ``folder`` what a section says; returns the new files, and the files that get one line."""
    new, lines = NEW.findall(text), ROW.findall(text)
    for name, code in new:
        assert not (folder / name).exists()
        (folder / name).write_text(code, encoding="utf-8")
    for name, after, added in [*BLOCK.findall(text), *lines]:
        old = (folder / name).read_text(encoding="utf-8").splitlines()
        (place,) = [n for n, line in enumerate(old) if line.strip() == after]
        indent = (
            max(re.match(" *", line)[0] for line in old[place : place + 2]) if (name, after, added) in lines else ""
        )
        (folder / name).write_text("\n".join([*old[: place + 1], indent + added.rstrip("\n"), *old[place + 1 :], ""]))
    return [name for name, _ in new], [name for name, *_ in lines]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what the page changes, changed."""
    folder = tmp_path_factory.mktemp("contributed")
    shutil.copytree(PACKAGE, folder / "fastgcn_rec", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    for module in PACKAGE.glob("_C*.*"):
        if module.suffix in (".so", ".pyd"):
            (folder / "fastgcn_rec" / module.name).symlink_to(module)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for title in TESTED:
        put(folder, sections()[title])
    return folder


def run(folder, *arguments):
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore", "PYTEST_ADDOPTS": "-W default"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("title", TESTED)
def test_a_section_works_as_it_stands(copy, title):
    text = BLOCK.sub("", NEW.sub("", sections()[title]))
    ran = 0
    for language, block in RUN.findall(text):
        if language == "python":
            ours = run(copy, "-c", f"{block}\nprint(__import__('fastgcn_rec').__file__)")
            assert ours.splitlines()[-1] == str(copy / "fastgcn_rec" / "__init__.py")
            ran += 1
            continue
        for command, shown in re.findall(r"^\$ python (.+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            said = run(copy, *shlex.split(command)).splitlines()
            assert set(shown.splitlines()) <= set(said)
            ran += 1
    assert ran


def test_what_is_added_is_one_file_and_lines_of_the_registry(tmp_path_factory, copy):
    assert TESTED == ["Add a data set", "Add a model", "Add a command"]
    changed = {title: (NEW.findall(text), ROW.findall(text)) for title, text in sections().items()}
    files, lines = changed["Add a model"]
    assert [name for name, _ in files] == ["fastgcn_rec/models/toy.py"]
    assert {name for name, *_ in lines} == REGISTRY
    files, lines = changed["Add a command"]
    assert len(files) == len(lines) == 1


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="needs ruff: make check")
def test_what_is_added_is_formatted_as_the_house_is(copy):
    for how in (["check"], ["format", "--check"]):
        run(copy, "-m", "ruff", *how, "--no-cache", "fastgcn_rec", "tests/every_model.py")


def test_the_places_that_the_page_names_are_there():
    page = PAGE.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    named = set(re.findall(r"`((?:fastgcn_rec|tests|csrc|docs)/[^`]+)`", prose))
    named -= {name for name, _ in NEW.findall(page)} | {"tests/models/test_toy.py"}
    assert len(named) > 12
    for name in named:
        example = re.sub(r"\bx\.", "l2_loss.", name)
        assert list(ROOT.glob(example.replace("<room>", "ops"))), name
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", prose):
        assert (ROOT / link).exists(), link


def test_the_floors_of_the_page_are_those_that_are_checked():
    tomllib = pytest.importorskip("tomllib")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    checked = [set(layer.split(" | ")) for layer in contracts[0]["layers"] if layer != "__main__"]
    table = re.findall(r"^\| (`.*?) \|", sections()["The house"], re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", rooms)) for rooms in table] == checked
