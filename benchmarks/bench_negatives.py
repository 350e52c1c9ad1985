"""Drawing negatives: every sampler against the same law in NumPy or torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy import stats

from fastgcn_rec import sample_batch
from fastgcn_rec.negatives import (
    DistanceWeighted,
    Dynamic,
    Embeddings,
    InBatch,
    Negatives,
    Popularity,
    Sampler,
    SemiHard,
    Shared,
    Uniform,
)
from fastgcn_rec.ops import reference

from . import peers
from .harness import Comparison, Contender, Settings

BATCH, POWER, MARGIN = 2048, 0.75, 0.2


def comparisons(settings: Settings) -> Iterator[Comparison]:
    graph, table = settings.graph, settings.embedding()
    users, pos, _ = sample_batch(graph, BATCH, 0, seed=0)
    keys = peers.edge_keys(graph)
    source = Embeddings(lambda: table)
    source.at(0)
    user_emb, item_emb = table.split([graph.n_users, graph.n_items])

    def ours(sampler: Sampler) -> Callable[[], Negatives]:
        return lambda: sampler(graph, users, pos, seed=0, embeddings=source)

    def own_items_stay_away(sampler: Sampler) -> None:
        rows = ours(sampler)().per_row(BATCH).cpu()
        ids = users.cpu()[:, None] * graph.n_items + rows
        assert not np.isin(ids[rows >= 0].numpy(), keys).any(), "a negative is an edge"
        assert (rows >= 0).any(), "there are no negatives"

    def compared(case: str, sampler: Sampler, theirs: str, run: Callable[[], object], gate: Callable[[], None]):
        def both() -> None:
            own_items_stay_away(sampler)
            gate()

        contenders = [Contender("ours", ours(sampler), "int64"), Contender(theirs, run, "int64")]
        return Comparison(f"negatives/{case}, batch {BATCH}", contenders, both)

    def nothing_more() -> None: ...

    def follows_its_law() -> None:
        """Items in order of degree, cut into ten groups of about equal expected counts."""
        ids = Shared(100_000, Popularity(1, POWER))(graph, users, pos, seed=1).ids.cpu().numpy().ravel()
        weight = graph.item_degree.cpu().numpy().astype(float) ** POWER
        group = np.minimum(weight.cumsum() / weight.sum() * 10, 9).astype(int)
        expected = np.bincount(group, weight, 10) / weight.sum() * ids.size
        used = expected > 5
        found = np.bincount(group[ids], minlength=10)
        assert stats.chisquare(found[used], expected[used]).pvalue > 1e-4, "popularity is off its law"

    def masks_are_the_edges() -> None:
        mask = ours(InBatch())().mask
        assert mask is not None
        assert torch.equal(mask, peers.torch_unseen_mask(graph, users, pos)), "the mask is wrong"

    def picks_are_those_of(sampler: Dynamic | SemiHard, law: str) -> Callable[[], None]:
        def gate() -> None:
            few = slice(0, 64)
            candidates = Uniform(sampler.candidates)(graph, users[few], pos[few], seed=0).ids.cpu()
            wide = user_emb.cpu().double(), item_emb.cpu().double()
            margin = {"margin": MARGIN} if law == "semi_hard" else {}
            want = reference.select_negatives(*wide, users[few].cpu(), pos[few].cpu(), candidates, 1, law, **margin)
            got = sampler(graph, users[few], pos[few], seed=0, embeddings=source).ids.cpu()
            assert (got == want).float().mean() > 0.98, "the picks are others"  # but for ties within rounding

        return gate

    yield compared("uniform, 4 a row", Uniform(4), "NumPy, whole arrays",
                   peers.numpy_negatives(graph, users, 4), nothing_more)  # fmt: skip
    yield compared("popularity, 4 a row", Popularity(4, POWER), "NumPy, whole arrays",
                   peers.numpy_negatives(graph, users, 4, POWER), follows_its_law)  # fmt: skip
    yield compared("shared, 500", Shared(500), "torch",
                   peers.torch_shared(graph, users, 500), nothing_more)  # fmt: skip
    yield compared("in batch", InBatch(), "torch",
                   lambda: peers.torch_unseen_mask(graph, users, pos), masks_are_the_edges)  # fmt: skip
    dynamic, semi_hard, weighted = Dynamic(1, 32), SemiHard(1, MARGIN, 64), DistanceWeighted(1)
    yield compared("dynamic, 1 of 32", dynamic, "torch",
                   peers.torch_dynamic(graph, user_emb, item_emb, users, 32), picks_are_those_of(dynamic, "hardest"))  # fmt: skip
    yield compared("semi-hard, 1 of 64", semi_hard, "torch",
                   peers.torch_semi_hard(graph, user_emb, item_emb, users, pos, 64, MARGIN),
                   picks_are_those_of(semi_hard, "semi_hard"))  # fmt: skip
    yield compared("distance-weighted, 1 of 64", weighted, "torch",
                   peers.torch_distance_weighted(graph, user_emb, item_emb, users, 64), nothing_more)  # fmt: skip
