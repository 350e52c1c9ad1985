"""One step of Adam over an embedding table."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fastgcn_rec import Adam

from .harness import Comparison, Contender, Settings


def comparisons(settings: Settings) -> Iterator[Comparison]:
    start = settings.embedding()
    grad = torch.randn(start.shape, generator=torch.Generator().manual_seed(1)).to(start.device)

    def optimizer(make, **options):
        p = torch.nn.Parameter(start.clone())
        p.grad = grad.clone()
        return make([p], capturable=p.device.type == "cuda", **options), p

    def gate() -> None:
        (ours, p), (theirs, q) = optimizer(Adam), optimizer(torch.optim.Adam)
        for _ in range(3):
            ours.step()
            theirs.step()
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)

    kinds = {"fused": {"fused": True}, "foreach": {"foreach": True}, "loop": {"foreach": False}}
    contenders = [Contender("ours", optimizer(Adam)[0].step)]
    contenders += [
        Contender(f"torch.optim.Adam, {kind}", optimizer(torch.optim.Adam, **options)[0].step)
        for kind, options in kinds.items()
    ]
    yield Comparison("adam", contenders, gate, 7 * start.nbytes, "copy")
