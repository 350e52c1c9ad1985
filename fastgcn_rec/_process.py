"""What a process ends with, and how a child is started: the command line's and compare's."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TRACEBACK = "FASTGCN_REC_TRACEBACK"
# What was asked for is wrong: an argument, an id, a file. Everything else is a failure of the work or of the machine.
_BAD_INPUT = (
    ValueError,
    TypeError,
    IndexError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)
_FAILURES = (RuntimeError, OSError, ImportError, MemoryError, FloatingPointError)


def exit_code(action: Callable[[], int], name: str) -> int:
    """``action``'s code; an exception becomes a message on stderr and 2 (bad input), 1 (a failure) or 128 + the signal's number."""
    received = [int(signal.SIGINT)]
    try:
        with _signals_as_interrupts(received):
            try:
                code = action()
                sys.stdout.flush()  # here, not while Python ends
                return code
            except Exception as error:
                return _failed(error, name)
    except KeyboardInterrupt as stop:  # Ctrl-C, SIGTERM or SIGHUP; once more while the first is dealt with, too
        text = str(stop) or f"interrupted by {signal.Signals(received[0]).name}"
        print(f"\n{name}: {text}", file=sys.stderr)
        return 128 + received[0]


def traceback_wanted() -> bool:
    return os.environ.get(TRACEBACK, "0") != "0"


def explain(error: Exception) -> str:
    """What was wrong, in words; the traceback goes to stderr where it is wanted."""
    if traceback_wanted():
        traceback.print_exception(error)
    text = str(error) or type(error).__name__
    if isinstance(error, (*_BAD_INPUT, *_FAILURES)):
        return text
    return f"unexpected {type(error).__name__}: {text} ({TRACEBACK}=1 shows where)"


def python_module(module: str, *arguments: str) -> list[str]:
    """``python -m module`` that does not import from the current folder (-P is Python 3.11's)."""
    code = "import sys; sys.path[:] = filter(None, sys.path); import runpy; runpy.run_module(sys.argv.pop(1), None, '__main__', True)"
    return [sys.executable, "-c", code, module, *arguments]


def _failed(error: Exception, name: str) -> int:
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads it, or its disk is full: Python would try again, and complain, while it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return 128 + 13  # as a program that SIGPIPE ends: `fastgcn-rec ... | head` is no error
    print(f"{name}: {explain(error)}", file=sys.stderr)
    return 2 if isinstance(error, _BAD_INPUT) else 1


@contextmanager
def _signals_as_interrupts(received: list[int]) -> Iterator[None]:
    """SIGTERM and SIGHUP stop what runs as Ctrl-C does, so that it saves and cleans up; what is ignored (nohup) or handled stays so."""

    def stop(number: int, frame: FrameType | None) -> None:
        received[0] = number
        raise KeyboardInterrupt

    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
