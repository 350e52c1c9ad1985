"""Losses of a batch, forward and backward to dense gradients of the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from fastgcn_rec import bpr_loss, sample_batch, softmax_loss

from . import peers
from .harness import Comparison, Contender, Settings

BATCH, TEMPERATURE = 2048, 0.12


def comparisons(settings: Settings) -> Iterator[Comparison]:
    graph = settings.graph
    users, pos, neg = sample_batch(graph, BATCH, 1, seed=0)
    z = settings.embedding().requires_grad_()

    def tables() -> tuple[torch.Tensor, ...]:
        return z.split([graph.n_users, graph.n_items])

    def gradient(loss: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        return lambda: torch.autograd.grad(loss(), z)[0]

    jobs = {
        f"loss/bpr, batch {BATCH}": (
            lambda: bpr_loss(*tables(), users, pos, neg),
            lambda: peers.bpr(z, graph.n_users, users, pos, neg),
        ),
        f"loss/softmax, batch {BATCH}": (
            lambda: softmax_loss(*tables(), users, pos, TEMPERATURE),
            lambda: peers.softmax(z, graph.n_users, users, pos, TEMPERATURE),
        ),
    }
    for case, (ours, theirs) in jobs.items():

        def gate(ours=ours, theirs=theirs) -> None:
            torch.testing.assert_close(ours(), theirs(), rtol=1e-5, atol=1e-6)
            got, want = gradient(ours)(), gradient(theirs)()
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))

        yield Comparison(case, [Contender("ours", gradient(ours)), Contender("torch", gradient(theirs))], gate)
