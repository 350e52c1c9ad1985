"""Samplers of negatives: small objects that ``fit`` and a loop of one's own take alike, and that add up.

    sampler = Uniform(4) + PPRHard(2)         the same as parse("uniform(4)+ppr(2, lo=2000, hi=5000)")
    neg, mask = sampler(graph, users, pos, seed=0, step=t)
    loss = bpr_loss(user_emb, item_emb, users, pos, neg, mask)

What holds for all of them: an item that the user has an edge to is never a negative; -1 marks one that is missing; the numbers of
row b are a function of (seed, t = offset + b, place in the sum, draw) alone, so they are the same bits on every device and for
any number of threads, and a run can be resumed. The samplers that read embeddings are that function of the embeddings too.
"""

from .base import Batch, Embeddings, Negatives, Sampler, Sum, parse
from .hard import Curriculum, DistanceWeighted, Dynamic, PPRHard, SemiHard
from .static import InBatch, Popularity, Shared, Uniform

__all__ = [
    "Batch",
    "Curriculum",
    "DistanceWeighted",
    "Dynamic",
    "Embeddings",
    "InBatch",
    "Negatives",
    "PPRHard",
    "Popularity",
    "Sampler",
    "SemiHard",
    "Shared",
    "Sum",
    "Uniform",
    "parse",
]
