"""Full-ranking evaluation: Recall, NDCG, Precision, HitRate, MRR, MAP and coverage at several K in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .data import Edges
from .graph import Graph
from .ops import topk

METRICS = ("recall", "ndcg", "precision", "hit", "mrr", "map", "coverage")
Scorer = Callable[[torch.Tensor], torch.Tensor]


def ranking_metrics(hits: NDArray[np.bool_], n_relevant: NDArray[np.int64], k: int) -> dict[str, NDArray[np.float64]]:
    """Metrics of single rankings at cut-off k.

    Parameters
    ----------
    hits : bool [n, K], K >= k
        hits[b, j]: is the item at rank j + 1 among the user's relevant ones P?
    n_relevant : int [n]
        |P|, at least 1.

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
    ideal = np.concatenate(([0.0], np.cumsum(discount)))[np.minimum(n_relevant, k)]
    found = rel.sum(1)
    best = np.minimum(n_relevant, k)
    first = np.where(found > 0, rel.argmax(1) + 1, 1)
    return {
        "recall": found / n_relevant,
        "ndcg": rel @ discount / ideal,
        "precision": found / k,
        "hit": (found > 0).astype(np.float64),
        "mrr": (found > 0) / first,
        "map": (rel * np.cumsum(rel, 1) / ranks).sum(1) / best,
    }


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
    model : a model with ``scorer()``, or a callable
        The callable maps internal user ids int64 [b] to scores [b, n_items]; ``scorer()`` returns one.
    test : Edges
        The relevant items, by internal ids; repeated pairs count once.
    exclude : Graph, optional
        Items that a user has an edge to here are left out of the ranking. Default: ``model.graph``.
    ks : cut-offs; metrics : names out of :data:`METRICS`
    batch_users : int
        Users scored at once: the memory is batch_users * n_items scores, never users * items.

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
    score = model.scorer() if hasattr(model, "scorer") else model
    n_items, width = exclude.n_items, max(ks)
    keys = np.unique(test.users.astype(np.int64) * n_items + test.items)
    users, n_relevant = np.unique(keys // max(n_items, 1), return_counts=True)
    sums = {f"{m}@{k}": 0.0 for k in ks for m in metrics if m != "coverage"}
    shown = {k: np.zeros(n_items, bool) for k in ks} if "coverage" in metrics else {}
    for begin in range(0, len(users), batch_users):
        block = torch.from_numpy(users[begin : begin + batch_users]).to(exclude.device)
        ids = topk(exclude, score(block), width, block)[0].cpu().numpy()
        wanted = users[begin : begin + batch_users, None] * n_items + ids
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        hits = (keys[at] == wanted) & (ids >= 0)
        for k in ks:
            values = ranking_metrics(hits, n_relevant[begin : begin + batch_users], k)
            for m in metrics:
                if m != "coverage":
                    sums[f"{m}@{k}"] += float(values[m].sum())
            if shown:
                top = ids[:, :k]
                shown[k][top[top >= 0]] = True
    result = {name: total / len(users) if len(users) else float("nan") for name, total in sums.items()}
    result |= {f"coverage@{k}": float(mask.mean()) if n_items else float("nan") for k, mask in shown.items()}
    result["n_users_evaluated"] = len(users)
    return result
