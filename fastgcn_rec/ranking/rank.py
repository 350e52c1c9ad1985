"""The k best items of many users, by whatever a model scores with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ..core.graph import Graph
from ..ops.retrieve import retrieve, unit
from ..ops.topk import topk

Scorer = Callable[[torch.Tensor], torch.Tensor]

RANKED_AT_ONCE = 1 << 15  # users, by vectors: their lists and metrics take some hundred bytes each

_LISTED_AT_ONCE = 1 << 24  # places of their lists


def ranked(
    model: Any, graph: Graph, users: torch.Tensor, k: int, exclude_seen: bool = True, batch_users: int = 512
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(users [b], ids [b, k], scores [b, k]), block by block, for internal user ids int64 [n] on the graph's device.

    A model with a method ``ranked(seen, users, k)`` does it itself (``seen``: the graph, or None); one with ``vectors()`` is ranked by
    :func:`fastgcn_rec.retrieve`; any other by its scores, ``batch_users`` rows of them at a time.
    """
    if hasattr(model, "ranked"):
        yield from model.ranked(graph if exclude_seen else None, users, k)
        return
    vectors = model.vectors() if hasattr(model, "vectors") else None
    if vectors is not None:
        of_users, of_items, metric = vectors
        cosine = metric == "cosine"  # as scorers and indices compute it, to the bit
        of_items = unit(of_items) if cosine else of_items
        product: Any = "dot" if cosine else metric
        seen = graph if exclude_seen else None
        for block in users.split(max(1, min(RANKED_AT_ONCE, _LISTED_AT_ONCE // k))):
            rows, queries = block if exclude_seen else None, of_users[block]
            queries = unit(queries) if cosine else queries
            yield block, *retrieve(queries, of_items, k, seen, exclude_rows=rows, metric=product)
        return
    score = model.scorer() if hasattr(model, "scorer") else model
    for block in users.split(batch_users):
        scores = _scores(score(block), len(block), graph)
        yield block, *topk(graph, scores, k, block if exclude_seen else None)


def _scores(given: Any, n_users: int, graph: Graph) -> torch.Tensor:
    """What a scorer returned, as a tensor on the graph's device."""
    if not isinstance(given, (torch.Tensor, np.ndarray)):
        raise TypeError(
            f"evaluate: the scorer must return scores [b, n_items], a tensor or a NumPy array, got {type(given).__name__}"
        )
    if tuple(given.shape) != (n_users, graph.n_items):
        raise ValueError(
            f"evaluate: the scorer must return scores [b, n_items] = [{n_users}, {graph.n_items}], got {list(given.shape)}"
        )
    scores = given if isinstance(given, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(given))
    return scores.to(graph.device)
