"""How an op is made known to torch, and the checks and conversions that all ops share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.utils.dlpack

from .._native import DTYPE_CODE

Tensor = torch.Tensor
F = TypeVar("F", bound=Callable[..., Any])

LIBRARY = torch.library.Library("fastgcn_rec", "DEF")


def register(
    schema: str,
    kernel: Callable[..., Any],
    fake: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
) -> Any:
    """Defines ``fastgcn_rec::<schema>`` with one kernel for CPU and CUDA; returns the callable op."""
    name = schema.split("(")[0]
    LIBRARY.define(schema)
    for key in ("CPU", "CUDA"):
        LIBRARY.impl(name, kernel, key)
    qualified = f"fastgcn_rec::{name}"
    torch.library.register_fake(qualified, fake, lib=LIBRARY)
    if backward is not None:
        torch.library.register_autograd(qualified, backward, setup_context=setup_context, lib=LIBRARY)
    return getattr(torch.ops.fastgcn_rec, name).default


# --- arrays of other libraries --------------------------------------------------------------------------------------


def accepts_arrays(fn: F) -> F:
    """Lets an op take NumPy and CuPy arrays (or anything with DLPack or ``__cuda_array_interface__``): they are viewed as tensors,
    no copy, and tensors that come out are handed back as arrays of the kind of the first one that went in."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        back: list[Callable[[Tensor], Any]] = []

        def convert(value: Any) -> Any:
            if isinstance(value, Tensor) or not hasattr(value, "shape"):
                return value
            if isinstance(value, np.ndarray):
                back.append(lambda t: t.detach().cpu().numpy())
                return torch.from_numpy(value) if value.flags.writeable else torch.from_numpy(value.copy())
            if hasattr(value, "__cuda_array_interface__") or hasattr(value, "__dlpack__"):
                module = __import__(type(value).__module__.split(".")[0])
                tensor = (
                    torch.utils.dlpack.from_dlpack(value) if hasattr(value, "__dlpack__") else torch.as_tensor(value)
                )
                back.append(module.from_dlpack if hasattr(module, "from_dlpack") else lambda t: t)
                return tensor
            return value

        if not torch.compiler.is_compiling():
            args = tuple(convert(a) for a in args)
            kwargs = {k: convert(v) for k, v in kwargs.items()}
        result = fn(*args, **kwargs)
        if not back:
            return result
        if isinstance(result, tuple):
            values = [back[0](r) if isinstance(r, Tensor) else r for r in result]
            return result._make(values) if hasattr(result, "_make") else tuple(values)
        return back[0](result) if isinstance(result, Tensor) else result

    return wrapper  # type: ignore[return-value]


# --- checks ---------------------------------------------------------------------------------------------------------


def check_float(op: str, name: str, t: Any, allowed: tuple[torch.dtype, ...] = tuple(DTYPE_CODE)) -> None:
    if not isinstance(t, Tensor):
        raise TypeError(f"{op}: {name} must be a tensor or an array, got {type(t).__name__}")
    if t.dtype not in allowed:
        names = ", ".join(str(d).removeprefix("torch.") for d in allowed)
        raise TypeError(
            f"{op}: {name} must be one of {names}, got {str(t.dtype).removeprefix('torch.')}; convert with {name}.to(...)"
        )


def check_matrix(op: str, name: str, t: Tensor, rows: int | None, rows_name: str, cols: int | None = None) -> None:
    wrong = t.dim() != 2 or (rows is not None and t.shape[0] != rows) or (cols is not None and t.shape[1] != cols)
    if wrong:
        want = f"[{rows if rows is not None else rows_name}, {cols if cols is not None else 'dim'}]"
        raise ValueError(f"{op}: {name} must have shape [{rows_name}, dim] = {want}, got {list(t.shape)}")


def check_ids(op: str, name: str, t: Any, shape: tuple[int | None, ...], like: Tensor) -> Tensor:
    """An int64 tensor of ids with the given shape (None: any size) on the device of ``like``."""
    if not isinstance(t, Tensor):
        t = torch.as_tensor(t, device=like.device)
    if t.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{op}: {name} must be int64 or int32 ids, got {str(t.dtype).removeprefix('torch.')}")
    if t.dim() != len(shape) or any(want is not None and got != want for got, want in zip(t.shape, shape, strict=True)):
        want_text = ", ".join("any" if s is None else str(s) for s in shape)
        raise ValueError(f"{op}: {name} must have shape [{want_text}], got {list(t.shape)}")
    check_device(op, name, t, like)
    return t.to(torch.int64)


def check_device(op: str, name: str, t: Tensor, like: Tensor) -> None:
    if t.device != like.device:
        raise ValueError(
            f"{op}: {name} is on {t.device}, but the embeddings are on {like.device}; move one with .to(...)"
        )


def check_graph_device(op: str, name: str, t: Tensor, graph: Any) -> None:
    if t.device != graph.device:
        raise ValueError(
            f"{op}: {name} is on {t.device} but the graph is on {graph.device}; call graph.to({name}.device)"
        )


def scalar(value: int | float | Tensor, dtype: torch.dtype, device: torch.device, op: str, name: str) -> Tensor:
    """A one-element tensor: ops read scalars from memory, so that a CUDA graph can replay them with new values."""
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.dtype != dtype:
            raise ValueError(
                f"{op}: {name} as a tensor must be one {str(dtype).removeprefix('torch.')}, got {list(value.shape)} "
                f"{str(value.dtype).removeprefix('torch.')}"
            )
        if value.device != device:
            raise ValueError(f"{op}: {name} is on {value.device}, expected {device}; move it with .to(...)")
        return value
    number = value.item() if hasattr(value, "item") else value
    return torch.full((), number, dtype=dtype, device=device)  # not a copy, as in numbers


def numbers(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """[n]; on a GPU by kernels, since a copy from the host waits for all that is under way."""
    if device.type == "cpu" or len(values) == 0 or not all(isinstance(value, (int, float)) for value in values):
        return torch.tensor(values, dtype=dtype, device=device)
    return torch.stack([torch.full((), value, dtype=dtype, device=device) for value in values])


def same_float(op: str, a: Tensor, b: Tensor, names: str) -> tuple[Tensor, Tensor]:
    """Two embedding tables in one dtype: under autocast the wider one, else a mismatch is an error."""
    if a.dtype == b.dtype:
        return a, b
    if torch.is_autocast_enabled(a.device.type):
        dtype = torch.promote_types(a.dtype, b.dtype)
        return a.to(dtype), b.to(dtype)
    raise TypeError(f"{op}: {names} must have one dtype, got {a.dtype} and {b.dtype}; convert one with .to(...)")
