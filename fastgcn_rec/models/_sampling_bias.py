"""What an in-batch softmax owes to popular items: its negatives are drawn as its positives are."""

from __future__ import annotations

import torch

from ..graph import Graph

Tensor = torch.Tensor


def log_shares(graph: Graph, sampler: str) -> Tensor:
    """log of an item's probability [n_items] in a pair that :func:`fastgcn_rec.sample_batch` draws by "edge" or "user"; an item
    without an edge counts as one of half an edge."""
    key = f"log_shares.{sampler}"
    if key not in graph.kept:
        each = (
            torch.ones_like(graph.user_degree, dtype=torch.float64)
            if sampler == "edge"
            else 1 / graph.user_degree.double()
        )
        share = torch.nn.functional.embedding_bag(
            graph.indices_t.long(), each[:, None], graph.indptr_t, mode="sum", include_last_offset=True
        )[:, 0]
        share = share.clamp(min=float(each.min()) / 2)
        graph.kept[key] = (share / share.sum()).log()
    result: Tensor = graph.kept[key]
    return result


def with_log_shares(queries: Tensor, z: Tensor, log_q: Tensor, temperature: float) -> tuple[Tensor, Tensor, float]:
    """(queries', z', temperature'): cos(queries'_b, z'_j) / temperature' = <queries_b, z_j> / temperature - log_q_j, but for one
    constant, for rows of length 1 (or 0), so that a loss on cosines takes log_q [rows of z].

    The constant is the middle of log_q. t_j = -temperature log_q_j stands behind z_j with what makes all lengths equal, and 1 behind a query,
    with what a shorter one lacks. Lengths are constants in the gradient, whose part along z_j is nothing where z_j is a normalised vector.
    """
    t = -temperature * (log_q - (log_q.min() + log_q.max()) / 2).to(z.dtype)[:, None]
    length = float((1 + t.square()).max().sqrt())
    rest = (length**2 - t.square() - z.detach().square().sum(1, keepdim=True)).clamp(min=0).sqrt()
    short = (1 - queries.detach().square().sum(1, keepdim=True)).clamp(min=0).sqrt()
    q = torch.cat([queries, torch.ones_like(short), torch.zeros_like(short), short], 1)
    return q, torch.cat([z, t, rest, torch.zeros_like(t)], 1), temperature / (2**0.5 * length)
