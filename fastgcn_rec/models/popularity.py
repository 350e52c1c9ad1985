"""The baseline that every model must beat."""

from __future__ import annotations

import torch

from ..evaluate import Scorer
from .base import Recommender


class Popularity(Recommender):
    """Scores an item by its number of training users, alike for everybody.

    Examples
    --------
    >>> from fastgcn_rec import Graph
    >>> Popularity(Graph.from_edges([0, 1, 2], [1, 1, 0], 3, 2)).recommend([2], k=1)[0].tolist()
    [[1]]
    """

    def get_embedding(self) -> torch.Tensor:
        users = torch.ones(self.n_users, 1, device=self.graph.device)
        return torch.cat([users, self.graph.item_degree.float()[:, None]])

    def scorer(self) -> Scorer:
        degree = self.graph.item_degree.float()
        return lambda ids: degree.expand(len(ids), -1)
