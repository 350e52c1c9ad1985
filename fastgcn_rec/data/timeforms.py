"""Dates in the forms of strptime, which are never guessed: whether the day or the month comes first, a file does not say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from itertools import product

from ..core.ids import Array
from .rows import BadValue
from .times import UNITS, moments, seconds_of

_DAYS = [
    *(form.replace("/", mark) for form, mark in product(("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d"), "/.-")),
    "%Y%m%d", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%m %d, %Y",
]  # fmt: skip
_CLOCKS = ["", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", " %H:%M:%S.%f"]
_WHOLE = ["%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y", "%d/%b/%Y:%H:%M:%S %z", "%Y%m%d%H%M%S", "%Y%m%dT%H%M%S"]
FORMS = [*(day + clock for day, clock in product(_DAYS, _CLOCKS)), *_WHOLE]


def check_times(unit: str | None, form: str | None) -> None:
    """ValueError: another unit than those of `UNITS`, a form in which no day can be written, or both at once."""
    if unit is not None and unit not in UNITS:
        raise ValueError(f"time_unit must be one of {', '.join(map(repr, UNITS))} or None, got {unit!r}")
    if form is None:
        return
    if unit is not None:
        raise ValueError(
            f"time_unit is of numbers and time_format of dates, got both, {unit!r} and {form!r}; leave one out"
        )
    if not isinstance(form, str):
        raise TypeError(f"time_format must be a text such as '%d.%m.%Y %H:%M', got {type(form).__name__}")
    try:
        written = datetime(2001, 12, 31, 23, tzinfo=timezone.utc).strftime(form)
        if datetime.strptime(written, form).date() != datetime(2001, 12, 31).date():
            raise ValueError("it does not hold year, month and day")
    except ValueError as error:
        raise ValueError(
            f"time_format must be a form of strptime with a year, a month and a day, such as '%d.%m.%Y %H:%M', got {form!r} ({error})"
        ) from None


def forms_of(texts: Iterable[str], forms: Sequence[str] = FORMS) -> list[str]:
    """Those of `forms` in which all texts are dates of 1900 to 2100, none where there are no texts."""
    left, distinct = list(forms), dict.fromkeys(text.strip() for text in texts)
    for text in distinct:
        left = [form for form in left if _fits(text, form)]
        if not left:
            break
    return left if distinct else []


def _fits(text: str, form: str) -> bool:
    try:
        return 1900 <= datetime.strptime(text, form).year <= 2100
    except ValueError:
        return False


def formatted_seconds(texts: Sequence[str], form: str) -> Array:
    """Seconds since 1970 of dates in a form of strptime, UTC unless they have an offset. BadValue names the first that does not fit.

    >>> formatted_seconds(["02.01.1970 00:01"], "%d.%m.%Y %H:%M").tolist()
    [86460]
    """
    known: dict[str, datetime] = {}
    for row, text in enumerate(texts):
        if text not in known:
            try:
                known[text] = datetime.strptime(text.strip(), form)
            except ValueError:
                raise BadValue(row, f"{text[:60]!r} is no date of the form time_format={form!r}") from None
    when = moments([known[text] for text in texts])
    assert when is not None
    return seconds_of(when, "time")


def hint(text: str) -> str:
    """The way out for a date that needs a form, "" where no usual one reads it."""
    forms = forms_of([text])
    return "; " + " or ".join(f"time_format={form!r}" for form in forms) + " reads it" if forms else ""
