"""Clusters of users and items together, by the singular vectors of their graph."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.graph import Graph
from ..core.philox import generator
from ..ops.half_hop import half_hop
from .spectral import top_singular

_VECTORS = 16  # singular vectors that tell clusters apart, beside the first, which is the degree's
_SAMPLE = 20_000  # rows that the centres are fitted to
_ROUNDS = 10  # of k-means


def cocluster(graph: Graph, n_clusters: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The cluster of every user and of every item, numbered so that neighbours in the chain of nearest centres follow each other; None where the graph
    is too small to tell clusters apart: at most 16 users or items, or no edges.

    Spectral co-clustering (Dhillon 2001, "Co-clustering documents and words using bipartite spectral graph partitioning"): k-means on the rows of
    D^-1/2 [U; V], U and V the singular vectors of D^-1/2 R D^-1/2 after the first.

    Examples
    --------
    >>> cocluster(Graph.from_edges([0], [0]), 2, 0) is None
    True
    """
    if min(graph.n_users, graph.n_items) <= _VECTORS or graph.n_edges == 0:
        return None
    labels = _labels(graph, n_clusters, seed)
    return labels[: graph.n_users], labels[graph.n_users :]


def _labels(graph: Graph, n_clusters: int, seed: int) -> NDArray[np.int64]:
    """The cluster of every node, users first."""
    from scipy.cluster.vq import kmeans2, vq

    vectors = _embedding(graph, seed)
    rng = generator(seed)
    sample = rng.choice(len(vectors), min(len(vectors), _SAMPLE), replace=False)
    n_clusters = min(n_clusters, len(sample))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")  # it stays where it is
        centres, _ = kmeans2(vectors[np.sort(sample)], n_clusters, _ROUNDS, minit="++", seed=rng)
    place, left = np.empty(n_clusters, np.int64), np.ones(n_clusters, bool)
    now = 0
    for position in range(n_clusters):
        place[now], left[now] = position, False
        now = int(np.argmin(np.where(left, ((centres - centres[now]) ** 2).sum(1), np.inf)))
    return place[vq(vectors, centres)[0]]


def _embedding(graph: Graph, seed: int) -> NDArray[np.float32]:
    """Rows of length 1 (or 0) of D^-1/2 times the singular vectors of D^-1/2 R D^-1/2 after the first."""
    scale = graph.scales("sym", torch.float32)[0]
    assert scale is not None
    left, right = scale.split([graph.n_users, graph.n_items])
    squares, items = top_singular(graph, left, right, _VECTORS + 1, seed)
    users = half_hop(graph, items, "users", left, right) * torch.where(squares > 0, squares.rsqrt(), 0)
    vectors = torch.cat([users, items])[:, 1:] * scale[:, None]
    rows: NDArray[np.float32] = torch.nn.functional.normalize(vectors, dim=1).numpy()
    return rows
