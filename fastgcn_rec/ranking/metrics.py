"""Metrics of single rankings, and of all lists together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

USER_METRICS = ("recall", "ndcg", "precision", "hit", "mrr", "map")

CONTENT_METRICS = ("novelty", "diversity")
"""Of what stands in a user's list, whether he wants it or not; NaN where a list has too few items."""

LIST_METRICS = ("coverage", "gini", "popularity", "personalization")

METRICS = USER_METRICS + CONTENT_METRICS + LIST_METRICS

LOWER_IS_BETTER = ("gini", "popularity")


def parse_metric(text: str) -> tuple[str, int]:
    """("recall", 20) of "recall@20"."""
    if not isinstance(text, str):
        raise TypeError(f"metric must be a text such as 'recall@20', got {type(text).__name__}")
    name, _, k = text.partition("@")
    if name not in METRICS or not re.fullmatch("[1-9][0-9]{0,8}", k):
        raise ValueError(f"metric must be NAME@K with K >= 1 and NAME out of {', '.join(METRICS)}, got {text!r}")
    return name, int(k)


def is_better(metric: str, value: float, than: float | None) -> bool:
    """Whether a value of ``metric``, such as "recall@20", is better than another, or there is no other."""
    if than is None:
        return True
    return value < than if parse_metric(metric)[0] in LOWER_IS_BETTER else value > than


def ranking_metrics(
    hits: NDArray[np.bool_], n_relevant: NDArray[np.int64], k: int, names: Sequence[str] = USER_METRICS
) -> dict[str, NDArray[np.float64]]:
    """Metrics of single rankings at cut-off k.

    Parameters
    ----------
    hits : bool [n, K]
        hits[b, j]: is the item at rank j + 1 among the user's relevant ones P? Beyond rank K nothing is listed.
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
    found, best = rel.sum(1), np.minimum(n_relevant, k)
    n_ranks = rel.shape[1]
    ranks = np.arange(1, max(n_ranks, int(best.max(initial=0))) + 1)
    discount = 1 / np.log2(ranks + 1)
    ranks = ranks[:n_ranks]
    formulas: dict[str, Callable[[], NDArray[np.float64]]] = {
        "recall": lambda: found / n_relevant,
        "ndcg": lambda: (
            np.einsum("nk,k->n", rel, discount[:n_ranks]) / np.concatenate(([0.0], np.cumsum(discount)))[best]
        ),
        "precision": lambda: found / k,
        "hit": lambda: (found > 0).astype(np.float64),
        "mrr": lambda: (found > 0) / np.where(found > 0, rel.argmax(1) + 1, 1),
        "map": lambda: (rel * np.cumsum(rel, 1) / ranks).sum(1) / best,
    }
    return {name: formulas[name]() for name in names}


def list_metrics(
    shown: NDArray[np.int64],
    degree: NDArray[np.int64],
    names: Sequence[str] = ("coverage", "gini", "popularity"),
    n_lists: int = 0,
) -> dict[str, float]:
    """Metrics of all lists together.

    Parameters
    ----------
    shown, degree : int [I], in how many lists an item stands, and its number of training users
    names : those to compute
    n_lists : int n, how many lists there are, for personalization alone

    Returns
    -------
    dict of float, NaN where no item is shown, with c the ascending counts ``shown`` and C their sum:

    - coverage = share of items with c > 0
    - gini = sum_i (2 i - I - 1) c_i / (I C), i = 1 .. I: 0 if all items are shown alike, near 1 if a few take all places
    - popularity = sum_i c_i degree_i / C, the mean number of training users of what is shown
    - personalization = 1 - sum_i c_i (c_i - 1) / ((n - 1) C), for lists of the same length the mean over pairs of lists of the share of one that is not in the
      other (Zhou et al. 2010): 0 where all lists are the same; NaN for n < 2

    Examples
    --------
    >>> import numpy as np
    >>> list_metrics(np.array([3, 1, 0, 0]), np.array([5, 1, 2, 0]))
    {'coverage': 0.5, 'gini': 0.625, 'popularity': 4.0}
    """
    total, n_items = float(shown.sum()), len(shown)
    if not total:
        return dict.fromkeys(names, float("nan"))
    rank = 2 * np.arange(1, n_items + 1, dtype=np.float64) - n_items - 1
    formulas: dict[str, Callable[[], float]] = {
        "coverage": lambda: float((shown > 0).mean()),
        "gini": lambda: float((rank * np.sort(shown)).sum() / (n_items * total)),
        "popularity": lambda: float((degree * shown).sum() / total),
        "personalization": lambda: (
            float(1 - (shown * (shown - 1)).sum() / ((n_lists - 1) * total)) if n_lists > 1 else float("nan")
        ),
    }
    return {name: formulas[name]() for name in names}


def bootstrap(values: NDArray[np.float64], n: int, confidence: float = 0.95, seed: int = 0) -> NDArray[np.float64]:
    """Percentile intervals of means over users (Efron 1979): [2, M], the ends that leave (1 - confidence) / 2 on either side.

    values : float64 [U, M], a user's metrics in a row, U >= 1, NaN where a user has none, who does not count then; n >= 1 resamples of all users, drawn by
    ``seed``, the same for every metric.

    Examples
    --------
    >>> import numpy as np
    >>> bootstrap(np.full((5, 1), 0.25), 10).tolist()
    [[0.25], [0.25]]
    """
    rng, n_users = np.random.default_rng(seed), len(values)
    means, missing = np.empty((n, values.shape[1])), np.isnan(values)
    real = ~missing if missing.any() else None
    values = values if real is None else np.where(real, values, 0)
    for mean in means:
        drawn = np.bincount(rng.integers(n_users, size=n_users), minlength=n_users)
        with np.errstate(invalid="ignore"):  # of nobody
            mean[:] = np.einsum("u,um->m", drawn, values) / (
                n_users if real is None else np.einsum("u,um->m", drawn, real)
            )
    tail = (1 - confidence) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0)
