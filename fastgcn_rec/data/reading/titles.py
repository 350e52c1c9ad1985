"""Columns of films: titles without their years, years, genres, alike from every format."""

from __future__ import annotations

import re

import numpy as np

from ...core.ids import Array, as_texts

# The year stands in the title's last parentheses; "(V)" and "(TV)" may follow it.
_TITLE = re.compile(r"^(?P<title>.*?)\s*\((?P<year>\d{4})(?:[-/][^)]*)?\)\s*(?:\((?:V|TV)\))?\s*$")


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
