"""The vectors of new nodes by ridge least squares against the vectors of the other side."""

from __future__ import annotations

import dataclasses
import itertools
import math

import torch

from ..algorithms.solvers import solve
from ..core.arguments import check_numbers
from ..core.graph import Graph, Side
from ..ops.dense import outer_sum
from .protocols import Fold

Tensor = torch.Tensor
_SOLVED_AT_ONCE = 1024  # new nodes, each with a matrix [dim, dim]


def ridge(who: str, users: Tensor, items: Tensor, dtype: torch.dtype, reg: float, unobserved: float) -> Fold:
    """The rule of :meth:`fastgcn_rec.MF.folding`, which has the formula, for any vectors [n_users, dim], [n_items, dim]; new vectors have ``dtype``."""
    reg, unobserved = check_numbers(who, reg=reg, unobserved=unobserved)
    if not 0 < reg < math.inf or not 0 <= unobserved < math.inf:
        raise ValueError(f"{who}: reg must be > 0 and unobserved >= 0, both finite, got {reg} and {unobserved}")
    others = {"users": items.double(), "items": users.double()}
    base = {}
    for side, y in others.items():
        gram = outer_sum(y, y)[0]
        penalty = reg * gram.trace().clamp_min(1e-30) / len(gram)
        base[side] = unobserved * gram + penalty * torch.eye(len(gram), dtype=y.dtype, device=y.device)
    return _Ridge(others, base, dtype)


@dataclasses.dataclass(frozen=True)
class _Ridge:
    """By the side of the new nodes: the other side's vectors, and what of the normal matrix does not depend on the new nodes."""

    others: dict[str, Tensor]
    base: dict[str, Tensor]
    dtype: torch.dtype

    def __call__(self, edges: Graph, new: Side) -> Tensor:
        y, base = self.others[new], self.base[new]
        x = y.new_empty((edges.n_users, len(base)))
        for begin in range(0, edges.n_users, _SOLVED_AT_ONCE):
            end = min(begin + _SOLVED_AT_ONCE, edges.n_users)
            x[begin:end] = _least_squares(y, base, edges, begin, end)
        return x.to(self.dtype)


def _least_squares(y: Tensor, base: Tensor, edges: Graph, begin: int, end: int) -> Tensor:
    """(base + sum_i w_i y_i y_i^T)^-1 sum_i w_i y_i over the edges of each of the rows [begin, end)."""
    normal, right = y.new_empty((end - begin, *base.shape)), y.new_empty((end - begin, len(base)))
    for row, (first, last) in enumerate(itertools.pairwise(edges.indptr[begin : end + 1].tolist())):
        own = y[edges.indices[first:last].long()]
        weighted = own if edges.weight is None else own * edges.weight[first:last, None]
        observed, right[row] = outer_sum(weighted, own)
        torch.add(base, observed, out=normal[row])
    return solve(normal, right)
