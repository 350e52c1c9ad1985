"""Implicit alternating least squares."""

from __future__ import annotations

import numpy as np
import torch

from ..core.csr import Csr
from ..core.elementwise import power
from ..core.graph import Graph, row_of_each_edge
from ..ops.dense import outer_sum
from .ridge_rows import RidgeRows

Tensor = torch.Tensor
_PAIRS_AT_ONCE = 1 << 20


def als(
    graph: Graph,
    users: Tensor,
    items: Tensor,
    *,
    iterations: int,
    unobserved: float,
    reg: float,
    exponent: float = 1.0,
    block: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Vectors of users and items that factor a graph, all pairs looked at: of users against items, then of items against users, again and again.

        L = sum_{(u, i) in graph} w_ui (1 - <x_u, y_i>)^2 + unobserved sum_{u, i} <x_u, y_i>^2 + sum_u r_u |x_u|^2 + sum_i r_i |y_i|^2,
        r_u = reg (sum_{i of u} w_ui + unobserved n_items)^exponent, r_i likewise with n_users

    (Hu, Koren & Volinsky 2008, "Collaborative filtering for implicit feedback datasets", with the ridge of Rendle, Krichene, Zhang & Koren 2022,
    "Revisiting the performance of iALS on item recommendation benchmarks", eq. 2 and 3). Each half-step is the minimum over one side
    (:class:`fastgcn_rec.algorithms.ridge_rows.RidgeRows`), or with ``block`` a pass that goes down, so that L never rises.

    Parameters
    ----------
    graph : Graph
        Edges, with weights w or with ones; on any device.
    users, items : float tensors [n_users, dim], [n_items, dim]
        Where it starts, which stay as they are; without ``block`` the users' play no part.
    iterations : int >= 0, of two half-steps each
    unobserved : float >= 0
    reg : float > 0
    exponent : float
        1: a vector counts as often as its node is in L; 0: each once.
    block : int >= 1 or None
        Passes by so many columns (iALS++) in place of minima, which for much longer vectors and rows are cheaper, and need more iterations.

    Returns
    -------
    (users, items), float32 [n_users, dim] and [n_items, dim] on the CPU: a node without edges is 0. They are defined up to a rotation of both.

    Raises
    ------
    TypeError, ValueError : as RidgeRows; a ridge that float32 does not hold; a row's matrix has no factor in float32.

    Examples
    --------
    >>> graph = Graph.from_edges([0, 0, 1, 2], [0, 1, 1, 2])
    >>> start = torch.eye(3)
    >>> x, y = als(graph, start, start, iterations=10, unobserved=0.1, reg=0.01)
    >>> (x @ y.T > 0.5).int().tolist()
    [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    """
    graph = graph.to("cpu")
    by_user, by_item = halves(graph)
    of_users = ridge_of_rows(by_user, graph.n_items, unobserved, reg, exponent)
    of_items = ridge_of_rows(by_item, graph.n_users, unobserved, reg, exponent)
    users, items = (t.detach().cpu().float() for t in (users, items))
    for _ in range(iterations):
        items, users = _half_step(items, users, by_user, of_users, unobserved, block)
        users, items = _half_step(users, items, by_item, of_items, unobserved, block)
    return users, items


def halves(graph: Graph) -> tuple[Csr, Csr]:
    """The rows of the users, and of the items."""
    return (graph.indptr, graph.indices, graph.weight), (graph.indptr_t, graph.indices_t, graph.weight_t)


def ridge_of_rows(rows: Csr, n_columns: int, unobserved: float, reg: float, exponent: float) -> Tensor:
    """r float32 [n_rows] of :func:`als`.

    >>> ridge_of_rows((torch.tensor([0, 2, 2]), torch.tensor([0, 1]), None), 10, 0.5, 0.1, 1.0)
    tensor([0.7000, 0.5000])
    """
    indptr, _, weight = rows
    n = indptr.numel() - 1
    seen = indptr.diff().double()
    if weight is not None:
        of_row = row_of_each_edge(indptr.diff()).numpy()
        seen = torch.from_numpy(np.bincount(of_row, weight.double().numpy(), n))
    seen = seen + unobserved * n_columns
    ridge = torch.where(seen > 0, reg * power(seen, exponent), reg).float()  # a row of nothing is 0 by any ridge
    if reg > 0 and not bool(((ridge > 0) & ridge.isfinite()).all()):
        raise ValueError(
            f"als: the ridge of a row, {reg:g} times its weight to the power {exponent:g}, must be > 0 and finite in float32, but weights go from "
            f"{float(seen.min()):.3g} to {float(seen.max()):.3g}; take an exponent nearer 1, or another reg"
        )
    return ridge


def als_loss(
    graph: Graph, users: Tensor, items: Tensor, *, unobserved: float, reg: float, exponent: float = 1.0
) -> float:
    """L of :func:`als`, in float64.

    >>> graph = Graph.from_edges([0, 1], [0, 1])
    >>> als_loss(graph, torch.eye(2), torch.eye(2), unobserved=0.5, reg=0.0)
    1.0
    """
    graph = graph.to("cpu")
    by_user, by_item = halves(graph)
    sides = [t.detach().cpu().double().contiguous() for t in (users, items)]
    grams = [outer_sum(t, t)[0].numpy() for t in sides]
    x, y = (t.numpy() for t in sides)
    rows, columns = row_of_each_edge(graph.user_degree).numpy(), graph.indices.numpy()
    weight = np.ones(len(rows)) if graph.weight is None else graph.weight.double().numpy()
    total, at_once = 0.0, max(1, _PAIRS_AT_ONCE // max(x.shape[1], 1))
    for first in range(0, len(rows), at_once):
        own = slice(first, first + at_once)
        total += float((weight[own] * (1 - (x[rows[own]] * y[columns[own]]).sum(1)) ** 2).sum())
    total += unobserved * float((grams[0] * grams[1]).sum())
    for vectors, half, n in ((x, by_user, graph.n_items), (y, by_item, graph.n_users)):
        ridge = ridge_of_rows(half, n, unobserved, reg, exponent).double().numpy()
        total += float((ridge * (vectors**2).sum(1)).sum())
    return total


def _half_step(
    fixed: Tensor, moving: Tensor, rows: Csr, ridge: Tensor, unobserved: float, block: int | None
) -> tuple[Tensor, Tensor]:
    """(fixed, moved), both turned by one rotation, which no score sees."""
    fits = RidgeRows(fixed, unobserved)
    moved = fits.solve(rows, ridge, None, None if block is None else fits.turned(moving), block)
    return fits.v[:, : fits.dim], moved[:, : fits.dim]
