"""Building the normalised bipartite graph from edge lists."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch

from fastgcn_rec import Graph

from .harness import Comparison, Contender, Settings


def comparisons(settings: Settings) -> Iterator[Comparison]:
    data = settings.dataset
    shuffled = np.random.default_rng(0).permutation(len(data.train))
    users, items = data.train.users[shuffled], data.train.items[shuffled]
    n_users, n_items = data.n_users, data.n_items

    def ours() -> Graph:
        graph = Graph.from_edges(users, items, n_users, n_items)
        graph.scales("sym", torch.float32)
        return graph

    def scipy() -> tuple[sp.csr_array, sp.csr_array]:
        r = sp.csr_array((np.ones(len(users), np.float32), (users, items)), shape=(n_users, n_items))
        r.sum_duplicates()
        columns = r.T.tocsr()
        scales = (np.maximum(np.diff(m.indptr), 1) ** -0.5 for m in (r, columns))
        du, di = (sp.dia_array((scale[None], [0]), shape=(len(scale), len(scale))) for scale in scales)
        return du @ r @ di, columns

    def torch_coo() -> torch.Tensor:
        u, i = torch.from_numpy(users).long(), torch.from_numpy(items).long() + n_users
        edges = torch.cat([torch.stack([u, i]), torch.stack([i, u])], 1)
        degree = torch.bincount(edges[0], minlength=n_users + n_items).float()
        values = (degree[edges[0]] * degree[edges[1]]).rsqrt()
        return torch.sparse_coo_tensor(edges, values, (n_users + n_items,) * 2).coalesce()

    def gate() -> None:
        r, columns = ours().to_scipy(), scipy()[1]
        assert (abs(r - columns.T)).nnz == 0, "our graph and SciPy's differ"

    yield Comparison(
        "graph",
        [Contender("ours", ours), Contender("SciPy", scipy), Contender("torch COO, coalesced", torch_coo)],
        gate,
    )
