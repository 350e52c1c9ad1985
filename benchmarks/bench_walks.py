"""Random walks: traces, and the importance neighbourhoods of PinSAGE (traces, counts and the best of them)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from fastgcn_rec import random_walk, random_walk_neighbors

from . import peers
from .harness import Comparison, Contender, Settings

LENGTH = 20  # of a trace
N_WALKS, DOUBLE_STEPS, RESTART, TOP = 100, 3, 0.5, 20


def comparisons(settings: Settings) -> Iterator[Comparison]:
    graph = settings.graph
    degree = torch.cat([graph.user_degree, graph.item_degree])
    active = torch.nonzero(degree > 0).flatten()
    generator = torch.Generator().manual_seed(settings.seed)
    nodes = active[torch.randint(len(active), (2000 if settings.quick else 20_000,), generator=generator)]
    seeds = nodes[nodes >= graph.n_users][: 200 if settings.quick else 4000]
    indptr, indices = peers.homogeneous(graph)
    walkers = {"NumPy, whole arrays": peers.numpy_walks(indptr, indices)}
    cluster = peers.torch_cluster_walks(indptr, indices)
    if cluster is not None:
        walkers = {"torch_cluster": cluster, **walkers}

    def traces() -> torch.Tensor:
        return random_walk(graph, nodes, LENGTH, seed=0)

    def neighbors() -> tuple[torch.Tensor, torch.Tensor]:
        return random_walk_neighbors(graph, seeds, N_WALKS, DOUBLE_STEPS, RESTART, TOP, seed=0)

    def gate_traces() -> None:
        walked = traces().cpu()
        rows = torch.repeat_interleave(degree.cpu())
        keys = rows * graph.n_nodes + indices.cpu()
        taken = walked[:, :-1] * graph.n_nodes + walked[:, 1:]
        assert torch.isin(taken, keys).all(), "a step is not over an edge"
        assert torch.equal(walked, traces().cpu()), "two runs differ"

    def gate_neighbors() -> None:
        n_walks = 20_000
        ids, weights = random_walk_neighbors(graph, seeds[:8], n_walks, DOUBLE_STEPS, RESTART, graph.n_items, seed=0)
        for seed, row, weight in zip(seeds[:8].tolist(), ids.cpu().numpy(), weights.cpu().numpy(), strict=True):
            exact = peers.walk_shares(graph, seed - graph.n_users, DOUBLE_STEPS, RESTART)
            ours = np.zeros_like(exact)
            ours[row[row >= 0] - graph.n_users] = weight[row >= 0]
            counted = 1 - exact[seed - graph.n_users]
            exact[seed - graph.n_users] = 0
            error, sigma = np.abs(ours - exact / counted).max(), 0.5 / np.sqrt(n_walks * counted)
            assert error < 5 * sigma, f"the shares of item {seed - graph.n_users}'s neighbours are off by {error:.3f}"

    yield Comparison(
        f"walks/{len(nodes)} traces of {LENGTH}",
        _with_one_thread(traces, settings)
        + [Contender(name, lambda walk=walk: walk(nodes, LENGTH), "int64") for name, walk in walkers.items()],
        gate_traces,
        n_units=len(nodes) * LENGTH,
        unit="steps",
    )
    yield Comparison(
        f"walks/{len(seeds)} neighbourhoods, {N_WALKS} x {DOUBLE_STEPS}",
        _with_one_thread(neighbors, settings)
        + [
            Contender(
                f"{name}, then torch",
                lambda walk=walk: peers.count_neighbors(walk, seeds, N_WALKS, DOUBLE_STEPS, TOP, graph.n_nodes),
                "int64",
            )
            for name, walk in walkers.items()
        ],
        gate_neighbors,
        n_units=len(seeds) * N_WALKS * DOUBLE_STEPS * 2,
        unit="steps",
    )


def _with_one_thread(run: Callable[[], Any], settings: Settings) -> list[Contender]:
    def alone() -> Any:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return run()
        finally:
            torch.set_num_threads(threads)

    ours = [Contender("ours", run, "int64")]
    if settings.device.type == "cpu" and torch.get_num_threads() > 1:
        ours.append(Contender("ours, one thread", alone, "int64"))
    return ours
