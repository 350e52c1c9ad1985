"""One hop by the number of columns, those that are no multiple of a vector's lanes among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch

from fastgcn_rec import Graph, propagate

from . import peers
from .harness import Comparison, Contender, Settings

COLUMNS = (1, 8, 20, 32, 50, 64, 100, 128)


def comparisons(settings: Settings) -> Iterator[Comparison]:
    graph, csr = settings.graph, peers.normalized_csr(settings.graph)
    hop = torch.tensor([0.0, 1.0], device=graph.device)
    for n in COLUMNS:
        x = dataclasses.replace(settings, dim=n).embedding()
        gate = _equal(graph, csr, x, hop)
        contenders = [
            Contender("ours", lambda x=x: propagate(graph, x, hop)),
            Contender("torch CSR, int32", lambda x=x: csr @ x),
        ]
        n_bytes = 2 * graph.n_edges * n * x.element_size()
        yield Comparison(f"columns/{n}", contenders, gate, n_bytes, "gather")


def _equal(graph: Graph, csr: torch.Tensor, x: torch.Tensor, hop: torch.Tensor) -> Callable[[], None]:
    return lambda: torch.testing.assert_close(propagate(graph, x, hop), csr @ x, rtol=1e-4, atol=1e-6)
