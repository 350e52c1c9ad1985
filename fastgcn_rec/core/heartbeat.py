"""Whether all ranks are alive: each says so every second, and one that is silent or gone ends the others, which name it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from torch._C._distributed_c10d import Store

WAIT = "FASTGCN_REC_RANKS_WAIT"  # seconds until a rank that has not come is given up
SILENT = "FASTGCN_REC_RANKS_SILENT"  # seconds without a word after which a rank is taken for dead
_EVERY = 1.0  # seconds between two words
_BROKEN = 5.0  # as SILENT, of a rank when a connection has broken
_GRACE = 3.0  # seconds that the main thread has to find out by itself
_AWAY = 5.0  # a thread that comes this late was stopped together with its process


class RankLost(RuntimeError):
    """Another rank is gone, which the message names; ``exit_code``: what a command ends with."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def wait_seconds() -> float:
    """How long ranks wait for each other at the start: FASTGCN_REC_RANKS_WAIT, 60 where it is not set. ValueError: it is no number above 0."""
    text = os.environ.get(WAIT, "60")
    with contextlib.suppress(ValueError):
        if float(text) > 0:
            return float(text)
    raise ValueError(f"{WAIT} in the environment must be a number of seconds > 0, got {text!r}")


def silent_seconds() -> float:
    """FASTGCN_REC_RANKS_SILENT, 20 where it is not set. ValueError: it is no number of at least 1."""
    text = os.environ.get(SILENT, "20")
    with contextlib.suppress(ValueError):
        if float(text) >= 1:
            return float(text)
    raise ValueError(f"{SILENT} in the environment must be a number of seconds >= 1, got {text!r}")


class Heartbeat:
    """Two threads: one tells the others by ``store`` that this rank lives, and hears of them; one looks at what was heard, and whether the store answers.

    A main thread that waits for a rank that is lost cannot be woken: where it has not come to an end by itself soon, its process is ended, with a
    line on standard error by the first rank that is there.

    ``lost`` : the error to raise, as soon as a rank is lost.
    """

    def __init__(self, store: Store, rank: int, size: int, wait: float) -> None:
        self.store, self.rank, self.size = store, rank, size
        self.silent = silent_seconds()
        self.lost: RankLost | None = None
        now = time.monotonic()
        self._dead: list[int] = []
        self._speaks, self._looking = False, threading.Lock()
        self._said: list[dict[str, Any]] = [{} for _ in range(size)]
        self._heard, self._answered, self._late = [now] * size, now, wait
        self._own = {"host": socket.gethostname(), "pid": os.getpid()}
        self._end, self._hurry, self._writing = threading.Event(), threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._talk, self._watch)]
        for thread in self._threads:
            thread.start()

    @property
    def has_left(self) -> bool:
        return self._end.is_set()

    # --- what others see of this rank -------------------------------------------------------------------------------

    def _say(self, **words: Any) -> None:
        self.store.set(f"of.{self.rank}", json.dumps(self._own | words))

    def leave(self, text: str = "", exit_code: int = 0, lost: bool = False) -> None:
        """This rank's last word: that it is done, or what it failed of. ``lost``: of another one's end, which the others know."""
        self._end.set()
        if self._writing.acquire(timeout=1.0):  # else the store does not answer the other thread
            with contextlib.suppress(RuntimeError):
                self._say(left=text, code=exit_code, lost=lost)
            self._writing.release()

    def _talk(self) -> None:
        n, known = 0, {self.rank}
        while not self._end.is_set():
            n += 1
            with contextlib.suppress(RuntimeError):  # of a store that is gone: the other thread sees that nothing comes
                with self._writing:
                    if not self._end.is_set():
                        self._say(n=n)
                for other in set(range(self.size)) - known:
                    if self.store.check([f"of.{other}"]):
                        known.add(other)
                others = sorted(known)
                for other, text in zip(others, self.store.multi_get([f"of.{o}" for o in others]), strict=True):
                    words = json.loads(text)
                    if words != self._said[other]:
                        self._said[other], self._heard[other] = words, time.monotonic()
                self._answered = time.monotonic()
            self._end.wait(0.1 if self._hurry.is_set() else _EVERY)

    # --- what this rank makes of it ---------------------------------------------------------------------------------

    def name(self, rank: int) -> str:
        words = self._said[rank]
        return f"rank {rank} (process {words['pid']} on {words['host']})" if words else f"rank {rank}"

    def _verdict(self, silent: float) -> RankLost | None:
        now = time.monotonic()
        others = [rank for rank in range(self.size) if rank != self.rank]
        failed = [rank for rank in others if self._said[rank].get("left") and not self._said[rank]["lost"]]
        if failed:
            words = self._said[failed[0]]
            return RankLost(f"{self.name(failed[0])} has ended: {words['left']}", words["code"])
        self._dead = dead = [
            rank for rank in others if self._is_silent(rank, silent if self._said[rank] else self._late, now)
        ]
        if dead and now - self._answered < min(silent, 2 * _EVERY):
            and_more = f", and so have {', '.join(str(rank) for rank in dead[1:])}" if len(dead) > 1 else ""
            if not self._said[dead[0]]:
                return RankLost(f"rank {dead[0]} of {self.size} did not come within {self._late:g} s{and_more}")
            return RankLost(f"{self.name(dead[0])} has ended or stopped: nothing was heard of it for {now - self._heard[dead[0]]:.0f} s{and_more}")  # fmt: skip
        if now - self._answered > silent:
            return RankLost(
                f"the place where ranks meet, on the first machine, has not answered for {now - self._answered:.0f} s: it, or the network between, has failed"
            )
        return None

    def _is_silent(self, rank: int, seconds: float, now: float) -> bool:
        return "left" not in self._said[rank] and now - self._heard[rank] > seconds

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._end.wait(_EVERY / 2):
            now = time.monotonic()
            if now - last > _AWAY:
                self._heard, self._answered = [now] * self.size, now
            last = now
            self._look(self.silent)
            if self.lost is not None and not self._end.wait(_GRACE):
                self._end_process(self.lost)

    def _look(self, silent: float) -> None:
        """Finds who is lost; the first rank that is there takes it on itself to say so, and lets the others know."""
        with self._looking:
            if self.lost is not None:
                return
            self.lost = self._verdict(silent)
            if self.lost is not None and not self._others_speak():
                self._speaks = True
                if self._is_answered():
                    with contextlib.suppress(RuntimeError):
                        self.store.set("spoken", str(self.lost))

    def _is_answered(self) -> bool:
        return time.monotonic() - self._answered <= min(self.silent, 2 * _BROKEN)

    def _others_speak(self) -> bool:
        return any(self._is_there(rank, time.monotonic()) for rank in range(self.rank))

    def _end_process(self, lost: RankLost) -> None:
        if self._speaks:
            with contextlib.suppress(OSError):
                os.write(2, f"fastgcn_rec: {lost}\n".encode(errors="backslashreplace"))
        if self._is_answered():
            self.leave(str(lost), lost.exit_code, lost=True)
        os._exit(lost.exit_code or 1)

    def _is_there(self, rank: int, now: float) -> bool:
        """Whether it will speak: it lives, or has failed and says so."""
        words = self._said[rank]
        if "left" in words:
            return bool(words["left"])
        return rank not in self._dead and not self._is_silent(rank, min(self.silent, 2 * _BROKEN), now)

    # --- for the main thread ----------------------------------------------------------------------------------------

    def explained(self, error: RuntimeError) -> RuntimeError:
        """Who is lost, where a connection has broken by that; else the error itself."""
        self._hurry.set()
        until = time.monotonic() + _BROKEN + 3
        try:
            while self.lost is None and time.monotonic() < until:
                self._look(min(_BROKEN, self.silent))
                time.sleep(0.05)
        finally:
            self._hurry.clear()
        return self.lost or error

    def speaks(self, text: str, is_lost: bool) -> bool:
        """Whether this rank, which has left, says ``text``: not where another one has said it, which it waits for."""
        if self._speaks or not self._is_answered():
            return True
        with contextlib.suppress(RuntimeError):
            until = time.monotonic() + _GRACE + _BROKEN
            while self._others_speak() and time.monotonic() < until:
                if self.store.check(["spoken"]):
                    return not is_lost and text not in self.store.get("spoken").decode()
                time.sleep(0.05)
            self.store.set("spoken", text)
        return True


_active: Heartbeat | None = None


def active() -> bool:
    return _active is not None


@contextlib.contextmanager
def beating(
    store: Store, rank: int, size: int, wait: float = 60.0, code_of: Callable[[BaseException], int] = lambda error: 1
) -> Iterator[Heartbeat]:
    """Within it the ranks of ``store``, which nobody else writes to, look after each other. ``wait``: seconds until one that has not come is lost."""
    global _active
    _active = heart = Heartbeat(store, rank, size, wait)
    try:
        yield heart
    except BaseException as error:
        heart.leave(str(error) or type(error).__name__, code_of(error), isinstance(error, RankLost))
        raise
    finally:
        _active = None
        if not heart.has_left:
            heart.leave()


def call(collective: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What is collective: RankLost, which names the rank, where one is lost."""
    if _active is not None and _active.lost is not None:
        raise _active.lost
    try:
        return collective(*arguments, **options)
    except RuntimeError as error:
        if _active is None:
            raise
        raise _active.explained(error) from error
