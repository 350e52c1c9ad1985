"""Full-ranking evaluation: metrics of the users' lists and of the lists together, at several K in one pass."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from . import stopping
from ._same import check_dataset, check_ids
from .data import Dataset, Edges
from .data._arrays import check_count, check_fraction
from .graph import Graph
from .ops import retrieve, topk, unseen_mask
from .ops.retrieve import unit

USER_METRICS = ("recall", "ndcg", "precision", "hit", "mrr", "map")
LIST_METRICS = ("coverage", "gini", "popularity")
METRICS = USER_METRICS + LIST_METRICS
LOWER_IS_BETTER = ("gini", "popularity")
Scorer = Callable[[torch.Tensor], torch.Tensor]
RANKED_AT_ONCE = 1 << 15  # users, by vectors: their lists and metrics take some hundred bytes each
_LISTED_AT_ONCE = 1 << 24  # places of their lists


def parse_metric(text: str) -> tuple[str, int]:
    """("recall", 20) of "recall@20"."""
    name, _, k = text.partition("@")
    if name not in METRICS or not re.fullmatch("[1-9][0-9]{0,8}", k):
        raise ValueError(f"metric must be NAME@K with K >= 1 and NAME out of {', '.join(METRICS)}, got {text!r}")
    return name, int(k)


def is_better(metric: str, value: float, than: float | None) -> bool:
    """Whether a value of ``metric``, such as "recall@20", is better than another, or there is no other."""
    if than is None:
        return True
    return value < than if parse_metric(metric)[0] in LOWER_IS_BETTER else value > than


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


def _relevant(model: Any, test: Any, exclude: Graph) -> Graph:
    """The edges to be found."""
    if isinstance(test, Dataset):
        if getattr(model, "graph", None) is not None:
            check_dataset("evaluate", model, test, part=True)
        elif (test.n_users, test.n_items) != (exclude.n_users, exclude.n_items):
            raise ValueError(
                f"evaluate: exclude must be [n_users, n_items] = [{test.n_users}, {test.n_items}] as {test.name} is, got "
                f"[{exclude.n_users}, {exclude.n_items}]"
            )
        test = test.test
    if isinstance(test, Edges):
        check_ids("evaluate", model, test.ids, "test")
        test = Graph.from_edges(test.users, test.items, exclude.n_users, exclude.n_items)
    elif sp.issparse(test):
        test = Graph(test)
    elif not isinstance(test, Graph):
        raise TypeError(
            "evaluate: test must be Edges (such as dataset.test), a Dataset, a Graph or a SciPy sparse matrix [n_users, n_items], got "
            f"{type(test).__name__}; for arrays of internal ids write Edges(users, items)"
        )
    if (test.n_users, test.n_items) != (exclude.n_users, exclude.n_items):
        raise ValueError(
            f"evaluate: test must be [n_users, n_items] = [{exclude.n_users}, {exclude.n_items}] as exclude is, got "
            f"[{test.n_users}, {test.n_items}]"
        )
    return test.to(exclude.device)


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
    shown: NDArray[np.int64], degree: NDArray[np.int64], names: Sequence[str] = LIST_METRICS
) -> dict[str, float]:
    """Metrics of all lists together.

    Parameters
    ----------
    shown, degree : int [I], in how many lists an item stands, and its number of training users

    Returns
    -------
    dict of float, NaN where no item is shown, with c the ascending counts ``shown`` and C their sum:

    - coverage = share of items with c > 0
    - gini = sum_i (2 i - I - 1) c_i / (I C), i = 1 .. I: 0 if all items are shown alike, near 1 if a few take all places
    - popularity = sum_i c_i degree_i / C, the mean number of training users of what is shown

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
    }
    return {name: formulas[name]() for name in names}


def bootstrap(values: NDArray[np.float64], n: int, confidence: float = 0.95, seed: int = 0) -> NDArray[np.float64]:
    """Percentile intervals of means over users (Efron 1979): [2, M], the ends that leave (1 - confidence) / 2 on either side.

    values : float64 [U, M], a user's metrics in a row, U >= 1; n >= 1 resamples of all users, the same for every metric.

    Examples
    --------
    >>> import numpy as np
    >>> bootstrap(np.full((5, 1), 0.25), 10).tolist()
    [[0.25], [0.25]]
    """
    rng, n_users = np.random.default_rng(seed), len(values)
    means = np.empty((n, values.shape[1]))
    for mean in means:
        drawn = np.bincount(rng.integers(n_users, size=n_users), minlength=n_users)
        mean[:] = np.einsum("u,um->m", drawn, values) / n_users
    tail = (1 - confidence) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0)


@torch.no_grad()
def evaluate(
    model: Any,
    test: Edges | Dataset | Graph | Any,
    exclude: Graph | None = None,
    *,
    ks: int | Sequence[int] = (20,),
    metrics: str | Sequence[str] = ("recall", "ndcg"),
    batch_users: int = 512,
    degrees: Sequence[int] = (),
    resamples: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, float]:
    """Rank all items for every user with a test item and average the metrics over those users.

    Parameters
    ----------
    model : a model with ``ranked()``, ``vectors()`` or ``scorer()``, or a callable
        The callable maps internal user ids int64 [b] to scores [b, n_items], a tensor or a NumPy array; ``scorer()`` returns one. ``vectors()`` returns (users,
        items, metric) for :func:`fastgcn_rec.retrieve`, or None. ``ranked()`` ranks itself: see :func:`ranked`.
    test : Edges, Dataset, Graph or SciPy sparse matrix [n_users, n_items]
        The relevant items, by internal ids; repeated pairs count once and weights do not. A Dataset stands for its test part; the training edges
        of the model must be among its own then. Edges of a Dataset of other ids than the model's are refused.
    exclude : Graph, optional
        Items that a user has an edge to here are left out of the ranking. Default: ``model.graph``; for a model without one the training
        edges of a Dataset.
    ks : cut-offs >= 1, or one; beyond n_items a list ends with the items; metrics : names out of :data:`METRICS`, or one
    batch_users : int
        Users scored at once by a callable or ``scorer()``: batch_users * n_items scores are held. Vectors need none.
    degrees : ascending ints, such as (10, 30)
        Averages also over the users with 0 to 9, 10 to 29, and 30 or more edges in ``exclude``.
    resamples, confidence, seed : int >= 0, float in (0, 1), int
        With resamples > 0, such as 1000: a bootstrap interval for every metric of users, see :func:`bootstrap`.

    Returns
    -------
    dict
        "recall@20", ... and "n_users_evaluated". Ties go as in :func:`fastgcn_rec.topk`, by chance as it were; sums in float64. What is averaged over nobody is NaN.
        For ``degrees`` also "recall@20[10,30)", ..., "n_users_evaluated[10,30)"; for ``resamples`` "recall@20.low" and "recall@20.high".

    Examples
    --------
    >>> import torch
    >>> from fastgcn_rec.data import Edges
    >>> train, test = Graph.from_edges([0], [0], 1, 3), Edges([0], [2])
    >>> evaluate(lambda users: torch.tensor([[9.0, 0.0, 1.0]]), test, train, ks=[1])["recall@1"]
    1.0
    """
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [m for m in metrics if m not in METRICS]
    if unknown:
        raise ValueError(f"evaluate: metrics must be among {METRICS}, got {unknown}")
    ks, degrees = _counts("ks", ks), _counts("degrees", degrees)
    if not ks:
        raise ValueError("evaluate: ks must be cut-offs >= 1, got none")
    if exclude is None:
        exclude = getattr(model, "graph", None)
        if exclude is None and isinstance(test, Dataset):
            exclude = test.graph()
        if exclude is None:
            raise ValueError("evaluate: pass exclude=Graph(...), the edges that count as seen; a plain scorer has none")
    if not isinstance(exclude, Graph):
        raise TypeError(
            f"evaluate: exclude must be a Graph, got {type(exclude).__name__}; dataset.graph(), Graph(matrix) and Graph.from_edges make one"
        )
    if degrees != sorted(set(degrees)):
        raise ValueError(f"evaluate: degrees must be ascending, got {degrees}")
    batch_users = check_count(batch_users, "evaluate: batch_users", 1)
    resamples, seed = check_count(resamples, "evaluate: resamples", 0), check_count(seed, "evaluate: seed", 0)
    confidence = check_fraction(confidence, "evaluate: confidence")
    relevant = _relevant(model, test, exclude)
    users = torch.nonzero(relevant.user_degree).flatten()
    of_users = [m for m in metrics if m in USER_METRICS]
    of_lists = [m for m in metrics if m in LIST_METRICS]
    names = [f"{m}@{k}" for k in ks for m in of_users]
    values = np.empty((len(users), len(names)))
    shown = {k: np.zeros(exclude.n_items, np.int64) for k in ks}
    done, depth = 0, min(max(ks), exclude.n_items)  # a longer list holds no more
    for block, ids, _ in ranked(model, exclude, users, depth, batch_users=batch_users) if len(users) else ():
        stopping.check()
        hits = (~unseen_mask(relevant, block, ids) & (ids >= 0)).cpu().numpy()
        n_relevant = relevant.user_degree[block].cpu().numpy()
        rows = values[done : done + len(block)]
        for at, k in enumerate(ks):
            found = ranking_metrics(hits, n_relevant, k, of_users)
            for m, name in enumerate(of_users):
                rows[:, at * len(of_users) + m] = found[name]
            if of_lists:
                shown[k] += torch.bincount(ids[:, :k].flatten() + 1, minlength=exclude.n_items + 1)[1:].cpu().numpy()
        done += len(block)
    result = _means(values, names)
    for k in ks:
        found_lists = list_metrics(shown[k], exclude.item_degree.cpu().numpy(), of_lists)
        result |= {f"{m}@{k}": value for m, value in found_lists.items()}
    result["n_users_evaluated"] = len(users)
    if len(degrees):
        degree = exclude.user_degree[users].cpu().numpy()
        bounds = [0, *degrees, np.inf]
        for low, high in itertools.pairwise(bounds):
            inside, bucket = (degree >= low) & (degree < high), f"[{low},{high})"
            result |= _means(values[inside], [name + bucket for name in names])
            result["n_users_evaluated" + bucket] = int(inside.sum())
    if resamples and len(users):
        low_end, high_end = bootstrap(values, resamples, confidence, seed)
        for name, low, high in zip(names, low_end, high_end, strict=True):
            result |= {f"{name}.low": float(low), f"{name}.high": float(high)}
    return result


def _counts(name: str, given: Any) -> list[int]:
    """Integers >= 1, or one."""
    single = isinstance(given, (int, float, str)) or getattr(given, "ndim", 1) == 0
    counts = [check_count(value, f"evaluate: {name}", 1) for value in ([given] if single else given)]
    if counts and max(counts) >= 2**31:
        raise ValueError(f"evaluate: {name} must be below 2**31, got {max(counts)}")
    return counts


def _means(values: NDArray[np.float64], names: Sequence[str]) -> dict[str, float]:
    means = values.mean(0).tolist() if len(values) else [float("nan")] * len(names)
    return dict(zip(names, means, strict=True))
