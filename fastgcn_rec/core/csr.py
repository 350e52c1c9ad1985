"""From arrays of edges to CSR: what is checked of them, and the counting sorts that order them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch

from .. import _C
from . import native
from .arguments import check_count

Csr: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]
"""indptr int64 [rows + 1], indices int32 [edges], weight float32 [edges] or None."""

MAX_NODES = 2**31 - 1
# Of weights, and of the sum of a node's: products with vectors, and inverses, keep a float's full precision.
_LEAST_WEIGHT, MOST_WEIGHT = 2.0**-100, 2.0**100
# Rows, and rows an edge: beyond both, ids that came without a count are taken for raw ones.
_SPARSE_FROM, _SPARSE = 10**7, 100
_INTEGERS = {torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64}


def csr_of_edges(
    users: Any,
    items: Any,
    n_users: int | None,
    n_items: int | None,
    weight: Any,
    device: torch.device | str | None = None,
) -> tuple[int, int, Csr, Csr]:
    """(n_users, n_items, R, R's transpose), rows sorted, equal edges merged and their weights added in their order; on a CUDA device, if that is
    ``device`` or, by default, the edges', else on the CPU."""
    given = (
        _device_of(users=users, items=items, weight=weight) if device is None else torch.empty(0, device=device).device
    )
    device = given if given.type == "cuda" else torch.device("cpu")
    users, items = _ids("users", users, device), _ids("items", items, device)
    if users.shape != items.shape:
        raise ValueError(f"Graph: users and items must have one length, got {len(users)} and {len(items)}")
    n_edges = len(users)
    if users.dtype != items.dtype:
        users, items = users.long(), items.long()
    values = None if weight is None else _weights(weight, n_edges, device)
    limits = [_given(name, n) for name, n in (("n_users", n_users), ("n_items", n_items))]
    bounds = torch.empty(4, dtype=torch.int64, device=device)
    native.call(
        "edge_bounds", device, users.dtype == torch.int64, users, items, values, n_edges,
        *(2**63 - 1 if n is None else n for n in limits), _LEAST_WEIGHT, bounds,
    )  # fmt: skip
    last_user, last_item, after_bad, after_unfit = (
        bounds.tolist()
    )  # a GPU is waited for here, and for how many edges are left
    n_users = _count("n_users", "users", limits[0], last_user, n_edges)
    n_items = _count("n_items", "items", limits[1], last_item, n_edges)
    check_nodes(n_users, n_items)
    if values is not None and after_unfit >= 0:
        at = n_edges - 1 - after_unfit
        raise ValueError(
            f"Graph: weight must be positive and finite, at least {_LEAST_WEIGHT:.3g}, got {float(values[at])} at edge {at}; drop such edges, or "
            "where all are small multiply them by one number, which changes nothing that is normalised"
        )
    if after_bad >= 0:
        at = n_edges - 1 - after_bad
        user, item = int(users[at]), int(items[at])
        kind, of, n = ("user", user, n_users) if 0 <= item < n_items else ("item", item, n_items)
        raise ValueError(
            f"Graph: {kind} id {of} at edge {at} is outside [0, {n}); ids must run from 0, raise n_users/n_items or renumber them"
        )
    build = _sorted if native.runs_cuda(device) else rows_of_edges
    by_user = build(users, items, values, n_users, n_items)
    return n_users, n_items, by_user, transposed(*by_user, n_items)


def check_nodes(n_users: int, n_items: int) -> None:
    """ValueError unless kernels can number the nodes of both sides by int32."""
    if n_users + n_items > MAX_NODES:
        raise ValueError(
            f"Graph: n_users + n_items must be <= {MAX_NODES}, got {n_users} + {n_items}; leave out ids without edges, or cut the graph in parts"
        )


def transposed(indptr: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor | None, n_cols: int) -> Csr:
    """The transpose of a CSR with ``n_cols`` columns, rows sorted."""
    n_rows, n_edges, device = indptr.numel() - 1, indices.numel(), indices.device
    out = _empty(n_cols, n_edges, weight, device)
    if native.runs_cuda(device):
        space = native.workspace(native.size("sort_edges", device, n_edges, weight is not None), device)
        native.call("transpose", device, indptr, indices, weight, n_rows, n_cols, n_edges, *out, space)
    else:
        _C.transpose(
            indptr, indices, weight, n_rows, n_cols, out[0], out[1], out[2],
            native.threads(),
        )  # fmt: skip
    return out


def _sorted(users: torch.Tensor, items: torch.Tensor, weight: torch.Tensor | None, n_users: int, n_items: int) -> Csr:
    """R, built on a device."""
    n_edges, device = len(users), users.device
    space = native.workspace(native.size("sort_edges", device, n_edges, weight is not None), device)
    count = torch.empty(1, dtype=torch.int64, device=device)
    half = native.call(
        "sort_edges", device, users.dtype == torch.int64, users, items, weight, n_edges, n_users, n_items, count, space
    )
    kept = int(count)
    by_user = _empty(n_users, kept, weight, device)
    native.call("csr_of_sorted", device, n_edges, kept, half, n_users, n_items, *by_user, space)
    return by_user


def rows_of_edges(
    users: torch.Tensor, items: torch.Tensor, weight: torch.Tensor | None, n_users: int, n_items: int
) -> Csr:
    """R, built on the CPU of ids that are not checked: bucketed by item in edge order, so that the stable transpose has sorted rows."""
    n_edges = len(users)
    by_item = _empty(n_items, n_edges, weight, users.device)
    _C.bucket_edges(
        users.dtype == torch.int64, items, users, weight, n_edges, n_items,
        by_item[0], by_item[1], by_item[2], native.threads(),
    )  # fmt: skip
    indptr, indices, merged = transposed(*by_item, n_users)
    del by_item
    kept = _C.merge_duplicates(indptr, indices, merged, n_users)
    if kept < n_edges:
        indices = indices[:kept].clone()
        merged = None if merged is None else merged[:kept].clone()
    return indptr, indices, merged


def _device_of(**arrays: Any) -> torch.device:
    """Where the tensors among the arrays are, all of them."""
    tensors = [(name, t) for name, t in arrays.items() if isinstance(t, torch.Tensor)]
    for name, t in tensors[1:]:
        first, like = tensors[0]
        if t.device != like.device:
            raise ValueError(
                f"Graph: {name} is on {t.device}, but {first} is on {like.device}; move one with .to(...), or pass device="
            )
    return tensors[0][1].device if tensors else torch.device("cpu")


def _ids(name: str, ids: Any, device: torch.device) -> torch.Tensor:
    """Edge ids as integers [n], int32 or int64."""
    _refuse_masked(name, ids)
    try:
        strided = isinstance(ids, torch.Tensor) and ids.layout == torch.strided
        given: Any = ids.detach().to(device) if strided else np.asarray(ids)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise TypeError(f"Graph: {name} must be a dense array of integers, got {ids!r:.80}") from None
    if given.ndim != 1:
        raise ValueError(f"Graph: {name} must have one dimension, got shape {tuple(given.shape)}")
    whole = given.dtype in _INTEGERS if strided else given.dtype.kind in "iu"
    if not whole and len(given):
        raise TypeError(
            f"Graph: {name} must be integers, got {str(given.dtype).removeprefix('torch.')}; encode raw ids first (fastgcn_rec.data does)"
        )
    if not strided:
        wide = given if given.dtype in (np.int32, np.int64) else given.astype(np.int64)
        wide = wide.copy() if len(wide) < 2 else wide  # whose stride may be any number
        return torch.from_numpy(np.require(wide, requirements=["C", "W"])).to(device)
    found: torch.Tensor = given if given.dtype in (torch.int32, torch.int64) else given.long()
    return found.contiguous().resolve_neg()


def _refuse_masked(name: str, values: Any) -> None:
    if np.ma.is_masked(values):
        raise ValueError(f"Graph: {name} must be there for every edge, got masked ones; leave these edges out")


def _given(name: str, count: int | None) -> int | None:
    if count is None:
        return None
    count = check_count(count, f"Graph: {name}")
    if not 0 <= count <= MAX_NODES:
        raise ValueError(f"Graph: {name} must lie in [0, {MAX_NODES}], got {count}")
    return count


def _count(name: str, of: str, given: int | None, last: int, n_edges: int) -> int:
    """How many users or items there are, of whose ids ``last`` is the largest; -1: there is none that could be."""
    if given is not None:
        return given
    if last + 1 > max(_SPARSE_FROM, _SPARSE * n_edges):
        raise ValueError(
            f"Graph: {of} has {n_edges} ids up to {last}, and a graph has a row for every id below: renumber them (raw ids are "
            f"encoded by fastgcn_rec.data.Interactions.from_raw, or np.unique(..., return_inverse=True)), or pass {name}= if so many are meant"
        )
    return int(_given(name, last + 1) or 0)


def _weights(weight: Any, n_edges: int, device: torch.device) -> torch.Tensor:
    """Weights as float32 [n_edges]; edge_bounds looks at their values."""
    _refuse_masked("weight", weight)
    try:
        if not isinstance(weight, torch.Tensor) and np.asarray(weight).dtype.kind not in "biuf":
            raise TypeError
        with np.errstate(over="ignore"):  # inf is refused with what is not finite
            of_tensor = isinstance(weight, torch.Tensor)
            values = weight.detach() if of_tensor else torch.from_numpy(np.array(weight, np.float32))
            values = values.to(device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise TypeError(f"Graph: weight must be numbers, got {weight!r:.80}") from None
    if values.layout != torch.strided or values.is_complex():
        raise TypeError(f"Graph: weight must be a dense tensor of real numbers, got {values.dtype} {values.layout}")
    values = values.to(torch.float32).contiguous().resolve_neg()
    if values.shape != (n_edges,):
        raise ValueError(f"Graph: weight must have shape [n_edges] = [{n_edges}], got {list(values.shape)}")
    return values


def _empty(n_rows: int, n_edges: int, like: torch.Tensor | None, device: torch.device) -> Csr:
    weight = None if like is None else torch.empty(n_edges, dtype=torch.float32, device=device)
    indptr = torch.empty(n_rows + 1, dtype=torch.int64, device=device)
    return indptr, torch.empty(n_edges, dtype=torch.int32, device=device), weight


def alias_table(
    indptr: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor | None, n_cols: int
) -> torch.Tensor | None:
    """Walker's alias tables of the rows (csrc/common/walk.h), int64 [edges]; None without weights."""
    if weight is None:
        return None
    device = indptr.device
    indptr, indices, weight = indptr.cpu(), indices.cpu(), weight.cpu()
    alias = torch.empty(indices.numel(), dtype=torch.int64, device="cpu")
    n_rows, threads = indptr.numel() - 1, native.threads()
    _C.alias_table(indptr, indices, weight, n_rows, n_cols, alias, threads)
    return alias.to(device)
