"""What a process ends with, and how a child is started: the command line's and compare's."""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import stopping

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
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FAILURES = (RuntimeError, OSError, ImportError, MemoryError, FloatingPointError)


def exit_code(action: Callable[[], int], name: str) -> int:
    """``action``'s code; an exception becomes a message on stderr and 2 (bad input), 1 (a failure) or 128 + the signal's number.

    A warning becomes a line, without the place in the code.
    """
    _open_streams()
    try:
        with _plain_warnings(name), stopping.handled(stopping.interrupt):  # what runs saves and cleans up
            try:
                code = action()
                sys.stdout.flush()  # here, not while Python ends
                return code
            except Exception as error:
                return _failed(error, name)
    except KeyboardInterrupt as error:  # Ctrl-C, SIGTERM or SIGHUP; once more while the first is dealt with, too
        stop = error if isinstance(error, stopping.Signalled) else stopping.Signalled(str(error))
        _flush()
        if not _said(error):
            print(f"\n{name}: {stop}", file=sys.stderr)
        return 128 + stop.signal
    finally:
        atexit.register(
            signal.signal, signal.SIGINT, signal.SIG_IGN
        )  # the code stands: Ctrl-C while Python ends is too late


@contextmanager
def _plain_warnings(name: str) -> Iterator[None]:
    before = warnings.formatwarning

    def line(message: Warning | str, category: type[Warning], *place: object, **more: object) -> str:
        ours = category is UserWarning and not traceback_wanted()
        return f"{name}: {message}\n" if ours else before(message, category, *place, **more)  # type: ignore[arg-type]

    warnings.formatwarning = line
    try:
        yield
    finally:
        warnings.formatwarning = before


def traceback_wanted() -> bool:
    """Whether FASTGCN_REC_TRACEBACK asks for the traceback of an error, and not its line alone."""
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


def _open_streams() -> None:
    """What was closed before the process began (``>&-``, a service) takes what is written, and drops it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _flush() -> None:
    """What was printed comes before what is said about its end."""
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads it, or its disk is full: Python would try again, and complain, while it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(error: Exception, name: str) -> int:
    _flush()
    if isinstance(error, OSError) and error.filename is None and error.errno in _FULL:
        error = type(error)(error.errno, error.strerror, "standard output")  # what we write to files names them
    if isinstance(error, BrokenPipeError):
        return 128 + 13  # as a program that SIGPIPE ends: `fastgcn-rec ... | head` is no error
    if not _said(error):
        print(f"{name}: {explain(error)}", file=sys.stderr)
    return code_of(error)


def code_of(error: BaseException) -> int:
    """What a command ends with that raises this."""
    if isinstance(error, KeyboardInterrupt):
        return 128 + getattr(error, "signal", signal.SIGINT)
    own: int = getattr(error, "exit_code", 2 if isinstance(error, _BAD_INPUT) else 1)
    return own


def _said(error: BaseException) -> bool:
    """Whether another one of several processes, which all end of it, says so."""
    return getattr(error, "said_by_another", False)
