"""Full-ranking evaluation: Recall, NDCG, Precision, HitRate, MRR, MAP and coverage at several K in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .data import Edges
from .graph import Graph
from .ops import retrieve, topk, unseen_mask

METRICS = ("recall", "ndcg", "precision", "hit", "mrr", "map", "coverage")
Scorer = Callable[[torch.Tensor], torch.Tensor]
RANKED_AT_ONCE = 1 << 15  # users, by vectors: their lists and metrics take some hundred bytes each


def ranked(
    model: Any, graph: Graph, users: torch.Tensor, k: int, exclude_seen: bool = True, batch_users: int = 512
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(users [b], ids [b, k], scores [b, k]), block by block, for internal user ids int64 [n] on the graph's device.

    A model with ``vectors()`` is ranked by :func:`fastgcn_rec.retrieve`; any other by its scores, ``batch_users`` rows of them at a time.
    """
    vectors = model.vectors() if hasattr(model, "vectors") else None
    if vectors is not None:
        of_users, of_items, metric = vectors
        seen = graph if exclude_seen else None
        for block in users.split(RANKED_AT_ONCE):
            rows = block if exclude_seen else None
            yield block, *retrieve(of_users[block], of_items, k, seen, exclude_rows=rows, metric=metric)
        return
    score = model.scorer() if hasattr(model, "scorer") else model
    for block in users.split(batch_users):
        yield block, *topk(graph, score(block), k, block if exclude_seen else None)


def ranking_metrics(
    hits: NDArray[np.bool_], n_relevant: NDArray[np.int64], k: int, names: Sequence[str] = METRICS[:-1]
) -> dict[str, NDArray[np.float64]]:
    """Metrics of single rankings at cut-off k.

    Parameters
    ----------
    hits : bool [n, K], K >= k
        hits[b, j]: is the item at rank j + 1 among the user's relevant ones P?
    n_relevant : int [n]
        |P|, at least 1.
    names : those to compute

    Returns
    -------
    dict of float64 [n], with rel_j = hits[:, j] and sums over ranks j = 1 .. k:

    - recall = sum rel_j / |P|; precision = sum rel_j / k; hit = [sum rel_j > 0]
    - ndcg = sum rel_j / log2(j + 1), divided by the same sum for the ideal list, which has min(k, |P|) ones
    - mrr = 1 / (rank of the first hit), 0 without one
    - map = sum rel_j * precision@j / min(k, |P|)

    Examples
    --------
    >>> import numpy as np
    >>> ranking_metrics(np.array([[True, False, False]]), np.array([2]), 3)["ndcg"].round(4).tolist()
    [0.6131]
    """
    rel = hits[:, :k].astype(np.float64)
    ranks = np.arange(1, k + 1)
    discount = 1 / np.log2(ranks + 1)
    found, best = rel.sum(1), np.minimum(n_relevant, k)
    formulas: dict[str, Callable[[], NDArray[np.float64]]] = {
        "recall": lambda: found / n_relevant,
        "ndcg": lambda: rel @ discount / np.concatenate(([0.0], np.cumsum(discount)))[best],
        "precision": lambda: found / k,
        "hit": lambda: (found > 0).astype(np.float64),
        "mrr": lambda: (found > 0) / np.where(found > 0, rel.argmax(1) + 1, 1),
        "map": lambda: (rel * np.cumsum(rel, 1) / ranks).sum(1) / best,
    }
    return {name: formulas[name]() for name in names}


@torch.no_grad()
def evaluate(
    model: Any,
    test: Edges,
    exclude: Graph | None = None,
    *,
    ks: Sequence[int] = (20,),
    metrics: Sequence[str] = ("recall", "ndcg"),
    batch_users: int = 512,
) -> dict[str, float]:
    """Rank all items for every user with a test item and average the metrics over those users.

    Parameters
    ----------
    model : a model with ``vectors()`` or ``scorer()``, or a callable
        The callable maps internal user ids int64 [b] to scores [b, n_items]; ``scorer()`` returns one. ``vectors()`` returns (users,
        items, metric) for :func:`fastgcn_rec.retrieve`, or None.
    test : Edges
        The relevant items, by internal ids; repeated pairs count once.
    exclude : Graph, optional
        Items that a user has an edge to here are left out of the ranking. Default: ``model.graph``.
    ks : cut-offs; metrics : names out of :data:`METRICS`
    batch_users : int
        Users scored at once by a callable or ``scorer()``: batch_users * n_items scores are held. Vectors need none.

    Returns
    -------
    dict
        "recall@20", ... and "n_users_evaluated". Ties go to the lower internal id; sums in float64. "coverage@k": the share of items that
        stand in anybody's top k. Without a user to evaluate the metrics are NaN.

    Examples
    --------
    >>> import torch
    >>> from fastgcn_rec.data import Edges
    >>> train, test = Graph.from_edges([0], [0], 1, 3), Edges([0], [2])
    >>> evaluate(lambda users: torch.tensor([[9.0, 0.0, 1.0]]), test, train, ks=[1])["recall@1"]
    1.0
    """
    unknown = [m for m in metrics if m not in METRICS]
    if unknown:
        raise ValueError(f"evaluate: metrics must be among {METRICS}, got {unknown}")
    if not ks or min(ks) < 1:
        raise ValueError(f"evaluate: ks must be cut-offs >= 1, got {list(ks)}")
    if exclude is None:
        exclude = getattr(model, "graph", None)
        if exclude is None:
            raise ValueError("evaluate: pass exclude=Graph(...), the edges that count as seen; a plain scorer has none")
    relevant = Graph.from_edges(test.users, test.items, exclude.n_users, exclude.n_items).to(exclude.device)
    users = torch.nonzero(relevant.user_degree).flatten()
    n_items, singles = exclude.n_items, [m for m in metrics if m != "coverage"]
    sums = {f"{m}@{k}": 0.0 for k in ks for m in singles}
    shown = {k: np.zeros(n_items, bool) for k in ks} if "coverage" in metrics else {}
    for block, ids, _ in ranked(model, exclude, users, max(ks), batch_users=batch_users) if len(users) else ():
        hits = (~unseen_mask(relevant, block, ids) & (ids >= 0)).cpu().numpy()
        n_relevant = relevant.user_degree[block].cpu().numpy()
        for k in ks:
            for m, values in ranking_metrics(hits, n_relevant, k, singles).items():
                sums[f"{m}@{k}"] += float(values.sum())
        for k, mask in shown.items():
            top = ids[:, :k].cpu().numpy()
            mask[top[top >= 0]] = True
    result = {name: total / len(users) if len(users) else float("nan") for name, total in sums.items()}
    result |= {f"coverage@{k}": float(mask.mean()) if n_items else float("nan") for k, mask in shown.items()}
    result["n_users_evaluated"] = len(users)
    return result
