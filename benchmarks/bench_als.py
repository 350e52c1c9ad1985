"""An iteration of implicit ALS, users against items and back, beside implicit's and irspack's, each exact and by its approximations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from threadpoolctl import threadpool_limits

from fastgcn_rec import Graph
from fastgcn_rec.algorithms.als import als, halves
from fastgcn_rec.algorithms.ridge_rows import RidgeRows

from .harness import Comparison, Contender, Settings, on_first_call

Tensor = torch.Tensor
UNOBSERVED, REG, BLOCK, CG_STEPS = 0.003, 0.01, 32, 3
CONFIDENCE = 2.0  # implicit's of an edge, beside 1 for all pairs


def _ours(graph: Graph, x: Tensor, y: Tensor, block: int | None) -> Callable[[], object]:
    """Goes on from where the last call ended, as a fit does and as the others do."""
    now = [x, y]

    def run() -> None:
        now[:] = als(graph, *now, iterations=1, unobserved=UNOBSERVED, reg=REG, block=block)

    return run


def _implicit(graph: Graph, x: Tensor, y: Tensor, steps: int) -> Callable[[], object]:
    """steps: of conjugate gradients; 0: by LAPACK's Cholesky."""
    from implicit.cpu import _als

    matrix = sp.csr_matrix(graph.to_scipy()).astype(np.float32) * CONFIDENCE
    sides = matrix, sp.csr_matrix(matrix.T)
    solve = functools.partial(_als.least_squares_cg, cg_steps=steps) if steps else _als.least_squares
    users, items = x.numpy().copy(), y.numpy().copy()

    def run() -> None:
        with threadpool_limits(1, "blas"):  # it has threads of its own
            solve(sides[0], users, items, REG, num_threads=torch.get_num_threads())
            solve(sides[1], items, users, REG, num_threads=torch.get_num_threads())

    return run


def _irspack(graph: Graph, dim: int, solver: str) -> Callable[[], object]:
    from irspack.recommenders import IALSRecommender

    options: dict[str, Any] = {"ialspp_subspace_dimension": BLOCK} if solver == "IALSPP" else {}
    model = IALSRecommender(
        sp.csr_matrix(graph.to_scipy()).astype(np.float32), n_components=dim, alpha0=UNOBSERVED, reg=REG, solver_type=solver,
        max_cg_steps=CG_STEPS, train_epochs=1, n_threads=torch.get_num_threads(), **options,
    )  # fmt: skip
    model.start_learning()
    run: Callable[[], object] = model.trainer.run_epoch
    return run


def _gate(graph: Graph, y: Tensor) -> None:
    """A half-step is implicit's, where that is installed: weights c - 1, targets c / (c - 1), every pair 1, the same ridge for all."""
    try:
        from implicit.cpu import _als
    except ImportError:
        return
    fits, one = RidgeRows(y, 1.0), torch.ones(graph.n_edges)
    rows = graph.indptr, graph.indices, (CONFIDENCE - 1) * one
    own = fits.back(fits.solve(rows, torch.full((graph.n_users,), REG), CONFIDENCE / (CONFIDENCE - 1) * one))
    theirs = np.zeros((graph.n_users, y.shape[1]), np.float32)
    matrix = sp.csr_matrix(graph.to_scipy()).astype(np.float32) * CONFIDENCE
    with threadpool_limits(1, "blas"):
        _als.least_squares(matrix, theirs, y.numpy().copy(), REG, num_threads=1)
    scale = float(np.abs(theirs).max())
    torch.testing.assert_close(own, torch.from_numpy(theirs), rtol=1e-3, atol=1e-3 * scale)


def comparisons(settings: Settings) -> Iterator[Comparison]:
    if settings.device.type != "cpu":
        return
    graph = settings.dataset.graph()
    graph = Graph.from_edges(*_edges(graph), graph.n_users, graph.n_items)  # the others know no weights
    x, y = settings.embedding().cpu().split([graph.n_users, graph.n_items])
    x, y = x.contiguous(), y.contiguous()
    implicit, irspack = functools.partial(_implicit, graph, x, y), functools.partial(_irspack, graph, settings.dim)
    exact = [
        Contender("ours", _ours(graph, x, y, None)),
        Contender("implicit, Cholesky", on_first_call(lambda: implicit(0))),
        Contender(f"implicit, CG {CG_STEPS}", on_first_call(lambda: implicit(CG_STEPS))),
        Contender("irspack, Cholesky", on_first_call(lambda: irspack("CHOLESKY"))),
        Contender(f"irspack, CG {CG_STEPS}", on_first_call(lambda: irspack("CG"))),
    ]
    blocks = [
        Contender(f"ours, blocks of {BLOCK}", _ours(graph, x, y, BLOCK)),
        Contender(f"implicit, CG {CG_STEPS}", on_first_call(lambda: implicit(CG_STEPS))),
        Contender(f"irspack, blocks of {BLOCK}", on_first_call(lambda: irspack("IALSPP"))),
        Contender(f"irspack, CG {CG_STEPS}", on_first_call(lambda: irspack("CG"))),
    ]
    for name, contenders in (("exact", exact), ("approximate", blocks)):
        yield Comparison(f"als/{name}, d={settings.dim}", contenders, lambda: _gate(graph, y))


def _edges(graph: Graph) -> tuple[Tensor, Tensor]:
    return torch.repeat_interleave(graph.user_degree), halves(graph)[0][1]
