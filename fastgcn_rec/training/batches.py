"""The batches of a training: one stream for every kind of step."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch

from ..models import Recommender
from ..negatives import Batch, Embeddings, Negatives, parse
from ..ops.sample import sample_batch
from .config import TrainConfig

Tensor = torch.Tensor
STALE = "negatives."  # before the names of a sampler's tensors in a step's state


class Batches:
    """Positives by the config's law, negatives by its sampler. Batch t depends on (seed, t) alone, and on the vectors where the sampler reads them."""

    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        self.graph, self.config = model.graph, config
        self.sampler = parse(config.negatives) if config.negatives else None
        self.n_neg = 0 if config.loss == "softmax" or self.sampler is not None else config.n_neg
        self.steps_per_epoch = config.steps_per_epoch(self.graph.n_edges)
        self.query_items = functools.partial(model.query_items, config)
        self.embeddings = Embeddings(model.get_embedding, model.columns)

    def __call__(self, t: int, seed: int | Tensor, offset: int | Tensor) -> tuple[Tensor, Tensor, Negatives]:
        """Batch t, which begins at sample ``offset``: users int64 [B], positives int64 [B], negatives; internal ids."""
        size, law = self.config.batch_size, self.config.sampler
        users, pos, neg = sample_batch(self.graph, size, self.n_neg, seed=seed, offset=offset, by=law)
        if self.sampler is None:
            return users, pos, Negatives(neg)
        epoch, queries = t // self.steps_per_epoch + 1, functools.partial(self.query_items, t, users, pos)
        batch = Batch(self.graph, users, pos, seed, offset, t, epoch, self.embeddings, queries=queries)
        return users, pos, self.sampler.draw(batch)

    def state(self) -> dict[str, Tensor]:
        """The sampler's stale vectors by "negatives.<name>"."""
        return {f"{STALE}{name}": table for name, table in self.embeddings.state().items()}

    def resume(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Goes on after ``step`` steps, from such a state; other names in it are left alone."""
        tables = {n.removeprefix(STALE): t.to(self.graph.device) for n, t in state.items() if n.startswith(STALE)}
        self.embeddings.resume(step, tables)
