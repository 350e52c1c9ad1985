"""Full ranking: the top 20 of every user, seen items left out."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fastgcn_rec import topk

from . import peers
from .harness import Comparison, Contender, Settings

K = 20


def comparisons(settings: Settings) -> Iterator[Comparison]:
    graph = settings.graph
    user_emb, item_emb = settings.embedding().split([graph.n_users, graph.n_items])
    users = torch.arange(min(graph.n_users, 4096 if settings.quick else graph.n_users), device=settings.device)

    def ours() -> torch.Tensor:
        found = [topk(graph, user_emb[rows] @ item_emb.T, K, rows)[0] for rows in users.split(512)]
        return torch.cat(found)

    def gate() -> None:
        same = (ours() == peers.torch_topk(graph, user_emb, item_emb, users, K)).float().mean()
        assert same > 0.9999, f"only {same:.2%} of the ranks agree with torch (ties and rounding may differ)"

    yield Comparison(
        f"topk/{len(users)} users",
        [
            Contender("ours", ours),
            Contender("torch matmul, mask, topk", lambda: peers.torch_topk(graph, user_emb, item_emb, users, K)),
        ],
        gate,
    )
