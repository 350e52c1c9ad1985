"""The house: no circle between two files, nothing imported for types alone, no room that brings those above it, files that fit in the head."""

import ast
import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fastgcn_rec

PACKAGE = Path(fastgcn_rec.__file__).parent
PROJECT = Path(__file__).parents[2]


def modules(package: Path) -> dict[str, Path]:
    found = {"fastgcn_rec._C": package / "_C.pyi"}
    for file in package.rglob("*.py"):
        parts = file.relative_to(package).with_suffix("").parts
        found[".".join(["fastgcn_rec", *(parts[:-1] if parts[-1] == "__init__" else parts)])] = file
    return found


def imported(name: str, file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a file's import statements name, wherever in it they stand."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        if not isinstance(node, ast.ImportFrom):
            continue
        here = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
        home = (
            ".".join(here[: len(here) - node.level + 1] + ([node.module] if node.module else []))
            if node.level
            else node.module
        )
        for alias in node.names:
            inner = f"{home}.{alias.name}"
            yield from [inner] if inner in known else [str(home)] if home in known else []


def circle(package: Path) -> list[str]:
    """The files of a circle of imports; none where there is no circle."""
    known = modules(package)
    graph = {name: {other for other in imported(name, file, known) if other != name} for name, file in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(PROJECT / "pyproject.toml", folder)
    return shutil.copytree(PACKAGE, folder / "fastgcn_rec", ignore=shutil.ignore_patterns("*.so", "__pycache__"))


@contextlib.contextmanager
def with_more(file: Path, text: str) -> Iterator[None]:
    before = file.read_text(encoding="utf-8")
    file.write_text(before + text, encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(before, encoding="utf-8")


def test_no_two_files_import_each_other_even_by_others():
    assert circle(PACKAGE) == []


def test_a_circle_of_files_is_found(copy):
    late = "\n\ndef late():\n    from ..ops.dense import dense\n\n    return dense\n"
    with with_more(copy / "core" / "arguments.py", late):
        assert {"fastgcn_rec.core.arguments", "fastgcn_rec.ops.dense"} <= set(circle(copy))


# Public names, commands and third packages: what is imported by a name that is looked up.
BY_NAME = {"fastgcn_rec", "fastgcn_rec.cli.program", "fastgcn_rec.ops.registration"}


def hidden(package: Path) -> set[str]:
    """The files with an import that neither the circles above nor the contract can follow: by a name that is looked up, or of a public name, which the
    package's own ``__getattr__`` fetches from wherever it is."""
    known, found = modules(package), set()
    for name, file in known.items():
        here = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                inner = any(alias.name.split(".")[0] == "fastgcn_rec" for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                of_root = node.level == len(here) and not node.module
                public = of_root and any(f"fastgcn_rec.{alias.name}" not in known for alias in node.names)
                by_name = node.module == "importlib" and any(alias.name == "import_module" for alias in node.names)
                inner = public or by_name or (not node.level and str(node.module).split(".")[0] == "fastgcn_rec")
            else:
                called = getattr(node, "attr", getattr(node, "id", None))
                inner = called in ("import_module", "__import__") and name not in BY_NAME
            if inner:
                found.add(name)
    return found


def test_no_file_imports_what_the_checks_cannot_follow():
    assert hidden(PACKAGE) == set()


@pytest.mark.parametrize(
    "line",
    [
        "importlib.import_module('..models', __package__)",
        "__import__('fastgcn_rec.models')",
        "from importlib import import_module as load",
        "import fastgcn_rec",
        "import fastgcn_rec.models.mf as mf",
        "from fastgcn_rec import LightGCN",
        "from fastgcn_rec.system.files import _x",
        "from .. import LightGCN",
    ],
)
def test_an_import_that_the_checks_cannot_follow_is_found(copy, line):
    with with_more(copy / "ranking" / "lists.py", f"\n\ndef late():\n    {line}\n"):
        assert hidden(copy) == {"fastgcn_rec.ranking.lists"}


def lint(package: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=package.parent, capture_output=True, text=True, check=False)


@pytest.mark.skipif(importlib.util.find_spec("importlinter") is None, reason="needs import-linter: make check")
def test_the_contract_breaks_where_a_room_imports_one_above_it(copy):
    whole = lint(copy)
    assert whole.returncode == 0, whole.stdout
    above = {
        "core/graph.py": "ops.topk",
        "ops/topk.py": "models.mf",
        "ranking/evaluate.py": "models",
        "models/mf.py": "training",
        "data/reading/readers.py": "data.dataset",
        "training/batches.py": "training.loop",
        "training/steps/native.py": "training.steps.make",
    }
    for below, room in above.items():
        with with_more(copy / below, f"\nimport fastgcn_rec.{room}\n"):
            done = lint(copy)
        assert (done.returncode, "BROKEN" in done.stdout) == (1, True), below


def test_nothing_is_imported_for_types_alone():
    hidden = [name for name, file in modules(PACKAGE).items() if "TYPE_CHECKING" in file.read_text(encoding="utf-8")]
    assert hidden == []


ABOVE = {
    "ops": ("data", "features", "negatives", "algorithms", "losses", "ranking", "models", "training", "experiments", "cli"),
    "data": ("features", "negatives", "losses", "ranking", "models", "training", "experiments", "cli"),
    "ranking": ("models", "training", "experiments", "cli"),
    "models": ("training", "experiments", "cli"),
    "training": ("experiments", "cli"),
}  # fmt: skip
BROUGHT = """
import importlib, json, os, sys
import numpy, scipy.sparse, torch  # what all of them need is loaded once, and each room in a child

found = {}
for room in sys.argv[1:]:
    read, write = os.pipe()
    if os.fork() == 0:
        importlib.import_module(f"fastgcn_rec.{room}")
        rooms = {name.split(".")[1] for name in sys.modules if name.startswith("fastgcn_rec.")}
        os.write(write, json.dumps(sorted(rooms)).encode())
        os._exit(0)
    os.close(write)
    found[room] = json.loads(os.read(read, 1 << 16))
print(json.dumps(found))
"""


def test_a_room_brings_none_of_those_above_it():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BROUGHT, *ABOVE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for room, brought in json.loads(done.stdout).items():
        assert room in brought
        assert set(brought).isdisjoint(ABOVE[room]), room


def test_ops_are_registered_with_torch_by_importing_them():
    code = "import torch, fastgcn_rec.ops; torch.ops.fastgcn_rec.propagate.default"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_is_what_its_room_has():
    names = dir(fastgcn_rec)
    assert {"LightGCN", "evaluate", "data", "__version__"} <= set(names)
    for name in fastgcn_rec.__all__:
        value = getattr(fastgcn_rec, name)
        assert getattr(value, "__name__", name) == name
        assert not isinstance(value, type(ast)), f"{name} is hidden by a module of its name"
    with pytest.raises(AttributeError, match="module 'fastgcn_rec' has no attribute 'LightGNC'"):
        _ = fastgcn_rec.LightGNC
    assert [name for name in names if name.startswith("_") and not name.startswith("__")] == []
    with pytest.raises(AttributeError, match=r"no attribute 'read_csv'; fastgcn_rec\.data has it"):
        _ = fastgcn_rec.read_csv


@pytest.mark.skipif(not (PROJECT / "csrc").exists(), reason="the sources are the checkout's")
def test_a_file_of_more_than_400_lines_says_why():
    kinds = {".py": '"""', ".pyi": "#", ".cpp": "//", ".cu": "//", ".h": "//", ".cuh": "//", ".inc": "//"}
    folders = ("fastgcn_rec", "csrc", "tests", "benchmarks", "scripts")
    files = [f for folder in folders for f in (PROJECT / folder).rglob("*") if f.suffix in kinds]
    assert len(files) > 200
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        if len(lines) > 400:
            head = "\n".join(lines[:12])
            assert "in one file" in head, (
                f"{file} has {len(lines)} lines; split it, or say in its head why it is in one file"
            )


def test_no_file_takes_what_is_private_in_another_one_nor_a_private_file_of_another_room():
    taken = []
    for name, file in modules(PACKAGE).items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            private = [
                part
                for part in [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                if part.startswith("_")
            ]
            own = node.level == 1 and len(private) == 1 and (node.module or private[0]) == private[0]
            taken += [
                (name, part) for part in private if part != "_C" and not (own and (file.parent / f"{part}.py").exists())
            ]
    assert taken == []
