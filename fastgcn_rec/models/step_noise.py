"""What is drawn at random in a step of training: dropout masks, dropped edges, noise."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import normalize

from ..core.columns import Columns
from ..core.graph import Graph
from ..ops.uniform_rows import uniform_rows

Tensor = torch.Tensor
_ROWS = 1 << 14  # of noise drawn at once


class StepNoise(NamedTuple):
    """Step ``step`` of the training that ``seed`` names. What is drawn depends on (seed, step, place, id) alone, so that a training
    goes on exactly from a checkpoint that holds the step's number. As tensors on the device, one int64 each, a CUDA graph reads them whenever it is
    replayed."""

    seed: int | Tensor
    step: int | Tensor

    def dropout_mask(self, ids: Tensor, dim: int, drop: float, place: int, dtype: torch.dtype) -> Tensor:
        """[len(ids), dim]: 0 with probability ``drop``, else 1 / (1 - drop)."""
        u = uniform_rows(ids, dim, seed=self.seed, step=self.step, place=place)
        return (u >= drop).to(dtype).mul_(1 / (1 - drop))

    def noise(self, x: Tensor, size: float, place: int, columns: Columns | None = None) -> Tensor:
        """Like x, rows of length ``size`` with x's signs: size * sign(x) * u / |u| by elements, u uniform on [0, 1) (SimGCL's, Yu et al. 2022,
        section 3.1). Of ``columns`` of x a rank draws whole rows, some at a time, and keeps its own part."""
        dim, first, last = (
            (x.shape[1], 0, x.shape[1]) if columns is None else (columns.dim, columns.first, columns.last)
        )
        noise = x.detach().sign()
        for at in range(0, len(x), _ROWS):
            rows = noise[at : at + _ROWS]
            ids = torch.arange(at, at + len(rows), device=x.device)
            u = uniform_rows(ids, dim, seed=self.seed, step=self.step, place=place)
            rows.mul_(normalize(u, dim=1)[:, first:last].to(x.dtype).mul_(size))
        return noise

    def drop_edges(self, graph: Graph, drop: float, place: int, renormalise: bool) -> Graph:
        """The graph without the edges that the draw takes, each with probability ``drop``, in both directions alike.

        The edges that stay weigh 1 / (1 - drop) times as much under the whole graph's degrees, or as before under the degrees that they leave.
        """
        kept = (self.dropout_mask(ids, 1, drop, place, torch.float32)[:, 0] for ids in _edge_ids(graph))
        weights = (graph.weight, graph.weight_t)
        w, w_t = (k if weight is None else k * weight for k, weight in zip(kept, weights, strict=True))
        if renormalise:
            w, w_t = w * (1 - drop), w_t * (1 - drop)
        return graph.reweighted(w, w_t, same_scales=not renormalise)


def _edge_ids(graph: Graph) -> tuple[Tensor, Tensor]:
    """user * n_items + item of every edge, in the order of R and of its transpose."""

    def made() -> tuple[Tensor, Tensor]:
        users, items = (torch.repeat_interleave(degree) for degree in (graph.user_degree, graph.item_degree))
        forth = users * graph.n_items + graph.indices
        return forth, graph.indices_t.long() * graph.n_items + items

    return graph.cached("edge_ids", made)


def check_dropout(who: str, **rates: float) -> None:
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(f"{who}: {name} is the probability of dropping, 0 <= {name} < 1, got {rate}")
