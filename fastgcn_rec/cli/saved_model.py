"""What commands on a saved model share: reading it, raw ids as typed, lists as printed."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..data.reading.files import standard_input
from ..data.reading.lines import open_lines
from ..experiments.items import chosen, read_items
from ..experiments.runs import CHECKPOINT, MODEL
from ..models.base import Recommender
from .arguments import at_least

DASH = "; after -- if one begins with -"


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="model.npz, or the folder that train wrote")


def add_k(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-k", "--k", type=at_least(1), default=10, help="items in a list; default: 10")


def load_model(path: Path) -> Recommender:
    file = path / MODEL if path.is_dir() else path
    if not file.exists() and (path / CHECKPOINT).exists():
        raise FileNotFoundError(
            f"{path} holds a training that is not finished; run the same train command again to go on"
        )
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist; MODEL is a model.npz, or the folder that train wrote")
    return Recommender.load(file)


def raw_ids(space: NDArray[Any], texts: Iterable[str], what: str) -> Iterator[Any]:
    """Ids as typed, one after the other, in the kind that the model's have; blanks around them count only if an id has them too."""
    if space.dtype.kind in "iu":
        yield from (_integer(text.strip(), what) for text in texts)
        return
    known: set[str] | None = None
    for text in texts:
        if text == text.strip():
            yield text
            continue
        known = set(space.tolist()) if known is None else known
        yield text if text in known else text.strip()


def _integer(text: str, what: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"this model's {what} ids are integers of 64 bits, got {text[:40]!r}")
    return int(text)


def print_lists(
    what: str,
    of: list[Any],
    ids: NDArray[Any],
    scores: NDArray[Any],
    model: Recommender,
    columns: dict[str, NDArray[Any]],
) -> None:
    """A line a list; with ``columns``, aligned with the model's items, a line an item."""
    for raw, row, values in zip(of, ids, scores.tolist(), strict=True):
        found = [(i, s) for i, s in zip(row.tolist(), values, strict=True) if s > -float("inf")]
        if not columns:
            print(f"{what} {raw}: " + ", ".join(f"{i} ({s:.4g})" for i, s in found))
            continue
        print(f"{what} {raw}:")
        width = max((len(str(i)) for i, _ in found), default=0)
        places = model.item_rows(row[: len(found)]).tolist()
        for place, (i, s) in zip(places, found, strict=True):
            shown = "  ".join(_shown(column[place]) for column in columns.values())
            print(f"  {s:9.4g}  {i!s:{width}}  {shown}".rstrip())


def _shown(value: Any) -> str:
    return " ".join(str(value).split())  # a title with a line end stays in its line


def add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", metavar="FILE", help="the only items that are listed: raw ids, one a line")
    parser.add_argument("--without", metavar="FILE", help="items that are left out: raw ids, one a line")


def known_items(model: Recommender, path: str | None, flag: str) -> list[Any] | None:
    """The items of a file that the model knows; how many it does not is said. ValueError: it knows none of them."""
    if path is None:
        return None
    ids = list(raw_ids(model.item_ids, lines(path), "item"))
    known = set(model.item_ids.tolist())
    unknown = [one for one in ids if one not in known]
    if unknown and len(unknown) == len(ids):
        raise ValueError(f"{flag} {path}: none of its {len(ids)} items is known to the model, such as {unknown[0]!r}")
    if unknown:
        said = f"{len(unknown)} of {len(ids)} items are not known to the model: {some_of(unknown)}"
        print(f"{flag} {path}: {said}", file=sys.stderr)
    return [one for one in ids if one in known]


def some_of(ids: list[Any]) -> str:
    return ", ".join(map(repr, ids[:3])) + (", ..." if len(ids) > 3 else "")


def lines(path: str) -> Iterator[str]:
    """What stands on the lines of a file, or of standard input, that are not blank, whatever editor wrote them."""
    found = standard_input() if path == "-" else Path(path)
    try:
        with open_lines(found) as file:
            for line in file:
                if "\0" in line:
                    raise ValueError(f"{path}: must be a text file with one id a line, and it has NULs")
                if line.strip():
                    yield line.rstrip("\r\n")
    except ValueError as error:
        raise ValueError(f"{error}; save it as UTF-8") from None


def add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--show",
        nargs="+",
        metavar="COLUMN",
        help="columns of the items that the run kept (train --items), beside the ids; 'none' for ids alone; default: the title, where there is one",
    )


def shown_columns(path: Path, model: Recommender, names: list[str] | None) -> dict[str, NDArray[Any]]:
    """The columns to show of the items of a model that lies in ``path``, or in its folder."""
    return chosen(read_items(path if path.is_dir() else path.parent, model.item_ids), names)
