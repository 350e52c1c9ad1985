"""Personalized PageRank by forward push: sparse vectors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from ..core import native
from ..core.graph import Graph
from .ppr import check_nodes
from .registration import accepts_arrays, number_of

Tensor = torch.Tensor
_LEAST_RESTART = 1e-6  # what a push takes off is this part of it: below, pushing goes on for hours


class PprPush(NamedTuple):
    """What :func:`ppr_push` returns: rows in CSR, as ``scipy.sparse.csr_array((scores, ids, indptr))`` takes them."""

    indptr: Tensor
    ids: Tensor
    scores: Tensor


@accepts_arrays
def ppr_push(graph: Graph, nodes: Any, restart: float = 0.15, epsilon: float = 1e-6) -> Any:
    """Personalized PageRank as sparse vectors, by forward push (Andersen, Chung & Lang 2006).

    For graphs where dense vectors do not fit: the time of a source does not depend on the size of the graph but is O(1 / (restart *
    epsilon)), memory 4 bytes a node and thread. With pi as in :func:`ppr` and d the (weighted) degree, for every node v

        0 <= pi_s(v) - p_s(v) <= epsilon * d(v).

    Parameters
    ----------
    graph : Graph on the CPU
    nodes : integer ids [S] in [0, n_nodes), sources; item i is node n_users + i
    restart : in [1e-6, 1)
    epsilon : > 0, finite

    Returns
    -------
    PprPush
        indptr int64 [S + 1], ids int64 [n], scores float64 [n]: row b is ids[indptr[b] : indptr[b + 1]], ascending, the nodes with
        p_s(v) > 0.

    Raises
    ------
    ValueError : restart, epsilon or shape, or a graph on a GPU. IndexError : a node out of range.

    Notes
    -----
    The same bits for any number of threads: a source is one thread's, nodes are pushed in the order in which they came to wait.

    Examples
    --------
    >>> graph = Graph.from_edges([0, 1], [0, 0])
    >>> ppr_push(graph, [0], restart=0.5, epsilon=0.2).ids
    tensor([0, 2])
    """
    restart, epsilon = number_of("ppr_push", "restart", restart), number_of("ppr_push", "epsilon", epsilon)
    if not _LEAST_RESTART <= restart < 1:
        raise ValueError(f"ppr_push: restart must lie in [{_LEAST_RESTART}, 1), got {restart}; ppr takes smaller ones")
    if not 0 < epsilon < math.inf:
        raise ValueError(f"ppr_push: epsilon must be > 0 and finite, got {epsilon}")
    if graph.device.type != "cpu":
        raise ValueError(
            f"ppr_push: runs on the CPU, but the graph is on {graph.device}; call graph.to('cpu'), or use ppr_topk, which runs there"
        )
    nodes = check_nodes("ppr_push", "nodes", nodes, graph, graph.n_nodes).contiguous()
    inverse, _ = graph.scales("left", torch.float64)
    push = native.ppr_push(graph.links().native(), inverse, nodes, restart, epsilon)
    indptr = torch.empty(len(nodes) + 1, dtype=torch.int64, device="cpu")
    ids = torch.empty(push.n_entries(), dtype=torch.int64, device="cpu")
    scores = torch.empty(push.n_entries(), dtype=torch.float64, device="cpu")
    push.copy(indptr, ids, scores)
    return PprPush(indptr, ids, scores)
