"""Small samplers of every kind, vectors for those that look at them, and the test of a law by many draws."""

import numpy as np
import torch
from scipy import stats
from support import FEW

from fastgcn_rec.negatives import (
    Curriculum,
    DistanceWeighted,
    Dynamic,
    InBatch,
    Popularity,
    PPRHard,
    SemiHard,
    Shared,
    Uniform,
)

MANY = 4_000 if FEW else 40_000  # draws of a distribution test


class Band:
    """Ranks for PPRHard: item (user + k) mod n_items has rank k; uniform over ranks [2, 6)."""

    def __init__(self, n_items):
        self.n_items = n_items

    def sample(self, users, n, seed, offset):
        rng = np.random.default_rng((int(seed), int(offset)))
        ranks = torch.from_numpy(rng.integers(2, 6, (len(users), n))).to(users.device)
        return (users[:, None] + ranks) % self.n_items


SAMPLERS = {
    "uniform": lambda n_items: Uniform(3),
    "popularity": lambda n_items: Popularity(3, 0.5),
    "shared": lambda n_items: Shared(5),
    "shared by popularity": lambda n_items: Shared(5, Popularity(1, 1.0)),
    "in_batch": lambda n_items: InBatch(),
    "dynamic": lambda n_items: Dynamic(2, candidates=6),
    "semi_hard": lambda n_items: SemiHard(2, 1.0, candidates=6),
    "distance_weighted": lambda n_items: DistanceWeighted(2, candidates=6),
    "ppr": lambda n_items: PPRHard(2, ranks=Band(n_items)),
    "ppr of items": lambda n_items: PPRHard(2, of="item", ranks=Band(n_items)),
    "sum": lambda n_items: Uniform(1) + Shared(3) + PPRHard(1, ranks=Band(n_items)),
    "curriculum": lambda n_items: Curriculum(Uniform(1), Dynamic(1, candidates=6)) + Popularity(1),
}


def vectors(graph, dim=6, seed=0, device="cpu"):
    return torch.randn(graph.n_nodes, dim, generator=torch.Generator().manual_seed(seed)).to(device)


def draw(sampler, graph, users, pos, step=0, epoch=3, seed=7):
    table = vectors(graph, device=graph.device)
    return sampler(graph, users, pos, seed=seed, step=step, epoch=epoch, embeddings=lambda: table)


def pvalue(counts, weights):
    counts, weights = np.asarray(counts, float), np.asarray(weights, float)
    assert counts[weights == 0].sum() == 0
    kept = weights > 0
    return stats.chisquare(counts[kept], weights[kept] / weights.sum() * counts.sum()).pvalue
