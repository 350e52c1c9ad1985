"""One hop, and LightGCN's three layers: our propagate against sparse products."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import torch

from fastgcn_rec import propagate

from . import cusparse, peers
from .harness import Comparison, Contender, Settings, on_first_call

LAYERS = 3


def comparisons(settings: Settings) -> Iterator[Comparison]:
    graph, x = settings.graph, settings.embedding()
    half, hop = x.bfloat16(), torch.tensor([0.0, 1.0], device=x.device)
    layers = torch.full((LAYERS + 1,), 1 / (LAYERS + 1), device=x.device)
    csr32, csr64, coo = (
        peers.normalized_csr(graph),
        peers.normalized_csr(graph, torch.int64),
        peers.normalized_coo(graph),
    )
    exact = peers.normalized_scipy(graph.to("cpu")).astype(np.float64) @ x.cpu().double().numpy()

    def gate() -> None:
        ours = propagate(graph, x, hop)
        assert torch.equal(ours, propagate(graph, x, hop)), "two runs differ"
        largest = np.abs(exact).max()
        for got, tolerance in ((ours, 2e-6), (csr32 @ x, 1e-5), (propagate(graph, half, hop), 1e-2)):
            error = np.abs(got.cpu().double().numpy() - exact).max()
            assert error <= tolerance * largest, f"{got.dtype}: off by {error / largest:.1e} of the largest value"

    others = [
        Contender("torch CSR, int32", lambda: csr32 @ x),
        Contender("torch CSR, int64", lambda: csr64 @ x),
        Contender("torch COO", lambda: torch.sparse.mm(coo, x)),
    ]
    if x.device.type == "cpu":
        scipy, dense = peers.normalized_scipy(graph), x.numpy()
        others += [
            Contender("SciPy CSR", lambda: scipy @ dense),
            Contender("ours, one thread", _one_thread(lambda: propagate(graph, x, hop))),
        ]
    else:
        others += _by_cusparse(csr32, x)
        others.append(Contender("CuPy CSR, int32", on_first_call(lambda: peers.cupy_product(csr32, x)), calls=0))
    others.append(Contender("torch-geometric LGConv, edge_index", on_first_call(lambda: _geometric(settings, x))))
    n_bytes = 2 * graph.n_edges * settings.dim * x.element_size()
    yield Comparison(
        "propagate/hop",
        [
            Contender("ours", lambda: propagate(graph, x, hop)),
            Contender("ours", lambda: propagate(graph, half, hop), "bfloat16"),
            *others,
        ],
        gate,
        n_bytes,
        "gather",
    )

    def gate_layers() -> None:
        want = peers.mean_of_layers(lambda t: csr32 @ t, x, LAYERS)
        torch.testing.assert_close(propagate(graph, x, layers), want, rtol=1e-4, atol=1e-6)

    yield Comparison(
        f"propagate/{LAYERS} layers",
        [
            Contender("ours", lambda: propagate(graph, x, layers)),
            Contender("ours", lambda: propagate(graph, half, layers), "bfloat16"),
            Contender("torch CSR, int32", lambda: peers.mean_of_layers(lambda t: csr32 @ t, x, LAYERS)),
            Contender("torch COO", lambda: peers.mean_of_layers(lambda t: torch.sparse.mm(coo, t), x, LAYERS)),
        ],
        gate_layers,
        LAYERS * n_bytes,
        "gather",
    )


def _one_thread(run):
    def alone() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            run()
        finally:
            torch.set_num_threads(threads)

    return alone


def _by_cusparse(csr: torch.Tensor, x: torch.Tensor) -> Iterator[Contender]:
    """Each of its algorithms, in float32 and bfloat16, and torch's own choice in bfloat16."""
    parts = csr.crow_indices(), csr.col_indices(), csr.values().bfloat16()
    half = torch.sparse_csr_tensor(*parts, size=csr.shape), x.bfloat16()
    want = csr @ x

    def checked(run: Callable[[], torch.Tensor], tolerance: float) -> Callable[[], torch.Tensor]:
        torch.testing.assert_close(run().float(), want, rtol=0, atol=tolerance * float(want.abs().max()))
        return run

    yield Contender("torch CSR, int32", on_first_call(lambda: checked(lambda: half[0] @ half[1], 2e-2)), "bfloat16")
    for name in cusparse.ALGORITHMS:
        for dtype, operands, tolerance in (("float32", (csr, x), 1e-5), ("bfloat16", half, 2e-2)):
            make = functools.partial(cusparse.product, *operands, name)
            run = on_first_call(lambda make=make, tolerance=tolerance: checked(make(), tolerance))
            yield Contender(f"cuSPARSE CSR_{name}, int32, prepared", run, dtype)


def _geometric(settings: Settings, x: torch.Tensor) -> Callable[[], torch.Tensor]:
    from torch_geometric.nn import LGConv

    edges, conv = peers.directed_edges(settings.graph), LGConv()
    return lambda: conv(x, edges)
