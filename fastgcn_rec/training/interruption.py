"""What becomes of a training that is stopped before its end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from ..system import stopping
from .state import State


class Interrupted(stopping.Signalled):
    """Ctrl-C, SIGTERM or SIGHUP during training; the message says what is saved and how to go on, ``signal`` which of them it was."""


@contextlib.contextmanager
def saved_when_stopped(state: State, stop: stopping.Stop) -> Iterator[None]:
    """Whatever ends what runs within it, what is whole is saved first; of a signal's KeyboardInterrupt it makes an :class:`Interrupted`."""
    try:
        yield
    except KeyboardInterrupt:
        raise _interrupted(state, stop) from None
    except BaseException:
        with contextlib.suppress(
            OSError, RuntimeError
        ):  # of the disk, or of a GPU that is lost: not in place of the error
            state.save()
        raise


def _interrupted(state: State, stop: stopping.Stop) -> Interrupted:
    number = stop.signal or signal.SIGINT
    try:
        kept = not state.unsaved or (not stop.at_once and state.save())
    except KeyboardInterrupt:  # the second one: the file is the one from before
        kept = False
    if state.checkpoint is None:
        hint = "pass checkpoint=... to be able to go on after an interruption"
    elif kept:
        hint = f"everything is saved in {state.checkpoint.path}; run the same command again to go on"
    elif state.saved is not None:
        hint = f"what followed step {state.saved} is not saved; run the same command again to go on from there, by {state.checkpoint.path}"
    else:
        hint = "nothing is saved yet; run the same command again to begin anew"
    return Interrupted(f"interrupted in step {state.step} of {state.total}: {hint}", number)
