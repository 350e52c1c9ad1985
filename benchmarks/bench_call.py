"""What a call of an op costs the host: a graph of ten nodes and a batch of four, where the work itself is nothing.

Beside one hop of ``propagate`` the product that torch has for it, of the same graph in both of torch's forms; beside the losses the gathers,
products and means that they stand for. Forwards, and forwards and backwards to the gradients. What is timed is checks, allocations, autograd and
torch's own dispatch: the time until the calls return, a GPU waited for between the blocks and not in them. Blocks are short, about a
millisecond, and many, so that most of them run from end to end however many others share the processor. COO is torch's cheapest call of all
and about what one allocation and one kernel cost; an op whose checks are in Python takes a few times that forwards.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch.nn.functional import softplus

from fastgcn_rec import Graph, bpr_loss, l2_loss, propagate

from . import peers
from .harness import Record, Settings, quartiles

Tensor = torch.Tensor
Job = Callable[..., Tensor]
_BLOCK_S = 1e-3


def records(settings: Settings) -> list[Record]:
    return [
        {"case": f"call/{name}", "data": "10 nodes", "device": settings.device.type, "dtype": "float32", "dim": settings.dim} | record
        for name, runs in races(settings)
        for record in timed(runs, 40 if settings.quick else 400, settings.device)
    ]  # fmt: skip


def races(settings: Settings) -> Iterator[tuple[str, dict[str, Callable[[], object]]]]:
    """(name, contender -> one call of it), ours first, after their results were compared."""
    device = settings.device
    graph = Graph.from_edges([0, 0, 1, 2, 3, 4], [0, 1, 1, 2, 3, 4], 5, 5).to(device)
    coo, csr = peers.normalized_coo(graph), peers.normalized_csr(graph, torch.int64)
    generator = torch.Generator().manual_seed(settings.seed)
    x = torch.randn(graph.n_nodes, settings.dim, generator=generator).to(device)
    alphas, ids = torch.tensor([0.0, 1.0], device=device), torch.arange(4, device=device)
    batch = ids, ids, (ids[:, None] + 1) % 5
    jobs: dict[str, tuple[Sequence[Tensor], dict[str, Job]]] = {
        "propagate": (
            [x],
            {
                "ours": lambda x: propagate(graph, x, [0.0, 1.0]),
                "ours, alphas a tensor": lambda x: propagate(graph, x, alphas),
                "torch.sparse.mm, CSR": lambda x: torch.sparse.mm(csr, x),
                "torch.sparse.mm, COO": lambda x: torch.sparse.mm(coo, x),
            },
        ),
        "bpr": (
            [x[:5].clone(), x[5:].clone()],
            {"ours": lambda u, i: bpr_loss(u, i, *batch), "torch": lambda u, i: _bpr(u, i, *batch)},
        ),
        "l2": (
            [x[:5].clone()],
            {"ours": lambda u: l2_loss(u, ids), "torch": lambda u: 0.5 * u[ids].square().sum()},
        ),
    }
    for name, (inputs, of) in jobs.items():
        learned = [t.clone().requires_grad_() for t in inputs]
        up = torch.ones_like(of["ours"](*inputs))

        def gradients(job: Job, learned=learned, up=up) -> Sequence[Tensor]:
            return torch.autograd.grad(job(*learned), learned, up)

        ours, *others = of.values()
        for other in others:
            torch.testing.assert_close(ours(*inputs), other(*inputs))
            torch.testing.assert_close(gradients(ours), gradients(other))
        yield name, {who: lambda job=job, inputs=inputs: job(*inputs) for who, job in of.items()}
        yield f"{name} and gradient", {who: lambda job=job, run=gradients: run(job) for who, job in of.items()}


def timed(runs: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> Iterator[Record]:
    calls, samples = {}, {who: [] for who in runs}
    for who, run in runs.items():
        _seconds(run, 20, device)
        calls[who] = max(1, round(_BLOCK_S / min(_seconds(run, 5, device) for _ in range(5))))
    for _ in range(rounds):
        for who, run in runs.items():
            _seconds(run, 1, device)
            samples[who].append(_seconds(run, calls[who], device))
    ours = samples[next(iter(runs))]
    for who, of in samples.items():
        q1, median, q3 = quartiles([1e3 * s for s in of])
        ratio = statistics.median(theirs / mine for theirs, mine in zip(of, ours, strict=True))
        numbers = {
            "ratio": ratio,
            "ratio_of_least": min(of) / min(ours),
            "median_ms": median,
            "q1_ms": q1,
            "q3_ms": q3,
            "least_ms": 1e3 * min(of),
        }
        yield {"contender": who, "rounds": rounds} | {name: round(number, 5) for name, number in numbers.items()}


def _seconds(run: Callable[[], object], calls: int, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def _bpr(user_emb: Tensor, item_emb: Tensor, users: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
    u = user_emb[users]
    margins = (u * item_emb[pos]).sum(1, keepdim=True) - (u[:, None] * item_emb[neg]).sum(2)
    return softplus(-margins).mean()
