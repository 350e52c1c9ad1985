"""Full ranking: the top 20 of every user, seen items left out; and what an evaluation adds to it."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fastgcn_rec import MF, evaluate, retrieve, topk

from . import peers
from .harness import Comparison, Contender, Settings

K = 20


def comparisons(settings: Settings) -> Iterator[Comparison]:
    graph = settings.graph
    user_emb, item_emb = settings.embedding().split([graph.n_users, graph.n_items])
    few = settings.quick and settings.device.type == "cpu"
    users = torch.arange(min(graph.n_users, 4096 if few else graph.n_users), device=settings.device)
    queries = user_emb[users]

    def ours() -> torch.Tensor:
        return retrieve(queries, item_emb, K, graph, exclude_rows=users).ids

    def by_scores() -> torch.Tensor:
        found = [topk(graph, user_emb[rows] @ item_emb.T, K, rows)[0] for rows in users.split(512)]
        return torch.cat(found)

    def gate() -> None:
        theirs = peers.torch_topk(graph, user_emb, item_emb, users, K)
        for found in (ours(), by_scores()):
            same = (found == theirs).float().mean()
            assert same > 0.9999, f"only {same:.2%} of the ranks agree with torch (ties and rounding may differ)"

    yield Comparison(
        f"topk/{len(users)} users",
        [
            Contender("ours", ours, waits=True),
            Contender("ours, from blocks of scores", by_scores),
            Contender("torch matmul, mask, topk", lambda: peers.torch_topk(graph, user_emb, item_emb, users, K)),
        ],
        gate,
    )

    def one() -> torch.Tensor:
        return retrieve(queries[:1], item_emb, K, graph, exclude_rows=users[:1]).ids

    def one_by_torch() -> torch.Tensor:
        return peers.torch_topk(graph, user_emb, item_emb, users[:1], K)

    def gate_one() -> None:
        assert torch.equal(one(), one_by_torch())

    yield Comparison(
        "topk/1 user",
        [Contender("ours", one, waits=True), Contender("torch matmul, mask, topk", one_by_torch)],
        gate_one,
    )

    model, test = MF(graph, settings.dim), settings.dataset.test
    judged = torch.from_numpy(test.users).long().unique().to(settings.device)
    of_users, of_items = model.get_embedding().detach().split([graph.n_users, graph.n_items])

    def gate_evaluate() -> None:
        result = evaluate(model, test, ks=[K])
        want = evaluate(model.scorer(), test, graph, ks=[K])
        assert all(abs(result[name] - want[name]) < 1e-5 for name in want), f"{result} by vectors, {want} by scores"

    yield Comparison(
        f"topk/{len(judged)} users evaluated",
        [
            Contender("ours, evaluate", lambda: evaluate(model, test, ks=[K]), calls=0),
            Contender(
                "ours, bare retrieval",
                lambda: retrieve(of_users[judged], of_items, K, graph, exclude_rows=judged),
                waits=True,
            ),
        ],
        gate_evaluate,
    )
