"""Whether a GPU can be used here, and why not."""

from __future__ import annotations

import torch

from ..core import native


def require_cuda(device: torch.device) -> None:
    """A RuntimeError that says why a GPU cannot be used here, where it cannot."""
    state = cuda_state()
    if not state.startswith("on"):
        raise RuntimeError(f"device {device}: CUDA is {state}; `fastgcn-rec doctor` says more, or take the device cpu")
    if (device.index or 0) >= torch.cuda.device_count():
        raise RuntimeError(f"device {device}: torch sees {torch.cuda.device_count()} GPUs, numbered from 0")


def cuda_state() -> str:
    """ "on: ..." or "off: ...", with the reason."""
    info = native.build_info()
    if not native.HAS_CUDA:
        return "off: built without it (no nvcc was found, or FGR_CUDA=OFF); reinstall where nvcc is on PATH"
    if not torch.cuda.is_available():
        why = "this torch is a CPU build" if torch.version.cuda is None else "torch finds no GPU or no driver"
        return f"off: {why} (built with {info['cuda']} for {info['cuda_architectures']})"
    return f"on: built with {info['cuda']} for {info['cuda_architectures']}; {torch.cuda.get_device_name()}"
