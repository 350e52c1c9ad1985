"""Keys of tables that people write: what is unknown is named with what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


def check_keys(table: str, values: Mapping[str, Any], known: Iterable[str], homes: Mapping[str, Iterable[str]] = {}) -> None:  # fmt: skip
    """A ValueError for a key of ``table`` ("": the file itself) that is not ``known``; it names the table of ``homes`` that has it, or the nearest key.

    >>> check_keys("train", {"epoch": 3}, ["epochs", "lr"])
    Traceback (most recent call last):
    ValueError: [train] has no key 'epoch'; did you mean 'epochs'?
    """
    names = list(known)
    for key in values:
        if key not in names:
            where = f"[{table}] has" if table else "there is"
            home = next((f"; it belongs to [{t}]" for t, keys in homes.items() if t not in ("", table) and key in keys), "")  # fmt: skip
            raise ValueError(f"{where} no key {key!r}{home or near(key, names) or '; its keys are ' + ', '.join(names)}")  # fmt: skip


def near(word: Any, known: Iterable[str]) -> str:
    """What was probably meant, as the end of a sentence; empty where nothing is near.

    >>> near("sofmax", ["mf", "softmax"])
    "; did you mean 'softmax'?"
    """
    found = get_close_matches(str(word), list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""
