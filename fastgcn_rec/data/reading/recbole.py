"""Reader of RecBole's atomic files.

`Interactions.item_info` gets the columns "title" (without the year), "year" (int32, 0 where unknown) and "genres" (joined by "|", "" where unknown), as
from a MovieLens release, so that one data set reads alike from either format. The users' columns go to `Interactions.user_info` as text under RecBole's
names: "age", "gender", "occupation", "zip_code".
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from ...core.ids import Array, as_texts
from ..interactions import Interactions
from .compressed import exists
from .events import existing, with_item_info, with_user_info
from .files import FilePath
from .plain_text import text_events
from .text import Kind, TextFormat, read_columns, read_header
from .titles import movie_columns

_RECBOLE = TextFormat("\t", header=True, quoted=False)
_RECBOLE_TITLES = ("title", "movie_title", "movie_name", "item_name", "name")
_RECBOLE_YEARS = ("year", "release_year", "movie_year")
_RECBOLE_GENRES = ("genres", "genre", "class", "type", "categories")


def read_recbole(
    path: FilePath,
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
    path = existing(path)
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
    events = text_events(path, _RECBOLE, at, len(names), names)
    for side, attach in (("user", _recbole_users), ("item", _recbole_items)):
        beside = path.with_name(re.sub(r"\.part\d+$", "", path.stem) + f".{side}")  # of a part of a split, too
        if exists(beside):
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
