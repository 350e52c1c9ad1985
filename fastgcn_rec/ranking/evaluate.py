"""Full-ranking evaluation: metrics of the users' lists and of the lists together, at several K in one pass."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core import native
from ..core.arguments import check_count, check_fraction
from ..core.graph import Graph
from ..core.world import World
from ..data import Dataset, Edges
from ..data.dataset import Part
from ..ops.sample import unseen_mask
from ..system import stopping
from .content import Contents
from .groups import Groups, ItemKinds, user_groups, wants_kinds
from .hit_metrics import HitMetrics
from .lists import SCORED_AT_ONCE
from .metrics import (
    CONTENT_METRICS,
    LIST_METRICS,
    METRICS,
    USER_METRICS,
    bootstrap,
    list_metrics,
    ranking_metrics,
)
from .ranker import Ranker
from .relevant import known_edges, of_part, ranker_for, relevant_edges
from .shared import SharedVectors, world_of


@dataclasses.dataclass(frozen=True)
class UserMetrics:
    """The metrics of each user by itself.

    Attributes
    ----------
    users : int64 [U], internal ids, ascending: those with a test item
    values : dict of float64 [U], such as "recall@20", in the order of ``users``

    Examples
    --------
    >>> UserMetrics(np.array([3, 7]), {"recall@20": np.array([0.5, 1.0])}).means()
    {'recall@20': 0.75}
    """

    users: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]

    def means(self) -> dict[str, float]:
        """What :func:`evaluate` returns of these metrics, to the bit; NaN without users."""
        return _means(np.column_stack(list(self.values.values())), list(self.values))


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
    groups: Groups = (),
    vectors: Any = None,
    resamples: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
    world: World | None = None,
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
    groups : names, or one; or a mapping of names to labels [n_users] by internal ids
        Averages also over the users of each value of a column of the Dataset's users, such as "gender" (of numbers of many kinds, of each quarter), and over
        each quarter of "activity", their edges in ``exclude``. "popularity": the recall also of popular items to be found, "head", of those in the "tail", and
        of the "mid", see :class:`fastgcn_rec.ranking.groups.ItemKinds`, over the users to whom some are to be found.
    vectors : numbers [n_items, dim], an array or a SciPy sparse matrix; or the name of a column of texts of the Dataset's items
        What "diversity" compares items by, see :func:`fastgcn_rec.ranking.diversity`; of texts such as "Drama|War" a column for each word. Default: the users
        that an item has in ``exclude``.
    resamples, confidence, seed : int >= 0, float in (0, 1), int
        With resamples > 0, such as 1000: a bootstrap interval for every metric of users, see :func:`bootstrap`.
    world : World, optional
        The ranks that share the users out, such as ``World.current()``: each ranks a part of them, with the same model and arguments, and gets the
        result for all, to the bit what one process gets. Default: those that share the model out by columns, or this process alone.

    Returns
    -------
    dict
        "recall@20", ... and "n_users_evaluated". Ties go as in :func:`fastgcn_rec.topk`, by chance as it were; sums in float64. What is averaged over nobody is NaN.
        Users with too few items in their list are left out of the means of novelty and diversity.
        For ``degrees`` also "recall@20[10,30)", ..., "n_users_evaluated[10,30)"; for ``groups`` "recall@20[gender=F]", ..., "recall@20[items=head]" likewise; for ``resamples`` "recall@20.low" and "recall@20.high".

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
    metrics, ks, degrees = _names(metrics, METRICS), _counts("ks", ks), _counts("degrees", degrees)
    if degrees != sorted(set(degrees)):
        raise ValueError(f"evaluate: degrees must be ascending, got {degrees}")
    resamples, seed = check_count(resamples, "evaluate: resamples", 0), check_count(seed, "evaluate: seed", 0)
    confidence = check_fraction(confidence, "evaluate: confidence")
    of_lists = [m for m in metrics if m in LIST_METRICS]
    asked = _Asked(part, ks, metrics, batch_users, vectors, wants_kinds(groups), groups)
    found = _of_all(model, test, exclude, asked, world)
    result = _means(found.values, found.names)
    item_degree = found.known.item_degree.cpu().numpy() if of_lists else np.zeros(0, np.int64)
    for k, in_lists in zip(ks, found.shown, strict=True) if of_lists else ():
        found_lists = list_metrics(in_lists, item_degree, of_lists, len(found.users))
        result |= {f"{m}@{k}": value for m, value in found_lists.items()}
    result["n_users_evaluated"] = len(found.users)
    for name, inside in found.groups(degrees).items():
        result |= _means(found.values[inside], [one + name for one in found.names])
        result["n_users_evaluated" + name] = int(inside.sum())
    for name, column in zip(found.kinds, found.of_kinds.T, strict=True):
        result |= _means(np.ascontiguousarray(column)[:, None], [name])
        result["n_users_evaluated" + name[name.index("[") :]] = int((~np.isnan(column)).sum())
    if resamples and len(found.users):
        low_end, high_end = bootstrap(found.values, resamples, confidence, seed)
        for name, low, high in zip(found.names, low_end, high_end, strict=True):
            result |= {f"{name}.low": float(low), f"{name}.high": float(high)}
    return result


@torch.no_grad()
def evaluate_users(
    model: Any,
    test: Edges | Dataset | Graph | Any,
    exclude: Graph | None = None,
    *,
    part: Part = "test",
    ks: int | Sequence[int] = (20,),
    metrics: str | Sequence[str] = ("recall", "ndcg"),
    batch_users: int = SCORED_AT_ONCE,
    vectors: Any = None,
    world: World | None = None,
) -> UserMetrics:
    """What :func:`evaluate` averages: the metrics of every user with a test item, for tests between models and groups of one's own.

    Parameters
    ----------
    model, test, exclude, part, ks, batch_users, vectors, world : those of :func:`evaluate`
    metrics : names out of :data:`USER_METRICS` and :data:`CONTENT_METRICS`, or one; of the latter a value is NaN where a list has too few items

    Returns
    -------
    :class:`UserMetrics`

    Raises
    ------
    TypeError, ValueError : those of :func:`evaluate`

    Examples
    --------
    >>> import torch
    >>> from fastgcn_rec.data import Edges
    >>> train, test = Graph.from_edges([0, 1], [0, 1], 2, 3), Edges([0, 1], [2, 0])
    >>> found = evaluate_users(lambda users: torch.tensor([[0.0, 1.0, 2.0]]).expand(len(users), 3), test, train, ks=1)
    >>> found.users.tolist(), found.values["recall@1"].tolist()
    ([0, 1], [1.0, 0.0])
    """
    metrics, ks = _names(metrics, USER_METRICS + CONTENT_METRICS), _counts("ks", ks)
    found = _of_all(model, test, exclude, _Asked(part, ks, metrics, batch_users, vectors), world)
    columns = {name: found.values[:, at].copy() for at, name in enumerate(found.names)}
    return UserMetrics(found.users.cpu().numpy(), columns)


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What is asked of the lists."""

    part: Part
    ks: list[int]
    metrics: list[str]
    batch_users: int
    vectors: Any
    with_kinds: bool = False
    groups: Groups = ()

    @property
    def of_users(self) -> list[str]:
        return [name for name in self.metrics if name not in LIST_METRICS]

    @property
    def with_shown(self) -> bool:
        return any(name in LIST_METRICS for name in self.metrics)


@dataclasses.dataclass(frozen=True)
class _Found:
    """``values`` [U, names]: a user's metrics in a row; ``of_kinds`` [U, kinds]: the recall of kinds of items; ``shown`` [ks, n_items]: in how many lists
    an item stands; ``known``: the edges that degrees are of."""

    asked: _Asked
    data: Dataset | None
    known: Graph
    users: torch.Tensor
    names: list[str]
    values: NDArray[np.float64]
    kinds: list[str]
    of_kinds: NDArray[np.float64]
    shown: NDArray[np.int64]

    def groups(self, degrees: list[int]) -> dict[str, NDArray[np.bool_]]:
        """Which users are in each group, by what stands behind a metric's name."""
        found: dict[str, NDArray[np.bool_]] = {}
        degree = self.known.user_degree[self.users].cpu().numpy() if degrees else np.zeros(0, np.int64)
        for low, high in itertools.pairwise([0, *degrees, np.inf]) if degrees else ():
            found[f"[{low},{high})"] = (degree >= low) & (degree < high)
        of_users = user_groups(self.asked.groups, self.data, self.known, self.users)
        return found | {f"[{name}]": inside for name, inside in of_users.items()}


def _of_all(model: Any, test: Any, exclude: Graph | None, asked: _Asked, world: World | None) -> _Found:
    known = known_edges(model, test, exclude, asked.part)
    whole = test if isinstance(test, Dataset) else None
    batch_users = check_count(asked.batch_users, "evaluate: batch_users", 1)
    ranker = ranker_for(model, test, known)
    wanted, seen = (test, known) if whole is None else of_part(whole, asked.part, known)
    exclude = seen if exclude is None else exclude
    relevant = relevant_edges(ranker, wanted, exclude)
    users = relevant.cached("users with an edge", lambda: torch.nonzero(relevant.user_degree).flatten())
    user_groups(asked.groups, whole, known, users[:0])  # what cannot be is said before anything is ranked
    names = [f"{m}@{k}" for k in asked.ks for m in asked.of_users]
    contents = Contents(asked.metrics, known, asked.vectors, whole)
    kinds = ItemKinds(known, relevant) if asked.with_kinds else None
    world = world_of(ranker, world, "evaluate")
    edges = {"users": len(users), "test": relevant.n_edges, "exclude": exclude.n_edges, "groups": list(asked.groups)}
    told = {"ks": asked.ks, "metrics": asked.metrics, "batch_users": batch_users}
    world.agree("evaluate", model=type(ranker).__name__, **told, **edges)
    shares = world.shares(len(users), 1 if ranker.ranks_by_vectors else batch_users)
    each = [users[a:b] for a, b in itertools.pairwise(shares)]
    if ranker.columns is not None and ranker.ranks_by_vectors:
        ranker = SharedVectors(ranker).ranker(each)
    with world.together():
        values, shown = _measured(ranker, relevant, exclude, each[world.rank], asked, contents, kinds)
    values = world.joined(torch.from_numpy(values), shares).numpy()
    shown = world.gather(torch.from_numpy(shown)).sum(0).numpy() if asked.with_shown else shown
    own, more = np.ascontiguousarray(values[:, : len(names)]), values[:, len(names) :]
    of_kinds = [f"recall@{k}[items={name}]" for k in asked.ks for name in kinds.masks] if kinds else []
    return _Found(asked, whole, known, users, names, own, of_kinds, more, shown)


def _measured(
    ranker: Ranker,
    relevant: Graph,
    exclude: Graph,
    users: torch.Tensor,
    asked: _Asked,
    contents: Contents,
    kinds: ItemKinds | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(the metrics of ``users`` at each of ks, a user in a row, and behind them the recall of each kind of items at each of ks; in how many of their lists each
    item stands, of each of ks, where it is asked for)."""
    ks, metrics = asked.ks, [name for name in asked.metrics if name in USER_METRICS]
    n_kinds = len(kinds.masks) if kinds else 0
    values = np.empty((len(users), len(ks) * (len(asked.of_users) + n_kinds)))
    shown = torch.zeros(
        (len(ks), exclude.n_items), dtype=torch.int64, device=users.device if asked.with_shown else "cpu"
    )
    done, depth = 0, min(max(ks), exclude.n_items)  # a longer list holds no more
    of_hits = HitMetrics(ks, depth, metrics, users.device) if native.runs_cuda(users.device) else None
    on_device: list[torch.Tensor] = []  # what of_hits gives, read when all is done: until then nobody waits for it
    degree = relevant.user_degree
    for block, ids, _ in ranker.ranked(exclude, users, depth, asked.batch_users) if len(users) else ():
        stopping.check()
        hit, wanted = ~unseen_mask(relevant, block, ids) & (ids >= 0), degree[block]
        rows = values[done : done + len(block)]
        places = ids.cpu().numpy() if kinds or contents.names else None
        hits = hit.cpu().numpy() if kinds else None
        if of_hits is not None:
            on_device.append(of_hits(hit, wanted))
        for at, k in enumerate(ks):
            found = {} if of_hits is not None else ranking_metrics(hit.numpy(), wanted.numpy(), k, metrics)
            if places is not None:
                found |= contents.of(places[:, :k])
            for m, name in enumerate(asked.of_users):
                if name in found:
                    rows[:, at * len(asked.of_users) + m] = found[name]
            if kinds and places is not None and hits is not None:
                of_kinds = kinds.recall(block.cpu().numpy(), places[:, :k], hits[:, :k])
                first = len(ks) * len(asked.of_users) + at * n_kinds
                rows[:, first : first + n_kinds] = np.stack(of_kinds, 1)
            if asked.with_shown:
                shown[at] += torch.bincount(ids[:, :k].flatten() + 1, minlength=exclude.n_items + 1)[1:]
        done += len(block)
    if on_device and metrics:
        own = [m for m, name in enumerate(asked.of_users * len(ks)) if name in metrics]
        values[:, own] = torch.cat(on_device).cpu().numpy()
    return values, shown.cpu().numpy()


def _names(given: str | Sequence[str], known: Sequence[str]) -> list[str]:
    names = [given] if isinstance(given, str) else list(given)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"evaluate: metrics must be among {known}, got {unknown}")
    return names


def _counts(name: str, given: Any) -> list[int]:
    """Integers >= 1, or one."""
    single = isinstance(given, (int, float, str)) or getattr(given, "ndim", 1) == 0
    counts = [check_count(value, f"evaluate: {name}", 1) for value in ([given] if single else given)]
    if name == "ks" and not counts:
        raise ValueError("evaluate: ks must be cut-offs >= 1, got none")
    if counts and max(counts) >= 2**31:
        raise ValueError(f"evaluate: {name} must be below 2**31, got {max(counts)}")
    return counts


def _means(values: NDArray[np.float64], names: Sequence[str]) -> dict[str, float]:
    """Of the users that have a value; NaN where none has."""
    missing = np.isnan(values)
    if not missing.any():
        # of several columns einsum adds the rows in their order, as mean does, and four times as fast
        sums = np.einsum("un->n", values) if len(names) > 1 else values.sum(0)
        means = sums / len(values) if len(values) else np.full(len(names), np.nan)
    else:
        count = (~missing).sum(0)
        means = np.where(count > 0, np.where(missing, 0, values).sum(0) / np.maximum(count, 1), np.nan)
    return dict(zip(names, means.tolist(), strict=True))
