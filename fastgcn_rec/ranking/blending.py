"""One score of several rankers': made comparable user by user, and weighed on edges that were held out."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.graph import Graph
from ..core.ids import among, pair_keys
from ..data import Edges
from ..ops.dense import dense
from ..ops.topk import topk
from ..system import stopping
from .lists import SCORED_AT_ONCE
from .metrics import LOWER_IS_BETTER, USER_METRICS, parse_metric, ranking_metrics
from .ranker import Ranker

Tensor = torch.Tensor

NORMALIZE = ("none", "rank", "z")
_FUSION = 60  # of reciprocal ranks: Cormack et al.'s constant
_POOL = 200  # items of each ranker that may stand in a list, for a user
_USERS = 1 << 15  # whose lists choose, at most
_MIXTURES = 66  # of the first round at most: three rankers in steps of a tenth
_HALVINGS = 3  # of the step afterwards


def normalized(scores: Tensor, how: str) -> Tensor:
    """Scores [b, n_items] user by user.

    how : "none" leaves them as they are; "z" takes a user's mean off and divides by his standard deviation (0 where all are equal); "rank" gives 1 / (60 + r)
        to the item of rank r = 1, 2, ..., items of one score their mean rank (Cormack et al. 2009, "Reciprocal rank fusion outperforms Condorcet and
        individual rank learning methods").

    >>> normalized(torch.tensor([[0.0, 2.0, 4.0, 2.0]]), "z")
    tensor([[-1.4142,  0.0000,  1.4142,  0.0000]])
    """
    if how == "none":
        return scores
    n = scores.shape[1]
    if how == "rank":
        result = torch.empty_like(scores)
        for own, out in zip(scores.split(64), result.split(64), strict=True):  # places are int64
            ordered = own.sort(1).values
            above = n - torch.searchsorted(ordered, own.contiguous(), right=True)
            below = torch.searchsorted(ordered, own.contiguous())
            out.copy_(2 / (2 * _FUSION + 1 + (n - below) + above).to(out.dtype))
        return result
    ones = scores.new_ones(1, n)
    centred = scores - dense(scores, ones) / max(n, 1)
    centred = centred - dense(centred, ones) / max(n, 1)  # what rounding left of the mean
    spread = (dense(centred * centred, ones) / max(n, 1)).sqrt()
    least = 1e-6 * scores.abs().amax(1, keepdim=True) if n else spread
    return centred * torch.where(spread > least, 1 / spread.clamp_min(1e-30), 0)


@dataclasses.dataclass(frozen=True)
class Weighed:
    """What :func:`choose_weights` found.

    Attributes
    ----------
    weights : of the rankers
    value : of the metric with these weights
    alone : of the metric, of each ranker by itself
    shares : the weights in standard deviations of the rankers' scores, as parts of 1
    """

    weights: list[float]
    value: float
    alone: list[float]
    shares: list[float]


@torch.no_grad()
def choose_weights(
    rankers: Sequence[Ranker], held_out: Edges, seen: Graph, metric: str = "ndcg@20", normalize: str = "none"
) -> Weighed:
    """The weights >= 0 with which the sum of the rankers' scores finds the edges that were held out best.

    The rankers' scores, normalised, are divided by their standard deviations among the items that are looked at, and weighed by parts of 1: first in
    steps of a tenth (in longer ones for more than three rankers), then from the best in steps of half that as long as a move of one step from one ranker to another
    helps, and again, three times. Of mixtures of equal value the first is taken, which is deterministic. Looked at are the 200 best items
    of each ranker that a user has not in ``seen``, of at most 32,768 users, evenly taken among those with an edge held out.

    Parameters
    ----------
    rankers : two or more, that have not seen what is held out
    held_out : Edges of internal ids
    seen : Graph
        Items that a user has an edge to here stand in no list.
    metric : NAME@K out of the metrics of users, such as "recall@20"
    normalize : one of :data:`NORMALIZE`, of :func:`normalized`

    Raises
    ------
    ValueError : another metric or normalization; nothing is held out.

    Examples
    --------
    >>> from fastgcn_rec.ranking.rank import as_ranker
    >>> seen, held_out = Graph.from_edges([0], [0], 1, 4), Edges([0], [2])
    >>> likes = [torch.tensor([[0.0, 1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0, 0.0]])]
    >>> rankers = [as_ranker(lambda users, own=own: own[users], seen) for own in likes]
    >>> choose_weights(rankers, held_out, seen, "hit@1").alone
    [0.0, 1.0]
    """
    name, k = parse_metric(metric)
    if name not in USER_METRICS or name in LOWER_IS_BETTER:
        raise ValueError(f"choose_weights: metric must be one of {', '.join(USER_METRICS)}, at a K, got {metric!r}")
    if normalize not in NORMALIZE:
        raise ValueError(f"choose_weights: normalize must be one of {NORMALIZE}, got {normalize!r}")
    if not len(held_out):
        raise ValueError("choose_weights: no edges are held out, so that nothing can be chosen; hold out a part of train: data.split_valid(0.1)")  # fmt: skip
    values, hits, n_relevant = _pools(rankers, held_out, seen, max(_POOL, 4 * k), normalize)
    scales = _spreads(values)
    n_users, places = hits.shape
    nothing = Graph.from_edges([], [], n_users, places)

    def value_of(shares: NDArray[np.float64]) -> float:
        stopping.check()
        mixed = np.zeros(hits.shape, np.float32)
        for own, share, scale in zip(values, shares, scales, strict=True):
            if share:
                mixed += own * np.float32(share / scale)
        at = topk(nothing, torch.from_numpy(mixed), min(k, places))[0].numpy()
        found = np.take_along_axis(hits, np.maximum(at, 0), 1) & (at >= 0)
        return float(ranking_metrics(found, n_relevant, k, [name])[name].mean())

    shares, value, alone = _search(value_of, len(rankers))
    weights = [float(share / scale) for share, scale in zip(shares, scales, strict=True)]
    return Weighed(weights, value, alone, shares.tolist())


def _pools(
    rankers: Sequence[Ranker], held_out: Edges, seen: Graph, depth: int, normalize: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]:
    """(scores [rankers, users, places], -inf where there is no item; which places hold an item held out [users, places]; how many each user has)."""
    n_items, depth = seen.n_items, min(depth, seen.n_items)
    keys = np.unique(pair_keys(held_out.users, held_out.items, seen.n_users, n_items))
    users, n_relevant = np.unique(keys // n_items, return_counts=True)
    step = -(-len(users) // _USERS)
    users, n_relevant = users[::step], n_relevant[::step]
    scorers = [ranker.scorer() for ranker in rankers]
    values = np.empty((len(rankers), len(users), len(rankers) * depth), np.float32)
    hits = np.empty(values.shape[1:], bool)
    for first in range(0, len(users), SCORED_AT_ONCE):
        stopping.check()
        rows = slice(first, first + SCORED_AT_ONCE)
        block = torch.from_numpy(users[rows]).to(seen.device)
        scores = [normalized(score(block).float(), normalize) for score in scorers]
        places = torch.cat([topk(seen, own, depth, block)[0] for own in scores], 1).sort(1).values
        real = places >= 0
        real[:, 1:] &= places[:, 1:] != places[:, :-1]
        for n, own in enumerate(scores):
            pooled = own.gather(1, places.clamp_min(0)).masked_fill(~real, -torch.inf)
            values[n, rows] = pooled.cpu().numpy()
        wanted = (block[:, None] * n_items + places).cpu().numpy()
        hits[rows] = among(keys, wanted) & real.cpu().numpy()
    return values, hits, n_relevant


def _spreads(values: NDArray[np.float32]) -> list[float]:
    """The standard deviation of each ranker's scores about a user's mean, 1 where they are all equal."""
    spreads = []
    for own in values:
        real = np.isfinite(own)
        count = np.maximum(real.sum(1, keepdims=True), 1)
        plain = np.where(real, own, 0).astype(np.float64)
        centred = np.where(real, plain - plain.sum(1, keepdims=True) / count, 0)
        spread = math.sqrt(float(np.square(centred).sum() / max(real.sum(), 1)))
        spreads.append(spread if spread > 0 else 1.0)
    return spreads


def _search(value_of: Callable[[NDArray[np.float64]], float], n: int) -> tuple[NDArray[np.float64], float, list[float]]:
    """(the best shares, their value, that of each alone), by steps that are whole numbers of the last one."""
    parts = max([m for m in range(1, 11) if math.comb(m + n - 1, n - 1) <= _MIXTURES], default=1)
    unit = 1 << _HALVINGS
    known: dict[tuple[int, ...], float] = {}

    def value(mixture: tuple[int, ...]) -> float:
        if mixture not in known:
            known[mixture] = value_of(np.array(mixture) / (parts * unit))
        return known[mixture]

    best = max(_mixtures(n, parts, unit), key=value)
    for halving in range(1, _HALVINGS + 1):
        step = unit >> halving
        while True:
            near = max(_moves(best, step), key=value, default=best)
            if value(near) <= value(best):
                break
            best = near
    alone = [value(tuple(parts * unit * (i == own) for i in range(n))) for own in range(n)]
    return np.array(best) / (parts * unit), value(best), alone


def _mixtures(n: int, parts: int, unit: int) -> Iterator[tuple[int, ...]]:
    """All ways to share ``parts`` steps of ``unit`` out among n."""
    for bars in itertools.combinations(range(parts + n - 1), n - 1):
        ends = (-1, *bars, parts + n - 1)
        yield tuple(unit * (b - a - 1) for a, b in itertools.pairwise(ends))


def _moves(mixture: tuple[int, ...], step: int) -> Iterator[tuple[int, ...]]:
    for source, target in itertools.permutations(range(len(mixture)), 2):
        if mixture[source] >= step:
            moved = list(mixture)
            moved[source] -= step
            moved[target] += step
            yield tuple(moved)
