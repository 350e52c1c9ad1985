"""From a name, files or a folder to a `Dataset`: where data come from, what their columns mean and what is held out, in one record."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from .beside import with_beside
from .catalogue import ENTRIES
from .dataset import Dataset
from .interactions import Interactions
from .make import BESIDE, dataset_of, split_options, weights_of
from .presplit import parts_of, read_split
from .reading.events import existing
from .reading.sources import COLUMNS, READING, ROLES, TIMES, events_from, format_for, refuse, resolved
from .registry import default_split, read_known

KNOWN = ("root", "download")  # what known names take
OPTIONS = tuple(dict.fromkeys(("format", *KNOWN, *(option for options in READING.values() for option in options))))
OF_EVENTS = ("min_rating", "k_core", "weight")  # whatever the split
SPLIT = ("split", "test", "valid", "seed", "k", "by", *OF_EVENTS)
PARTS = ("test", "valid")
_OF_PARTS = ("min_rating", "weight")  # what also data that come split take
_FILES = {"split": PARTS, "beside": ("items", "users"), "reading": ("root",)}  # paths among the values
_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Any], bool]]] = {
    "a text": (
        ("format", "sep", "encoding", "decimal", "comment", "ids", "time_unit", "time_format", "bad_lines", "root", "items", "users", "split", "by"),
        lambda value: isinstance(value, str),
    ),
    "True or False": (
        ("download", "header", "quoted", "newlines", "strip", "keep_items"),
        lambda value: isinstance(value, bool),
    ),
    "a list of texts": (
        ("missing", "item_columns", "user_columns"),
        lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class DataSpec:
    """Where a data set comes from, which columns it has, and what is held out: values of JSON alone.

    Made by :meth:`of`. What is left out is found in the files by :meth:`resolved`.

    Attributes
    ----------
    source : tuple of str
        One known name, one path, glob or folder, "-" for standard input, or several paths.
    columns : dict
        The name or position of the columns "user", "item", "rating" or "weight", and "time"; "" says that there is none.
    reading : dict
        "format", and the options of its reader.
    beside : dict
        "items" and "users", files with columns of them, "item_columns" and "user_columns", which of those are taken, and "keep_items", whether
        items without events become items, cold ones.
    split : dict
        What `make_dataset` takes; "test" and "valid" may be files.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastgcn_rec.data import DataSpec
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "plays.csv"
    >>> _ = path.write_text("listener,song,at\\nann,7,10\\nbob,7,11\\n")
    >>> spec = DataSpec.of(path, user="listener", item="song", time="at", split="none")
    >>> spec.describe()
    'user=listener, item=song, time=at (plain numbers)'
    >>> spec.load()
    Dataset('plays', 2 users, 1 items, 2 train + 0 test edges)
    >>> DataSpec.from_dict(spec.to_dict()) == spec
    True
    """

    source: tuple[str, ...]
    columns: dict[str, str | int] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """TypeError: a value of another kind than its option takes. Numbers are looked at by what counts with them."""
        for role, column in self.columns.items():
            if not isinstance(column, (str, int)) or isinstance(column, bool):
                raise TypeError(f"{role} must be a column's name or position, got {type(column).__name__} {column!r}")
        for name, value in {**self.reading, **self.beside, **self.split}.items():
            for kind, (names, is_kind) in _KINDS.items():
                if name in names and not is_kind(value):
                    raise TypeError(f"{name} must be {kind}, got {value!r}")

    @classmethod
    def of(
        cls,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        items: str | os.PathLike[str] | None = None,
        users: str | os.PathLike[str] | None = None,
        item_columns: Sequence[str] | None = None,
        user_columns: Sequence[str] | None = None,
        keep_items: bool | None = None,
        **options: Any,
    ) -> DataSpec:
        """Sort what `load_dataset` takes, by what it is about; None is the same as left out.

        Raises
        ------
        ValueError
            An option that there is not.
        """
        listed = _listed(source)
        given = {name: _plain(name, value) for name, value in options.items() if value is not None}
        every = (*ROLES, *SPLIT, *OPTIONS)
        unknown = [name for name in given if name not in every]
        if unknown:
            near = get_close_matches(unknown[0], every, 1, 0.5)
            raise ValueError(f"there is no option {unknown[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        beside: dict[str, Any] = {
            "items": items,
            "users": users,
            "item_columns": item_columns,
            "user_columns": user_columns,
        }
        beside["keep_items"] = keep_items or None
        names = tuple(os.fspath(one) for one in listed)
        columns = {role: given[role] for role in ROLES if role in given}
        split = {name: given[name] for name in SPLIT if name in given and name != "weight"}
        return cls(
            names,
            columns,
            {name: given[name] for name in given if name in OPTIONS},
            {name: _plain(name, value) for name, value in beside.items() if value is not None},
            split,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], base: str | os.PathLike[str] | None = None) -> DataSpec:
        """Return what :meth:`to_dict` gave; paths that are relative are taken from the folder `base`, where it is given.

        Raises
        ------
        ValueError
            Keys that there are not.
        """
        known = [part.name for part in fields(cls)]
        unknown = [key for key in values if key not in known]
        inner = {"columns": ROLES, "reading": OPTIONS, "beside": BESIDE, "split": SPLIT}
        for part in known[1:]:
            if not isinstance(values.get(part, {}), Mapping):
                raise TypeError(f"{part} of a data spec must be a mapping, got {type(values[part]).__name__}")
        unknown += [f"{part}.{key}" for part, keys in inner.items() for key in values.get(part, {}) if key not in keys]
        if unknown:
            raise ValueError(f"a data spec has no {', '.join(map(repr, unknown))}; its keys are {', '.join(known)}")
        if not values.get("source"):
            raise ValueError("a data spec needs 'source': a known name, a path, or a list of paths")
        spec = cls(
            tuple(map(os.fspath, _listed(values["source"]))),
            **{name: dict(values.get(name, {})) for name in known[1:]},
        )
        return spec if base is None else spec._based(Path(base))

    def to_dict(self) -> dict[str, Any]:
        """Return the parts that are not empty, as values of JSON."""
        source = self.source[0] if len(self.source) == 1 else list(self.source)
        rest = {part.name: dict(getattr(self, part.name)) for part in fields(self)[1:]}
        return {"source": source, **{name: value for name, value in rest.items() if value}}

    def _based(self, base: Path) -> DataSpec:
        parts = {name: dict(getattr(self, name)) for name in _FILES}
        for name, keys in _FILES.items():
            for key in keys:
                if isinstance(parts[name].get(key), str):
                    parts[name][key] = _from(base, parts[name][key])
        fixed = self.known or self.source == ("-",)
        return replace(self, source=self.source if fixed else tuple(_from(base, one) for one in self.source), **parts)

    @property
    def known(self) -> bool:
        """Whether the source is a known name."""
        return len(self.source) == 1 and self.source[0] in ENTRIES

    @property
    def name(self) -> str:
        """A short name, for the data set and for folders: "plays" of plays.csv.gz and of plays/*.csv."""
        if self.known:
            return self.source[0]
        if self.source == ("-",):
            return "standard-input"
        path = Path(self.source[0]).expanduser()
        stem = path.resolve().name if path.is_dir() else path.name.lstrip(".").split(".")[0]
        stems = (re.sub(r"[^\w-]+", "-", one).strip("-_") for one in (stem, path.absolute().parent.name))
        return next(filter(None, stems), "data")

    def resolved(self) -> DataSpec:
        """Return the spec with every guess filled in; reads the heads of files alone.

        Raises
        ------
        FileNotFoundError
            A file that is not there.
        ValueError
            A name that is not known, options that the format does not have, or columns that cannot be told apart.
        """
        return self._resolved

    @cached_property
    def _resolved(self) -> DataSpec:
        spec = self._weighed()
        for side in ("items", "users"):
            if side in self.beside:
                existing(self.beside[side])
        if self.known:
            refuse(self.name, self.reading, KNOWN, "options")
            refuse(self.name, spec.columns, (), "columns")
            refuse(self.name, {part: file for part, file in self.split.items() if part in PARTS and isinstance(file, str)}, (), "files for")  # fmt: skip
            return spec
        head = self.source if (parts := self._parts()) is None else (str(parts["train"]),)
        columns, reading = resolved(head, spec.columns, {"format": self._format(), **self.reading})
        return replace(spec, columns=columns, reading=reading)

    def _weighed(self) -> DataSpec:
        """Ratings that are weights are said in the split, a column of weights alone among the columns."""
        columns = dict(self.columns)
        own = columns.get("rating", "") != ""
        fixed = self.known or self._format() not in COLUMNS
        if columns.get("weight", "") == "" or not (own or (fixed and columns["weight"] == "rating")):
            return self
        _, weight = weights_of(columns.get("rating", "rating"), columns.pop("weight"))
        return replace(self, columns=columns, split={**self.split, "weight": weight})

    def describe(self) -> str:
        """Return what the source is read as, in one line: ``user=listener, item=song, time=at (ms since 1970)``."""
        spec = self.resolved()
        if spec.known:
            return f"{spec.name}, a known data set"
        shown = {
            role: f"{role}={column}" if isinstance(column, str) else f"{role}=column {column}"
            for role, column in spec.columns.items()
            if column != ""
        }
        if "time" in shown and spec.reading["format"] in ("csv", "parquet"):
            unit, form = spec.reading.get("time_unit"), spec.reading.get("time_format")
            kind = form or ("dates" if unit is None else f"{unit} since 1970" if unit else "plain numbers")
            shown["time"] += f" ({kind})"
        usual = {"sep": (",", "\t"), "decimal": (".",), "comment": ("",)}
        for name, values in usual.items():
            if spec.reading.get(name, values[0]) not in values:
                shown[name] = f"{name}={spec.reading[name]!r}"
        return ", ".join(shown.values()) or f"the columns of its format, {spec.reading['format']}"

    def interactions(self) -> Interactions:
        """Return the events. ValueError: the source comes with its split."""
        found = self._read()
        if isinstance(found, Dataset):
            raise ValueError(f"{self.name} comes with its split, so it has no events to be split; load it")
        return with_beside(found, self.beside, self.resolved().columns)

    def load(self, say: Callable[[str], None] | None = None) -> Dataset:
        """Read, filter and split: the `Dataset`. `say` is told how many of the items and users there is something of in the files beside."""
        return with_beside(self._split([self._read()]), self.beside, self.resolved().columns, say)

    def made_of(self, found: Interactions | Dataset) -> Dataset:
        """Filter and split what was read from it."""
        return with_beside(self._split([found]), self.beside, self.resolved().columns)

    def completed(self, data: Dataset) -> DataSpec:
        """Return :meth:`resolved` with the defaults of the split that made `data` of it, so that it loads the same where defaults are others."""
        return self._completed(data.train.time is not None)

    def _completed(self, has_times: bool) -> DataSpec:
        spec = self.resolved()
        default = default_split(spec.name, has_times) if spec.known else {} if spec._parts() is None else None
        if default is None:
            return spec
        return replace(spec, split=split_options(spec.split if "split" in spec.split else {**default, **spec.split}))

    def _split(self, held: list[Interactions | Dataset]) -> Dataset:
        """Of the one entry, which is taken out."""
        found = held.pop()
        spec = self.resolved() if isinstance(found, Dataset) else self._completed(found.time is not None)
        split: dict[str, Any] = {
            name: tuple(value) if name == "k_core" and isinstance(value, list) else value
            for name, value in spec.split.items()
        }
        if isinstance(found, Dataset):
            free = () if spec.known else _OF_PARTS
            given = [
                name
                for name, value in split.items()
                if name not in free and (not isinstance(value, str) or name not in PARTS)
            ]
            if given:
                came = "its published split" if spec.known else "its split"
                raise ValueError(f"{self.name} comes with {came} and takes no options, got {', '.join(given)}")
            return found
        if spec.columns.get("weight", "") != "":
            split["weight"] = "rating"
        events = [found]
        del found
        return dataset_of(self.name, events, **split)

    def _read(self) -> Interactions | Dataset:
        spec = self.resolved()
        if spec.known:
            return read_known(spec.name, **{name: spec.reading[name] for name in KNOWN if name in spec.reading})
        parts = spec._parts()
        if parts is None:
            return events_from(spec.source, spec.columns, spec.reading, guessed=set(TIMES).isdisjoint(self.reading))
        options = {name: spec.split[name] for name in _OF_PARTS if name in spec.split}
        return read_split(**parts, name=spec.name, **{**spec.columns, **options, **spec.reading})

    def _parts(self) -> dict[str, Any] | None:
        return parts_of(self.source, self.split)

    def _format(self) -> str:
        try:
            parts = self._parts()
            return format_for(self.source if parts is None else (str(parts["train"]),), self.reading)
        except FileNotFoundError:
            path = Path(self.source[0])
            meant = len(self.source) == 1 and path.name == self.source[0] and not path.suffix and "*" not in path.name
            if meant and not path.expanduser().exists():
                raise ValueError(
                    f"name must be one of {', '.join(ENTRIES)}, got {path.name!r}, and no file or folder is named so"
                ) from None
            raise


def _from(base: Path, path: str) -> str:
    """Of a path that is relative to a folder the one that holds from anywhere, and that is the same however the way there was written."""
    whole = base / Path(path).expanduser()
    if ".." not in whole.parts:
        return str(whole)
    return str(whole.resolve() if whole.name == ".." else whole.parent.resolve() / whole.name)


def _plain(name: str, value: Any) -> Any:
    """A value of JSON."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item") and not hasattr(value, "__len__"):  # a number of NumPy's
        return value.item()
    if isinstance(value, (tuple, set, frozenset)):
        return list(value)
    if not isinstance(value, (str, int, float, bool, list)):
        raise TypeError(f"{name} must be a text, a number or a list of them, got {type(value).__name__}")
    return value


def _listed(source: Any) -> list[Any]:
    """The names of a source. TypeError: something that is none."""
    alone = isinstance(source, (str, os.PathLike)) or not isinstance(source, Iterable)
    listed = [source] if alone else list(source)
    if not listed:
        raise ValueError("source must name a data set or files, got an empty list")
    for one in listed:
        if not isinstance(one, (str, os.PathLike)):
            raise TypeError(f"source must be a name, a path or a list of paths, got {type(one).__name__}")
    return listed
