"""What becomes of a training that is stopped before its end."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

from ..core.world import World
from ..system import stopping
from .state import State

_SECONDS = 0.2  # between two times that ranks ask each other


class Interrupted(stopping.Signalled):
    """Ctrl-C, SIGTERM or SIGHUP during training; the message says what is saved and how to go on, ``signal`` which of them it was."""


class Asked:
    """Whether a signal asked any rank to stop: found by all of them between the same two steps. They ask each other every step, or where steps are short
    every so many of them, a number that they agree on."""

    def __init__(self, stop: stopping.Stop, world: World) -> None:
        self.stop, self.world = stop, world
        self._every = self._left = 1
        self._last = time.perf_counter()

    def check(self, now: bool = False) -> None:
        """Raises :class:`Signalled` where one did; collective. ``now``: the others are asked whatever the number of steps since."""
        if self.world.size == 1:
            stopping.check()
            return
        self._left -= 1
        if self._left > 0 and not now:
            return
        steps, time_now = max(1, self._every - self._left), time.perf_counter()
        heard = self.world.values((self.stop.signal or 0, (time_now - self._last) / steps))
        self._every = self._left = max(1, int(_SECONDS / max(1e-6, *(seconds for _, seconds in heard))))
        self._last = time.perf_counter()
        if number := max(signal for signal, _ in heard):
            self.stop.signal = number
            raise stopping.Signalled(number=number)


@contextlib.contextmanager
def saved_when_stopped(state: State, stop: stopping.Stop) -> Iterator[None]:
    """Whatever ends what runs within it, what is whole is saved first; of a signal's KeyboardInterrupt it makes an :class:`Interrupted`.

    Several ranks save nothing on an error, which the others need not have met: the file is the last one that they wrote together."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise _interrupted(state, stop, getattr(error, "signal", signal.SIGINT)) from None
    except BaseException:
        if state.checkpoint is not None and state.checkpoint.world.size == 1:
            with contextlib.suppress(OSError, RuntimeError):  # of the disk, or of a lost GPU: not in place of the error
                state.save()
        raise


def _interrupted(state: State, stop: stopping.Stop, number: int) -> Interrupted:
    number = stop.signal or number
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
