"""Shallow matrix factorization."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..core.arguments import check_count, check_number
from ..core.graph import Graph
from ..data import Dataset
from ..ranking.protocols import Fold
from ..ranking.ridge import ridge
from .base import Recommender


class MF(Recommender):
    """Matrix factorization: a free vector per user and item.

    Weights of edges play no part in its training (positives are drawn by edge) but in :meth:`folding`.

    Parameters
    ----------
    data : Dataset or Graph
    embedding_dim : int
    init_std : float
        Standard deviation of the normal initial values.
    seed : int
        Of the initial values.
    similarity : "dot" or "cosine"

    Raises
    ------
    TypeError : an option of another kind. ValueError : one that cannot work, with what is allowed.

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
        name = type(self).__name__
        self.embedding_dim = check_count(embedding_dim, f"{name}: embedding_dim", 1, 2**31 - 1)
        self.init_std, self.seed = check_number(init_std, f"{name}: init_std"), check_count(seed, f"{name}: seed")
        if not math.isfinite(self.init_std):
            raise ValueError(f"{name}: init_std must be finite, got {self.init_std}")
        self.embedding = torch.nn.Embedding(self.graph.n_nodes, self.embedding_dim)
        self.reset_parameters()
        self.to(self.graph.device)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        generator = torch.Generator().manual_seed(int(self.seed))
        shape = self.embedding.weight.shape
        self.embedding.weight.copy_(torch.randn(shape, generator=generator, device="cpu") * self.init_std)

    def config(self) -> dict[str, Any]:
        own = {"embedding_dim": self.embedding_dim, "init_std": self.init_std, "seed": self.seed}
        return super().config() | own

    def get_embedding(self) -> torch.Tensor:
        return self.embedding.weight

    def ego_embedding(self) -> torch.Tensor:
        return self.embedding.weight

    def diffusion(self) -> torch.Tensor | None:
        return torch.ones(1, device=self.embedding.weight.device)

    @torch.no_grad()
    def folding(self, reg: float = 0.3, unobserved: float = 0.02) -> Fold:
        """A new user's vector by ridge least squares against the frozen item vectors y, in closed form; items likewise against users.

        x = argmin sum_{i in N} w_i (1 - x . y_i)^2 + unobserved * sum_i (x . y_i)^2 + lambda |x|^2
          = (sum_{i in N} w_i y_i y_i^T + unobserved * G + lambda I)^-1 sum_{i in N} w_i y_i,   G = sum_i y_i y_i^T

        (one half-step of implicit ALS: Hu et al. 2008, eq. 4, weighted as in Rendle et al. 2022, "Revisiting the performance of iALS",
        eq. 2), with lambda = reg * tr(G) / dim, so that ``reg`` does not depend on the scale of the vectors. Solved in float64 by LAPACK on one thread. The defaults were chosen on held-out training data
        (docs/choices.md).

        Parameters
        ----------
        reg : float > 0
        unobserved : float >= 0
            The weight of an item that the user does not have, against 1 for one that it has.
        """
        return ridge(type(self).__name__, *self.scoring_vectors(), self.embedding.weight.dtype, reg, unobserved)
