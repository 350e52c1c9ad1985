"""The memory of this process, as Linux counts it."""

from __future__ import annotations

import ctypes
from pathlib import Path


def resident(what: str = "VmRSS") -> int:
    """Bytes of a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what + ":")) * 1024


def resident_peak() -> int:
    """Bytes of the largest resident set since the last reset."""
    return resident("VmHWM")


def reset_peak() -> int:
    """Count the peak from here on, and the bytes that are resident here.

    What was given back before is given to the system first; else the C library keeps some of it, more or less from run to run, and what comes after
    seems to take that much less.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is not None:
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return resident()
