"""The layers of PinSAGE, with the same bits for any number of threads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import normalize

from ...core.elementwise import power as power_of
from ...core.ties import tie_key
from ...ops.dense import dense
from ...ops.gather_rows import gather_rows
from ...ops.neighbor_pool import neighbor_pool

Tensor = torch.Tensor


class Neighborhoods(NamedTuple):
    """ids int64 [n_items, top], items, -1 = none; weights [n_items, top], of sum 1 or 0."""

    ids: Tensor
    weights: Tensor

    def reweighted(self, degree: Tensor, power: float, top: int) -> Neighborhoods:
        """The ``top`` neighbours j of greatest weight_j / degree_j^power, ties by :func:`tie_key`, with these weights divided by their sum."""
        of_degree = power_of(degree.clamp(min=1).to(self.weights.dtype), -power)
        w = self.weights * of_degree[self.ids.clamp(min=0)]
        by_key = tie_key(self.ids).argsort(dim=1, stable=True)
        order = by_key.gather(1, w.gather(1, by_key).argsort(dim=1, descending=True, stable=True))[:, :top]
        w, ids = w.gather(1, order), self.ids.gather(1, order)
        return Neighborhoods(ids.where(w > 0, -1), w / w.sum(1, keepdim=True).clamp(min=1e-12))


class Linear(torch.nn.Module):
    """x weight^T + bias."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(outputs, inputs))
        self.bias = torch.nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = dense(x, self.weight, self.bias)
        return y


class Layer(torch.nn.Module):
    """h' = normalize(f(W [h, n] + w)), n_i = sum_t weights[i, t] f(Q h_ids[i, t] + q) (Ying et al. 2018, algorithm 1); f = ReLU, or
    the identity where ``linear``."""

    def __init__(self, dim: int, linear: bool) -> None:
        super().__init__()
        self.Q, self.W, self.linear = Linear(dim, dim), Linear(2 * dim, dim), linear

    def forward(self, h: Tensor, own: Tensor, near: Neighborhoods) -> Tensor:
        """The rows ``own`` of h [n, dim] with neighbourhoods among h's rows."""
        pooled = neighbor_pool(self._f(self.Q(h)), near.ids, near.weights)
        return normalize(self._f(self.W(torch.cat([gather_rows(h, own), pooled], 1))), dim=1)

    def _f(self, x: Tensor) -> Tensor:
        return x if self.linear else x.relu()
