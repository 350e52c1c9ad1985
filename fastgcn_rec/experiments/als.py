"""Implicit's alternating least squares, to compare with."""

from __future__ import annotations

import scipy.sparse as sp
import torch

from ..data import Dataset
from ..ranking.vectors import Vectors


def als(data: Dataset, factors: int = 64, seed: int = 0) -> Vectors:
    """Implicit ALS (Hu et al. 2008) as the package implicit computes it, 64 factors, else with its defaults. ImportError where it is not installed."""
    try:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits  # comes with it
    except ImportError:
        raise ImportError("als needs implicit: pip install 'fastgcn_rec[compare]'") from None
    graph = data.graph()
    with threadpool_limits(1, "blas"):  # it has threads of its own
        model = AlternatingLeastSquares(factors=factors, random_state=seed, num_threads=torch.get_num_threads())
        model.fit(sp.csr_matrix(graph.to_scipy()), show_progress=False)
    return Vectors(model.user_factors, model.item_factors, graph, user_ids=data.user_ids, item_ids=data.item_ids)
