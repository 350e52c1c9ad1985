"""The process group of the ranks that a launcher has started: they meet, work, and part."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from . import heartbeat, native
from .heartbeat import WAIT, wait_seconds
from .world import World

_TICK = 0.05
_LAST = 8.0  # seconds that others have to read what was left for them
Record = dict[str, Any]


@contextlib.contextmanager
def joined(
    rank: int,
    size: int,
    host: str,
    port: int,
    *,
    local_rank: int = 0,
    local_size: int = 1,
    agent: bool = False,
    code_of: Callable[[BaseException], int] = lambda error: 1,
) -> Iterator[World]:
    """Within it torch.distributed is initialised with all ranks: gloo, and NCCL for tensors of a GPU where every rank of a machine has its own.

    Parameters
    ----------
    rank, size : int
    host, port : where ranks meet; rank 0 opens it, unless the launcher has (``agent``)
    local_rank, local_size : among the ranks of this machine; the current GPU is that of ``local_rank``
    code_of : what a process ends with that raises this; others, whom it leaves alone by that, end with the same

    Raises
    ------
    RuntimeError : a rank has not come within FASTGCN_REC_RANKS_WAIT seconds (60), or has another version or backend; the same on all that are there.
    RankLost : on all others, if a rank is lost within it: it has failed, was killed, or nothing is heard of it. What a rank raises that another one says
        for it has the attribute ``said_by_another``.

    Examples
    --------
    >>> with socket.socket() as free:
    ...     free.bind(("127.0.0.1", 0))
    ...     port = free.getsockname()[1]
    >>> with joined(0, 1, "127.0.0.1", port) as world:
    ...     world.size
    1
    """
    seconds = wait_seconds()
    backend = _backend(local_rank, local_size)
    place = _place(rank, size, host, port, agent, seconds)
    own = {"version": native.__version__, "backend": backend, "host": socket.gethostname(), "pid": os.getpid()}
    term, all_own = _meet(place, rank, size, own, seconds)
    _refuse_mixed(all_own)
    later = datetime.timedelta(hours=2)  # of a rank that lives and says nothing
    dist.init_process_group(backend, timeout=later, store=PrefixStore(term, place), rank=rank, world_size=size)
    own_connection = _place(rank, size, host, port, True, seconds)  # the main thread may wait in its own
    beats = PrefixStore(f"{term}.beats", own_connection)
    try:
        with heartbeat.beating(beats, rank, size, seconds, code_of) as heart:
            yield World.current()
            place.set(f"{term}.done.{rank}", "")
            place.wait([f"{term}.done.{other}" for other in range(size)], later)  # their last messages may be under way
    except BaseException as error:
        dist.destroy_process_group()  # whoever waits for this rank goes on at once
        if not heart.speaks(str(error), isinstance(error, heartbeat.RankLost)):
            error.said_by_another = True  # type: ignore[attr-defined]
        raise
    else:
        dist.destroy_process_group()
    finally:
        _leave(place, term, rank, size)


def _backend(local_rank: int, local_size: int) -> str:
    gpus = torch.cuda.device_count() if native.HAS_CUDA and torch.cuda.is_available() else 0
    if gpus:
        torch.cuda.set_device(local_rank % gpus)
    return "cpu:gloo,cuda:nccl" if gpus >= local_size and dist.is_nccl_available() else "gloo"


def _place(rank: int, size: int, host: str, port: int, agent: bool, seconds: float) -> Store:
    opens = rank == 0 and not agent
    try:
        return TCPStore(
            host, port, size, opens, datetime.timedelta(seconds=seconds), wait_for_workers=False, multi_tenant=True
        )
    except RuntimeError as error:
        who = "it could not be opened" if opens else "its launcher, or rank 0, has not opened it"
        raise RuntimeError(
            f"rank {rank} of {size}: ranks meet at {host}:{port}, and {who} within {seconds:g} s; MASTER_ADDR must be the address of the first machine by "
            f"which all others reach it, and MASTER_PORT a port that is free there ({str(error).splitlines()[0]})"
        ) from None


def _meet(place: Store, rank: int, size: int, own: Record, seconds: float) -> tuple[str, list[Record]]:
    """A name that no other meeting at this place has, and what every rank says of itself.

    A place may outlive many meetings (restarts), whose ranks left their words there: so rank 0 answers each rank by what that one alone has said, a
    random text, and counts those who have read the answer.
    """
    until = time.monotonic() + seconds
    term, found = _call_roll(place, size, own, until) if rank == 0 else _answer_roll(place, rank, size, own, until)
    missing = [str(other) for other, one in enumerate(found) if one is None]
    if missing:
        raise RuntimeError(
            f"rank{'s' * (len(missing) > 1)} {', '.join(missing)} of {size} did not come within {seconds:g} s; start all ranks by the same command "
            f"({WAIT} sets the seconds)"
        )
    return term, [one for one in found if one is not None]


def _call_roll(place: Store, size: int, own: Record, until: float) -> tuple[str, list[Record | None]]:
    term, here = f"fastgcn_rec.{secrets.token_hex(8)}", {0: own}
    while len(here) < size and time.monotonic() < until:
        for other in set(range(size)) - here.keys():
            if place.check([f"hello.{other}"]):
                place.set(f"term.{place.get(f'hello.{other}').decode()}", term)
            if place.check([f"{term}.here.{other}"]):
                here[other] = json.loads(place.get(f"{term}.here.{other}"))
        time.sleep(_TICK if len(here) < size else 0)
    found = [here.get(other) for other in range(size)]
    place.set(f"{term}.all", json.dumps(found))
    with contextlib.suppress(RuntimeError):  # they must be able to read it
        place.wait([f"{term}.read.{other}" for other in here if other], datetime.timedelta(seconds=5))
    return term, found


def _answer_roll(place: Store, rank: int, size: int, own: Record, until: float) -> tuple[str, list[Record | None]]:
    nobody: list[Record | None] = [None, *[own] * (size - 1)]
    word = secrets.token_hex(8)
    place.set(f"hello.{rank}", word)
    if (term := _answer(place, f"term.{word}", until)) is None:
        return "", nobody
    place.set(f"{term}.here.{rank}", json.dumps(own))
    if (heard := _answer(place, f"{term}.all", until + 5)) is None:
        return term, nobody
    place.set(f"{term}.read.{rank}", "")
    return term, json.loads(heard)


def _answer(place: Store, key: str, until: float) -> str | None:
    while not place.check([key]):
        if time.monotonic() > until:
            return None
        time.sleep(_TICK)
    return place.get(key).decode()


def _refuse_mixed(ranks: list[Record]) -> None:
    for name, what in (("version", "versions of fastgcn_rec"), ("backend", "backends, by the GPUs of their machines")):
        for rank, one in enumerate(ranks):
            if one[name] != ranks[0][name]:
                raise RuntimeError(
                    f"ranks have different {what}: rank {rank} (on {one['host']}) has {one[name]}, rank 0 (on {ranks[0]['host']}) {ranks[0][name]}; "
                    "make all machines alike"
                )


def _leave(place: Store, term: str, rank: int, size: int) -> None:
    """Rank 0, with which the place may end, is the last."""
    with contextlib.suppress(RuntimeError):
        if rank:
            place.set(f"{term}.gone.{rank}", "")
        else:
            place.wait([f"{term}.gone.{other}" for other in range(1, size)], datetime.timedelta(seconds=_LAST))
