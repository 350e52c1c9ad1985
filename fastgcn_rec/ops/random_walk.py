"""Random walks: traces, and the nodes that the walks of a seed visit most."""

from __future__ import annotations

from typing import Any

import torch

from ..core import native
from ..core.graph import Graph
from ..core.tensors import check_ids
from .registration import accepts_arrays, count_of, number_of, register, scalar

Tensor = torch.Tensor
_GRAPH = (
    "Tensor indptr, Tensor indices, Tensor? alias, Tensor indptr_t, Tensor indices_t, Tensor? alias_t, "
    "Tensor nodes, Tensor seed"
)
_MAX_VISITS = 2**30


def _graph_of(indptr: Tensor, indices: Tensor, indptr_t: Tensor, indices_t: Tensor) -> Any:
    return native.graph(indptr, indices, None, indptr_t, indices_t, None)


def _random_walk(
    indptr: Tensor, indices: Tensor, alias: Tensor | None, indptr_t: Tensor, indices_t: Tensor, alias_t: Tensor | None,
    nodes: Tensor, seed: Tensor, length: int, restart: float,
) -> Tensor:  # fmt: skip
    nodes = nodes.contiguous()
    out = nodes.new_empty((nodes.numel(), length + 1))
    g = _graph_of(indptr, indices, indptr_t, indices_t)
    native.call("random_walk", nodes.device, g, alias, alias_t, nodes, nodes.numel(), length, restart, seed, out)
    return out


def _random_walk_neighbors(
    indptr: Tensor, indices: Tensor, alias: Tensor | None, indptr_t: Tensor, indices_t: Tensor, alias_t: Tensor | None,
    nodes: Tensor, seed: Tensor, n_walks: int, length: int, restart: float, top: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    nodes = nodes.contiguous()
    ids, weights = _outputs(nodes, top)
    g, n_seeds, device = _graph_of(indptr, indices, indptr_t, indices_t), nodes.numel(), nodes.device
    n_nodes = indptr.numel() + indptr_t.numel() - 2
    space = native.workspace(native.size("random_walk_neighbors", device, n_nodes, n_seeds, n_walks, length), device)
    native.call(
        "random_walk_neighbors", device, g, alias, alias_t, nodes, n_seeds, n_walks, length, restart, top, seed, ids,
        weights, space,
    )  # fmt: skip
    return ids, weights


def _outputs(nodes: Tensor, top: int) -> tuple[Tensor, Tensor]:
    shape = (nodes.shape[0], top)
    return nodes.new_empty(shape), nodes.new_empty(shape, dtype=torch.float32)


_walk_op = register(
    f"random_walk({_GRAPH}, int length, float restart) -> Tensor",
    _random_walk,
    lambda *args: args[6].new_empty((args[6].shape[0], args[8] + 1)),
)
_neighbors_op = register(
    f"random_walk_neighbors({_GRAPH}, int n_walks, int length, float restart, int top) -> (Tensor, Tensor)",
    _random_walk_neighbors,
    lambda *args: _outputs(args[6], args[11]),
)


@accepts_arrays
def random_walk(graph: Graph, nodes: Any, length: int, seed: int | Tensor, restart: float = 0.0) -> Any:
    """Traces of random walks, a single step a column: x_0 = nodes[s], x_t+1 a neighbour of x_t, or nodes[s] again.

    A neighbour is drawn uniformly or, in a weighted graph, in proportion to the edge weights. With probability ``restart`` a step
    leads back to the seed instead of over an edge, so that the law of x_t is p_t+1 = restart e_s + (1 - restart) P^T p_t with
    P = D^-1 A, which converges to personalised PageRank. Row s depends on (seed, s, nodes[s]) alone, and a shorter walk is the
    beginning of a longer one; repeat a node for several walks.

    Parameters
    ----------
    graph : Graph
    nodes : integer ids [S], users first, then items: item i is node n_users + i
    length : int >= 0
    seed : int, or a one-element int64 tensor on the graph's device (which a CUDA graph re-reads at every replay)
    restart : float in [0, 1]

    Returns
    -------
    int64 [S, length + 1], the same numbering. After a node without edges all is -1.

    Raises
    ------
    ValueError, TypeError : wrong shape, dtype, device, length or restart. IndexError : a node out of range (CPU).

    Notes
    -----
    The same bits for any number of threads. A neighbour is off its probability by less than 2^-64 (2^-32 with weights), a
    restart by at most degree / 2^32. Weighted graphs get alias tables at first use: 16 bytes an edge.

    Examples
    --------
    >>> graph = Graph.from_edges([0], [0], n_users=2)
    >>> random_walk(graph, [0, 1, 2], 3, seed=0)  # user 0, user 1 without edges, item 0
    tensor([[ 0,  2,  0,  2],
            [ 1, -1, -1, -1],
            [ 2,  0,  2,  0]])
    """
    length = count_of("random_walk", "length", length)
    *args, restart = _checked("random_walk", graph, nodes, seed, restart)
    return _walk_op(*args, length, restart)


@accepts_arrays
def random_walk_neighbors(
    graph: Graph, nodes: Any, n_walks: int, length: int, restart: float, top: int, seed: int | Tensor
) -> Any:
    """The nodes of a seed's own side that its random walks visit most: (ids int64 [S, top], weights float32 [S, top]).

    From each seed ``n_walks`` walks of ``length`` double steps, seed's side -> other side -> seed's side; after each of them the
    walk goes back to the seed with probability ``restart``. Visits are counted where a double step ends; the seed is left out.
    Kept are the ``top`` nodes with the most visits, ties as in :func:`topk` by their rows, and weights = visits / sum of the kept visits: the
    importance neighbourhoods and weights of PinSAGE (Ying et al. 2018, section 3.1) by the walks of Pixie (Eksombatchai et al.
    2018). The result of a seed depends on (seed, node) alone, not on the others it is computed with.

    Parameters
    ----------
    graph : Graph
    nodes : integer ids [S], users first, then items: item i is node n_users + i
    n_walks, length : int >= 1, n_walks * length <= 2^30
    restart : float in [0, 1]
    top : int >= 1
    seed : int, or a one-element int64 tensor on the graph's device (which a CUDA graph re-reads at every replay)

    Returns
    -------
    ids : int64 [S, top], in the numbering of ``nodes``: users get users, items get items. Padded with -1 where fewer than ``top``
        nodes were visited; a seed without edges gets -1 throughout.
    weights : float32 [S, top], descending; 0 where ids is -1

    Raises
    ------
    ValueError, TypeError : wrong shape, dtype, device or number. IndexError : a node out of range (CPU).

    Notes
    -----
    Edges are chosen as by :func:`random_walk`. The same bits for any number of threads. Traces are never written: the workspace holds
    hash tables of visits, on the CPU 128 of at most max(64 KiB, 32 n_walks length bytes); on a GPU shared memory holds them up to
    n_walks * length = 2048, beyond that 256 MiB (or one table, if that is more) serve all seeds in turn.

    Examples
    --------
    >>> graph = Graph.from_edges([0, 1, 1], [0, 0, 1])
    >>> ids, weights = random_walk_neighbors(graph, [0, 2], n_walks=100, length=2, restart=0.5, top=2, seed=0)
    >>> ids  # user 0 shares an item with user 1; item 0 (node 2) a user with item 1 (node 3)
    tensor([[ 1, -1],
            [ 3, -1]])
    >>> weights
    tensor([[1., 0.],
            [1., 0.]])
    """
    op = "random_walk_neighbors"
    n_walks, length, top = (
        count_of(op, name, value, 1) for name, value in (("n_walks", n_walks), ("length", length), ("top", top))
    )
    if n_walks * length > _MAX_VISITS:
        raise ValueError(
            f"{op}: n_walks * length must be <= 2^30, got {n_walks} * {length}; use fewer or shorter walks"
        )
    *args, restart = _checked(op, graph, nodes, seed, restart)
    return _neighbors_op(*args, n_walks, length, restart, top)


def _checked(op: str, graph: Graph, nodes: Any, seed: int | Tensor, restart: float) -> tuple[Any, ...]:
    restart = number_of(op, "restart", restart)
    if not 0 <= restart <= 1:
        raise ValueError(f"{op}: restart must lie in [0, 1], got {restart}")
    nodes = check_ids(op, "nodes", nodes, (None,), graph.indptr)
    seed = scalar(seed, torch.int64, graph.device, op, "seed")
    alias, alias_t = graph.alias_tables()
    return graph.indptr, graph.indices, alias, graph.indptr_t, graph.indices_t, alias_t, nodes, seed, restart
