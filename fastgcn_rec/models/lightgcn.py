"""LightGCN: multi-scale diffusion of an embedding table over the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..data import Dataset
from ..graph import Graph
from ..ops import propagate
from .mf import MF


class LightGCN(MF):
    """LightGCN (He et al. 2020): z = sum_k alpha[k] A~^k E with the symmetrically normalised adjacency A~.

    Parameters
    ----------
    data : Dataset or Graph
    embedding_dim, num_layers : int
    alpha : None (1 / (K + 1) each), a float (each), or K + 1 values
    learn_alpha : bool
        Whether the alphas are trained too.
    init_std, seed, similarity : as for :class:`MF`

    The state_dict has the keys "embedding.weight" and "alpha" and loads into torch_geometric.nn.LightGCN.

    Examples
    --------
    >>> model = LightGCN(Graph.from_edges([0, 1], [1, 0]), embedding_dim=8, num_layers=2)
    >>> sorted(model.state_dict())
    ['alpha', 'embedding.weight']
    """

    def __init__(
        self,
        data: Dataset | Graph,
        embedding_dim: int = 64,
        num_layers: int = 3,
        alpha: float | Sequence[float] | torch.Tensor | None = None,
        *,
        learn_alpha: bool = False,
        init_std: float = 0.1,
        seed: int = 0,
        similarity: str = "dot",
    ) -> None:
        super().__init__(data, embedding_dim, init_std=init_std, seed=seed, similarity=similarity)
        if num_layers < 0:
            raise ValueError(f"LightGCN: num_layers must be >= 0, got {num_layers}")
        value = 1 / (num_layers + 1) if alpha is None else alpha
        values = torch.as_tensor(value, dtype=torch.float32)
        if values.dim() == 0:
            values = values.repeat(num_layers + 1)
        if values.shape != (num_layers + 1,):
            raise ValueError(
                f"LightGCN: alpha must be one number or num_layers + 1 = {num_layers + 1}, got {list(values.shape)}"
            )
        self.num_layers, self.learn_alpha = num_layers, learn_alpha
        if learn_alpha:
            self.alpha = torch.nn.Parameter(values)
        else:
            self.register_buffer("alpha", values)

    def config(self) -> dict[str, Any]:
        return super().config() | {"num_layers": self.num_layers, "learn_alpha": self.learn_alpha}

    def get_embedding(self) -> torch.Tensor:
        result: torch.Tensor = propagate(self.graph, self.embedding.weight, self.alpha)
        return result

    def diffusion(self) -> torch.Tensor | None:
        return None if self.learn_alpha else self.alpha
