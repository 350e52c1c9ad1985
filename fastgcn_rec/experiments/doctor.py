"""What is built, what is in use, and why something is off."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform

import numpy as np
import torch

from .. import _C
from ..core import native
from ..core.graph import Graph
from ..ops.propagate import propagate


def lines() -> list[str]:
    """The report of ``fastgcn-rec doctor``, one finding a line."""
    info = _C.build_info()
    override = os.environ.get("FASTGCN_REC_ISA")
    out = [
        f"fastgcn_rec {info['version']}, Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
        f"compiler: {info['compiler']}",
        f"instruction set: {_C.isa_level()} in use, {', '.join(info['isa_levels'])} usable here"
        + (f" (FASTGCN_REC_ISA={override})" if override else "; FASTGCN_REC_ISA overrides"),
        f"threads: {torch.get_num_threads()} (torch.set_num_threads or OMP_NUM_THREADS)",
        "CUDA: " + _cuda(info),
    ]
    for module, extra, use in (
        ("matplotlib", "plot", "curves.png"),
        ("pyarrow", "parquet", "Parquet files"),
        ("tensorboard", "tensorboard", "logging to TensorBoard"),
    ):
        state = _version(module) or f"not installed: pip install 'fastgcn_rec[{extra}]'"
        out.append(f"{module} ({use}): {state}")
    out.append("self-test: " + _self_test())
    return out


def _version(module: str) -> str | None:
    if importlib.util.find_spec(module) is None:
        return None
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return "there, of unknown version"


def require_cuda(device: torch.device) -> None:
    """A RuntimeError that says why a GPU cannot be used here, where it cannot."""
    state = _cuda(_C.build_info())
    if not state.startswith("on"):
        raise RuntimeError(f"device {device}: CUDA is {state}; `fastgcn-rec doctor` says more, or take the device cpu")
    if (device.index or 0) >= torch.cuda.device_count():
        raise RuntimeError(f"device {device}: torch sees {torch.cuda.device_count()} GPUs, numbered from 0")


def _cuda(info: dict[str, object]) -> str:
    if not native.HAS_CUDA:
        return "off: built without it (no nvcc was found, or FGR_CUDA=OFF); reinstall where nvcc is on PATH"
    if not torch.cuda.is_available():
        why = "this torch is a CPU build" if torch.version.cuda is None else "torch finds no GPU or no driver"
        return f"off: {why} (built with {info['cuda']} for {info['cuda_architectures']})"
    return f"on: built with {info['cuda']} for {info['cuda_architectures']}; {torch.cuda.get_device_name()}"


def _self_test() -> str:
    graph = Graph.from_edges([0, 0, 1], [0, 1, 1])
    y = propagate(graph, torch.eye(4), [0.0, 1.0])
    half, root = 0.5, 0.5**0.5
    right = torch.tensor([[0, 0, root, half], [0, 0, 0, root], [root, 0, 0, 0], [half, root, 0, 0]])
    return "passed" if torch.allclose(y, right) else f"FAILED: propagate gave {y.tolist()}"
