"""A reproducible scatter-add of rows: the backward of every gather of embeddings."""

from __future__ import annotations

from typing import Any

import torch

from ..core import native
from .registration import register

Tensor = torch.Tensor


def scatter_rows(
    ids: Tensor,
    coef: Tensor | None,
    src: Tensor,
    src_index: Tensor | None,
    scale: Tensor | None,
    n_out: int,
    dtype: torch.dtype,
) -> Tensor:
    ids, src = ids.contiguous(), src.contiguous()
    coef = None if coef is None else coef.contiguous()
    src_index = None if src_index is None else src_index.contiguous()
    n, (n_src, dim) = ids.numel(), src.shape
    out = torch.empty(n_out, dim, dtype=dtype, device=src.device)
    space = native.workspace(native.size("scatter_rows", src.device, n, n_out), src.device)
    codes = native.DTYPE_CODE[src.dtype], native.DTYPE_CODE[dtype]
    native.call("scatter_rows", src.device, *codes, ids, coef, src, src_index, n, n_src, dim, scale, out, n_out, space)
    return out


scatter_rows_op = register(
    "scatter_rows(Tensor ids, Tensor? coef, Tensor src, Tensor? src_index, Tensor? scale, SymInt n_out, ScalarType dtype) -> Tensor",
    scatter_rows,
    lambda ids, coef, src, src_index, scale, n_out, dtype: src.new_empty((n_out, src.shape[1]), dtype=dtype),
)


def scatter_into(table: Tensor, ids: Tensor, src: Tensor, scale: Tensor, coef: Tensor | None = None,
                 src_index: Tensor | None = None) -> Any:  # fmt: skip
    """The gradient of ``table``, [n_out, dim] in its dtype: out[id] = scale * sum_n coef[n] * src[src_index[n]]."""
    return scatter_rows_op(
        ids, coef, src, src_index, scale.to(native.accumulator(table.dtype)), table.shape[0], table.dtype
    )
