"""From arrays of edges to CSR: what is checked of them, and the counting sorts that order them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch

from .. import _C
from . import native
from .arguments import check_count
from .native import address

Csr: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]
"""indptr int64 [rows + 1], indices int32 [edges], weight float32 [edges] or None."""

MAX_NODES = 2**31 - 1
# Of weights, and of the sum of a node's: products with vectors, and inverses, keep a float's full precision.
_LEAST_WEIGHT, MOST_WEIGHT = 2.0**-100, 2.0**100
# Rows, and rows an edge: beyond both, ids that came without a count are taken for raw ones.
_SPARSE_FROM, _SPARSE = 10**7, 100


def csr_of_edges(
    users: np.ndarray, items: np.ndarray, n_users: int | None, n_items: int | None, weight: Any
) -> tuple[int, int, Csr, Csr]:
    """(n_users, n_items, R, R's transpose), rows sorted, equal edges merged and their weights added."""
    if users.shape != items.shape:
        raise ValueError(f"Graph: users and items must have one length, got {users.shape[0]} and {items.shape[0]}")
    n_edges = len(users)
    n_users = _count("n_users", "users", n_users, users)
    n_items = _count("n_items", "items", n_items, items)
    if n_users + n_items > MAX_NODES:  # kernels number the nodes of both sides by int32
        raise ValueError(
            f"Graph: n_users + n_items must be <= {MAX_NODES}, got {n_users} + {n_items}; leave out ids without edges, or cut the graph in parts"
        )
    if users.dtype != items.dtype or users.dtype not in (np.int32, np.int64):
        users, items = users.astype(np.int64), items.astype(np.int64)
    rows = torch.from_numpy(np.require(users, requirements=["C", "W"]))
    cols = torch.from_numpy(np.require(items, requirements=["C", "W"]))
    values = None if weight is None else _weights(weight, n_edges)
    # Bucketed by item in edge order; the stable transpose then gives R with sorted rows, and R's transpose the other half.
    by_item = _empty(n_items, n_edges, values)
    try:
        _C.bucket_edges(
            rows.dtype == torch.int64, address(cols), address(rows), address(values), n_edges, n_items, n_users,
            address(by_item[0]), address(by_item[1]), address(by_item[2]), native.threads(),
        )  # fmt: skip
    except IndexError as error:
        message = str(error).replace("row id", "item id").replace("column id", "user id")
        raise ValueError(f"Graph: {message}; ids must run from 0, raise n_users/n_items or renumber them") from None
    indptr, indices, merged = _transposed(*by_item, n_users)
    del by_item
    kept = _C.merge_duplicates(address(indptr), address(indices), address(merged), n_users)
    if kept < n_edges:
        indices = indices[:kept].clone()
        merged = None if merged is None else merged[:kept].clone()
    return n_users, n_items, (indptr, indices, merged), _transposed(indptr, indices, merged, n_items)


def ids_of(name: str, ids: Any) -> np.ndarray:
    """Edge ids as integers [n]."""
    try:
        array = ids.detach().cpu().numpy() if isinstance(ids, torch.Tensor) else np.asarray(ids)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise TypeError(f"Graph: {name} must be a dense array of integers, got {ids!r:.80}") from None
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1:
        raise ValueError(f"Graph: {name} must have one dimension, got shape {array.shape}")
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"Graph: {name} must be integers, got {array.dtype}; encode raw ids first (fastgcn_rec.data does)"
        )
    return array


def _count(name: str, of: str, count: int | None, ids: np.ndarray) -> int:
    if count is None:
        count = int(ids.max()) + 1 if len(ids) else 0
        if count > max(_SPARSE_FROM, _SPARSE * len(ids)):
            raise ValueError(
                f"Graph: {of} has {len(ids)} ids up to {count - 1}, and a graph has a row for every id below: renumber them (raw ids are "
                f"encoded by fastgcn_rec.data.Interactions.from_raw, or np.unique(..., return_inverse=True)), or pass {name}= if so many are meant"
            )
    count = check_count(count, f"Graph: {name}")
    if not 0 <= count <= MAX_NODES:
        raise ValueError(f"Graph: {name} must lie in [0, {MAX_NODES}], got {count}")
    return int(count)


def _weights(weight: Any, n_edges: int) -> torch.Tensor:
    try:
        with np.errstate(over="ignore"):  # inf is refused below
            of_tensor = isinstance(weight, torch.Tensor)
            values = weight.detach().cpu() if of_tensor else torch.from_numpy(np.array(weight, np.float32))
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"Graph: weight must be numbers, got {weight!r:.80}") from None
    if values.layout != torch.strided or values.is_complex():
        raise TypeError(f"Graph: weight must be a dense tensor of real numbers, got {values.dtype} {values.layout}")
    values = values.to(torch.float32).contiguous()
    if values.shape != (n_edges,):
        raise ValueError(f"Graph: weight must have shape [n_edges] = [{n_edges}], got {list(values.shape)}")
    bad = ~(torch.isfinite(values) & (values >= _LEAST_WEIGHT))
    if bool(bad.any()):
        at = int(bad.nonzero()[0])
        raise ValueError(
            f"Graph: weight must be positive and finite, at least {_LEAST_WEIGHT:.3g}, got {float(values[at])} at edge {at}; drop such edges, or "
            "where all are small multiply them by one number, which changes nothing that is normalised"
        )
    return values


def _empty(n_rows: int, n_edges: int, like: torch.Tensor | None) -> Csr:
    weight = None if like is None else torch.empty(n_edges, dtype=torch.float32)
    return torch.empty(n_rows + 1, dtype=torch.int64), torch.empty(n_edges, dtype=torch.int32), weight


def _transposed(indptr: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor | None, n_cols: int) -> Csr:
    out = _empty(n_cols, indices.numel(), weight)
    n_rows = indptr.numel() - 1
    _C.transpose(
        address(indptr), address(indices), address(weight), n_rows, n_cols, address(out[0]), address(out[1]), address(out[2]),
        native.threads(),
    )  # fmt: skip
    return out


def alias_table(
    indptr: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor | None, n_cols: int
) -> torch.Tensor | None:
    """Walker's alias tables of the rows (csrc/common/walk.h), int64 [edges]; None without weights."""
    if weight is None:
        return None
    device = indptr.device
    indptr, indices, weight = indptr.cpu(), indices.cpu(), weight.cpu()
    alias = torch.empty(indices.numel(), dtype=torch.int64)
    n_rows, threads = indptr.numel() - 1, native.threads()
    _C.alias_table(address(indptr), address(indices), address(weight), n_rows, n_cols, address(alias), threads)
    return alias.to(device)
