"""Tensors of what a caller passes, and checks of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Tensor = torch.Tensor
_IDS = {torch.int64, torch.int32}


def tensor_of(op: str, name: str, array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor of the same numbers: a view where torch can have one, else a copy."""
    size = array.itemsize
    if array.flags.writeable and array.dtype.isnative and all(s >= 0 and s % size == 0 for s in array.strides):
        view = array
    elif array.dtype.kind in "biufc":
        view = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    else:
        view = array
    try:
        return torch.from_numpy(view)
    except TypeError:
        raise TypeError(
            f"{op}: {name} must hold numbers that a tensor can hold, got dtype {array.dtype}; convert it with .astype(...)"
        ) from None


def check_dense(op: str, name: str, t: Tensor) -> None:
    if t.layout != torch.strided:
        kind = str(t.layout).removeprefix("torch.")
        raise TypeError(f"{op}: {name} must be a dense tensor, got one of layout {kind}; call {name}.to_dense()")


def check_ids(op: str, name: str, t: Any, shape: tuple[int | str | None, ...], like: Tensor) -> Tensor:
    """An int64 tensor of ids with the given shape (None: any size; a text: any, by that name) on the device of ``like``."""
    if not isinstance(t, Tensor):
        t = list_of(op, name, t, "int64 or int32 ids", np.int64).to(like.device)
    if t.layout is not torch.strided:
        check_dense(op, name, t)
    if t.dtype not in _IDS:
        raise TypeError(f"{op}: {name} must be int64 or int32 ids, got {str(t.dtype).removeprefix('torch.')}")
    if not _fits(t.shape, shape):
        want_text = ", ".join("any" if s is None else str(s) for s in shape)
        raise ValueError(f"{op}: {name} must have shape [{want_text}], got {list(t.shape)}")
    if t.device != like.device:
        check_device(op, name, t, like)
    return t if t.dtype is torch.int64 else t.to(torch.int64)


def _fits(shape: torch.Size, wanted: tuple[int | str | None, ...]) -> bool:
    if len(shape) != len(wanted):
        return False
    for at, n in enumerate(wanted):  # noqa: SIM110, since a generator takes longer
        if isinstance(n, int) and n != shape[at]:
            return False
    return True


def list_of(op: str, name: str, values: Any, what: str, empty: type) -> Tensor:
    """A tensor of a list, or of anything that NumPy takes for one; what has no elements has no dtype to speak of, and gets ``empty``."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0, object)
    if array.size == 0 and array.dtype == np.float64:
        array = array.astype(empty)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{op}: {name} must be {what}, got {values!r:.80}")
    return tensor_of(op, name, array)


def check_range(op: str, name: str, ids: Tensor, n: int, low: int = 0) -> None:
    """IndexError unless all ids lie in [low, n); reads the ids, so that a GPU is waited for."""
    outside = torch.nonzero(((ids < low) | (ids >= n)).flatten())
    if len(outside):
        at = int(outside[0])
        raise IndexError(f"{op}: {name}: id {int(ids.flatten()[at])} at position {at} is outside [{low}, {n})")


def check_device(op: str, name: str, t: Tensor, like: Tensor) -> None:
    if t.device != like.device:
        raise ValueError(
            f"{op}: {name} is on {t.device}, but the embeddings are on {like.device}; move one with .to(...)"
        )
