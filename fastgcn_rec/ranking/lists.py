"""The k best items of many users, by vectors or by scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..core.graph import Graph
from ..core.tensors import check_ids, check_range, tensor_of
from ..ops.retrieve import retrieve, unit
from ..ops.topk import topk
from .protocols import Lists, RowScorer, Scored, Scorer

Tensor = torch.Tensor

RANKED_AT_ONCE = 1 << 15  # users, by vectors: their lists and metrics take some hundred bytes each
SCORED_AT_ONCE = 512  # users, with a score for every item each
_LISTED_AT_ONCE = 1 << 24  # places of their lists


def by_vectors(vectors: Scored, seen: Graph | None, users: Tensor, k: int) -> Lists:
    """By :func:`fastgcn_rec.retrieve`, for internal user ids int64 [n]; ``seen`` lies where the vectors do."""
    of_users, of_items, metric = vectors
    cosine = metric == "cosine"  # as scorers and indices compute it, to the bit
    of_items = unit(of_items) if cosine else of_items
    product: Any = "dot" if cosine else metric
    for block in users.to(of_users.device).split(max(1, min(RANKED_AT_ONCE, _LISTED_AT_ONCE // k))):
        rows, queries = None if seen is None else block, of_users[block]
        queries = unit(queries) if cosine else queries
        yield block, *retrieve(queries, of_items, k, seen, exclude_rows=rows, metric=product)


def by_scores(score: Scorer, graph: Graph, users: Tensor, k: int, exclude_seen: bool, batch_users: int) -> Lists:
    """By scores of ``batch_users`` users at a time; ``graph`` says how many items there are, and what is seen."""
    for block in users.to(graph.device).split(batch_users):
        scores = _scores(score(block), len(block), graph)
        yield block, *topk(graph, scores, k, block if exclude_seen else None)


def by_rows(score: RowScorer, edges: Graph, k: int, exclude_seen: bool) -> tuple[Tensor, Tensor]:
    """(ids [n, k], scores [n, k]) for n users who need not be known, by the rows of their edges [n, n_items]."""
    users = torch.arange(edges.n_users, device=edges.device)
    blocks = by_scores(lambda ids: score(edges.select_users(ids)), edges, users, k, exclude_seen, SCORED_AT_ONCE)
    return joined(blocks)


def joined(lists: Lists) -> tuple[Tensor, Tensor]:
    """(ids [n, k], scores [n, k]) of all blocks."""
    _, ids, scores = zip(*lists, strict=True)
    return torch.cat(ids), torch.cat(scores)


def checked(lists: Any, users: Tensor, k: int, n_items: int, who: str) -> Lists:
    """Lists of somebody's own, which must be those of ``users`` in their order: k different items each, -1 behind the last."""
    if not hasattr(lists, "__iter__"):
        raise TypeError(f"{who}: must give blocks (users [b], ids [b, k], scores [b, k]), got {type(lists).__name__}")
    done = 0
    for block in lists:
        if not isinstance(block, (tuple, list)) or len(block) != 3:
            raise TypeError(f"{who}: a block must be (users [b], ids [b, k], scores [b, k]), got {block!r:.80}")
        own = check_ids(who, "users", block[0], (None,), users)
        if not torch.equal(own, users[done : done + len(own)]):
            raise ValueError(
                f"{who}: blocks must be of the {len(users)} users that were asked for, in their order, got others after {done}"
            )
        ids = check_ids(who, "ids", block[1], (len(own), k), users)
        check_range(who, "ids", ids, n_items, -1)
        ordered = ids.sort(1).values
        if bool(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any()):
            raise ValueError(f"{who}: the items of a list must be different, got one twice")
        scores = block[2] if isinstance(block[2], Tensor) else tensor_of(who, "scores", np.asarray(block[2]))
        if scores.shape != ids.shape:
            raise ValueError(f"{who}: scores must have shape {list(ids.shape)} as ids, got {list(scores.shape)}")
        done += len(own)
        yield own, ids, scores.to(users.device)
    if done < len(users):
        raise ValueError(f"{who}: blocks must be of all {len(users)} users that were asked for, got {done} of them")


def _scores(given: Any, n_users: int, graph: Graph) -> Tensor:
    """What a scorer returned, as a tensor on the graph's device."""
    if not isinstance(given, (torch.Tensor, np.ndarray)):
        raise TypeError(
            f"evaluate: the scorer must return scores [b, n_items], a tensor or a NumPy array, got {type(given).__name__}"
        )
    if tuple(given.shape) != (n_users, graph.n_items):
        raise ValueError(
            f"evaluate: the scorer must return scores [b, n_items] = [{n_users}, {graph.n_items}], got {list(given.shape)}"
        )
    scores = given if isinstance(given, torch.Tensor) else tensor_of("evaluate", "the scorer's scores", given)
    if scores.dtype not in (torch.float32, torch.float64) or scores.layout != torch.strided or scores.is_meta:
        raise TypeError(
            "evaluate: the scorer must return a dense tensor or array of float32 or float64, got "
            f"{str(scores.dtype).removeprefix('torch.')} on {scores.device} of layout {str(scores.layout).removeprefix('torch.')}"
        )
    return scores.to(graph.device)
