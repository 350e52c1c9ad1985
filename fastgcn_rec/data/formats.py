"""Readers of the formats that carry item titles: RecBole's atomic files and the MovieLens releases.

Both give the same columns in `Interactions.item_info`: "title" (without the year), "year" (int32, 0 where unknown) and
"genres" (joined by "|", "" where unknown), so that one data set reads alike from either format. The users' columns go to
`Interactions.user_info` as text under RecBole's names: "age", "gender", "occupation", "zip_code".
"""

from __future__ import annotations

import re
import warnings
from itertools import compress
from pathlib import Path

import numpy as np

from ..core.ids import Array, as_texts
from ._text import Kind, TextFormat, read_columns, read_header
from .interactions import Interactions
from .readers import Path_, _existing, _position, _read_events, with_item_info, with_user_info

# The year stands in the title's last parentheses; "(V)" and "(TV)" may follow it.
_TITLE = re.compile(r"^(?P<title>.*?)\s*\((?P<year>\d{4})(?:[-/][^)]*)?\)\s*(?:\((?:V|TV)\))?\s*$")

_RECBOLE = TextFormat("\t", header=True, quoted=False)
_RECBOLE_TITLES = ("title", "movie_title", "movie_name", "item_name", "name")
_RECBOLE_YEARS = ("year", "release_year", "movie_year")
_RECBOLE_GENRES = ("genres", "genre", "class", "type", "categories")

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


def split_title(title: str) -> tuple[str, int]:
    """Return (title without its year, year or 0)."""
    match = _TITLE.match(title)
    return (match["title"], int(match["year"])) if match else (title.strip(), 0)


def movie_columns(titles: Array, genres: Array, years: Array | None = None) -> dict[str, Array]:
    """Return the columns "title", "year" and "genres" from titles that may end in a year, and years as text."""
    split = [split_title(title) for title in titles.tolist()]
    year = np.array([y for _, y in split], np.int32)
    if years is not None:
        given = [int(y) if y.isdecimal() and len(y) == 4 else 0 for y in years.tolist()]
        year = np.where(np.array(given, np.int32) > 0, given, year).astype(np.int32)
    # RecBole spells the one nameless film of MovieLens 100K so.
    plain = ["unknown" if t == "unkonwn" else t for t, _ in split]
    return {"title": as_texts(plain), "year": year, "genres": genres}


def read_recbole(
    path: Path_,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    time: str | None = None,
) -> Interactions:
    """Read RecBole's atomic files: NAME.inter and, where they lie beside it, NAME.item and NAME.user.

    The header types every field (``user_id:token item_id:token rating:float timestamp:float``, tab separated). The fields of the .item file
    go to `item_info`: titles, years and genres under the names "title", "year" and "genres", any other field under its own name, with the
    tokens of a ``token_seq`` joined by "|". Those of the .user file go to `user_info` under their own names.

    Parameters
    ----------
    path : path
        The .inter file, or a folder that holds exactly one.
    user, item : str, optional
        The fields of the ids, in all files. Default: "user_id" or "user", "item_id" or "item".
    rating, time : str, optional
        Their fields. Default: "rating"; "timestamp", "time", "event_time" or "datetime"; none where no field is named so.

    Raises
    ------
    FileNotFoundError
        There is no such file, or no .inter file in the folder.
    ValueError
        Several .inter files in the folder, a header without types or ids, or a malformed line.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastgcn_rec.data import read_recbole
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "toy.inter"
    >>> _ = path.write_text("user_id:token\\titem_id:token\\trating:float\\n1\\t7\\t5\\n")
    >>> read_recbole(path).rating.tolist()
    [5.0]
    """
    path = _existing(path)
    if path.is_dir():
        found = sorted(path.glob("*.inter"))
        if not found:
            raise FileNotFoundError(f"{path} holds no .inter file")
        if len(found) > 1:
            raise ValueError(f"{path} holds several .inter files, {', '.join(f.name for f in found)}; name one of them")
        path = found[0]
    names, _ = _recbole_header(path)
    given = {"user": user, "item": item, "rating": rating, "time": time}
    fields = {role: _field(path, names, role, name) for role, name in given.items()}
    at = {role: names.index(name) for role, name in fields.items() if name is not None}
    unused = [name for name in names if name not in fields.values() and re.search("time|date", name, re.IGNORECASE)]
    if fields["time"] is None and unused:
        warnings.warn(f"{path}: no field is taken for the time; time={unused[0]!r} names one", stacklevel=2)
    events = _read_events(path, _RECBOLE, at, len(names))
    for side, attach in (("user", _recbole_users), ("item", _recbole_items)):
        beside = path.with_suffix(f".{side}")
        if beside.exists():
            events = attach(events, beside, str(fields[side]))
    return events


def _recbole_header(path: Path) -> tuple[list[str], list[str]]:
    fields = read_header(path, _RECBOLE)
    split = [field.rsplit(":", 1) for field in fields]
    if not fields or any(len(part) != 2 for part in split):
        raise ValueError(
            f"{path}, line 1: every field must be NAME:TYPE as in user_id:token, got {' '.join(fields)[:200]!r}"
        )
    names = [name for name, _ in split]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}, line 1: every field must have a name of its own, got {twice!r} more than once")
    return names, [kind for _, kind in split]


_FIELDS = {
    "user": ("user_id", "user"),
    "item": ("item_id", "item"),
    "rating": ("rating",),
    "time": ("timestamp", "time", "event_time", "datetime"),
}


def _field(path: Path, names: list[str], role: str, name: str | None) -> str | None:
    """The field of a role: the one asked for, or the first of the usual names that there is; ids must have one."""
    wanted = _FIELDS[role] if name is None else (name,)
    found = next((own for own in wanted if own in names), None)
    if found is None and (name is not None or role in ("user", "item")):
        raise ValueError(
            f"{path}, line 1: no field {' or '.join(map(repr, wanted))} for {role}; the fields are {', '.join(names)[:200]}: "
            f"{role}= names one of them"
        )
    return found


def _recbole_fields(path: Path, role: str, id_field: str) -> tuple[Array, dict[str, Array], set[str]]:
    """(ids, the other fields as text, which of these are sequences of tokens)."""
    names, types = _recbole_header(path)
    at_id = names.index(str(_field(path, names, role, id_field)))
    kinds: dict[int, Kind] = {}
    for position, kind in enumerate(types):
        if position != at_id and not kind.endswith("float_seq"):
            kinds[position] = "text"
    columns = read_columns(path, _RECBOLE, {at_id: "id", **kinds}, len(names), {at_id: role})
    sequences = {name for name, kind in zip(names, types, strict=True) if kind == "token_seq"}
    return columns[at_id], {names[position]: columns[position] for position in kinds}, sequences


def _recbole_users(events: Interactions, path: Path, id_field: str) -> Interactions:
    ids, fields, sequences = _recbole_fields(path, "user", id_field)
    return with_user_info(events, ids, _joined(fields, sequences))


def _joined(fields: dict[str, Array], sequences: set[str]) -> dict[str, Array]:
    return {name: _bars(column) if name in sequences else column for name, column in fields.items()}


def _recbole_items(events: Interactions, path: Path, id_field: str) -> Interactions:
    ids, fields, sequences = _recbole_fields(path, "item", id_field)

    def take(wanted: tuple[str, ...]) -> Array | None:
        name = next((name for name in wanted if name in fields), None)
        return None if name is None else fields.pop(name)

    titles, years, genres = take(_RECBOLE_TITLES), take(_RECBOLE_YEARS), take(_RECBOLE_GENRES)
    empty = as_texts([""] * ids.size)
    info = movie_columns(empty if titles is None else titles, _bars(empty if genres is None else genres), years)
    present = {"title": titles, "year": titles if years is None else years, "genres": genres}
    info = {name: column for name, column in info.items() if present[name] is not None}
    return with_item_info(events, ids, info | _joined(fields, sequences))


def _bars(column: Array) -> Array:
    return as_texts("|".join(value.split()) for value in column.tolist())


def read_movielens(path: Path_) -> Interactions:
    """Read a MovieLens release: 100K (u.data), 1M and 10M (ratings.dat), 20M and later (ratings.csv).

    Titles, years and genres come from u.item, movies.dat or movies.csv, users' columns from u.user or users.dat, where they lie beside the
    ratings.

    Parameters
    ----------
    path : path
        The folder of the release, or its file of ratings.

    Raises
    ------
    FileNotFoundError
        The path does not exist, or the folder holds none of the three.
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
    path = _existing(path)
    if path.is_dir():
        names = ("u.data", "ratings.dat", "ratings.csv")
        found = next((path / name for name in names if (path / name).exists()), None)
        if found is None:
            raise FileNotFoundError(f"{path} holds none of the MovieLens files {', '.join(names)}")
        path = found
    if path.suffix == ".data":
        events = _read_events(path, TextFormat("\t", False, False), _ratings_at, 4)
        events = _people(events, path.with_name("u.user"), TextFormat("|", False, False), _USERS_100K)
        return _movielens_100k_items(events, path.with_name("u.item"))
    if path.suffix == ".dat":
        form = TextFormat("::", False, False)
        events = _read_events(path, form, _ratings_at, 4)
        events = _people(events, path.with_name("users.dat"), form, _USERS_1M)
        return _movies(events, path.with_name("movies.dat"), form)
    form = TextFormat(",", True, True)
    header = read_header(path, form)
    wanted = {"user": "userId", "item": "movieId", "rating": "rating", "time": "timestamp"}
    at = {key: _position(path, header, name, key) for key, name in wanted.items()}
    events = _read_events(path, form, at, len(header))
    return _movies(events, path.with_name("movies.csv"), form)


_ratings_at = {"user": 0, "item": 1, "rating": 2, "time": 3}
_USERS_100K = ("age", "gender", "occupation", "zip_code")
_USERS_1M = ("gender", "age", "occupation", "zip_code")


def _people(events: Interactions, path: Path, form: TextFormat, names: tuple[str, ...]) -> Interactions:
    if not path.exists():
        return events
    kinds: dict[int, Kind] = {0: "id", **{n + 1: "text" for n in range(len(names))}}
    columns = read_columns(path, form, kinds, len(kinds))
    return with_user_info(events, columns[0], {name: columns[n + 1] for n, name in enumerate(names)})


def _movies(events: Interactions, path: Path, form: TextFormat) -> Interactions:
    if not path.exists():
        return events
    columns = read_columns(path, form, {0: "id", 1: "text", 2: "text"}, 3)
    genres = columns[2]
    genres[genres == "(no genres listed)"] = ""
    return with_item_info(events, columns[0], movie_columns(columns[1], genres))


def _movielens_100k_items(events: Interactions, path: Path) -> Interactions:
    if not path.exists():
        return events
    kinds: dict[int, Kind] = {0: "id", 1: "text", **dict.fromkeys(range(5, 24), "number")}
    columns = read_columns(path, TextFormat("|", False, False), kinds, 24)
    flags = np.stack([columns[position] for position in range(5, 24)], axis=1) > 0
    genres = as_texts("|".join(compress(_ML100K_GENRES, row)) for row in flags.tolist())
    return with_item_info(events, columns[0], movie_columns(columns[1], genres))
