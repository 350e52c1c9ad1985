"""The baseline that every model must beat."""

from __future__ import annotations

import torch

from ..core.graph import Graph, Side
from ..ranking.protocols import Fold, Scorer
from .base import Recommender


class Popularity(Recommender):
    """Scores an item by its number of training users, alike for everybody.

    Examples
    --------
    >>> Popularity(Graph.from_edges([0, 1, 2], [1, 1, 0], 3, 2)).recommend([2], k=1)[0].tolist()
    [[1]]
    """

    def get_embedding(self) -> torch.Tensor:
        users = torch.ones(self.n_users, 1, device=self.graph.device)
        return torch.cat([users, self.graph.item_degree.float()[:, None]])

    def scorer(self) -> Scorer:
        degree = self.graph.item_degree.float()
        return lambda ids: degree.expand(len(ids), -1)

    def folding(self) -> Fold:
        """A new item's vector is its number of users; new users are like all others."""
        return _count


def _count(edges: Graph, new: Side) -> torch.Tensor:
    degree = edges.user_degree.float()[:, None]  # the rows are the new nodes
    return torch.ones_like(degree) if new == "users" else degree
