"""Benchmarks: ``python -m benchmarks --help``. See docs/performance.md for the protocol and the figures."""

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_root = Path(__file__).resolve().parents[1]
if not any((_root / "fastgcn_rec" / f"_C{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
    # The sources beside this folder are not built (pip install '.[bench]'): the installed package is meant.
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != _root]
