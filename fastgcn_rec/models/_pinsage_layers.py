"""The layers of PinSAGE, with the same bits for any number of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

from .._ties import tie_key
from ..ops.neighbor_pool import neighbor_pool

Tensor = torch.Tensor


class Neighborhoods(NamedTuple):
    """ids int64 [n_items, top], items, -1 = none; weights [n_items, top], of sum 1 or 0."""

    ids: Tensor
    weights: Tensor

    def reweighted(self, degree: Tensor, power: float, top: int) -> Neighborhoods:
        """The ``top`` neighbours j of greatest weight_j / degree_j^power, ties by :func:`tie_key`, with these weights divided by their sum."""
        w = self.weights * degree[self.ids.clamp(min=0)].clamp(min=1).to(self.weights.dtype) ** -power
        by_key = tie_key(self.ids).argsort(dim=1, stable=True)
        order = by_key.gather(1, w.gather(1, by_key).argsort(dim=1, descending=True, stable=True))[:, :top]
        w, ids = w.gather(1, order), self.ids.gather(1, order)
        return Neighborhoods(ids.where(w > 0, -1), w / w.sum(1, keepdim=True).clamp(min=1e-12))


class _Product(torch.autograd.Function):
    """x @ w.T [n, out], on one thread: a BLAS may add in another order on more of them, and products are a small part of a step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return _on_one_thread(lambda: x @ w.T)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, w = ctx.saved_tensors
        return _on_one_thread(lambda: grad @ w), _on_one_thread(lambda: grad.T @ x)


def _on_one_thread(run: Callable[[], Tensor]) -> Tensor:
    threads = torch.get_num_threads()
    if threads == 1:
        return run()
    torch.set_num_threads(1)
    try:
        return run()
    finally:
        torch.set_num_threads(threads)


class Linear(torch.nn.Module):
    """x weight^T + bias, the same bits for any number of threads."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(outputs, inputs))
        self.bias = torch.nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Product.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return y if self.bias is None else y + self.bias


class Layer(torch.nn.Module):
    """h' = normalize(f(W [h, n] + w)), n_i = sum_t weights[i, t] f(Q h_ids[i, t] + q) (Ying et al. 2018, algorithm 1); f = ReLU, or
    the identity where ``linear``."""

    def __init__(self, dim: int, linear: bool) -> None:
        super().__init__()
        self.Q, self.W, self.linear = Linear(dim, dim), Linear(2 * dim, dim), linear

    def forward(self, h: Tensor, own: Tensor, near: Neighborhoods) -> Tensor:
        """The rows ``own`` of h [n, dim] with neighbourhoods among h's rows."""
        pooled = neighbor_pool(self._f(self.Q(h)), near.ids, near.weights)
        return normalize(self._f(self.W(torch.cat([h[own], pooled], 1))), dim=1)

    def _f(self, x: Tensor) -> Tensor:
        return x if self.linear else x.relu()
