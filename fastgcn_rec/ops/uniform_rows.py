"""Uniform random rows by id: what dropout, noise and thinned graphs are made of."""

from __future__ import annotations

from typing import Any

import torch

from ..core import native
from ..core.tensors import check_ids
from .registration import accepts_arrays, count_of, register, scalar

Tensor = torch.Tensor
_PLACES = 2**24


def _uniform_rows(ids: Tensor, dim: int, seed: Tensor, step: Tensor, place: int) -> Tensor:
    ids = ids.contiguous()
    out = _output(ids, dim)
    native.call("uniform_rows", ids.device, ids, ids.numel(), dim, seed, step, place, out)
    return out


def _output(ids: Tensor, dim: int, *unused: Any) -> Tensor:
    return ids.new_empty((ids.shape[0], dim), dtype=torch.float32)


_op = register(
    "uniform_rows(Tensor ids, int dim, Tensor seed, Tensor step, int place) -> Tensor", _uniform_rows, _output
)


@accepts_arrays
def uniform_rows(ids: Any, dim: int, *, seed: int | Tensor, step: int | Tensor = 0, place: int = 0) -> Any:
    """Independent uniform numbers on [0, 1), multiples of 2^-24: a row for every id, float32 [len(ids), dim].

    A row depends on (seed, step, place, id, dim) alone (Philox 4x32-10): not on where the id stands, the device or the number of
    threads. So a random mask needs no memory between steps, and some rows of it can be had without the others.

    Parameters
    ----------
    ids : integer ids [n], >= 0; times ceil(dim / 4) below 2^63
    dim : int >= 0
    seed : int, or a one-element int64 tensor on the device of ``ids``
    step : likewise, in [0, 2^32): of a training
    place : int in [0, 2^24)
        Tells the uses within a step apart.

    Raises
    ------
    TypeError, ValueError : wrong dtype, shape, device, dim, step or place.

    Examples
    --------
    >>> a, b = uniform_rows([7, 7, 8], 4, seed=1)[:2]
    >>> bool((a == b).all()), uniform_rows([7], 4, seed=1, step=1).shape
    (True, torch.Size([1, 4]))
    """
    op = "uniform_rows"
    ids = check_ids(op, "ids", ids, (None,), ids if isinstance(ids, Tensor) else torch.empty(0))
    dim, place = count_of(op, "dim", dim), count_of(op, "place", place)
    if place >= _PLACES:
        raise ValueError(f"{op}: place must lie in [0, {_PLACES}), got {place}")
    if isinstance(step, int) and not 0 <= step < 2**32:
        raise ValueError(f"{op}: step must lie in [0, 2^32), got {step}")
    seed = scalar(seed, torch.int64, ids.device, op, "seed")
    step = scalar(step, torch.int64, ids.device, op, "step")
    return _op(ids, dim, seed, step, place)
