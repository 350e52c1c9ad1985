"""What commands that several processes share out have: ``--ranks``, which starts them on this machine, and the group that torchrun's join."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from torch._C._distributed_c10d import TCPStore

from ..core.group import joined
from ..core.world import World
from ..system import stopping
from ..system.launched import Launched, threads_of
from ..system.process import code_of, python_module
from .arguments import at_least

_GRACE = 45.0  # seconds that ranks have to end by themselves when one has failed: they notice within 30
_HERE = "127.0.0.1"


def add_ranks(
    parser: argparse.ArgumentParser, checked: Callable[[argparse.Namespace, int], object] | None = None
) -> None:
    """``checked`` is called with the arguments and the number before any rank is started, and raises where they could not share the work out."""
    parser.set_defaults(checked=checked)
    parser.add_argument(
        "--ranks",
        type=at_least(1),
        metavar="P",
        help="processes on this machine that share the work out, with the same bits as one; torchrun ... -m fastgcn_rec starts them on several machines",
    )


def all_have(path: Path, world: World) -> bool:
    """Whether the file is the same one on all ranks, by its size and time: on one machine it is, and on a file system that machines share."""
    found: tuple[int, int] | None = None
    with contextlib.suppress(OSError):
        found = path.stat().st_size, path.stat().st_mtime_ns
    return None not in (of := world.values(found)) and len(set(of)) == 1


def run_on_ranks(args: argparse.Namespace, words: Sequence[str], launched: Launched | None) -> int:
    """The command ``args.run`` in this process, as one of those that a launcher has started, or in ``--ranks`` processes."""
    if launched is None:
        if args.ranks in (None, 1):
            return args.run(args)  # type: ignore[no-any-return]
        if args.checked is not None:
            args.checked(args, args.ranks)
        return _launch(words, args.ranks)
    if args.ranks not in (None, launched.size):
        raise ValueError(f"--ranks {args.ranks} where {launched.size} ranks are started already; leave --ranks out")
    threads = launched.threads()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    with joined(**dataclasses.asdict(launched), code_of=code_of):
        code: int = args.run(args)
        return code


def _launch(words: Sequence[str], size: int) -> int:
    """The same command in ``size`` processes; the code of the first one that fails. Signals are handed on."""
    place = TCPStore(_HERE, 0, is_master=True, wait_for_workers=False)
    shared = {"OMP_NUM_THREADS": str(threads_of(size)), "TORCH_CPP_LOG_LEVEL": "ERROR"} | os.environ | {
        "MASTER_ADDR": _HERE, "MASTER_PORT": str(place.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
    }  # fmt: skip
    ranks: list[subprocess.Popen[bytes]] = []
    signals: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        for rank in ranks:
            rank.send_signal(number)

    try:
        with stopping.handled(hand_on):
            for number in range(size):
                ranks.append(
                    subprocess.Popen(
                        python_module("fastgcn_rec", *words),
                        env=shared | {"RANK": str(number), "LOCAL_RANK": str(number)},
                        stdin=None if number == 0 else subprocess.DEVNULL,
                        start_new_session=True,  # a terminal's Ctrl-C comes by way of this process alone
                    )
                )
            for one in signals:
                ranks[-1].send_signal(one)
            return _code(ranks)
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


def _code(ranks: list[subprocess.Popen[bytes]]) -> int:
    failed, until = 0, float("inf")
    while any(rank.poll() is None for rank in ranks) and time.monotonic() < until:
        time.sleep(0.05)
        for number, rank in enumerate(ranks):
            if rank.poll() and not failed:
                failed, until = _told(number, rank.returncode), time.monotonic() + _GRACE
    return failed or next((_told(number, rank.returncode) for number, rank in enumerate(ranks) if rank.returncode), 0)


def _told(rank: int, code: int) -> int:
    if code >= 0:
        return code
    print(f"fastgcn-rec: rank {rank} was ended by {signal.Signals(-code).name}", file=sys.stderr)
    return 128 - code
