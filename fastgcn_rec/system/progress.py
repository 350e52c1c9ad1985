"""How far something is: a bar on a terminal and in a notebook, elsewhere a line from time to time."""

from __future__ import annotations

import contextlib
import contextvars
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

SECONDS = 10.0  # between two lines
_LINE = "{desc}{percentage:.0f} %, {n_fmt} of {total_fmt} {unit}s, {elapsed} gone, {remaining} left, {rate_fmt}"
_BYTES = "{desc}{n_fmt}B, {elapsed} gone, {rate_fmt}"

_SHOWN = contextvars.ContextVar("shown", default=True)


class Progress:
    """Shows nothing; what the others do."""

    def update(self, n: int = 1) -> None:
        """``n`` more are done."""

    def describe(self, text: str, now: bool = False) -> None:
        """What is being done: shown at once, or with the next update."""

    def write(self, text: str) -> None:
        """A line of its own, on standard output."""

    def close(self) -> None: ...

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Bar(Progress):
    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def update(self, n: int = 1) -> None:
        self.bar.update(n)

    def describe(self, text: str, now: bool = False) -> None:
        self.bar.set_description(text, refresh=now)

    def write(self, text: str) -> None:
        self.bar.write(text)

    def close(self) -> None:
        self.bar.close()


class _Lines(Progress):
    def __init__(self, total: int | None, unit: str, text: str, initial: int) -> None:
        self.total, self.unit, self.text, self.initial = total, unit, text, initial
        self.done, self.start = initial, time.monotonic()
        self.shown = self.start

    def update(self, n: int = 1) -> None:
        self.done += n
        if time.monotonic() - self.shown >= SECONDS:
            self._show()

    def describe(self, text: str, now: bool = False) -> None:
        self.text = text
        if now:
            self._show()

    def write(self, text: str) -> None:
        print(text, flush=True)

    def close(self) -> None:
        if self.shown > self.start:  # it takes long enough for an end to be of interest
            self._show()

    def _show(self) -> None:
        from tqdm import tqdm

        self.shown = time.monotonic()
        line = tqdm.format_meter(
            self.done, self.total, self.shown - self.start, initial=self.initial, prefix=self.text and f"{self.text}: ", unit=self.unit,
            unit_scale=self.unit == "B", bar_format=_BYTES if self.unit == "B" else _LINE,
        )  # fmt: skip
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def showing(shown: bool) -> Iterator[None]:
    """What runs inside shows how far it is only where ``shown``, however deep it lies.

    >>> with showing(False), progress_bar(2, "user") as bar:
    ...     bar.update(2)
    """
    before = _SHOWN.set(shown and _SHOWN.get())
    try:
        yield
    finally:
        _SHOWN.reset(before)


def progress_bar(total: int | None, unit: str, text: str = "", *, initial: int = 0, shown: bool = True) -> Progress:
    """Of ``total`` ("B", bytes: None where it is not known) ``unit``s, from ``initial`` on; on standard error.

    >>> with progress_bar(2, "user", shown=False) as bar:
    ...     bar.update(2)
    """
    if not (shown and _SHOWN.get()) or sys.stderr is None:
        return Progress()
    with warnings.catch_warnings():  # that a notebook has no ipywidgets; it gets lines then
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    in_notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    if not (in_notebook or sys.stderr.isatty()):
        return _Lines(total, unit, text, initial)
    return _Bar(tqdm(total=total, desc=text, initial=initial, unit=unit, unit_scale=unit == "B", smoothing=0.02))


@contextlib.contextmanager
def stage(text: str) -> Iterator[None]:
    """Says on standard output what begins, and how long it took.

    >>> with stage("counting"):
    ...     print(3)  # doctest: +ELLIPSIS
    == counting
    3
    == 0... s
    <BLANKLINE>
    """
    start = time.monotonic()
    print(f"== {text}", flush=True)
    yield
    print(f"== {time.monotonic() - start:.1f} s\n", flush=True)
