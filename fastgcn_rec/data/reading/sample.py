"""What the first rows of a table show of its columns."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from itertools import islice, pairwise
from typing import Any

import numpy as np

from ...core.ids import Array, as_texts, is_missing
from ..rows import BadValue
from ..timeforms import forms_of
from ..times import is_date, iso_seconds, unit_of
from .parse import MISSING

_ENOUGH = 20  # values that say something of repetition
_TIMES = 1e8  # from here on numbers may be times


class SampledColumn:
    """The values of one column in the first rows, without the missing ones.

    `texts` says that they come from a text file, so that a number may be meant by a text.
    """

    def __init__(self, name: str | int, values: Iterable[Any], texts: bool) -> None:
        self.name = name
        self.texts = texts
        self.values = [
            value for value in values if not is_missing(value) and not (isinstance(value, str) and value == "")
        ]

    @cached_property
    def numbers(self) -> list[float] | None:
        """Those values that are numbers; None where fewer than half are: the readers say which is none."""
        found = [float(value) for value in self.values if self._is_number(value)]
        return found if found and 2 * len(found) >= len(self.values) else None

    def _is_number(self, value: Any) -> bool:
        if isinstance(value, str):
            return self.texts and is_number(value)
        return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and math.isfinite(value)

    @cached_property
    def are_whole(self) -> bool:
        return self.numbers is not None and 2 * sum(number.is_integer() for number in self.numbers) > len(self.numbers)

    @cached_property
    def are_dates(self) -> bool:
        """Whether at least half are dates as they are read without an option."""
        kinds = [is_date(value.strip()) if isinstance(value, str) else isinstance(value, date) for value in self.values]
        return bool(kinds) and 2 * sum(kinds) >= len(kinds)

    def are_of_form(self, form: str) -> bool:
        """Whether at least half are dates of a form of strptime."""
        kinds = [bool(forms_of([str(value)], [form])) for value in self.values]
        return bool(kinds) and 2 * sum(kinds) >= len(kinds)

    @cached_property
    def distinct(self) -> set[Any]:
        return set(map(str, self.values))

    @cached_property
    def count_rows(self) -> bool:
        """Whether each is one more than the one before, as the numbers of rows are."""
        found = self.numbers
        few = found is None or len(found) < _ENOUGH or found[-1] >= _TIMES
        return not few and all(b - a == 1 for a, b in pairwise(found or ()))

    @cached_property
    def may_count_rows(self) -> bool:
        """Whether a few are 0, 1, 2 or 1, 2, 3 and so on."""
        found = self.numbers or []
        return len(found) > 2 and found[0] in (0, 1) and all(b - a == 1 for a, b in pairwise(found))

    @property
    def is_flag(self) -> bool:
        """Whether many values are of two kinds, as yes and no."""
        return len(self.values) >= _ENOUGH and len(self.distinct) <= 2

    @property
    def may_be_ids(self) -> bool:
        """Whether they could be: integers or texts that are not dates, in more than one kind of value, not counting rows."""
        if not self.values or self.are_dates or self.count_rows:
            return False
        if self.numbers is not None:
            return self.are_whole
        if 2 * sum(isinstance(value, str) and (value[:1] in "[{" or "|" in value) for value in self.values) > len(
            self.values
        ):
            return False  # lists of ids, in one field
        return all(isinstance(value, (str, int)) and not isinstance(value, bool) for value in self.values)

    @property
    def repeat(self) -> bool:
        """Whether a good part of the values occurs more than once, as ids of users or items do."""
        return len(self.values) < _ENOUGH or len(self.distinct) < 0.95 * len(self.values)

    @property
    def may_be_ratings(self) -> bool:
        """Whether they are few distinct numbers from 0.5 to 10."""
        found = self.numbers
        return found is not None and len(set(found)) <= 20 and all(0.5 <= number <= 10 for number in found)

    @property
    def unit(self) -> str | None:
        """What numbers count since 1970, by their size; None where that says nothing."""
        return None if self.numbers is None else unit_of(self.numbers)

    @property
    def shown(self) -> str:
        values = ", ".join(
            repr(value if len(str(value)) <= 30 else str(value)[:27] + "...")
            for value in islice(dict.fromkeys(map(self._plain, self.values)), 3)
        )
        return f"{self.name if isinstance(self.name, str) else f'column {self.name}'} ({values or 'empty'})"

    @staticmethod
    def _plain(value: Any) -> Any:
        return (
            value.isoformat(" ")
            if isinstance(value, datetime)
            else value
            if isinstance(value, (str, int, float))
            else str(value)
        )


def columns_of(
    names: Sequence[str | int], rows: Sequence[Sequence[str]], missing: Collection[str] = (), decimal: str = "."
) -> list[SampledColumn]:
    """The columns of rows of texts; fields that rows are short of, and those that stand for none, are missing."""

    def values(at: int) -> Iterable[str]:
        for row in rows:
            value = row[at].strip() if at < len(row) else ""
            if value not in missing:
                yield value.replace(",", ".") if decimal == "," and is_number(value.replace(",", ".")) else value

    return [SampledColumn(name, values(at), texts=True) for at, name in enumerate(names)]


def shown_columns(columns: Sequence[SampledColumn]) -> str:
    """Names and first values, for errors."""
    return ", ".join(column.shown for column in columns[:40]) + (", ..." if len(columns) > 40 else "")


def is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII) is not None


def typed(texts: Sequence[str], decimal: str = ".") -> Array:
    """A column of texts as numbers, or as dates (datetime64), where all that are not missing are; else as the texts that they are.

    Integers with a missing one are floats, with NaN; "007" stays a text.

    >>> typed(["7", ""]).tolist(), typed(["007", "7"]).tolist(), str(typed(["2020-01-02", ""])[0])
    ([7.0, nan], ['007', '7'], '2020-01-02T00:00:00')
    """
    plain = [text.strip() for text in texts]
    if decimal == ",":
        plain = [text.replace(",", ".") if is_number(text.replace(",", ".")) else text for text in plain]
    rows = np.array([n for n, text in enumerate(plain) if text and text not in MISSING], np.int64)
    known = [plain[n] for n in rows]
    if known and all(map(is_number, known)):
        whole = [str(int(text)) == text if text.lstrip("+-").isdecimal() else None for text in known]
        if all(whole) and len(known) == len(plain) and all(-(2**63) <= int(text) < 2**63 for text in known):
            return np.array(list(map(int, known)), np.int64)
        if False not in whole:
            found = np.full(len(plain), np.nan)
            found[rows] = list(map(float, known))
            return found
    elif known and all(map(is_date, known)):
        try:
            seconds = iso_seconds(known)
        except BadValue:  # of the form, and none, as the 31st of June
            return as_texts(texts)
        unit = "s" if seconds.dtype.kind == "i" else "us"
        dates = np.full(len(plain), "NaT", f"datetime64[{unit}]")
        dates[rows] = (seconds if unit == "s" else np.round(seconds * 1e6).astype(np.int64)).astype(dates.dtype)
        return dates
    return as_texts(texts)
