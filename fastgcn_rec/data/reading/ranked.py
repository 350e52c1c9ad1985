"""Files of recommendation lists of any library: whose list, which item, and what puts a list in order."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

from ..interactions import Interactions
from .files import files_of
from .formats import format_of
from .frames import head_of_frame, read_frame
from .guess import Columns
from .json_lines import are_json_lines, read_json_lines
from .names import grade, words_of
from .sample import SampledColumn, shown_columns
from .sources import BLANKS, events_from, opened, paths_of

Order = Literal["rank", "score", "file"]
_FORMATS = ("csv", "parquet", "lightgcn")
_RANKS = {"rank", "ranking", "position", "pos", "place", "rang"}
_SCORES = {"score", "prediction", "predicted", "pred", "rating", "relevance", "similarity", "estimate", "est", "probability", "prob"}  # fmt: skip
_TREC = 6  # columns: query, "Q0", document, rank, score, run


class RankedRows(NamedTuple):
    """A row a recommendation, in the order of the file: ``events``, whose ratings are what puts a list in order ``by`` rank or score, and are None where
    the file's order does; ``said``: what was taken for what."""

    events: Interactions
    by: Order
    said: str


def holds_lists(path: str | os.PathLike[str]) -> bool:
    """Whether a path that a model may be at holds lists: standard input, a file that is no NumPy archive, or a folder named .parquet."""
    if os.fspath(path) == "-":
        return True
    path = Path(path).expanduser()
    if path.is_dir():
        return path.suffix == ".parquet"
    if not path.is_file() or not zipfile.is_zipfile(path):
        return path.is_file()
    with zipfile.ZipFile(path) as archive:
        return not all(name.endswith(".npy") for name in archive.namelist())


def read_ranked(
    source: Sequence[str],
    given: Mapping[str, str | int],
    reading: Mapping[str, Any],
) -> RankedRows:
    """Read lists from files.

    Parameters
    ----------
    source : paths, globs, folders, or "-"
        Delimited text, Parquet, JSON lines, or a line a user with its items, best first.
    given : mapping of "user", "item", "score" or "rank" to a column's name or position
        Those left out are found by names; without a header user, item and score, or the six columns of TREC's runs, of which the score counts. Where there
        are ranks and scores, ranks count.
    reading : options of :func:`fastgcn_rec.data.read_csv` or `read_parquet`, and "format"

    Raises
    ------
    ValueError : columns that are not there, or cannot be told apart; a rank or score that is no number.
    """
    if "score" in given and "rank" in given:
        raise ValueError(
            f"score={given['score']!r} and rank={given['rank']!r}: one of them puts a list in order; leave the other out"
        )
    if (
        "format" not in reading
        and format_of(source) == "csv"
        and are_json_lines((paths := files_of(paths_of(source)))[0])
    ):
        events, by, names = read_json_lines(paths, given, reading)
        return RankedRows(events, by, _said(names, by))
    what, form, table = opened(source, {}, reading)
    if form["format"] not in _FORMATS:
        raise ValueError(
            f"{what}: lists must be delimited text, Parquet or JSON lines, got the format {form['format']!r}"
        )
    if table is not None and "format" not in reading and not given and _are_wide(form, table):
        form, table = {"format": "lightgcn"}, None
    if table is None:
        return RankedRows(events_from(source, {}, form), "file", "a user and its items on a line, best first")
    at, by = _Columns(what, table, given).found()
    columns: Columns = {"user": at["user"], "item": at["item"], "rating": at.get(by, ""), "time": ""}
    return RankedRows(events_from(source, columns, form), by, _said(at, by))


def ranked_frame(frame: Any, given: Mapping[str, str | int]) -> RankedRows:
    """As `read_ranked`, of a table in memory."""
    if hasattr(frame, "read_next_batch"):
        raise TypeError("lists must be a table that can be read twice, got a reader of batches; pass its read_all()")
    at, by = _Columns("the table", head_of_frame(frame), given).found()
    return RankedRows(read_frame(frame, at["user"], at["item"], at.get(by, ""), ""), by, _said(at, by))


def _are_wide(form: Mapping[str, Any], table: Sequence[SampledColumn]) -> bool:
    """Whether a line is a user and its items, the same number on every line, so that they look like a table: more whole numbers than any other one has."""
    blank = form["format"] == "csv" and not form["header"] and form["sep"] in (BLANKS, " ", "\t")
    return blank and len(table) > _TREC and all(column.are_whole for column in table)


def _said(at: Mapping[str, str | int], by: Order) -> str:
    named = {role: f"{role}={name}" if isinstance(name, str) else f"{role}=column {name}" for role, name in at.items()}
    return f"{named['user']}, {named['item']}, in the order of {'the file' if by == 'file' else named[by]}"


class _Columns:
    """The columns of a table of lists."""

    def __init__(self, what: str, table: Sequence[SampledColumn], given: Mapping[str, str | int]) -> None:
        self.what, self.table = what, table
        self.at: dict[str, str | int] = {role: self._name(role, column) for role, column in given.items()}
        repeated = [name for name in self.at.values() if list(self.at.values()).count(name) > 1]
        if repeated:
            raise ValueError(
                f"{what}: the column {repeated[0]!r} is given for {' and '.join(r for r in self.at if self.at[r] == repeated[0])}; name another"
            )

    def _name(self, role: str, column: str | int) -> str | int:
        names = [one.name for one in self.table]
        if isinstance(column, bool) or not isinstance(column, (str, int)):
            raise TypeError(f"{role} must be a column's name or position, got {type(column).__name__}")
        if isinstance(column, int) and 0 <= column < len(names):
            return names[column]
        if column not in names:
            raise ValueError(
                f"{self.what}: no column {column!r} for {role}; the columns are {shown_columns(self.table)}"
            )
        return column

    @property
    def free(self) -> list[SampledColumn]:
        return [column for column in self.table if column.name not in self.at.values()]

    def found(self) -> tuple[dict[str, str | int], Order]:
        if all(isinstance(column.name, int) for column in self.table):
            self._by_place()
        else:
            self._by_name()
        by: Order = "rank" if "rank" in self.at else "score" if "score" in self.at else "file"
        return self.at, by

    def _by_name(self) -> None:
        if not {"rank", "score"} & set(self.at):
            for role, words in (("rank", _RANKS), ("score", _SCORES)):
                named = [c for c in self.free if words_of(str(c.name))[-1:] and words_of(str(c.name))[-1] in words]
                if len(named) > 1:
                    self._refuse(role, f"{' and '.join(str(column.name) for column in named)} may be")
                if named:
                    self.at[role] = named[0].name
                    break
        for role in ("user", "item"):
            if role in self.at:
                continue
            grades = {column.name: grade(str(column.name), role) for column in self.free}
            best = [name for name, value in grades.items() if value and value == max(grades.values())]
            if len(best) != 1:
                self._refuse(role, f"{' and '.join(map(str, best))} may be" if best else "")
            self.at[role] = best[0]

    def _by_place(self) -> None:
        """user, item and score, or TREC's six columns."""
        if len(self.table) == _TREC and not self.at and self.table[3].are_whole and self.table[4].numbers is not None:
            self.at = {"user": self.table[0].name, "item": self.table[2].name, "score": self.table[4].name}
            return
        ordered = bool({"rank", "score"} & set(self.at))
        for role in ("user", "item"):
            if role not in self.at:
                if not self.free:
                    self._refuse(role)
                self.at[role] = self.free[0].name
        if ordered:
            return
        if len(self.free) > 1:
            self._refuse("score", f"columns {' and '.join(str(column.name) for column in self.free)} may be")
        for column in self.free:
            if column.numbers is None or column.are_whole:
                self._refuse(
                    "score",
                    f"column {column.name} holds no ranks or scores"
                    if column.numbers is None
                    else f"column {column.name} may be ranks or scores",
                )
            self.at["score"] = column.name

    def _refuse(self, role: str, reason: str = "") -> NoReturn:
        ways = (
            "score= (--list-score) or rank= (--list-rank)" if role in ("rank", "score") else f"{role}= (--list-{role})"
        )
        raise ValueError(
            f"{self.what}: which column of the lists is the {role}?{f' {reason}.' if reason else ''} {ways} names it; the columns and their first values are "
            f"{shown_columns(self.table)}"
        )
