"""LightGCN: multi-scale diffusion of an embedding table over the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from ..data import Dataset
from ..fold_in import Fold, Side, sum_rows
from ..graph import Graph, Norm, exponents
from ..ops import propagate
from .chance import check_dropout
from .mf import MF

DROPOUT_NORMS = ("rescale", "renormalise")
_EDGES = 1 << 17  # the place of uniform_rows


class LightGCN(MF):
    """LightGCN (He et al. 2020): z = sum_k alpha[k] A~^k E with the symmetrically normalised adjacency A~.

    Parameters
    ----------
    data : Dataset or Graph
    embedding_dim, num_layers : int
    alpha : None (1 / (K + 1) each), a float (each), or K + 1 values
    learn_alpha : bool
        Whether the alphas are trained too.
    norm : as for :func:`fastgcn_rec.propagate`
        Exponents (p, q) make A~ = D^-p A D^-q, as in LightGCN++ (Lee et al. 2024), which also divides a layer's vectors by their lengths
        before each hop: that is left out here, so that z stays linear in E and the fused :class:`fastgcn_rec.TrainStep` trains it.
    gamma : float, optional
        In place of alpha: z = gamma E + (1 - gamma) mean of the K layers that follow (LightGCN++'s pooling).
    edge_dropout : float in [0, 1)
        In training, each edge is left out with this probability, in both directions, anew in every step (within :meth:`at_step`; then no
        TrainStep, steps go by autograd).
    edge_dropout_norm : "rescale" or "renormalise"
        Edges that stay weigh 1 / (1 - edge_dropout) times as much (LightGCN's published code), or degrees are those that they leave (SGL,
        Wu et al. 2021).
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
        norm: Norm = "sym",
        gamma: float | None = None,
        edge_dropout: float = 0.0,
        edge_dropout_norm: Literal["rescale", "renormalise"] = "rescale",
        init_std: float = 0.1,
        seed: int = 0,
        similarity: str = "dot",
    ) -> None:
        super().__init__(data, embedding_dim, init_std=init_std, seed=seed, similarity=similarity)
        if num_layers < 0:
            raise ValueError(f"LightGCN: num_layers must be >= 0, got {num_layers}")
        if gamma is not None:
            if alpha is not None or num_layers == 0:
                raise ValueError(
                    f"LightGCN: gamma={gamma} stands in place of alpha and needs num_layers >= 1; leave one out"
                )
            alpha = [gamma] + [(1 - gamma) / num_layers] * num_layers
        exponents(norm)
        check_dropout("LightGCN", edge_dropout=edge_dropout)
        if edge_dropout_norm not in DROPOUT_NORMS:
            raise ValueError(f"LightGCN: edge_dropout_norm must be one of {DROPOUT_NORMS}, got {edge_dropout_norm!r}")
        self.norm, self.edge_dropout, self.edge_dropout_norm = norm, edge_dropout, edge_dropout_norm
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
        own = {name: getattr(self, name) for name in ("num_layers", "learn_alpha", "edge_dropout", "edge_dropout_norm")}
        return super().config() | own | {"norm": self.norm if isinstance(self.norm, str) else list(self.norm)}

    def get_embedding(self) -> torch.Tensor:
        graph = self.graph
        if self.edge_dropout > 0 and self.chance is not None and self.training:
            graph = self.chance.thinned(graph, self.edge_dropout, _EDGES, self.edge_dropout_norm == "renormalise")
        result: torch.Tensor = propagate(graph, self.embedding.weight, self.alpha, self.norm)
        return result

    def diffusion(self) -> torch.Tensor | None:
        return None if self.learn_alpha or self.edge_dropout > 0 else self.alpha

    @torch.no_grad()
    def folding(self, method: str = "propagate", **options: float) -> Fold:  # type: ignore[override]
        """A new node's vector is what its neighbours send it, no training: its ego vector is 0 and all else stands still.

        z_new = sum_{k=1..K} alpha_k e_new^(k), e_new^(k) = sum_{i in N} w_i / sqrt(d_new d_i) e_i^(k-1): eqs. 3, 4 and 7 of He et al.
        2020 for the new node, with e_i^(k) = (A~^k E)_i and d_i as trained, d_new = sum of the w_i (1 each without weights). As
        one sum: z_new = d_new^-1/2 sum_i w_i d_i^-1/2 y_i, y = sum_{k=0..K-1} alpha_{k+1} A~^k E.

        (With a ``norm`` of exponents (p, q), d_new^-p and d_i^-q.)

        For the edges of a node of the graph this is z - alpha_0 e exactly. Neglected, against propagating through a graph with the new node:
        that d_i grows by w_i, and, from K = 3 on, paths that come back through the new node. Edges to nodes without any
        trained edge add nothing but their weight in d_new; a node without edges gets 0.

        method="ridge", and a model without layers (K = 0): :meth:`MF.folding` against the final vectors, with its ``options``.
        docs/retrieval.md compares the two.
        """
        if method not in ("propagate", "ridge"):
            raise ValueError(f"LightGCN: method must be 'propagate' or 'ridge', got {method!r}")
        if method == "ridge" or self.num_layers == 0:
            return super().folding(**options)
        if options:
            raise TypeError(
                f"LightGCN: method='propagate' takes no options, got {', '.join(options)}; method='ridge' does"
            )
        weight = self.embedding.weight
        right = self.graph.scales(self.norm, weight.dtype)[1]
        sent = propagate(self.graph, weight, self.alpha[1:], self.norm)
        sent = sent if right is None else sent * right[:, None]
        by_users, by_items = sent.split([self.n_users, self.n_items])

        def fold(edges: Graph, new: Side) -> torch.Tensor:
            left = edges.scales(self.norm, sent.dtype)[0]
            received = sum_rows(edges, by_items if new == "users" else by_users)
            return received if left is None else received * left[: edges.n_users, None]

        return fold
