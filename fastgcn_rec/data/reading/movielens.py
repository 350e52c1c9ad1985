"""Reader of the MovieLens releases; the columns of films and users have the names that RecBole's files give them."""

from __future__ import annotations

from itertools import compress
from pathlib import Path

import numpy as np

from ...core.ids import as_texts
from ..interactions import Interactions
from .compressed import exists, kind_of, members
from .events import existing, position, with_item_info, with_user_info
from .files import FilePath, suffix_of
from .plain_text import text_events
from .text import Kind, TextFormat, read_columns, read_header
from .titles import movie_columns

_ML100K_GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
_RATINGS_AT = {"user": 0, "item": 1, "rating": 2, "time": 3}
_USERS_100K = ("age", "gender", "occupation", "zip_code")
_USERS_1M = ("gender", "age", "occupation", "zip_code")


def read_movielens(path: FilePath) -> Interactions:
    """Read a MovieLens release: 100K (u.data), 1M and 10M (ratings.dat), 20M and later (ratings.csv).

    Titles, years and genres come from u.item, movies.dat or movies.csv, users' columns from u.user or users.dat, where they lie beside the
    ratings.

    Parameters
    ----------
    path : path
        The folder of the release, its zip archive, or its file of ratings.

    Raises
    ------
    FileNotFoundError
        The path does not exist, or the folder or archive holds none of the three.
    ValueError
        A malformed line.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastgcn_rec.data import read_movielens
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "ratings.dat").write_text("1::1193::5::978300760\\n")
    >>> _ = (folder / "movies.dat").write_text("1193::One Flew Over the Cuckoo's Nest (1975)::Drama\\n")
    >>> read_movielens(folder).item_info["year"].tolist()
    [1975]
    """
    path = existing(path)
    if path.is_dir() or (path.is_file() and kind_of(path) == "zip"):
        names = ("u.data", "ratings.dat", "ratings.csv")
        inside = sorted(path.iterdir()) if path.is_dir() else members(path)
        found = next((file for name in names for file in inside if file.name == name), None)
        if found is None:
            raise FileNotFoundError(f"{path} holds none of the MovieLens files {', '.join(names)}")
        path = found
    suffix = suffix_of(path)
    if suffix == ".data":
        events = text_events(path, TextFormat("\t", False, False), _RATINGS_AT, 4)
        events = _people(events, path.with_name("u.user"), TextFormat("|", False, False), _USERS_100K)
        return _movielens_100k_items(events, path.with_name("u.item"))
    if suffix == ".dat":
        form = TextFormat("::", False, False)
        events = text_events(path, form, _RATINGS_AT, 4)
        events = _people(events, path.with_name("users.dat"), form, _USERS_1M)
        return _movies(events, path.with_name("movies.dat"), form)
    form = TextFormat(",", True, True)
    header = read_header(path, form)
    wanted = {"user": "userId", "item": "movieId", "rating": "rating", "time": "timestamp"}
    at = {key: position(path, header, name, key) for key, name in wanted.items()}
    events = text_events(path, form, at, len(header), header)
    return _movies(events, path.with_name("movies.csv"), form)


def _people(events: Interactions, path: Path, form: TextFormat, names: tuple[str, ...]) -> Interactions:
    if not exists(path):
        return events
    kinds: dict[int, Kind] = {0: "id", **{n + 1: "text" for n in range(len(names))}}
    columns = read_columns(path, form, kinds, len(kinds))
    return with_user_info(events, columns[0], {name: columns[n + 1] for n, name in enumerate(names)})


def _movies(events: Interactions, path: Path, form: TextFormat) -> Interactions:
    if not exists(path):
        return events
    columns = read_columns(path, form, {0: "id", 1: "text", 2: "text"}, 3)
    genres = columns[2]
    genres[genres == "(no genres listed)"] = ""
    return with_item_info(events, columns[0], movie_columns(columns[1], genres))


def _movielens_100k_items(events: Interactions, path: Path) -> Interactions:
    if not exists(path):
        return events
    kinds: dict[int, Kind] = {0: "id", 1: "text", **dict.fromkeys(range(5, 24), "number")}
    columns = read_columns(path, TextFormat("|", False, False), kinds, 24)
    flags = np.stack([columns[position] for position in range(5, 24)], axis=1) > 0
    genres = as_texts("|".join(compress(_ML100K_GENRES, row)) for row in flags.tolist())
    return with_item_info(events, columns[0], movie_columns(columns[1], genres))
