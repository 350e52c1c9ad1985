"""JSON lines of recommendation lists: an object a user, with a list of items, or an object a recommendation."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...core.blocks import Blocks
from ...core.coding import IdCoder
from ...core.ids import Array, as_ids, is_text
from ..columns import ratings
from ..interactions import Interactions
from .compressed import open_bytes
from .events import naming
from .lines import malformed_line, open_lines
from .names import grade, words_of

_BYTES = 1 << 23  # of lines that are parsed together
_ORDERS = ("rank", "score")


def are_json_lines(path: Path) -> bool:
    """Whether a file begins with an object."""
    with open_bytes(path) as stream:
        return stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def read_json_lines(
    paths: Sequence[Path], given: Mapping[str, str | int], reading: Mapping[str, Any]
) -> tuple[Interactions, Literal["rank", "score", "file"], dict[str, str]]:
    """(a row a recommendation, what of it is the rating, the key of each role). Of a list of items the order counts, whatever stands beside it."""
    if reading:
        raise ValueError(f"{paths[0]}: JSON lines take no options of reading, got {', '.join(reading)}; leave them out")
    keys: dict[str, str] = {}
    users, items, sizes, values = IdCoder(), IdCoder(), Blocks(np.int64), Blocks(np.float64)
    lists = False
    for path, number, rows in _parsed(paths):
        if not keys:
            keys, lists = _keys(path, rows[0], given)
        with naming(f"{path}, lines {number} to {number + len(rows) - 1}"):
            named = {role: _column(rows, key) for role, key in keys.items()}
            found = named["item"]
            if lists:
                _check_lists(found, keys["item"])
                lengths = np.fromiter(map(len, found), np.int64, len(found))
                sizes.room(lengths.size)[:] = lengths
                found = list(itertools.chain.from_iterable(found))
            _add(users, as_ids(named["user"], keys["user"]))
            _add(items, as_ids(found, keys["item"]))
            for order in _ORDERS:
                if order in keys:
                    numbers = ratings(named[order], len(rows))
                    assert numbers is not None
                    values.room(len(rows))[:] = numbers
    if not keys:
        raise ValueError(f"{paths[0]}: the file is empty; it must have an object with a user and its items a line")
    (user_ids, of_users), (item_ids, of_items) = users.finish(), items.finish()
    if lists:
        of_users = np.repeat(of_users, sizes.whole())
    by = next((order for order in _ORDERS if order in keys), "file")
    rating = values.whole() if by != "file" else None
    return Interactions(of_users, of_items, user_ids, item_ids, rating), by, keys  # type: ignore[return-value]


def _parsed(paths: Sequence[Path]) -> Iterator[tuple[Path, int, list[dict[str, Any]]]]:
    """(the file, the number of the first line, the objects), some lines at a time."""
    for path in paths:
        number = 1
        with open_lines(path) as file:
            while lines := file.readlines(_BYTES):
                texts = [line for line in lines if line.strip()]
                try:
                    rows = json.loads(f"[{','.join(texts)}]")
                except ValueError:
                    rows = []
                if len(rows) != len(texts) or not all(type(row) is dict for row in rows):
                    raise _malformed(path, number, lines)
                if rows:
                    yield path, number, rows
                number += len(lines)


def _malformed(path: Path, number: int, lines: Sequence[str]) -> ValueError:
    for at, line in enumerate(lines, number):
        try:
            good = not line.strip() or isinstance(json.loads(line), dict)
        except ValueError:
            good = False
        if not good:
            return malformed_line(path, at, line.rstrip("\r\n"), "must be an object of JSON")
    return ValueError(f"{path}, lines {number} to {number + len(lines) - 1}: must be an object of JSON a line")


def _keys(path: Path, row: Mapping[str, Any], given: Mapping[str, str | int]) -> tuple[dict[str, str], bool]:
    """(the key of each role, whether items are lists), by the first object."""
    keys: dict[str, str] = {}
    for role, key in given.items():
        if key not in row:
            raise ValueError(f"{path}: no key {key!r} for {role}; the keys are {', '.join(row)[:1000]}")
        keys[role] = str(key)
    for role in ("user", "item"):
        grades = {key: grade(key, role) for key in row if key not in keys.values()}
        best = [key for key, value in grades.items() if value and value == max(grades.values())]
        if role in keys:
            continue
        if len(best) != 1:
            raise ValueError(
                f"{path}: which key is the {role}?{f' {best[0]} and {best[1]} may be.' if best else ''} {role}= (--list-{role}) names it; the keys are "
                f"{', '.join(row)[:1000]}"
            )
        keys[role] = best[0]
    lists = isinstance(row[keys["item"]], list)
    if lists:
        return {role: keys[role] for role in ("user", "item")}, True
    if not {*_ORDERS} & set(keys):
        for order in _ORDERS:
            named = [key for key in row if words_of(key)[-1:] == [order] and key not in keys.values()]
            if named:
                keys[order] = named[0]
                break
    return keys, False


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    try:
        return [row[key] for row in rows]
    except KeyError:
        at = next(n for n, row in enumerate(rows) if key not in row)
        raise ValueError(f"no {key!r} in line {at + 1} of these") from None


def _check_lists(found: Sequence[Any], key: str) -> None:
    at = next((n for n, row in enumerate(found) if not isinstance(row, list)), None)
    if at is not None:
        raise TypeError(
            f"{key!r} must be a list, as in the first line, got {found[at]!r:.80} in line {at + 1} of these"
        )


def _add(coder: IdCoder, ids: Array) -> None:
    if not is_text(ids):
        coder.add_integers(ids)
    else:
        texts = [text.encode("utf-8", "surrogatepass") for text in ids.tolist()]
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        coder.add_texts(np.concatenate(([0], ends)), np.frombuffer(b"".join(texts), np.uint8))
    if coder.is_mixed():
        raise TypeError("ids must be all integers or all texts, got both")
