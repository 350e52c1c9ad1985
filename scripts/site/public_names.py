"""The public names of the package, read from its sources and not imported, so that the site can be made where nothing is built."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fastgcn_rec"


class Room(NamedTuple):
    """A page of the API: the folder or file that it tells of, and its title."""

    name: str
    title: str


ROOMS = [
    Room("models", "Models"),
    Room("ops", "Ops"),
    Room("losses", "Losses"),
    Room("data", "Data"),
    Room("ranking", "Ranking and evaluation"),
    Room("training", "Training"),
    Room("negatives", "Negatives"),
    Room("features", "Features"),
    Room("experiments", "Experiments"),
    Room("algorithms", "Algorithms"),
    Room("core", "Graph and ranks"),
    Room("system", "Files, signals, progress"),
]
CORE = ("Graph", "graph"), ("World", "world")  # what the documents use of core, and its files


class Name(NamedTuple):
    """A public name: where it is documented, where it is written, and the first sentence of its docstring."""

    name: str
    path: str
    file: Path
    kind: str
    summary: str


@functools.cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _file_of(module: str) -> Path:
    """The file of a module, from its name below the package."""
    place = PACKAGE.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def docstring_of(module: str) -> str:
    """The docstring of a module, from its name below the package."""
    return ast.get_docstring(_parsed(_file_of(module))) or ""


def _first_sentence(docstring: str) -> str:
    text = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"(?<![A-Z])(?<=\.) (?=[A-Z])", text, maxsplit=1)[0]


def _name(name: str, path: str, file: Path) -> Name:
    """What the file says of one of its own names."""
    body = _parsed(file).body
    for at, line in enumerate(body):
        if isinstance(line, (ast.FunctionDef, ast.ClassDef)) and line.name == name:
            kind = "class" if isinstance(line, ast.ClassDef) else "function"
            return Name(name, path, file, kind, _first_sentence(ast.get_docstring(line) or ""))
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        if isinstance(line, (ast.Assign, ast.AnnAssign)) and name in [getattr(one, "id", "") for one in targets]:
            after = body[at + 1] if at + 1 < len(body) else None
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            return Name(name, path, file, "value", _first_sentence(str(text)))
    raise LookupError(f"{file} has no {name}")


def _imports(file: Path) -> dict[str, str]:
    """The names that a file imports from beside it, and from which module."""
    lines = [line for line in _parsed(file).body if isinstance(line, ast.ImportFrom) and line.level == 1]
    return {alias.name: line.module or "" for line in lines for alias in line.names}


def _given_by(room: str) -> list[Name]:
    """The names of a room's ``__all__``."""
    file = _file_of(room)
    for line in _parsed(file).body:
        if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == "__all__":
            homes = _imports(file)
            return [
                _name(name, f"fastgcn_rec.{room}.{name}", _file_of(f"{room}.{homes[name]}"))
                for name in ast.literal_eval(line.value)
            ]
    return []


def _defined_in(module: str) -> list[Name]:
    """The functions and classes of a module, without those that begin with an underscore."""
    file = _file_of(module)
    names = [line.name for line in _parsed(file).body if isinstance(line, (ast.FunctionDef, ast.ClassDef))]
    return [_name(name, f"fastgcn_rec.{module}.{name}", file) for name in names if not name.startswith("_")]


def names_of(room: str) -> list[Name]:
    """The names on a room's page: of its ``__all__``, or else all that its modules have."""
    if room == "core":
        return [_name(name, f"fastgcn_rec.core.{module}.{name}", _file_of(f"core.{module}")) for name, module in CORE]
    if (PACKAGE / f"{room}.py").is_file():
        return _defined_in(room)
    modules = sorted(file.stem for file in (PACKAGE / room).glob("*.py") if file.stem != "__init__")
    return _given_by(room) or [name for module in modules for name in _defined_in(f"{room}.{module}")]


def all_names() -> dict[str, list[Name]]:
    """The names of each page of the API."""
    return {room.name: names_of(room.name) for room in ROOMS}


def homes() -> set[str]:
    """The names that stand in ``fastgcn_rec`` itself, but for its rooms."""
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.name for line in stub.body if isinstance(line, ast.ImportFrom) and line.module for alias in line.names
    }
