"""Shallow matrix factorization."""

from __future__ import annotations

from typing import Any

import torch

from ..data import Dataset
from ..graph import Graph
from .base import Recommender


class MF(Recommender):
    """Matrix factorization: a free vector per user and item.

    Parameters
    ----------
    data : Dataset or Graph
    embedding_dim : int
    init_std : float
        Standard deviation of the normal initial values.
    seed : int
        Of the initial values.
    similarity : "dot" or "cosine"

    Examples
    --------
    >>> model = MF(Graph.from_edges([0, 1], [1, 0]), embedding_dim=8)
    >>> model.get_embedding().shape
    torch.Size([4, 8])
    """

    def __init__(
        self,
        data: Dataset | Graph,
        embedding_dim: int = 64,
        *,
        init_std: float = 0.1,
        seed: int = 0,
        similarity: str = "dot",
    ) -> None:
        super().__init__(data, similarity)
        if embedding_dim < 1:
            raise ValueError(f"{type(self).__name__}: embedding_dim must be >= 1, got {embedding_dim}")
        self.embedding_dim, self.init_std, self.seed = embedding_dim, init_std, seed
        self.embedding = torch.nn.Embedding(self.graph.n_nodes, embedding_dim)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        shape = self.embedding.weight.shape
        self.embedding.weight.copy_(torch.randn(shape, generator=generator) * self.init_std)

    def config(self) -> dict[str, Any]:
        own = {"embedding_dim": self.embedding_dim, "init_std": self.init_std, "seed": self.seed}
        return super().config() | own

    def get_embedding(self) -> torch.Tensor:
        return self.embedding.weight

    def ego_embedding(self) -> torch.Tensor:
        return self.embedding.weight

    def diffusion(self) -> torch.Tensor | None:
        return torch.ones(1)
