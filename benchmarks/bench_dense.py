"""A dense layer and its two gradients, on the shapes of NGCF (all nodes) and of PinSAGE (a batch's items), beside torch's BLAS."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.nn.functional import linear

from fastgcn_rec import dense, outer_sum

from .harness import Comparison, Contender, Settings

Tensor = torch.Tensor
BATCH_ITEMS = 20_000
Calls = dict[str, Callable[[], tuple[Tensor, ...]]]


def _contenders(x: Tensor, w: Tensor, b: Tensor, grad: Tensor) -> dict[str, Calls]:
    """By what is computed: y; the gradient in x; those in w and b."""
    return {
        "y": {"ours": lambda: (dense(x, w, b),), "torch": lambda: (linear(x, w, b),)},
        "dx": {"ours": lambda: (dense(grad, w.t()),), "torch": lambda: (grad @ w,)},
        "dw, db": {"ours": lambda: outer_sum(grad, x), "torch": lambda: (grad.t() @ x, grad.sum(0))},
    }


def _gate(calls: Calls) -> None:
    for ours, theirs in zip(*(call() for call in calls.values()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def comparisons(settings: Settings) -> Iterator[Comparison]:
    dim, generator = settings.dim, torch.Generator().manual_seed(0)
    for n, inputs, outputs in ((settings.graph.n_nodes, dim, dim), (BATCH_ITEMS, 2 * dim, dim)):
        shapes = (n, inputs), (outputs, inputs), (outputs,), (n, outputs)
        tensors = (torch.randn(shape, generator=generator).to(settings.device) for shape in shapes)
        for what, calls in _contenders(*tensors).items():
            contenders = [Contender(name, call) for name, call in calls.items()]
            moved = 4 * (n * (inputs + outputs) + inputs * outputs)
            yield Comparison(
                f"dense/{what}, [{n}, {inputs}] to {outputs}",
                contenders,
                lambda calls=calls: _gate(calls),
                moved,
                "copy",
            )
