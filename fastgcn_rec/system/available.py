"""How much memory a process may still take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")  # tests put a tree of their own here


def available_memory() -> int | None:
    """Bytes that are free or can be freed at once, the least that the machine, the cgroups of the process (containers, schedulers)
    and ``ulimit -v`` allow; None where nothing of these says anything."""
    known = [free for free in (_machine(), *_cgroups(), _address_space()) if free is not None]
    return max(0, min(known)) if known else None


def _machine() -> int | None:
    for line in _lines("proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _cgroups() -> Iterator[int]:
    """What is left in each cgroup with a limit, from the process's own up; its files' pages that are idle count as free."""
    for line in _lines("proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0":
            base, names = "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = (
                "sys/fs/cgroup/memory",
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            )
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):  # in a container the own cgroup is mounted as the root
            folder = "/".join([base, *parts[:depth]])
            limit, used = (_number(_lines(f"{folder}/{name}")) for name in names[:2])
            if limit is not None and used is not None:
                idle = (line.split() for line in _lines(f"{folder}/memory.stat"))
                yield limit - used + sum(int(value) for name, value in idle if name == names[2])


def _address_space() -> int | None:
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    except (ImportError, OSError, AttributeError):
        return None
    pages = _lines("proc/self/statm")
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return limit - int(pages[0].split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _number(lines: list[str]) -> int | None:
    """None for "max" and where there is no file."""
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _lines(path: str) -> list[str]:
    try:
        return (_ROOT / path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
