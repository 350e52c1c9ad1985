"""LightGCN: multi-scale diffusion of an embedding table over the graph."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch

from ..core.arguments import as_floats, as_python, check_count, check_flag, check_numbers, check_size
from ..core.graph import Graph, Norm, Side, exponents
from ..core.native import accumulator
from ..core.world import World
from ..data import Dataset
from ..ops.half_hop import half_hop
from ..ops.propagate import propagate
from ..ops.softmax_loss import softmax_loss
from ..ranking.protocols import Fold
from .mf import MF
from .space import Tunable
from .step_noise import check_dropout

DROPOUT_NORMS = ("rescale", "renormalise")
_EDGES, _NOISE = 1 << 17, 1 << 18  # places of uniform_rows; layer k of view v: _NOISE + v * K + k


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
    noise : float >= 0
        In training, each layer gets random rows of this length, with its own signs (:meth:`StepNoise.noise`), before the next: a noisy view
        (SimGCL, Yu et al. 2022; XSimGCL, 2023). They leave layer 0 out: alpha = [0, 1/K, ..., 1/K].
    contrast : float >= 0
        Adds contrast * (c(users) + c(items)) to the loss, where c is the in-batch softmax, at ``contrast_temperature``, over the batch's
        distinct nodes between two views z', z'' of each.
    contrast_layer : int in [1, K], or None
        z' is the view that the batch's own loss is of, z'' its layer ``contrast_layer`` (XSimGCL). None: that loss is of z without noise, and
        there are two views beside it (SimGCL).
    init_std, seed, similarity, popularity, world : as for :class:`MF`

    The state_dict has the keys "embedding.weight" and "alpha" and loads into torch_geometric.nn.LightGCN.

    Raises
    ------
    TypeError : an option of another kind. ValueError : one that cannot work, with what is allowed.

    Examples
    --------
    >>> model = LightGCN(Graph.from_edges([0, 1], [1, 0]), embedding_dim=8, num_layers=2)
    >>> sorted(model.state_dict())
    ['alpha', 'embedding.weight']
    """

    tuning_space = (*MF.tuning_space, Tunable("num_layers", 1, 3))

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
        noise: float = 0.0,
        contrast: float = 0.0,
        contrast_layer: int | None = 1,
        contrast_temperature: float = 0.2,
        init_std: float = 0.1,
        seed: int = 0,
        similarity: str = "dot",
        popularity: float = 0.0,
        world: World | None = None,
    ) -> None:
        super().__init__(
            data, embedding_dim, init_std=init_std, seed=seed, similarity=similarity, popularity=popularity, world=world
        )
        num_layers, norm = check_count(num_layers, "LightGCN: num_layers", 0), as_python(norm)
        check_flag(learn_alpha, "LightGCN: learn_alpha")
        learn_alpha = as_python(learn_alpha)
        contrast_layer = None if contrast_layer is None else check_count(contrast_layer, "LightGCN: contrast_layer")
        edge_dropout, noise, contrast, contrast_temperature = check_numbers(
            "LightGCN",
            edge_dropout=edge_dropout,
            noise=noise,
            contrast=contrast,
            contrast_temperature=contrast_temperature,
        )
        if gamma is not None:
            gamma = check_size(gamma, "LightGCN: gamma")
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
        if not (0 <= noise < math.inf and 0 <= contrast < math.inf):
            raise ValueError(f"LightGCN: noise and contrast must be >= 0 and finite, got {noise} and {contrast}")
        if contrast > 0 and (noise == 0 or num_layers == 0):
            raise ValueError(
                f"LightGCN: contrast={contrast} compares noisy layers; give noise > 0 and num_layers >= 1, got {noise} and {num_layers}"
            )
        if contrast > 0 and contrast_layer is not None and not 1 <= contrast_layer <= num_layers:
            raise ValueError(
                f"LightGCN: contrast_layer must lie in [1, num_layers] = [1, {num_layers}] or be None, got {contrast_layer}"
            )
        if not contrast_temperature > 0:
            raise ValueError(f"LightGCN: contrast_temperature must be > 0, got {contrast_temperature}")
        self.noise, self.contrast, self.contrast_layer = noise, contrast, contrast_layer
        self.contrast_temperature = contrast_temperature
        self._views: tuple[torch.Tensor, torch.Tensor] | None = None
        value = 1 / (num_layers + 1) if alpha is None else alpha
        numbers = value if isinstance(value, torch.Tensor) else as_floats(value, "LightGCN: alpha")
        values = torch.as_tensor(numbers, dtype=torch.float32)
        if values.dim() == 0:
            values = values.repeat(num_layers + 1)
        if values.shape != (num_layers + 1,):
            raise ValueError(
                f"LightGCN: alpha must be one number or num_layers + 1 = {num_layers + 1}, got {list(values.shape)}"
            )
        if not bool(values.isfinite().all()):
            raise ValueError(f"LightGCN: alpha must be finite, as float32, got {values.tolist()}")
        self.num_layers, self.learn_alpha = num_layers, learn_alpha
        if learn_alpha:
            self.alpha = torch.nn.Parameter(values)
        else:
            self.register_buffer("alpha", values)
        self.to(self.graph.device)

    def config(self) -> dict[str, Any]:
        names = ("num_layers", "learn_alpha", "edge_dropout", "edge_dropout_norm")
        noise = ("noise", "contrast", "contrast_layer", "contrast_temperature")
        own = {name: getattr(self, name) for name in names + noise}
        return super().config() | own | {"norm": self.norm if isinstance(self.norm, str) else list(self.norm)}

    def get_embedding(self) -> torch.Tensor:
        graph = self.graph
        if self.edge_dropout > 0 and self.step_noise is not None and self.training:
            graph = self.step_noise.drop_edges(
                graph, self.edge_dropout, _EDGES, self.edge_dropout_norm == "renormalise"
            )
        if self._noise_enters() and not self._apart():
            views = self._noisy(graph, 0)
            self._views = views if self.contrast > 0 else None
            return views[0]
        result: torch.Tensor = propagate(graph, self.embedding.weight, self.alpha, self.norm, self.columns)
        return result

    def _noise_enters(self) -> bool:
        return self.noise > 0 and self.step_noise is not None and self.training

    def _apart(self) -> bool:
        """Whether the loss is of a view without noise."""
        return self.contrast > 0 and self.contrast_layer is None

    def _noisy(self, graph: Graph, view: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(z, layer ``contrast_layer``) with the noise of a view."""
        assert self.step_noise is not None
        x = self.embedding.weight
        z, kept = propagate(graph, x, self.alpha[:1], self.norm, self.columns), x
        for k in range(1, self.num_layers + 1):
            x = propagate(graph, x, [0.0, 1.0], self.norm)
            x = x + self.step_noise.noise(x, self.noise, _NOISE + view * self.num_layers + k, self.columns)
            z = z + propagate(graph, x, self.alpha[k : k + 1], self.norm, self.columns)
            if k == self.contrast_layer:
                kept = x
        return z, kept

    def auxiliary_loss(self, users: torch.Tensor, pos: torch.Tensor) -> torch.Tensor | None:
        if self.contrast == 0 or not self._noise_enters():
            return None
        if self._apart():
            a, b = (self._noisy(self.graph, view)[0] for view in (0, 1))
        else:
            assert self._views is not None  # the batch's loss came first
            (a, b), self._views = self._views, None
        total = a.new_zeros(())
        for nodes in (users.unique(), pos.unique() + self.n_users):
            rows_a, rows_b, at = a, b, nodes
            if self.columns is not None:
                rows_a, rows_b = self.columns.at(a, nodes), self.columns.at(b, nodes)
                at = torch.arange(len(nodes), device=nodes.device)
            total = total + softmax_loss(rows_a, rows_b, at, at, self.contrast_temperature)
        return self.contrast * total

    @property
    def capturable(self) -> bool:
        return self.contrast == 0  # which is over a batch's distinct nodes: their number is not known before

    def diffusion(self) -> torch.Tensor | None:
        return None if self.learn_alpha or self.edge_dropout > 0 or self.noise > 0 else self.alpha

    @torch.no_grad()
    def folding(self, method: str = "propagate", **options: float) -> Fold:  # type: ignore[override]
        """A new node's vector is what its neighbours send it, no training: its ego vector is 0 and all else stands still.

        z_new = sum_{k=1..K} alpha_k e_new^(k), e_new^(k) = sum_{i in N} w_i / sqrt(d_new d_i) e_i^(k-1): eqs. 3, 4 and 7 of He et al.
        2020 for the new node, with e_i^(k) = (A~^k E)_i and d_i as trained, d_new = sum of the w_i (1 each without weights). As
        one sum: z_new = d_new^-1/2 sum_i w_i d_i^-1/2 y_i, y = sum_{k=0..K-1} alpha_{k+1} A~^k E.

        (With a ``norm`` of exponents (p, q), d_new^-p and d_i^-q.)

        For the edges of a node of the graph this is z - alpha_0 e exactly. Neglected, against propagating through a graph with the new node:
        that d_i grows by w_i, and, from K = 3 on, paths that come back through the new node. Edges to nodes without any
        trained edge add nothing but their weight in d_new; a node without edges gets 0 (for users :class:`FoldIn` knows better).

        method="ridge", and a model without layers (K = 0): :meth:`MF.folding` against the final vectors, with its ``options``.
        docs/serve.md compares the two.
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
        right = self.graph.scales(self.norm, accumulator(weight.dtype))[1]
        sent = propagate(self.graph, weight, self.alpha[1:], self.norm)
        sent = sent if right is None else sent * right[:, None]
        sent = sent if self.columns is None else self.columns.table(sent)
        by_users, by_items = sent.split([self.n_users, self.n_items])
        return _Received(by_users, by_items, self.norm)


@dataclasses.dataclass(frozen=True)
class _Received:
    """What the trained nodes send a new one, added up and scaled."""

    by_users: torch.Tensor
    by_items: torch.Tensor
    norm: Norm

    def __call__(self, edges: Graph, new: Side) -> torch.Tensor:
        left = edges.scales(self.norm, accumulator(self.by_users.dtype))[0]
        own = None if left is None else left[: edges.n_users]
        received: torch.Tensor = half_hop(edges, self.by_items if new == "users" else self.by_users, "users", own)
        return received
