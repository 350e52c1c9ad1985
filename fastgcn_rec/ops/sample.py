"""Counter-based samplers: the same numbers on the CPU, on a GPU and for any number of threads."""

from __future__ import annotations

from typing import Any, Literal

import torch

from ..core import native
from ..core.graph import Graph
from ..core.tensors import check_device, check_ids
from .registration import accepts_arrays, count_of, offset_of, register, scalar

Tensor = torch.Tensor
LAWS = {"edge": 0, "user": 1}
NEGATIVE, NEGATIVE_OF_BATCH = 1, 4  # of Stream in csrc/common/philox.h


def _sample_negatives(
    indptr: Tensor, indices: Tensor, indptr_t: Tensor, cumulative: Tensor | None, users: Tensor, n: int, seed: Tensor,
    offset: Tensor, stream: int, first: int,
) -> Tensor:  # fmt: skip
    users = users.contiguous()
    out = users.new_empty((users.numel(), n))
    g = native.graph(indptr, indices, None, indptr_t, indices, None)
    native.call(
        "sample_negatives", users.device, g, cumulative, users, users.numel(), n, seed, offset, stream, first, out
    )
    return out


def _unseen_mask(indptr: Tensor, indices: Tensor, indptr_t: Tensor, users: Tensor, items: Tensor) -> Tensor:
    users, items = users.contiguous(), items.contiguous()
    out = _mask_output(indptr, indices, indptr_t, users, items)
    order = None
    if items.shape[0] != users.shape[0]:
        sorted_items, order = items[0].sort(stable=True)
        items = sorted_items
    g = native.graph(indptr, indices, None, indptr_t, indices, None)
    native.call("unseen_mask", users.device, g, users, users.numel(), items, order, items.shape[-1], out)
    return out


def _mask_output(indptr: Tensor, indices: Tensor, indptr_t: Tensor, users: Tensor, items: Tensor) -> Tensor:
    return users.new_empty((users.shape[0], items.shape[1]), dtype=torch.bool)


def _sample_batch(
    indptr: Tensor,
    indices: Tensor,
    indptr_t: Tensor,
    active: Tensor | None,
    seed: Tensor,
    offset: Tensor,
    batch: int,
    n_neg: int,
    law: int,
) -> tuple[Tensor, Tensor, Tensor]:
    users, pos, neg = _batch_outputs(indptr, indices, indptr_t, active, seed, offset, batch, n_neg, law)
    n_active = indptr.numel() - 1 if active is None else active.numel()
    g = native.graph(indptr, indices, None, indptr_t, indices, None)
    native.call(
        "sample_batch", indptr.device, g, indices.numel(), law, active, n_active, seed, offset, batch, n_neg, users, pos, neg,
    )  # fmt: skip
    return users, pos, neg


def _batch_outputs(indptr: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    batch, n_neg = rest[-3], rest[-2]
    return indptr.new_empty(batch), indptr.new_empty(batch), indptr.new_empty((batch, n_neg))


_negatives_op = register(
    "sample_negatives(Tensor indptr, Tensor indices, Tensor indptr_t, Tensor? cumulative, Tensor users, int n, Tensor seed, Tensor offset,"
    " int stream, int first) -> Tensor",
    _sample_negatives,
    lambda indptr, indices, indptr_t, cumulative, users, n, *rest: users.new_empty((users.shape[0], n)),
)
_mask_op = register(
    "unseen_mask(Tensor indptr, Tensor indices, Tensor indptr_t, Tensor users, Tensor items) -> Tensor",
    _unseen_mask,
    _mask_output,
)
_batch_op = register(
    "sample_batch(Tensor indptr, Tensor indices, Tensor indptr_t, Tensor? active, Tensor seed, Tensor offset, int batch, int n_neg, int law)"
    " -> (Tensor, Tensor, Tensor)",
    _sample_batch,
    _batch_outputs,
)


def _sample_listed(lists: Tensor, counts: Tensor, rows: Tensor, n: int, seed: Tensor, offset: Tensor) -> Tensor:
    lists, counts, rows = lists.contiguous(), counts.contiguous(), rows.contiguous()
    out = rows.new_empty((rows.numel(), n))
    native.call(
        "sample_listed", rows.device, lists, counts, *lists.shape, rows, rows.numel(), n, seed, offset, out,
    )  # fmt: skip
    return out


_listed_op = register(
    "sample_listed(Tensor lists, Tensor counts, Tensor rows, int n, Tensor seed, Tensor offset) -> Tensor",
    _sample_listed,
    lambda lists, counts, rows, n, seed, offset: rows.new_empty((rows.shape[0], n)),
)


@accepts_arrays
def sample_negatives(graph: Graph, users: Any, n: int, seed: int | Tensor) -> Any:
    """For every user ``n`` items that the user has no edge to, uniform and independent (with replacement).

    One draw each, no rejection: rank r uniform on [0, number of unseen items), then the r-th unseen item by binary search. A user
    who has seen every item gets -1, which the losses take as "no negative". Row b, draw j depends on (seed, b, j) alone.

    Parameters
    ----------
    graph : Graph
    users : integer ids [B]
    n : int >= 0
    seed : int, or a one-element int64 tensor on the graph's device (which a CUDA graph re-reads at every replay)

    Returns
    -------
    int64 [B, n]

    Raises
    ------
    ValueError, TypeError : wrong shape, dtype, device or n. IndexError : a user out of range (CPU).

    Examples
    --------
    >>> graph = Graph.from_edges([0, 0], [0, 2], n_items=3)
    >>> sample_negatives(graph, [0], 4, seed=1)
    tensor([[1, 1, 1, 1]])
    """
    n = count_of("sample_negatives", "n", n)
    users = check_ids("sample_negatives", "users", users, (None,), graph.indptr)
    return draw_negatives(graph, users, n, seed, 0, NEGATIVE)


def draw_negatives(
    graph: Graph, users: Tensor, n: int, seed: int | Tensor, offset: int | Tensor, stream: int, first: int = 0,
    cumulative: Tensor | None = None, anybody: bool = False,
) -> Tensor:  # fmt: skip
    """The op behind the samplers: row b, draw j is made of the random numbers (seed, stream, offset + b, first + j); unchecked.

    cumulative : int64 [n_items], what :meth:`Graph.item_law` gives; None: uniform
    anybody : one row for a user without edges, in place of ``users``
    """
    seed = scalar(seed, torch.int64, graph.device, "sample_negatives", "seed")
    offset = offset_of(offset, len(users), graph.device, "sample_negatives")
    indptr = graph.indptr
    if anybody:
        indptr, users = indptr.new_zeros(2), indptr.new_zeros(1)
    result: Tensor = _negatives_op(
        indptr, graph.indices, graph.indptr_t, cumulative, users, n, seed, offset, stream, first
    )
    return result


@accepts_arrays
def unseen_mask(graph: Graph, users: Any, items: Any) -> Any:
    """Which items are no edges of which users: what masks negatives that a batch shares.

    Parameters
    ----------
    graph : Graph
    users : integer ids [B]
    items : integer ids [B, M], or [1, M]: the same for every user
        -1 means "none".

    Returns
    -------
    bool [B, M]: True where the user has no edge to the item; False where there is one, and for -1.

    Raises
    ------
    TypeError, ValueError : wrong shape, dtype or device. IndexError : an id out of range (CPU).

    Examples
    --------
    >>> graph = Graph.from_edges([0, 1], [0, 2])
    >>> unseen_mask(graph, [0, 1], [[0, 1, 2]])
    tensor([[False,  True,  True],
            [ True,  True, False]])
    """
    users = check_ids("unseen_mask", "users", users, (None,), graph.indptr)
    items = check_ids("unseen_mask", "items", items, (None, None), graph.indptr)
    if items.shape[0] not in (1, users.shape[0]):
        raise ValueError(
            f"unseen_mask: items must have shape [batch, M] = [{users.shape[0]}, M], or [1, M] when they are the same for every "
            f"user, got {list(items.shape)}"
        )
    return _mask_op(graph.indptr, graph.indices, graph.indptr_t, users, items)


@accepts_arrays
def sample_batch(
    graph: Graph,
    batch_size: int,
    n_neg: int = 1,
    *,
    seed: int | Tensor,
    offset: int | Tensor = 0,
    by: Literal["edge", "user"] = "edge",
) -> tuple[Tensor, Tensor, Tensor]:
    """A training batch: users [B], positives [B] and uniform unseen negatives [B, n_neg], int64.

    Row b is sample t = offset + b of the stream that ``seed`` names, so an epoch is a run of calls with growing offset.

    by="edge": edges without replacement; every n_edges consecutive samples visit each edge once, in an order that depends on
    (seed, t // n_edges) (a Feistel permutation, no table). by="user": a user uniform over those with an edge, then one of the
    user's items, uniform (the sampling of LightGCN's published code and of CS224W). Weights of edges do not enter the draw.

    Parameters
    ----------
    graph : Graph
    batch_size, n_neg : int >= 0, B and the negatives of each
    seed, offset : int, or one-element int64 tensors on the graph's device (which a CUDA graph re-reads at every replay)
    by : "edge" or "user"

    Raises
    ------
    ValueError : a graph without edges, a size < 0, an offset < 0 or so large that offset + b leaves 63 bits, or an unknown law.
    TypeError : a size, seed or offset that is no integer.

    Examples
    --------
    >>> graph = Graph.from_edges([0, 1], [1, 0])
    >>> users, pos, neg = sample_batch(graph, 2, seed=0)
    >>> sorted(users.tolist()), (pos + neg.flatten()).tolist()
    ([0, 1], [1, 1])
    """
    if by not in LAWS:
        raise ValueError(f"sample_batch: by must be 'edge' or 'user', got {by!r}")
    batch_size, n_neg = (
        count_of("sample_batch", "batch_size", batch_size),
        count_of("sample_batch", "n_neg", n_neg),
    )
    if graph.n_edges == 0:
        raise ValueError("sample_batch: the graph has no edges to sample from")
    seed = scalar(seed, torch.int64, graph.device, "sample_batch", "seed")
    offset = offset_of(offset, batch_size, graph.device, "sample_batch")
    active = graph.active_users() if by == "user" else None
    result: tuple[Tensor, Tensor, Tensor] = _batch_op(
        graph.indptr, graph.indices, graph.indptr_t, active, seed, offset, batch_size, n_neg, LAWS[by]
    )
    return result


@accepts_arrays
def sample_listed(lists: Any, counts: Any, rows: Any, n: int, seed: int | Tensor, offset: int | Tensor = 0) -> Any:
    """From list rows[b], for every b, ``n`` candidates, uniform and independent (with replacement); -1 where the list is empty.

    Draw j of row b depends on (seed, offset + b, j) alone, so that a training run is a run of calls with growing offset.

    Parameters
    ----------
    lists : int32 [L, width], candidates of each list first, then anything
    counts : int32 [L], how many there are, in [0, width]
    rows : integer ids [B] in [0, L)
    n : int >= 0
    seed, offset : ints, or one-element int64 tensors on the device of ``lists``

    Returns
    -------
    int64 [B, n]

    Raises
    ------
    ValueError, TypeError : wrong shape, dtype, device or n. IndexError : a row out of range, or a count of one of these rows (CPU).

    Examples
    --------
    >>> import torch
    >>> sample_listed(torch.tensor([[7, -1]], dtype=torch.int32), torch.tensor([1], dtype=torch.int32), [0, 0], 2, seed=1)
    tensor([[7, 7],
            [7, 7]])
    """
    for name, t, dims in (("lists", lists, 2), ("counts", counts, 1)):
        if not isinstance(t, Tensor) or t.dtype != torch.int32 or t.dim() != dims or t.layout != torch.strided:
            raise TypeError(f"sample_listed: {name} must be an int32 tensor of {dims} dimensions, got {_describe(t)}")
    check_device("sample_listed", "counts", counts, lists)
    if counts.shape[0] != lists.shape[0]:
        raise ValueError(
            f"sample_listed: counts must have shape [{lists.shape[0]}], one a list, got {list(counts.shape)}"
        )
    n = count_of("sample_listed", "n", n)
    rows = check_ids("sample_listed", "rows", rows, (None,), lists)
    seed = scalar(seed, torch.int64, lists.device, "sample_listed", "seed")
    offset = offset_of(offset, len(rows), lists.device, "sample_listed")
    return _listed_op(lists, counts, rows, n, seed, offset)


def _describe(t: Any) -> str:
    return f"{t.dtype} {list(t.shape)}" if isinstance(t, Tensor) else type(t).__name__
