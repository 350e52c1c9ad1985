"""Every op in plain torch: slow, differentiable, any dtype. Tests and readers compare with these."""

from __future__ import annotations

import torch

from .graph import Graph, Norm

Tensor = torch.Tensor


def adjacency(graph: Graph, norm: Norm, dtype: torch.dtype) -> Tensor:
    """diag(left) [[0, R], [R^T, 0]] diag(right), dense [n_nodes, n_nodes]."""
    r = torch.from_numpy(graph.to_scipy().toarray()).to(dtype)
    u, i = r.shape
    a = torch.cat(
        [
            torch.cat([torch.zeros(u, u, dtype=dtype), r], 1),
            torch.cat([r.T, torch.zeros(i, i, dtype=dtype)], 1),
        ]
    )
    left, right = graph.scales(norm, dtype)
    if left is not None:
        a = left.cpu()[:, None] * a
    return a if right is None else a * right.cpu()


def propagate(graph: Graph, x: Tensor, alphas: Tensor, norm: Norm = "sym") -> Tensor:
    a = adjacency(graph, norm, x.dtype)
    power, y = x, alphas[0] * x
    for k in range(1, len(alphas)):
        power = a @ power
        y = y + alphas[k] * power
    return y


def _scores(
    user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, neg: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    u = user_emb[users]
    neg = neg.expand(len(users), -1)
    s_pos = (u * item_emb[pos]).sum(-1)
    s_neg = (u[:, None, :] * item_emb[neg.clamp(min=0)]).sum(-1)
    valid = (neg >= 0).to(s_neg.dtype)
    return s_pos, s_neg, valid / valid.sum(1, keepdim=True).clamp(min=1)


def _softplus(x: Tensor) -> Tensor:  # torch's own turns linear at 20, an error of 2e-9
    return torch.logaddexp(x, torch.zeros_like(x))


def bpr_loss(user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
    s_pos, s_neg, weight = _scores(user_emb, item_emb, users, pos, neg)
    return (weight * _softplus(s_neg - s_pos[:, None])).sum(1).mean()


def binary_loss(user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
    s_pos, s_neg, weight = _scores(user_emb, item_emb, users, pos, neg)
    return _softplus(-s_pos).mean() + (weight * _softplus(s_neg)).sum(1).mean()


def softmax_loss(user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, temperature: float) -> Tensor:
    u = torch.nn.functional.normalize(user_emb[users], dim=-1)
    i = torch.nn.functional.normalize(item_emb[pos], dim=-1)
    return torch.nn.functional.cross_entropy(u @ i.T / temperature, torch.arange(len(users)))


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
