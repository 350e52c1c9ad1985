"""A run as a file: data, split, model and settings, by which it can be repeated from the file alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core import native
from ..data import Dataset
from ..data.make import BESIDE, options_of
from ..data.reading.events import naming
from ..data.reading.sources import ROLES
from ..data.spec import OF_EVENTS, OPTIONS, PARTS, SPLIT, DataSpec
from ..system.files import write_atomically
from ..system.toml import read_toml, toml_text
from ..system.values import same_values
from .recipes import SETTINGS, Recipe
from .tables import check_keys

FILE = "run.toml"
_DATA = ("source", *ROLES, *BESIDE, *OPTIONS)
KEYS = {  # of each table; "" is the file itself
    "": ("version", "device", "data", "split", "recipe", "train"),
    "data": _DATA,
    "split": SPLIT,
    "recipe": ("name", "model", "expected", "options", "parts"),
    "train": SETTINGS,
}
HEAD = "# Written by fastgcn-rec"


@dataclasses.dataclass(frozen=True)
class Project:
    """All that a run is made of.

    Attributes
    ----------
    data : DataSpec
    name : str
        Of the recipe that it came from, or of its file.
    recipe : Recipe
        The model, its options, and its settings where it is trained.
    device : str
    version : str
        Of the package that it was written by.

    Examples
    --------
    >>> from fastgcn_rec.experiments import RECIPES
    >>> project = Project(DataSpec.of("ml-100k", split="random"), "mf", RECIPES["mf"])
    >>> print(project.text()[-len("valid"):].isspace(), project.to_dict()["split"])
    False {'split': 'random'}
    """

    data: DataSpec
    name: str
    recipe: Recipe
    device: str = "cpu"
    version: str = native.__version__

    def with_data(self, **options: Any) -> Project:
        """With other ones of the options of `load_dataset`; another split has of the options of the one before those that it takes, too."""
        spec, split = self.data, self.data.split
        if options.get("split", split.get("split")) != split.get("split"):
            known = (*options_of(options["split"]), *OF_EVENTS)
            split = {
                name: value
                for name, value in split.items()
                if name in known or (name in PARTS and isinstance(value, str))
            }
        own = {**spec.columns, **spec.reading, **spec.beside, **split}
        return dataclasses.replace(self, data=DataSpec.of(spec.source, **{**own, **options}))

    def to_dict(self) -> dict[str, Any]:
        """As tables of the file."""
        spec, whole = self.data, self.data.to_dict()
        data = {"source": whole["source"], **spec.columns, **spec.reading, **spec.beside}
        recipe = {"name": self.name, **self.recipe.to_dict()}
        del recipe["expected"]  # a run says what it reached
        train = {"train": recipe.pop("train")} if "train" in recipe else {}
        return {"version": self.version, "device": self.device, "data": data, "split": spec.split, "recipe": recipe, **train}  # fmt: skip

    def text(self, name: str = FILE) -> str:
        """What the file holds; nothing else is needed to repeat the run."""
        return f"{HEAD}; `fastgcn-rec train {name}` repeats this run.\n" + toml_text(self.to_dict())

    def fixed(self) -> Project:
        """With what the data's guess found and with paths that hold from anywhere."""
        spec = DataSpec.from_dict(self.data.resolved().to_dict(), base=Path.cwd())
        return dataclasses.replace(self, data=spec)

    def completed(self, data: Dataset) -> Project:
        """With the defaults of the split that made ``data``."""
        return dataclasses.replace(self, data=self.data.completed(data))

    def write(self, folder: Path) -> None:
        """Into ``folder``, :meth:`fixed`."""
        text = self.fixed().text(str(folder / FILE))
        write_atomically(folder / FILE, lambda file: file.write(text.encode()))

    @classmethod
    def read(cls, path: Path) -> Project:
        """The way back; paths that are relative are taken from the file's folder.

        Raises
        ------
        FileNotFoundError, or ValueError and TypeError that name the file and the key.
        """
        values = read_toml(path)
        with naming(path):
            return cls.from_dict(values, path.resolve().parent)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], base: Path | None = None) -> Project:
        check_keys("", values, KEYS[""], KEYS)
        tables: dict[str, dict[str, Any]] = {}
        for table in ("data", "split", "recipe", "train"):
            tables[table] = values.get(table, {})
            if not isinstance(tables[table], Mapping):
                raise TypeError(f"[{table}] must be a table, got {tables[table]!r}")
            check_keys(table, tables[table], KEYS[table], KEYS)
        for key in ("version", "device"):
            if not isinstance(values.get(key, ""), str):
                raise TypeError(f"{key} must be a text, got {values[key]!r}")
        data = dict(tables["data"])
        if not data.get("source") or not isinstance(data["source"], (str, list)):
            raise ValueError("[data] needs source: a known name, a path, or a list of paths, in quotes")
        spec = DataSpec.of(data.pop("source"), **data, **tables["split"])
        if base is not None:
            spec = DataSpec.from_dict(spec.to_dict(), base=base)
        recipe = Recipe.from_dict({**tables["recipe"], "train": tables["train"]})
        name = tables["recipe"].get("name", "default")
        return cls(spec, name, recipe, values.get("device", "cpu"), values.get("version", native.__version__))

    def same_work(self, other: Project) -> list[str]:
        """The keys in which two differ, but for their versions; none where the same work is asked for."""
        one, two = _flat(self.to_dict()), _flat(other.to_dict())
        return [key for key in {**one, **two} if key != "version" and not same_values(one.get(key), two.get(key))]

    def value(self, key: str) -> Any:
        """Of a key with its table, as messages show it."""
        found = _flat(self.to_dict()).get(key)
        return "not given" if found is None else repr(found)


def project_file(path: Path) -> Path | None:
    """The project file that ``path`` is, or that the folder of a run holds."""
    if path.suffix == ".toml":
        return path
    return path / FILE if (path / FILE).is_file() else None


def _flat(values: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{name}{key}.") if isinstance(value, Mapping) else {f"{name}{key}": value}
    return found
