"""The known data sets: the files of each, where they come from and how they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.ids import Array, is_text
from .dataset import Dataset
from .download import download, download_wheel, download_zip
from .interactions import Interactions
from .presplit import read_lightgcn
from .reading.movielens import read_movielens
from .reading.readers import read_csv
from .reading.recbole import read_recbole
from .reading.text import TextFormat, read_columns
from .reading.titles import movie_columns


@dataclass(frozen=True)
class Form:
    """One form that a data set's folder may have: the files it must hold and their reader."""

    files: tuple[str, ...]
    read: Callable[[Path], Interactions | Dataset]


@dataclass(frozen=True)
class Source:
    """One place to fetch a data set from: how to name it in errors, and what to run on a staging folder."""

    label: str
    fetch: Callable[[Path], None]


@dataclass(frozen=True)
class Entry:
    """A known data set; `shape` is (users, items, pairs), `split` holds the default options of `make_dataset` for forms with times, None where the files
    come with their split."""

    description: str
    homepage: str
    shape: tuple[int, int, int]
    forms: tuple[Form, ...]
    sources: tuple[Source, ...] = ()
    split: dict[str, Any] | None = field(default_factory=lambda: {"split": "temporal"})


_LIGHTGCN = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/947ca2b3b1d2d3545b114145710cb06c4e57b3d2/data"


def _lightgcn(name: str, description: str, shape: tuple[int, int, int], train: str, test: str) -> Entry:
    def fetch(folder: Path) -> None:
        for file, blob in (("train.txt", train), ("test.txt", test)):
            download(f"{_LIGHTGCN}/{name}/{file}", folder / file, f"git:{blob}")

    form = Form(("train.txt", "test.txt"), lambda f: read_lightgcn(f / "train.txt", f / "test.txt", name))
    source = Source(f"{_LIGHTGCN}/{name}", fetch)
    return Entry(description, "https://github.com/gusye1234/LightGCN-PyTorch", shape, (form,), (source,), None)


def _grouplens(name: str, md5: str, *files: str) -> Source:
    url = f"https://files.grouplens.org/datasets/movielens/{name}.zip"
    members = tuple(f"{name}/{file}" for file in files)
    return Source(url, lambda folder: download_zip(url, folder, members, f"md5:{md5}"))


_RECBOLE_ML100K = {
    "recbole/dataset_example/ml-100k/ml-100k.inter": (
        "sha256:4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff"
    ),
    "recbole/dataset_example/ml-100k/ml-100k.item": (
        "sha256:51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532"
    ),
    "recbole/dataset_example/ml-100k/ml-100k.user": (
        "sha256:4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972"
    ),
}

# Users that rated each of these films in MovieLens 1M: they tie the rows of items.csv to the item numbers.
_ML1M_RATERS = {2858: 3428, 260: 2991, 1196: 2990, 1210: 2883, 480: 2672, 2028: 2653, 589: 2649, 2571: 2590}


def _are_rows(item_ids: Array, n_rows: int) -> bool:
    """Whether sorted ids number rows of a file."""
    return not is_text(item_ids) and item_ids.size > 0 and bool(item_ids[0] >= 0 and item_ids[-1] < n_rows)


def _read_ml1m_csv(folder: Path) -> Interactions:
    """MovieLens 1M as pairs: user = UserID - 1, item = row of items.csv, whose "index" is the MovieID. No times."""
    pairs = read_csv(folder / "interactions.csv")
    columns = read_columns(folder / "items.csv", TextFormat(), {0: "id", 1: "text", 2: "text"}, 3)
    movie_ids = columns[0]
    if is_text(movie_ids) or is_text(pairs.user_ids) or not _are_rows(pairs.item_ids, movie_ids.size):
        raise ValueError(f"{folder}: the items of interactions.csv are not rows of items.csv")
    raw_items = movie_ids[pairs.item_ids[pairs.items]]
    for movie, raters in _ML1M_RATERS.items():
        found = int((raw_items == movie).sum())
        if found != raters:
            raise ValueError(f"{folder}: film {movie} must have {raters} events as in MovieLens 1M, got {found}")
    return Interactions.from_raw(
        pairs.user_ids[pairs.users] + 1,
        raw_items,
        item_info=movie_columns(columns[1], columns[2]),
        item_ids=movie_ids,
    )


def _read_online_retail(folder: Path) -> Interactions:
    """Online Retail as numbered rows: item = row of items.csv, which gives the stock code and the description."""
    events = read_csv(folder / "interactions.csv", time="timestamp")
    columns = read_columns(folder / "items.csv", TextFormat(), {0: "text", 1: "text", 2: "number"}, 3)
    codes = columns[0]
    if not _are_rows(events.item_ids, codes.size):
        raise ValueError(f"{folder}: the items of interactions.csv are not rows of items.csv")
    return Interactions.from_raw(
        events.user_ids[events.users],
        codes[events.item_ids[events.items]],
        time=events.time,
        item_info={"title": columns[1], "median_price": columns[2].astype(np.float32)},
        item_ids=codes,
    )


ENTRIES: dict[str, Entry] = {
    "gowalla": _lightgcn(
        "gowalla",
        "check-ins, the LightGCN split: 29,858 users, 40,981 items, 1.03 M pairs",
        (29858, 40981, 1027370),
        "a27782bd7a1d4d0744148dc0460ea94da74763f2",
        "9ed5af4b5d21511f33740b4e22e3852f45671800",
    ),
    "yelp2018": _lightgcn(
        "yelp2018",
        "business reviews, the LightGCN split: 31,668 users, 38,048 items, 1.56 M pairs",
        (31668, 38048, 1561406),
        "cda12361055ba448ae4bd1070f6000c16dea8f22",
        "30dfbc3437b27b74cb2970b435a5ec93ad9f2468",
    ),
    "amazon-book": _lightgcn(
        "amazon-book",
        "book reviews, the LightGCN split: 52,643 users, 91,599 items, 2.98 M pairs",
        (52643, 91599, 2984108),
        "6ef55159c5f1fd7f6d86eb9ff290d0cc2854ac99",
        "09e5da4e0bf46c751c4ba0f4375e414fd13512cd",
    ),
    "ml-100k": Entry(
        "film ratings with times, titles and genres: 943 users, 1,682 items, 100,000 ratings",
        "https://grouplens.org/datasets/movielens/100k/",
        (943, 1682, 100000),
        (
            Form(("u.data", "u.item"), read_movielens),
            Form(("ml-100k.inter", "ml-100k.item"), lambda f: read_recbole(f / "ml-100k.inter")),
        ),
        (
            _grouplens("ml-100k", "0e33842e24a9c977be4e0107933c0723", "u.data", "u.item", "u.user"),
            Source(
                "the PyPI wheel recbole==1.2.1",
                lambda folder: download_wheel("recbole==1.2.1", folder, _RECBOLE_ML100K),
            ),
        ),
    ),
    "ml-1m": Entry(
        "film ratings with titles and genres: 6,040 users, 3,706 items, 1,000,209 ratings",
        "https://grouplens.org/datasets/movielens/1m/",
        (6040, 3706, 1000209),
        (
            Form(("ratings.dat", "movies.dat"), read_movielens),
            Form(("interactions.csv", "items.csv"), _read_ml1m_csv),
        ),
        (_grouplens("ml-1m", "c4d9eecfca2ab87c1945afe126590906", "ratings.dat", "movies.dat", "users.dat"),),
    ),
    "online-retail": Entry(
        "purchases with times and descriptions: 4,334 users, 3,659 items, 396,337 rows",
        "https://archive.ics.uci.edu/dataset/352/online+retail",
        (4334, 3659, 396337),
        (Form(("interactions.csv", "items.csv"), _read_online_retail),),
    ),
}
