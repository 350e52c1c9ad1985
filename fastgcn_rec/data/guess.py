"""Which columns of a table of events are its users, items, ratings and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

NAMES = {
    "user": ("user", "user_id"),
    "item": ("item", "item_id"),
    "rating": ("rating", "stars", "score"),
    "time": ("time", "timestamp"),
}


def guess_columns(what: str, names: Sequence[str], given: Mapping[str, str | int]) -> dict[str, str | int]:
    """The column of every role: those that are given, and for the others what their names say; "" where there is none."""
    found = dict(given)
    for role, usual in NAMES.items():
        if role in found or (role == "rating" and "weight" in found):
            continue
        own = [name for name in names if name.lower() in usual and name not in found.values()]
        if len(own) != 1 and role in ("user", "item"):
            raise ValueError(
                f"{what}: which column is the {role}? the columns are {', '.join(names)[:1000]}; {role}= names it"
            )
        found[role] = own[0] if len(own) == 1 else ""
    return found
