"""The importance neighbourhoods of items: those that random walks visit most."""

from __future__ import annotations

import dataclasses

import torch

from ...core.graph import Graph
from ...ops.random_walk import random_walk_neighbors
from .layers import Neighborhoods

CANDIDATES = 10  # times ``top``: of the neighbours that degree_power ranks


@dataclasses.dataclass(frozen=True)
class Walks:
    """How neighbourhoods are found; the fields are :class:`PinSAGE`'s."""

    top: int
    n_walks: int
    walk_length: int
    restart: float
    degree_power: float

    def neighborhoods(self, graph: Graph, seed: int) -> Neighborhoods:
        """Of all items of the graph."""
        nodes = torch.arange(graph.n_users, graph.n_nodes, device=graph.device)
        most = self.top * (CANDIDATES if self.degree_power else 1)
        ids, weights = random_walk_neighbors(graph, nodes, self.n_walks, self.walk_length, self.restart, most, seed)
        near = Neighborhoods(torch.where(ids >= 0, ids - graph.n_users, ids), weights)
        return near.reweighted(graph.item_degree, self.degree_power, self.top) if self.degree_power else near
