"""The 5,000 items of highest personalized PageRank, for many users: ours against power iteration, a source at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from fastgcn_rec import Graph, ppr_topk

from .harness import Comparison, Contender, Settings

RESTART, TOL, K = 0.15, 1e-6, 5000
USERS, ONE_BY_ONE, BLOCK = 1000, 20, 64  # users; of them, those that a peer ranks in a round, whose time is scaled


def comparisons(settings: Settings) -> Iterator[Comparison]:
    graph = settings.graph
    k, n = min(K, graph.n_items // 2), min(200 if settings.quick else USERS, graph.n_users)
    users = np.linspace(0, graph.n_users - 1, n).astype(np.int64)
    few, block = (users[:: max(n // m, 1)][:m] for m in (ONE_BY_ONE, BLOCK))
    on_device = torch.from_numpy(users).to(settings.device)
    walk = _walk(graph.to("cpu"))
    single = walk.astype(np.float32)

    def ours() -> torch.Tensor:
        return ppr_topk(graph, on_device, k, restart=RESTART, tol=TOL).ids

    def one_by_one() -> list[NDArray[np.int64]]:
        return [_best(_power_iteration(walk, user)[graph.n_users :], k) for user in few]

    def in_a_block() -> list[NDArray[np.int64]]:
        start = np.zeros((graph.n_nodes, len(block)), np.float32)
        start[block, np.arange(len(block))] = 1
        x = start
        for _ in range(math.ceil(math.log(TOL) / math.log(1 - RESTART))):  # |x - pi|_1 <= (1 - c)^iterations
            x = np.float32(1 - RESTART) * (single @ x) + np.float32(RESTART) * start
        return [_best(column, k) for column in np.ascontiguousarray(x[graph.n_users :].T)]

    def gate() -> None:
        ids = ours().cpu().numpy()
        assert np.array_equal(ids, ours().cpu().numpy()), "two runs differ"
        for user in few:
            exact, row = _power_iteration(walk, user, tol=1e-13)[graph.n_users :], ids[np.searchsorted(users, user)]
            shared = len(np.intersect1d(row, _best(exact, k))) / k
            assert shared > 0.999, f"user {user}: {shared:.2%} of the best {k} found"
            rises = np.diff(exact[row]) / exact[row[1:]].clip(1e-30)
            assert rises.max() < 1e-5, f"user {user}: out of order by {rises.max():.1e} of a score"

    others = [Contender(f"SciPy power iteration, {len(few)} users scaled", one_by_one, "float64", n / len(few))]
    if not settings.quick:
        name = f"the same, one block of {len(block)} users scaled"
        others.append(Contender(name, in_a_block, "float32", n / len(block)))
    yield Comparison(f"ppr/top {k} of {n} users", [Contender("ours", ours), *others], gate)


def _walk(graph: Graph) -> sp.csr_array:
    """A D^-1, float64."""
    r = graph.to_scipy().astype(np.float64)
    a = sp.csr_array(sp.bmat([[None, r], [r.T, None]]))
    degree = np.asarray(a.sum(0)).ravel()
    return sp.csr_array(a.multiply(1 / np.maximum(degree, 1)))


def _power_iteration(walk: sp.csr_array, source: int, tol: float = TOL) -> NDArray[np.float64]:
    """x = (1 - c) walk x + c e, as NetworkX's and scikit-network's, until |x - pi|_1 <= tol: a step's change times
    (1 - c) / c bounds what is left."""
    start = np.zeros(walk.shape[0])
    start[source] = 1
    x, change = start, np.inf
    while change * (1 - RESTART) / RESTART > tol:
        following = (1 - RESTART) * (walk @ x)
        following[source] += RESTART
        change = np.abs(following - x).sum()
        x = following
    return x


def _best(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    best = np.argpartition(-scores, k - 1)[:k]
    return best[np.argsort(-scores[best], kind="stable")]
