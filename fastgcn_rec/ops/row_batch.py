"""The batches of :func:`fastgcn_rec.sample_batch` where every process knows the edges of its own users alone."""

from __future__ import annotations

from typing import Literal

import torch

from ..core import native
from ..core.graph import Graph
from ..core.row_graph import RowGraph, check_row_graph, range_bounds
from ..core.world import World, check_world
from .registration import count_of, offset_of, scalar
from .sample import LAWS, NEGATIVE_OF_BATCH, draw_negatives

Tensor = torch.Tensor


class OwnUsers(Graph):
    """Own users' edges, and behind them a user without any, whom all others are taken for: what samplers that look at one user's edges and at the
    items' degrees take for a graph. Its other side has no edges.

    >>> whole = Graph.from_edges([0, 1, 1], [0, 0, 1])
    >>> own = OwnUsers(RowGraph.of(whole, (1, 2), (0, 2)))
    >>> own.n_users, own.indices.tolist(), own.item_degree.tolist(), own.numbered(torch.tensor([0, 1])).tolist()
    (2, [0, 1], [2, 1], [1, 0])
    """

    def __init__(self, graph: RowGraph) -> None:
        self._whole, (first, last) = graph, graph.users
        self.n_users, self.n_items = last - first + 1, graph.n_items
        self.indptr, self.indices, self.weight = torch.cat([graph.indptr, graph.indptr[-1:]]), graph.indices, None
        self.indptr_t = graph.indptr.new_zeros(1).expand(graph.n_items + 1)
        self.indices_t, self.weight_t = graph.indices.new_empty(0), None
        self._normalised_as, self._schedule, self._cache = None, (None, None), {}

    @property
    def item_degree(self) -> Tensor:
        """Of the whole graph."""
        return self._whole.item_degree

    def numbered(self, users: Tensor) -> Tensor:
        """Rows of these users of the whole graph."""
        first, last = self._whole.users
        return torch.where((users >= first) & (users < last), users - first, last - first)


class RowBatches:
    """Draws from a graph whose rows several processes share out; collective, and the same bits on each as one process's.

    Whether a sample's user is its own, and then who the positive and the negatives are, a process decides by itself; B rows of ids are gathered.

    Parameters
    ----------
    graph : RowGraph
    world : World
        The ranks that share out the users, contiguous ranges in the order of ranks.

    Examples
    --------
    >>> from fastgcn_rec.core.graph import Graph
    >>> graph = Graph.from_edges([0, 1], [1, 0])
    >>> batches = RowBatches(RowGraph.of(graph, (0, 2), (0, 2)), World())
    >>> users, pos, neg = batches(2, seed=0)
    >>> sorted(users.tolist()), (pos + neg.flatten()).tolist()
    ([0, 1], [1, 1])
    """

    def __init__(self, graph: RowGraph, world: World) -> None:
        self.graph, self.world = check_row_graph(graph, "RowBatches"), check_world(world, "RowBatches")
        range_bounds(world, "RowBatches", "users", graph.users, graph.n_users)
        self.own = OwnUsers(graph)
        active = torch.nonzero(graph.user_degree > 0).flatten().to(torch.int32)
        self._active = None if len(active) == graph.n_users else active
        self._n_active, self._before = len(active), graph.edges_before

    def __call__(
        self,
        batch_size: int,
        n_neg: int = 1,
        *,
        seed: int | Tensor,
        offset: int | Tensor = 0,
        by: Literal["edge", "user"] = "edge",
    ) -> tuple[Tensor, Tensor, Tensor]:
        """users [B], pos [B], neg [B, n_neg], int64, as of :func:`fastgcn_rec.sample_batch`, which has the errors too."""
        op, graph = "RowBatches", self.graph
        if by not in LAWS:
            raise ValueError(f"{op}: by must be 'edge' or 'user', got {by!r}")
        batch, n_neg = count_of(op, "batch_size", batch_size), count_of(op, "n_neg", n_neg)
        if graph.n_edges == 0:
            raise ValueError(f"{op}: the graph has no edges to sample from")
        device = graph.indptr.device
        seed = scalar(seed, torch.int64, device, op, "seed")
        offset = offset_of(offset, batch, device, op)
        users, pos = graph.indptr.new_empty(batch), graph.indptr.new_empty(batch)
        rows = native.rows(graph.indptr, graph.indices, None, graph.n_items)
        native.call(
            "own_positives", device, rows, graph.users[0], self._before, graph.n_edges, LAWS[by], self._active, self._n_active, seed, offset,
            batch, users, pos,
        )  # fmt: skip
        neg = draw_negatives(self.own, self.own.numbered(users), n_neg, seed, offset, NEGATIVE_OF_BATCH)
        drawn = self.gathered(users, torch.cat([users[:, None], pos[:, None], neg], 1))
        return drawn[:, 0].contiguous(), drawn[:, 1].contiguous(), drawn[:, 2:].contiguous()

    def gathered(self, users: Tensor, rows: Tensor) -> Tensor:
        """[B, n] on every rank, row b that of the rank whose user users[b] is, of ids >= -1 or of bool."""
        own = self.own.numbered(users) < self.own.n_users - 1
        nothing = torch.zeros_like(rows) if rows.dtype == torch.bool else torch.full_like(rows, -1)
        found = self.world.gather(torch.where(own[:, None], rows, nothing))
        return found.any(0) if rows.dtype == torch.bool else found.amax(0)
