"""The k best items of many users, by vectors or by scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.graph import Graph
from ..core.ids import Ints
from ..core.tensors import check_ids, check_range, tensor_of
from ..core.ties import tie_key
from ..ops.dense import dense
from ..ops.retrieve import retrieve, unit
from ..ops.topk import topk
from .filters import Filter, in_blocks
from .protocols import Lists, RowScorer, Scored, Scorer

Tensor = torch.Tensor

RANKED_AT_ONCE = 1 << 15  # users, by vectors: their lists and metrics take some hundred bytes each
SCORED_AT_ONCE = 512  # users, with a score for every item each
_LISTED_AT_ONCE = 1 << 24  # places of their lists
# Users and pairs of them and items of their own: more cost products that nobody asked for, fewer cost calls.
_QUERIES_TOGETHER, _PAIRS_TOGETHER = 128, 1024
_MANY = 8  # items for one that may not stand in any list


def by_vectors(
    vectors: Scored,
    seen: Graph | None,
    users: Tensor,
    k: int,
    wanted: Filter | None = None,
    rows: Tensor | None = None,
) -> Lists:
    """By :func:`fastgcn_rec.retrieve`, for internal user ids int64 [n], whose vectors are ``rows`` int64 [n], if not those of their ids; ``seen`` lies where
    the vectors do, ``wanted`` is of these n lists."""
    of_users, of_items, metric = vectors
    cosine = metric == "cosine"  # as scorers and indices compute it, to the bit
    of_items = unit(of_items) if cosine else of_items
    users, most = users.to(of_users.device), max(1, min(RANKED_AT_ONCE, _LISTED_AT_ONCE // k))
    rows = users if rows is None else rows.to(of_users.device)

    def queries(block: Tensor) -> Tensor:
        return unit(of_users[block]) if cosine else of_users[block]

    if not wanted:  # with the least to do for a single user
        for block, row in zip(users.split(most), rows.split(most), strict=True):
            yield block, *retrieve(queries(row), of_items, k, seen, exclude_rows=None if seen is None else block)
        return
    lists = wanted.leaving_out(seen, users)
    for part in lists.parts(len(users), most):
        yield users[part], *best_of(queries(rows[part]), of_items, k, lists, part)


def best_of(queries: Tensor, items: Tensor, k: int, lists: Filter, part: slice) -> tuple[Tensor, Tensor]:
    """(ids [b, k], scores [b, k]) of the items [n_items, dim] that score highest by inner product with queries [b, dim], those of ``part`` of the lists."""
    if lists.only is not None:
        return _best_pairs(queries, items, k, lists.allowed(part))
    subset = None if lists.within is None else torch.from_numpy(lists.within).to(items.device)
    if len(lists.without) == 1:
        graph, at = lists.without[0]
        whole = at is None and graph.n_users == len(queries)
        rows = None if whole else lists.without[0].rows(part).to(items.device)
        return retrieve(queries, items, k, graph.to(items.device), exclude_rows=rows, items_subset=subset)
    left = lists.left_out(part)
    return retrieve(queries, items, k, None if left is None else left.to(items.device), items_subset=subset)


def _best_pairs(queries: Tensor, items: Tensor, k: int, keys: Ints) -> tuple[Tensor, Tensor]:
    """:func:`best_of` among pairs query * n_items + item, ascending: they alone are scored, some queries at a time with all items of theirs."""
    rows, columns = keys // len(items), keys % len(items)
    starts = np.searchsorted(rows, np.arange(len(queries) + 1))
    ids = queries.new_full((len(queries), k), -1, dtype=torch.int64)
    scores = queries.new_full((len(queries), k), -torch.inf)
    for block in in_blocks(starts, _QUERIES_TOGETHER, _PAIRS_TOGETHER):
        own = slice(starts[block.start], starts[block.stop])
        several, place = np.unique(columns[own], return_inverse=True)
        theirs = items.index_select(0, torch.from_numpy(several).to(items.device))
        table, row = dense(queries[block], theirs).cpu().numpy(), rows[own] - block.start
        ids[block], scores[block] = _ordered(row, columns[own], table[row, place], block.stop - block.start, k)
    if bool(scores.isnan().any()):
        raise ValueError(
            "recommend: a score is NaN, so there is no ranking: vectors hold NaN, or infinities that cancel"
        )
    return ids, scores


def _ordered(rows: Ints, items: Ints, scores: NDArray[Any], n: int, k: int) -> tuple[Tensor, Tensor]:
    """(ids [n, k], scores [n, k]) of the best of pairs in the order of their rows, NaN first."""
    order = np.lexsort((tie_key(items), -scores, ~np.isnan(scores), rows))
    rank = np.arange(len(rows)) - np.searchsorted(rows, np.arange(n))[rows]
    order, at = order[rank < k], (rows[rank < k], rank[rank < k])
    ids, best = np.full((n, k), -1), np.full((n, k), -np.inf, scores.dtype)
    ids[at], best[at] = items[order], scores[order]
    return torch.from_numpy(ids), torch.from_numpy(best)


def by_scores(
    score: Scorer,
    graph: Graph,
    users: Tensor,
    k: int,
    exclude_seen: bool,
    batch_users: int,
    wanted: Filter | None = None,
) -> Lists:
    """By scores of ``batch_users`` users at a time; ``graph`` says how many items there are, and what is seen."""
    users = users.to(graph.device)
    lists = wanted and wanted.leaving_out(graph if exclude_seen else None, users)
    for first in range(0, max(len(users), 1), batch_users):
        block = users[first : first + batch_users]
        scores = _scores(score(block), len(block), graph)
        if lists:
            yield block, *_best_scores(scores, k, lists, slice(first, first + len(block)))
        else:
            yield block, *topk(graph, scores, k, block if exclude_seen else None)


def _best_scores(scores: Tensor, k: int, lists: Filter, part: slice) -> tuple[Tensor, Tensor]:
    """The best of scores [b, n_items] that may stand in ``part`` of the lists; as for :func:`topk` NaN may not."""
    if lists.only is not None:
        return _best_scored_pairs(scores, k, lists.allowed(part))
    n, n_items, device = len(scores), lists.n_items, scores.device
    left = lists.left_out(part) or Graph.from_edges([], [], n, n_items)
    (of_lists, items), rows = left.to(device).edges(), torch.arange(n, device=device)
    if _MANY * len(lists.gone) < n_items:  # to leave them out costs less than to copy the others' columns
        gone = torch.from_numpy(lists.gone).to(device)
        of_lists, items = torch.cat([of_lists, rows.repeat_interleave(len(gone))]), torch.cat([items, gone.repeat(n)])
        return topk(Graph.from_edges(of_lists, items, n, n_items), scores, k, rows)
    columns = torch.from_numpy(lists.columns).to(device)
    place = columns.new_full((n_items,), -1)
    place[columns] = torch.arange(len(columns), device=device)
    places = place[items]
    fewer = Graph.from_edges(of_lists[places >= 0], places[places >= 0], n, len(columns))
    found, best = topk(fewer, scores.index_select(1, columns), k, rows)
    return torch.cat([columns, columns.new_full((1,), -1)])[found], best


def _best_scored_pairs(scores: Tensor, k: int, keys: Ints) -> tuple[Tensor, Tensor]:
    """The best of those scores [b, n_items] whose pair row * n_items + item is among the keys, ascending."""
    rows, items = keys // scores.shape[1], keys % scores.shape[1]
    own = scores[torch.from_numpy(rows).to(scores.device), torch.from_numpy(items).to(scores.device)].cpu().numpy()
    real = ~np.isnan(own)
    ids, best = _ordered(rows[real], items[real], own[real], len(scores), k)
    return ids.to(scores.device), best.to(scores.device)


def by_rows(score: RowScorer, edges: Graph, k: int, exclude_seen: bool, wanted: Filter | None = None) -> Lists:
    """For n users who need not be known, by the rows of their edges [n, n_items]."""
    users = torch.arange(edges.n_users, device=edges.device)
    return by_scores(lambda ids: score(edges.select_users(ids)), edges, users, k, exclude_seen, SCORED_AT_ONCE, wanted)


def widened(rank: Callable[[Tensor, int], Lists], users: Tensor, k: int, lists: Filter) -> Lists:
    """The lists of what ranks by itself, ``rank(users, length)``, which are asked for longer until k items of each may stand in it, or it ends."""
    for part in lists.parts(len(users), SCORED_AT_ONCE):
        block, may_stand = users[part], lists.judge(part)
        ids, scores = np.full((len(block), k), -1), np.full((len(block), k), -np.inf, np.float32)
        open_rows, length, most = np.arange(len(block)), 2 * k, max(k, lists.n_items)
        while len(open_rows):
            length = min(length, most)
            asked = block[torch.from_numpy(open_rows).to(block.device)]
            found, found_scores = (t.cpu().numpy() for t in joined(rank(asked, length)))
            kept = may_stand(open_rows, found)
            place = kept.cumsum(1) - 1
            row, column = np.nonzero(kept & (place < k))
            at = open_rows[row], place[row, column]
            ids[at], scores[at] = found[row, column], found_scores[row, column]
            if length == most:
                break
            open_rows = open_rows[(kept.sum(1) < k) & (found[:, -1] >= 0)]
            length *= 2
        yield block, torch.from_numpy(ids).to(block.device), torch.from_numpy(scores).to(block.device)


def joined(lists: Lists) -> tuple[Tensor, Tensor]:
    """(ids [n, k], scores [n, k]) of all blocks."""
    _, ids, scores = zip(*lists, strict=True)
    return torch.cat(ids), torch.cat(scores)


def padded(ids: Tensor, scores: NDArray[Any], k: int) -> tuple[Tensor, NDArray[Any]]:
    """Lists of k places, -1 and -inf behind what they have."""
    more = k - ids.shape[1]
    if more <= 0:
        return ids, scores
    if k >= 1 << 31:
        raise ValueError(f"k must be <= {(1 << 31) - 1}, got {k}")
    return torch.nn.functional.pad(ids, (0, more), value=-1), np.pad(
        scores, ((0, 0), (0, more)), constant_values=-np.inf
    )


def columns_of(
    users: NDArray[Any], item_ids: NDArray[Any], ids: Tensor, scores: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    """Lists of users [n] by internal ids [n, k] as columns, without padding: user, rank (from 1), item (raw) and score."""
    internal = ids.cpu().numpy()
    row, rank = np.nonzero(internal >= 0)
    items = internal[row, rank]
    return {"user": users[row], "rank": rank + 1, "item": item_ids[items], "score": scores[row, rank]}


def checked(lists: Any, users: Tensor, k: int, n_items: int, who: str) -> Lists:
    """Lists of somebody's own, which must be those of ``users`` in their order: k different items each, -1 behind the last. Their scores as float32."""
    if not hasattr(lists, "__iter__"):
        raise TypeError(f"{who}: must give blocks (users [b], ids [b, k], scores [b, k]), got {type(lists).__name__}")
    if not len(users):  # for whom some give no block
        yield users, users.new_zeros((0, k)), torch.zeros((0, k), device=users.device)
        return
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
        if bool(((ids[:, 1:] >= 0) & (ids[:, :-1] < 0)).any()):
            raise ValueError(f"{who}: -1 must stand behind the last item of a list, got one before an item")
        scores = block[2] if isinstance(block[2], Tensor) else tensor_of(who, "scores", np.asarray(block[2]))
        if scores.shape != ids.shape:
            raise ValueError(f"{who}: scores must have shape {list(ids.shape)} as ids, got {list(scores.shape)}")
        done += len(own)
        yield own, ids, scores.detach().to(users.device, torch.float32)
    if done < len(users):
        raise ValueError(f"{who}: blocks must be of all {len(users)} users that were asked for, got {done} of them")


def _scores(given: Any, n_users: int, graph: Graph) -> Tensor:
    """What a scorer returned, as a tensor on the graph's device."""
    if not isinstance(given, (torch.Tensor, np.ndarray)):
        raise TypeError(
            f"the scorer must return scores [b, n_items], a tensor or a NumPy array, got {type(given).__name__}"
        )
    if tuple(given.shape) != (n_users, graph.n_items):
        raise ValueError(
            f"the scorer must return scores [b, n_items] = [{n_users}, {graph.n_items}], got {list(given.shape)}"
        )
    scores = given if isinstance(given, torch.Tensor) else tensor_of("scorer", "scores", given)
    if scores.dtype not in (torch.float32, torch.float64) or scores.layout != torch.strided or scores.is_meta:
        raise TypeError(
            "the scorer must return a dense tensor or array of float32 or float64, got "
            f"{str(scores.dtype).removeprefix('torch.')} on {scores.device} of layout {str(scores.layout).removeprefix('torch.')}"
        )
    return scores.detach().to(graph.device)
