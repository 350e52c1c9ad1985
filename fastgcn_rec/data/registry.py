"""Known data sets by name: where to look for them, where to fetch them, how to read them.

The package ships no data. A data set is looked for in this order: the `root` argument, a folder of its name under
the directory in the environment variable FASTGCN_REC_DATA, the cache, and then it is downloaded into the cache.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .catalogue import ENTRIES, Entry, Form
from .dataset import Dataset
from .download import DownloadError, fill_folder
from .interactions import Interactions
from .published import published_fingerprint

DATA_VARIABLE = "FASTGCN_REC_DATA"
CACHE_VARIABLE = "FASTGCN_REC_CACHE"


class DatasetUnavailableError(RuntimeError):
    """A known data set is in none of the places where it was looked for; the message lists them."""


@dataclass(frozen=True)
class DatasetInfo:
    """One line of `available_datasets`.

    Attributes
    ----------
    name, description, homepage : str
    shape : (users, items, pairs)
    downloadable : bool
    found : Path or None
        The folder that `load_dataset` would read without a download.
    published : str or None
        The fingerprint of the published split, where it is on record.

    Examples
    --------
    >>> from fastgcn_rec.data import available_datasets
    >>> {info.name: info.shape for info in available_datasets()}["gowalla"]
    (29858, 40981, 1027370)
    """

    name: str
    description: str
    homepage: str
    shape: tuple[int, int, int]
    downloadable: bool
    found: Path | None
    published: str | None


def cache_folder() -> Path:
    """Return the folder that downloads go to: FASTGCN_REC_CACHE, or fastgcn_rec under XDG_CACHE_HOME or ~/.cache.

    Examples
    --------
    >>> cache_folder()  # doctest: +SKIP
    PosixPath('/home/ann/.cache/fastgcn_rec')
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "fastgcn_rec"


def available_datasets() -> list[DatasetInfo]:
    """Return the known data sets with the folder each was found in; nothing is read or fetched.

    Examples
    --------
    >>> from fastgcn_rec.data import available_datasets
    >>> [info.name for info in available_datasets()][:2]
    ['gowalla', 'yelp2018']
    """
    return [
        DatasetInfo(
            name,
            entry.description,
            entry.homepage,
            entry.shape,
            bool(entry.sources),
            next((path for path in _local_folders(name) if _form(entry, path)), None),
            published_fingerprint(name),
        )
        for name, entry in ENTRIES.items()
    ]


def read_known(name: str, root: str | os.PathLike[str] | None = None, download: bool = True) -> Interactions | Dataset:
    """Return the events of a known data set, or the data set where it comes with its split.

    ValueError: an unknown name. DatasetUnavailableError: it is in none of the places; the message lists each of them and what to do.

    Examples
    --------
    >>> read_known("ml-100k")  # doctest: +SKIP
    Interactions(100000 events, 943 users, 1682 items, rating, time, ...)
    """
    if name not in ENTRIES:
        raise ValueError(f"name must be one of {', '.join(ENTRIES)}, got {name!r}")
    entry = ENTRIES[name]
    folders = _local_folders(name) if root is None else [Path(root) / name, Path(root)]
    tried: list[str] = []
    for folder in folders:
        form = _form(entry, folder)
        if form is not None:
            return form.read(folder)
        tried.append(f"{folder}: {'not all files are there' if folder.is_dir() else 'no such folder'}")
    if root is None and download:
        folder = cache_folder() / name
        for source in entry.sources:
            try:
                fill_folder(folder, source.fetch)
            except DownloadError as error:
                tried.append(str(error))
                continue
            form = _form(entry, folder)
            if form is None:  # the sources and the forms of an entry are written together
                raise AssertionError(f"{source.label} does not give the files of {name}")
            return form.read(folder)
        if not entry.sources:
            tried.append("download: none is known for this data set")
    raise DatasetUnavailableError(_unavailable(name, entry, tried))


def default_split(name: str, has_times: bool) -> dict[str, Any] | None:
    """The options of `make_dataset` for a known data set of which none are given; None: it comes with its split."""
    split = ENTRIES[name].split
    return split if split is None or has_times else {"split": "random"}


def _unavailable(name: str, entry: Entry, tried: list[str]) -> str:
    files = " or ".join(" + ".join(form.files) for form in entry.forms)
    places = "".join(f"\n  - {place}" for place in tried)
    variable = "" if os.environ.get(DATA_VARIABLE) else f"\n  - {DATA_VARIABLE}: not set"
    return (
        f"{name} was found nowhere:{variable}{places}\n"
        f"Put {files} (from {entry.homepage}) into a folder DIR/{name} and set {DATA_VARIABLE}=DIR, or pass root=."
    )


def _local_folders(name: str) -> list[Path]:
    named = os.environ.get(DATA_VARIABLE)
    return [*([Path(named).expanduser() / name] if named else []), cache_folder() / name]


def _form(entry: Entry, folder: Path) -> Form | None:
    return next((form for form in entry.forms if all((folder / file).is_file() for file in form.files)), None)
