"""Which of the processes of a launcher (torchrun, ``--ranks``) this one is, by its environment."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

_THREADS = "OMP_NUM_THREADS"


@dataclasses.dataclass(frozen=True)
class Launched:
    """Rank ``rank`` of ``size``, the ``local_rank``-th of ``local_size`` on this machine; ranks meet at ``host``:``port``.

    ``agent``: whether the launcher, not rank 0, keeps that place open.

    >>> Launched.of({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"})
    Launched(rank=1, size=2, local_rank=0, local_size=1, host='10.0.0.1', port=29500, agent=False)
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    host: str
    port: int
    agent: bool

    @classmethod
    def of(cls, environment: dict[str, str] | None = None) -> Launched | None:
        """None: by no launcher, or alone. ValueError: one of its variables is no number, or not there."""
        given = dict(os.environ if environment is None else environment)
        if given.get("WORLD_SIZE", "1") == "1" or "RANK" not in given:
            return None

        def number(name: str, default: str = "") -> int:
            text = given.get(name, default)
            if not text.isdecimal():
                raise ValueError(f"{name} in the environment must be a number where RANK and WORLD_SIZE are set, got {text!r}; start ranks by torchrun or --ranks")  # fmt: skip
            return int(text)

        rank, size = number("RANK"), number("WORLD_SIZE")
        if rank >= size:
            raise ValueError(
                f"RANK in the environment is {rank}, and must be below WORLD_SIZE, {size}; start ranks by torchrun or --ranks"
            )
        return cls(
            rank, size, number("LOCAL_RANK", "0"), number("LOCAL_WORLD_SIZE", "1"),
            given.get("MASTER_ADDR", "127.0.0.1"), number("MASTER_PORT"), given.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        )  # fmt: skip

    def threads(self) -> int | None:
        """This rank's share of the cores of its machine; None where the user has said it by OMP_NUM_THREADS."""
        said = os.environ.get(_THREADS)
        if said is not None and not (said == "1" and self.agent and not _given_to_launcher()):
            return None
        return threads_of(self.local_size)


def threads_of(ranks: int) -> int:
    """Of each of ``ranks`` processes on this machine."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = (os.cpu_count() or 1) if affinity is None else len(affinity(0))
    return max(1, cores // ranks)


def _given_to_launcher() -> bool:
    """Whether this process's parent was started with OMP_NUM_THREADS: torchrun sets it to 1 for its ranks where it was not."""
    try:
        return f"\0{_THREADS}=".encode() in b"\0" + Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:
        return False
