"""The propagation beside torch's sparse products on your machine: python examples/kernels_beside_torch.py [--edges N] [--picture FILE.png]

One hop A~ X of a made-up graph, forward, in turns, so that what else the machine does falls on all alike. The results are compared first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import fastgcn_rec as fgr
from fastgcn_rec.data import synthetic_edges


def adjacency(graph: fgr.Graph) -> torch.Tensor:
    """A~ = D^-1/2 A D^-1/2 of users and items, as torch's COO matrix."""
    users, items = graph.edges()
    rows = torch.cat([users, items + graph.n_users])
    columns = torch.cat([items + graph.n_users, users])
    degree = torch.cat([graph.user_degree, graph.item_degree]).float()
    values = (degree[rows] * degree[columns]).rsqrt()
    return torch.sparse_coo_tensor(torch.stack([rows, columns]), values, (graph.n_nodes,) * 2).coalesce()


def raced(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for n in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if n > 0:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=lambda text: int(float(text)), default=500_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()

    n_users, n_items = max(args.edges // 27, 20), max(args.edges // 20, 20)
    graph = fgr.Graph.from_edges(*synthetic_edges(n_users, n_items, args.edges), n_users, n_items)
    x = torch.randn(graph.n_nodes, args.dim)
    coo = adjacency(graph)
    csr = coo.to_sparse_csr()
    runs = {
        "fastgcn_rec": lambda: fgr.propagate(graph, x, alphas=[0.0, 1.0]),
        "torch, CSR": lambda: csr @ x,
        "torch, COO": lambda: coo @ x,
    }
    for run in runs.values():
        torch.testing.assert_close(run(), coo @ x, rtol=1e-4, atol=1e-4)
    seconds = raced(runs, args.rounds)
    ours = seconds["fastgcn_rec"]
    print(f"{graph.n_edges:,} edges, {args.dim} columns, {torch.get_num_threads()} threads")
    ratios = {}
    for name, own in seconds.items():
        ratios[name] = statistics.median(one / base for one, base in zip(own, ours, strict=True))
        print(f"{name:12s} {1e3 * statistics.median(own):8.2f} ms  {ratios[name]:6.2f} times ours")
    if args.picture:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(6, 2))
        axes.barh(list(ratios), list(ratios.values()))
        axes.set_xlabel("time over that of fastgcn_rec")
        figure.savefig(args.picture, bbox_inches="tight")
        print(f"written: {args.picture}")


if __name__ == "__main__":
    main()
