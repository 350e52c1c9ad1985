"""Full-ranking evaluation: metrics of the users' lists and of the lists together, at several K in one pass."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from ..core.arguments import check_count, check_fraction
from ..core.graph import Graph
from ..core.grown import with_edges
from ..data import Dataset, Edges
from ..data.dataset import Part
from ..ops.sample import unseen_mask
from ..system import stopping
from .lists import SCORED_AT_ONCE
from .metrics import LIST_METRICS, METRICS, USER_METRICS, bootstrap, list_metrics, ranking_metrics
from .rank import as_ranker, own_graph
from .ranker import Ranker
from .same_data import check_same_data, check_same_ids


def _of_part(data: Dataset, name: Part, known: Graph) -> tuple[Edges, Graph]:
    """The edges of this part, and what is left out when it is to be found; ``known``: the model's edges, or the training ones."""
    edges = data.part(name)
    if name == "train":
        return edges, Graph.from_edges([], [], known.n_users, known.n_items, device=known.device)
    valid = [torch.from_numpy(side).long().to(known.device) for side in (data.valid.users, data.valid.items)]
    if not len(data.valid):
        return edges, known
    return edges, with_edges(known, *valid) if name == "test" else known.without_edges(*valid)


def _ranker_for(model: Any, test: Any, exclude: Graph) -> Ranker:
    """The model as a ranker, of the data set that it is to be evaluated on."""
    knows_edges = own_graph(model) is not None
    if isinstance(test, Dataset) and not knows_edges:
        _check_sizes(exclude, test, test.name)
    ranker = as_ranker(model, exclude, "evaluate")
    if isinstance(test, Dataset) and knows_edges:
        check_same_data("evaluate", ranker, test, part=True)
    _check_sizes(exclude, ranker, "the model")
    return ranker


def _check_sizes(exclude: Graph, of: Dataset | Ranker, name: str) -> None:
    if (of.n_users, of.n_items) != (exclude.n_users, exclude.n_items):
        raise ValueError(
            f"evaluate: exclude must be [n_users, n_items] = [{of.n_users}, {of.n_items}] as {name} is, got "
            f"[{exclude.n_users}, {exclude.n_items}]"
        )


def _relevant(ranker: Ranker, test: Any, exclude: Graph) -> Graph:
    """The edges to be found."""
    if isinstance(test, Edges):
        check_same_ids("evaluate", ranker, test.ids, "test")
        test = Graph.from_edges(test.users, test.items, exclude.n_users, exclude.n_items, device=exclude.device)
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


@torch.no_grad()
def evaluate(
    model: Any,
    test: Edges | Dataset | Graph | Any,
    exclude: Graph | None = None,
    *,
    part: Part = "test",
    ks: int | Sequence[int] = (20,),
    metrics: str | Sequence[str] = ("recall", "ndcg"),
    batch_users: int = SCORED_AT_ONCE,
    degrees: Sequence[int] = (),
    resamples: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, float]:
    """Rank all items for every user with a test item and average the metrics over those users.

    Parameters
    ----------
    model : a model, a pair (users, items) of matrices, a fitted factorization of implicit, torch_geometric's LightGCN, or a callable
        The callable maps internal user ids int64 [b] to scores [b, n_items], a tensor or a NumPy array. All that may stand here:
        :func:`fastgcn_rec.ranking.as_ranker`.
    test : Edges, Dataset, Graph or SciPy sparse matrix [n_users, n_items]
        The relevant items, by internal ids; repeated pairs count once and weights do not. A Dataset stands for one of its parts; the training edges
        of the model must be among its own then. Edges of a Dataset of other ids than the model's are refused.
    exclude : Graph, optional
        Items that a user has an edge to here are left out of the ranking. Default: ``model.graph``; for a model without one the training
        edges of a Dataset. Where a Dataset has a validation part, this is left out too for the test part, and is not for itself; for the
        training part nothing is.
    part : "test", "valid" or "train"
        Of a Dataset. A model that a refit trained on the validation part is judged there on what it has seen.
    ks : cut-offs >= 1, or one; beyond n_items a list ends with the items; metrics : names out of :data:`METRICS`, or one
    batch_users : int
        Users scored at once by a callable or ``scorer()``: batch_users * n_items scores are held. Vectors need none.
    degrees : ascending ints, such as (10, 30)
        Averages also over the users with 0 to 9, 10 to 29, and 30 or more edges in ``exclude``, or where that is left out, in its default but for
        the validation part.
    resamples, confidence, seed : int >= 0, float in (0, 1), int
        With resamples > 0, such as 1000: a bootstrap interval for every metric of users, see :func:`bootstrap`.

    Returns
    -------
    dict
        "recall@20", ... and "n_users_evaluated". Ties go as in :func:`fastgcn_rec.topk`, by chance as it were; sums in float64. What is averaged over nobody is NaN.
        For ``degrees`` also "recall@20[10,30)", ..., "n_users_evaluated[10,30)"; for ``resamples`` "recall@20.low" and "recall@20.high".

    Raises
    ------
    TypeError, ValueError : what is no model, no edges, or does not fit the other; a metric or a number that cannot be; edges of other ids than the
        model's.

    Examples
    --------
    >>> import torch
    >>> from fastgcn_rec.data import Edges
    >>> train, test = Graph.from_edges([0], [0], 1, 3), Edges([0], [2])
    >>> evaluate(lambda users: torch.tensor([[9.0, 0.0, 1.0]]), test, train, ks=[1])["recall@1"]
    1.0
    >>> evaluate((np.ones((1, 1)), np.array([[9.0], [0.0], [1.0]])), test, train, ks=[1])["recall@1"]  # vectors of users and items
    1.0
    """
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [m for m in metrics if m not in METRICS]
    if unknown:
        raise ValueError(f"evaluate: metrics must be among {METRICS}, got {unknown}")
    ks, degrees = _counts("ks", ks), _counts("degrees", degrees)
    if not ks:
        raise ValueError("evaluate: ks must be cut-offs >= 1, got none")
    whole = test if isinstance(test, Dataset) else None
    if whole is None and part != "test":
        raise ValueError(
            f"evaluate: part={part!r} is of a Dataset, got {type(test).__name__}; pass the Dataset, or leave part out"
        )
    known = exclude
    if exclude is None:
        own = own_graph(model) or whole
        known = own.graph() if isinstance(own, Dataset) else own
        if known is None:
            raise ValueError("evaluate: pass exclude=Graph(...), the edges that count as seen; a plain scorer has none")
    if not isinstance(known, Graph):
        raise TypeError(
            f"evaluate: exclude must be a Graph, got {type(exclude).__name__}; dataset.graph(), Graph(matrix) and Graph.from_edges make one"
        )
    if degrees != sorted(set(degrees)):
        raise ValueError(f"evaluate: degrees must be ascending, got {degrees}")
    batch_users = check_count(batch_users, "evaluate: batch_users", 1)
    resamples, seed = check_count(resamples, "evaluate: resamples", 0), check_count(seed, "evaluate: seed", 0)
    confidence = check_fraction(confidence, "evaluate: confidence")
    ranker = _ranker_for(model, test, known)
    wanted, seen = (test, known) if whole is None else _of_part(whole, part, known)
    exclude = seen if exclude is None else exclude
    relevant = _relevant(ranker, wanted, exclude)
    users = torch.nonzero(relevant.user_degree).flatten()
    of_users = [m for m in metrics if m in USER_METRICS]
    of_lists = [m for m in metrics if m in LIST_METRICS]
    names = [f"{m}@{k}" for k in ks for m in of_users]
    values = np.empty((len(users), len(names)))
    shown = {k: np.zeros(exclude.n_items, np.int64) for k in ks}
    done, depth = 0, min(max(ks), exclude.n_items)  # a longer list holds no more
    for block, ids, _ in ranker.ranked(exclude, users, depth, batch_users) if len(users) else ():
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
    item_degree = known.item_degree.cpu().numpy()
    for k in ks:
        found_lists = list_metrics(shown[k], item_degree, of_lists)
        result |= {f"{m}@{k}": value for m, value in found_lists.items()}
    result["n_users_evaluated"] = len(users)
    if len(degrees):
        degree = known.user_degree[users].cpu().numpy()
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
