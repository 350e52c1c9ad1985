"""Drawing a training batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fastgcn_rec import sample_batch

from . import peers
from .harness import Comparison, Contender, Settings

BATCH = 2048


def comparisons(settings: Settings) -> Iterator[Comparison]:
    graph = settings.graph

    def gate() -> None:
        users, pos, neg = (t.cpu() for t in sample_batch(graph, 1 << 16, 1, seed=0))
        keys = torch.repeat_interleave(graph.user_degree.cpu()) * graph.n_items + graph.indices.cpu()
        assert torch.isin(users * graph.n_items + pos, keys).all(), "a positive is not an edge"
        assert not torch.isin(users * graph.n_items + neg[:, 0], keys).any(), "a negative is an edge"

    yield Comparison(
        f"sampler/batch {BATCH}",
        [
            Contender("ours, by edge", lambda: sample_batch(graph, BATCH, 1, seed=0), "int64"),
            Contender("ours, by user", lambda: sample_batch(graph, BATCH, 1, seed=0, by="user"), "int64"),
            Contender("NumPy, whole arrays", peers.numpy_sampler(graph, BATCH), "int64"),
            Contender("LightGCN-PyTorch's loop", peers.python_sampler(graph, BATCH), "int64"),
        ],
        gate,
    )
