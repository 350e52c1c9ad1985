"""Every op in plain torch: slow, differentiable, any dtype. Tests and readers compare with these."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import spsolve

from ..core.graph import Graph, Norm
from ..core.ties import tie_key

Tensor = torch.Tensor


def adjacency(graph: Graph, norm: Norm | Literal["gcn"], dtype: torch.dtype) -> Tensor:
    """diag(left) [[0, R], [R^T, 0]] diag(right), dense [n_nodes, n_nodes]; with loops for "gcn"."""
    r = torch.from_numpy(graph.to_scipy().toarray()).to(dtype)
    u, i = r.shape
    a = torch.cat(
        [
            torch.cat([torch.zeros(u, u, dtype=dtype), r], 1),
            torch.cat([r.T, torch.zeros(i, i, dtype=dtype)], 1),
        ]
    )
    if norm == "gcn":
        scale = (a.sum(1) + 1).rsqrt()
        return scale[:, None] * (a + torch.eye(u + i, dtype=dtype)) * scale
    left, right = graph.scales(norm, dtype)
    if left is not None:
        a = left.cpu()[:, None] * a
    return a if right is None else a * right.cpu()


def propagate(graph: Graph, x: Tensor, alphas: Tensor, norm: Norm | Literal["gcn"] = "sym") -> Tensor:
    a = adjacency(graph, norm, x.dtype)
    power, y = x, alphas[0] * x
    for k in range(1, len(alphas)):
        power = a @ power
        y = y + alphas[k] * power
    return y


def half_hop(
    graph: Graph,
    x: Tensor,
    to: str,
    left: Tensor | None = None,
    right: Tensor | None = None,
    base: Tensor | None = None,
) -> Tensor:
    r = torch.from_numpy(graph.to("cpu").to_scipy().toarray()).to(x.dtype)
    y = (r if to == "users" else r.T) @ (x if right is None else right[:, None] * x)
    y = y if left is None else left[:, None] * y
    return y if base is None else y + base


def dense(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    return torch.nn.functional.linear(x, w, b)


def outer_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return a.T @ b, a.sum(0)


def _scores(
    user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, neg: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    u = user_emb[users]
    neg = neg.expand(len(users), -1)
    s_pos = (u * item_emb[pos]).sum(-1)
    s_neg = (u[:, None, :] * item_emb[neg.clamp(min=0)]).sum(-1)
    valid = (neg >= 0 if mask is None else (neg >= 0) & mask).to(s_neg.dtype)
    return s_pos, s_neg, valid / valid.sum(1, keepdim=True).clamp(min=1)


def _softplus(x: Tensor) -> Tensor:  # torch's own turns linear at 20, an error of 2e-9
    return torch.logaddexp(x, torch.zeros_like(x))


def bpr_loss(
    user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, neg: Tensor, mask: Tensor | None = None
) -> Tensor:
    s_pos, s_neg, weight = _scores(user_emb, item_emb, users, pos, neg, mask)
    return (weight * _softplus(s_neg - s_pos[:, None])).sum(1).mean()


def binary_loss(
    user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, neg: Tensor, mask: Tensor | None = None
) -> Tensor:
    s_pos, s_neg, weight = _scores(user_emb, item_emb, users, pos, neg, mask)
    return _softplus(-s_pos).mean() + (weight * _softplus(s_neg)).sum(1).mean()


def max_margin_loss(
    user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, neg: Tensor, margin: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    s_pos, s_neg, weight = _scores(user_emb, item_emb, users, pos, neg, mask)
    return (weight * torch.relu(s_neg - s_pos[:, None] + margin)).sum(1).mean()


def select_negatives(
    user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, candidates: Tensor, n: int, law: str = "hardest",
    margin: float = 0.2,
) -> Tensor:  # fmt: skip
    """The laws without chance, row by row."""
    picks = torch.full((len(users), n), -1)
    for b, (u, p) in enumerate(zip(users.tolist(), pos.tolist(), strict=True)):
        items = [i for i in dict.fromkeys(candidates[b].tolist()) if i >= 0]
        if law == "hardest":
            score = {i: float(user_emb[u] @ item_emb[i]) for i in items}
            tie = dict(zip(items, tie_key(torch.tensor(items, dtype=torch.int64)).tolist(), strict=True))
            chosen = sorted(items, key=lambda i, score=score, tie=tie: (-score[i], tie[i]))[:n]  # type: ignore[misc]
        else:
            near, far = (unit_distances(user_emb, item_emb, u, [p])[0] + m for m in (0.0, margin))
            d = unit_distances(user_emb, item_emb, u, items)
            chosen = [i for i, x in zip(items, d.tolist(), strict=True) if near < x < far][:n]
        picks[b, : len(chosen)] = torch.tensor(chosen, dtype=torch.int64)
    return picks


def unit_distances(user_emb: Tensor, item_emb: Tensor, user: int, items: list[int]) -> Tensor:
    unit = torch.nn.functional.normalize
    return torch.linalg.vector_norm(unit(user_emb[user], dim=0) - unit(item_emb[items], dim=1), dim=1)


def distance_weights(distance: Tensor, dim: int, lo: float = 0.5, hi: float = 1.4) -> Tensor:
    """1 / q(d) up to a factor for every row."""
    d = distance.clamp(lo, hi)
    return torch.softmax((2 - dim) * d.log() - (dim - 3) / 2 * torch.log1p(-d.square() / 4), -1)


def softmax_loss(
    user_emb: Tensor,
    item_emb: Tensor,
    users: Tensor,
    pos: Tensor,
    temperature: float,
    negative_weight: float = 1.0,
    bias: Tensor | None = None,
) -> Tensor:
    u = torch.nn.functional.normalize(user_emb[users], dim=-1)
    i = torch.nn.functional.normalize(item_emb[pos], dim=-1)
    scores = u @ i.T / temperature
    if bias is not None:
        scores = scores + bias
    return (negative_weight * scores.logsumexp(1) - scores.diagonal()).sum() / len(users)


def l2_loss(emb: Tensor, ids: Tensor) -> Tensor:
    return 0.5 * emb[ids[ids >= 0]].square().sum()


def scatter_rows(
    ids: Tensor, src: Tensor, n_out: int, coef: Tensor | None = None, src_index: Tensor | None = None
) -> Tensor:
    rows = src if src_index is None else src[src_index]
    if coef is not None:
        rows = coef[:, None] * rows
    keep = ids >= 0
    return torch.zeros(n_out, src.shape[1], dtype=rows.dtype).index_add(0, ids[keep], rows[keep])


def neighbor_pool(x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    rows = torch.cat([x, x.new_zeros(1, x.shape[1])])  # -1 is the row of zeros
    return (weights[:, :, None] * rows[ids]).sum(1)


def random_walk(graph: Graph, node: int, length: int, restart: float) -> Tensor:
    """P(x_t = v) for the traces of ``random_walk``: float64 [length + 1, n_nodes]. The node must have edges."""
    seed = torch.zeros(graph.n_nodes, dtype=torch.float64)
    seed[node] = 1
    p = [seed]
    for _ in range(length):
        p.append(restart * seed + (1 - restart) * (p[-1] @ adjacency(graph, "left", torch.float64)))
    return torch.stack(p)


def random_walk_neighbors(graph: Graph, node: int, length: int, restart: float) -> Tensor:
    """The expected share of every node in the visits of ``random_walk_neighbors``, the seed's own among them: float64 [n_nodes]."""
    step = adjacency(graph, "left", torch.float64)
    seed = torch.zeros(graph.n_nodes, dtype=torch.float64)
    seed[node] = 1
    at, visits = seed, torch.zeros_like(seed)
    for _ in range(length):
        reached = at @ step @ step
        visits += reached / length
        at = restart * seed + (1 - restart) * reached
    return visits


def ppr(graph: Graph, nodes: Tensor, restart: float) -> Tensor:
    """(I - (1 - c) A D^-1) pi = c e by SciPy's direct solver, float64 [S, n_nodes]; a walk without edges stands still."""
    r = graph.to("cpu").to_scipy().astype(np.float64)
    n = graph.n_nodes

    def diagonal(values: np.ndarray) -> sp.dia_array:
        return sp.dia_array((values[None], [0]), shape=(n, n))

    a = sp.csc_array(sp.bmat([[None, r], [r.T, None]]))
    degree = np.asarray(a.sum(0)).ravel()
    walk = a @ diagonal(np.divide(1.0, degree, where=degree > 0, out=np.zeros(n)))
    walk = walk + diagonal((degree == 0).astype(np.float64))
    start = np.zeros((n, len(nodes)))
    start[nodes.cpu().numpy(), np.arange(len(nodes))] = restart
    matrix = (diagonal(np.ones(n)) - (1 - restart) * walk).tocsc()
    matrix.indices, matrix.indptr = (
        matrix.indices.astype(np.intc),
        matrix.indptr.astype(np.intc),
    )  # all that spsolve takes
    return torch.from_numpy(spsolve(matrix, start).reshape(start.shape).T.copy())


def retrieve(queries: Tensor, items: Tensor, k: int, excluded: Tensor, metric: str = "dot") -> tuple[Tensor, Tensor]:
    """Every score, then a sort by (score descending, tie_key(id)); excluded: bool [Q, I]."""
    if metric == "cosine":
        queries, items = (
            x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp(min=1e-12) for x in (queries, items)
        )
    scores = queries @ items.T
    ids = torch.full((len(queries), k), -1)
    values = torch.full((len(queries), k), -torch.inf, dtype=scores.dtype)
    for q, row in enumerate(scores):
        left = torch.nonzero(~excluded[q]).flatten()
        left = left[tie_key(left).argsort()]
        best = left[row[left].argsort(descending=True, stable=True)][:k]
        ids[q, : len(best)], values[q, : len(best)] = best, row[best]
    return ids, values
