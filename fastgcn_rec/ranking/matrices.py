"""Matrices of vectors, and the ids of their rows, as anybody hands them over."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.utils.dlpack
from numpy.typing import NDArray

from ..core.arguments import as_floats
from ..core.ids import as_ids
from ..core.tensors import tensor_of

Tensor = torch.Tensor


def as_matrix(values: Any, who: str, name: str, dim: int | None = None) -> Tensor:
    """float32 [n, dim] of numbers in a tensor, in NumPy's or another library's array, or in lists: where they are, and not copied if they are
    float32 already. ValueError for another shape or a value that is not finite, TypeError for what are no real numbers."""
    if sp.issparse(values):
        raise TypeError(f"{who}: {name} must be a dense matrix, got a sparse one; pass {name}.toarray()")
    if isinstance(values, Tensor) and (values.is_meta or values.is_quantized):
        raise TypeError(
            f"{who}: {name} must hold real numbers, got a {'meta' if values.is_meta else 'quantized'} tensor"
        )
    if isinstance(values, (list, tuple)) and any(isinstance(row, Tensor) for row in values):
        values = [row.detach() if isinstance(row, Tensor) else row for row in values]
    if isinstance(values, Tensor) and not values.is_complex():
        table = (values.to_dense() if values.layout != torch.strided else values).detach().float()
    elif hasattr(values, "__dlpack__") and not isinstance(values, np.ndarray | Tensor):
        return as_matrix(torch.utils.dlpack.from_dlpack(values), who, name, dim)
    else:
        values = values.detach().cpu() if isinstance(values, Tensor) else values
        table = tensor_of(who, name, as_floats(values, f"{who}: {name}"))
    if table.dim() != 2 or (dim is not None and table.shape[1] != dim):
        raise ValueError(f"{who}: {name} must have shape [n, {'dim' if dim is None else dim}], got {list(table.shape)}")
    finite = table.isfinite()
    if not bool(finite.all()):
        row = int(torch.nonzero(~finite)[0, 0])
        raise ValueError(f"{who}: {name} must be finite, got NaN or infinity in row {row}, as float32")
    return table


def distinct_ids(ids: Any, n: int, who: str, name: str, what: str) -> NDArray[Any]:
    """Raw ids [n], one a ``what``, that must be distinct."""
    given = as_ids(ids, name)
    if len(given) != n:
        raise ValueError(f"{who}: {name} must have length n = {n}, one for each {what}, got {len(given)}")
    distinct = len(np.unique(given))
    if distinct != n:
        raise ValueError(f"{who}: {name} must be distinct, got {n - distinct} repeated ones")
    return given
