"""A run as a file: data, split, model and settings, by which it can be repeated from the file alone."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..core import native
from ..data import Dataset
from ..data.make import BESIDE, options_of
from ..data.reading.events import naming
from ..data.reading.sources import ROLES
from ..data.spec import OF_EVENTS, OPTIONS, PARTS, SPLIT, DataSpec
from ..models import Recommender
from ..system.files import write_atomically
from ..system.toml import read_toml, toml_text
from ..system.values import same_values
from ..training.config import TrainConfig
from .recipes import RECIPES, Recipe

FILE = "run.toml"
_DATA = ("source", *ROLES, *BESIDE, *OPTIONS)
_KEYS = {  # of each table; "" is the file itself
    "": ("version", "device", "data", "split", "recipe", "train"),
    "data": _DATA,
    "split": SPLIT,
    "recipe": ("name", "model", "options"),
    "train": tuple(field.name for field in dataclasses.fields(TrainConfig)),
}
HEAD = "# Written by fastgcn-rec"


@dataclasses.dataclass(frozen=True)
class Project:
    """All that a run is made of.

    Attributes
    ----------
    data : DataSpec
    name : str
        Of the recipe that it came from.
    recipe : Recipe
        The model, its options, and its settings where it is trained.
    device : str
    version : str
        Of the package that it was written by.

    Examples
    --------
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
        recipe = {"name": self.name, "model": self.recipe.model, "options": self.recipe.model_options}
        found = {"version": self.version, "device": self.device, "data": data, "split": spec.split, "recipe": recipe}  # fmt: skip
        return found if self.recipe.train is None else {**found, "train": dataclasses.asdict(self.recipe.train)}

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
        _known("", values, _KEYS[""])
        tables: dict[str, dict[str, Any]] = {}
        for table in ("data", "split", "recipe", "train"):
            tables[table] = values.get(table, {})
            if not isinstance(tables[table], Mapping):
                raise TypeError(f"[{table}] must be a table, got {tables[table]!r}")
            _known(table, tables[table], _KEYS[table])
        for key in ("version", "device"):
            if not isinstance(values.get(key, ""), str):
                raise TypeError(f"{key} must be a text, got {values[key]!r}")
        data = dict(tables["data"])
        if not data.get("source") or not isinstance(data["source"], (str, list)):
            raise ValueError("[data] needs source: a known name, a path, or a list of paths, in quotes")
        spec = DataSpec.of(data.pop("source"), **data, **tables["split"])
        if base is not None:
            spec = DataSpec.from_dict(spec.to_dict(), base=base)
        for key in ("name", "model"):
            if not isinstance(tables["recipe"].get(key, ""), str):
                raise TypeError(f"[recipe] {key} must be a text, got {tables['recipe'][key]!r}")
        name = tables["recipe"].get("name", "default")
        recipe = _recipe(name, tables["recipe"], tables["train"])
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


def _recipe(name: str, given: Mapping[str, Any], train: Mapping[str, Any]) -> Recipe:
    """Options beside a model are all of its options; else they change the recipe's. So do settings."""
    if name not in RECIPES:
        raise ValueError(f"[recipe] name must be one of {', '.join(sorted(RECIPES))}, got {name!r}{_near(name, RECIPES)}")  # fmt: skip
    recipe, options = RECIPES[name], given.get("options", {})
    model = given.get("model", recipe.model)
    kind = Recommender.registry.get(model)
    if kind is None:
        known = sorted(Recommender.registry)
        raise ValueError(f"[recipe] model must be one of {', '.join(known)}, got {model!r}{_near(model, known)}")
    if not isinstance(options, Mapping):
        raise TypeError(f"[recipe] options must be a table, got {options!r}")
    _known("recipe.options", options, [key for key in inspect.signature(kind).parameters if key != "data"])
    whole = "model" in given and "options" in given
    options = dict(options) if whole else {**(recipe.model_options if model == recipe.model else {}), **options}
    config = recipe.train
    if train and config is None and model == recipe.model:
        raise ValueError(f"[train] does not apply to recipe {name!r}, which is made without training; leave the table out")  # fmt: skip
    if train:
        try:
            config = dataclasses.replace(config or TrainConfig(), **train)
        except (TypeError, ValueError) as error:
            raise type(error)(f"[train] {error}") from None
    return Recipe(model, options, config, recipe.expected)


def _known(table: str, values: Mapping[str, Any], known: Iterable[str]) -> None:
    names = list(known)
    for key in values:
        if key not in names:
            where = f"[{table}] has" if table else "there is"
            home = next((f"; it belongs to [{t}]" for t, keys in _KEYS.items() if t and t != table and key in keys), "")
            raise ValueError(f"{where} no key {key!r}{home or _near(key, names) or '; its keys are ' + ', '.join(names)}")  # fmt: skip


def _near(word: Any, known: Iterable[str]) -> str:
    near = get_close_matches(str(word), list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _flat(values: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{name}{key}.") if isinstance(value, Mapping) else {f"{name}{key}": value}
    return found
