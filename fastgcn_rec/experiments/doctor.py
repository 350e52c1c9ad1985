"""What is built, what is in use, and why something is off."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path

import numpy as np
import torch

from .. import _C
from ..core.graph import Graph
from ..core.native import HUGE_BYTES
from ..ops.propagate import propagate
from .devices import cuda_state

_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def examine() -> tuple[list[str], bool]:
    """What is found, one finding a line, and whether what was computed for it is right."""
    info = _C.build_info()
    override = os.environ.get("FASTGCN_REC_ISA")
    out = [
        f"fastgcn_rec {info['version']}, Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
        f"compiler: {info['compiler']}",
        f"instruction set: {_C.isa_level()} in use, {', '.join(info['isa_levels'])} usable here"
        + (f" (FASTGCN_REC_ISA={override})" if override else "; FASTGCN_REC_ISA overrides"),
        f"threads: {torch.get_num_threads()} (torch.set_num_threads or OMP_NUM_THREADS)",
        f"huge pages: {_huge_pages()}",
        f"CUDA: {cuda_state()}",
    ]
    for module, extra, use in (
        ("matplotlib", "plot", "curves.png"),
        ("pyarrow", "parquet", "Parquet files"),
        ("tensorboard", "tensorboard", "logging to TensorBoard"),
    ):
        state = _version(module) or f"not installed: pip install 'fastgcn_rec[{extra}]'"
        out.append(f"{module} ({use}): {state}")
    wrong = _self_test()
    out.append(f"self-test: {wrong or 'passed'}")
    return out, wrong is None


def _huge_pages() -> str:
    """Whether large tables get them."""
    try:
        text = _HUGE_PAGES.read_text()
    except OSError:
        return "this system has none"
    mode = text.partition("[")[2].partition("]")[0]
    if mode == "never":
        return f"never, says {_HUGE_PAGES}; hops over tables beyond the caches are faster with 'madvise' there"
    return f"{mode}; tables of {HUGE_BYTES >> 20} MiB or more ask for them"


def _version(module: str) -> str | None:
    if importlib.util.find_spec(module) is None:
        return None
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return "there, of unknown version"


def _self_test() -> str | None:
    """What is wrong, if anything is."""
    graph = Graph.from_edges([0, 0, 1], [0, 1, 1])
    y = propagate(graph, torch.eye(4), [0.0, 1.0])
    half, root = 0.5, 0.5**0.5
    right = torch.tensor([[0, 0, root, half], [0, 0, 0, root], [root, 0, 0, 0], [half, root, 0, 0]])
    return None if torch.allclose(y, right) else f"FAILED: propagate gave {y.tolist()}"
