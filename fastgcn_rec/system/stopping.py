"""Ctrl-C, SIGTERM and SIGHUP: as exceptions, and noted during work that can stop between two of its steps, where all of it is whole."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class Signalled(KeyboardInterrupt):
    """A signal, ``signal``, asks to stop; the message says what became of the work."""

    def __init__(self, message: str = "", number: int = signal.SIGINT) -> None:
        super().__init__(message or f"interrupted by {signal.Signals(number).name}")
        self.signal = int(number)


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler that makes a signal an exception."""
    raise Signalled(number=number)


NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_PLAIN = (signal.SIG_DFL, signal.default_int_handler, interrupt)  # handlers that nobody else has set


@contextlib.contextmanager
def handled(take: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within it ``take`` handles these signals; what is ignored (nohup), or handled by somebody's own function, stays so. Only the main thread gets
    signals: in others it does nothing."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: own for number in NUMBERS if (own := signal.getsignal(number)) in _PLAIN}
    try:
        for number in before:
            signal.signal(number, take)
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)


class Stop:
    """``signal``: the first one that asked to stop, or None; ``at_once``: another one came."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.at_once = False

    def take(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            return
        self.at_once = True
        raise Signalled(number=self.signal)


_active: Stop | None = None


@contextlib.contextmanager
def deferred() -> Iterator[Stop]:
    """Within it the first signal is noted, for :func:`check` to find between two steps; a second one raises :class:`Signalled` at once.

    As for :func:`handled`. Nested ones are one. A signal that was noted and never found, because the work was done before, comes again at the end.

    >>> with contextlib.suppress(Signalled), deferred() as stop:
    ...     signal.raise_signal(signal.SIGINT)
    ...     print("a step is completed")
    ...     check()
    ...     print("and no other one begun")
    a step is completed
    """
    global _active
    if threading.current_thread() is not threading.main_thread():
        yield Stop()
        return
    if _active is not None:
        yield _active
        return
    stop = Stop()
    try:
        with handled(stop.take):
            _active = stop
            yield stop
    finally:
        _active = None
        ends = sys.exc_info()[1]  # what has a code of its own ends the process anyway, and says why
        if stop.signal is not None and not (isinstance(ends, KeyboardInterrupt) or hasattr(ends, "exit_code")):
            signal.raise_signal(stop.signal)


def check() -> None:
    """Raises :class:`Signalled` where a signal was noted; long work calls it between steps. Outside of :func:`deferred` it does nothing."""
    if _active is not None and _active.signal is not None and threading.current_thread() is threading.main_thread():
        raise Signalled(number=_active.signal)
