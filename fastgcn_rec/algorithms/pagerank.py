"""Rankings by personalized PageRank: top lists, and hard negatives from a band of ranks."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from ..core.graph import Graph, edges_of
from ..core.tensors import check_ids
from ..core.world import World, as_world
from ..ops.ppr import check_nodes, check_sources, plan, size_text, source_blocks
from ..ops.registration import accepts_arrays, count_of
from ..ops.sample import sample_listed
from ..ops.topk import best_columns
from ..system.archives import load_arrays, refusing, save_arrays
from ..system.contents import check_arrays
from ..system.progress import progress_bar
from ..system.values import json_value, same_values

Tensor = torch.Tensor
Target = Literal["items", "users", "all"]
Sources = Literal["users", "items"]


class PprTopK(NamedTuple):
    """What :func:`ppr_topk` returns."""

    ids: Tensor
    scores: Tensor


@accepts_arrays
def ppr_topk(
    graph: Graph,
    nodes: Any,
    k: int,
    target: Target = "items",
    restart: float = 0.15,
    tol: float = 1e-6,
    *,
    exclude_seen: bool = False,
    dtype: torch.dtype = torch.float32,
    memory_budget: int = 1 << 30,
) -> Any:
    """The k nodes with the highest personalized PageRank of each source: the ranking of :func:`ppr`'s scores, the same bits.

    Never holds more than a block of up to 64 sources beside the result.

    Parameters
    ----------
    graph, nodes, restart, tol, dtype : as for :func:`ppr`
    k : int >= 1, may be thousands
    target : "items", "users" or "all"
        What is ranked. Ids are those of items, of users, or of nodes (users first).
    exclude_seen : bool
        Leave out the source's neighbours: the items of a user, the users of an item.
    memory_budget : bytes, for the result and the workspace

    Returns
    -------
    PprTopK
        ids int64 [S, k], scores ``dtype`` [S, k]: score descending, ties as in :func:`topk`; padded with -1 and -inf where fewer remain.

    Raises
    ------
    ValueError, TypeError, IndexError : as :func:`ppr`; k or target.

    Examples
    --------
    >>> graph = Graph.from_edges([0, 1, 1], [0, 0, 1])
    >>> ppr_topk(graph, [0], 2).ids
    tensor([[0, 1]])
    """
    k = count_of("ppr_topk", "k", k, 1)
    if not isinstance(exclude_seen, (bool, np.bool_)):
        raise TypeError(f"ppr_topk: exclude_seen must be True or False, got {exclude_seen!r:.80}")
    columns = _columns("ppr_topk", graph, target)
    nodes = check_sources("ppr_topk", graph, nodes, restart, tol, dtype)
    row = k * (8 + dtype.itemsize)
    n, _ = plan(
        "ppr_topk", graph, len(nodes), _ranking_bytes(columns, k, dtype), len(nodes) * row, dtype, memory_budget
    )
    ids = torch.empty((len(nodes), k), dtype=torch.int64, device=graph.device)
    scores = torch.empty((len(nodes), k), dtype=dtype, device=graph.device)
    left_out = _neighbours if exclude_seen else None
    for rows, block_ids, block_scores in _ranked(graph, nodes, k, columns, restart, tol, dtype, n, left_out):
        ids[rows], scores[rows] = block_ids, block_scores
    return PprTopK(ids, scores)


@accepts_arrays
def ppr_rank_band(
    graph: Graph,
    users: Any,
    lo: int | float,
    hi: int | float,
    n: int,
    seed: int | Tensor,
    *,
    restart: float = 0.15,
    tol: float = 1e-6,
    memory_budget: int = 1 << 30,
) -> Any:
    """Hard negatives: for every user ``n`` items of PPR rank in [lo, hi), uniform and independent (with replacement).

    Ranked are the items that are not the user's own, rank 0 the best; ties, also among items out of reach (score 0), as in
    :func:`topk`. PinSAGE takes
    ranks 2000 to 5000 (Ying et al. 2018, "Graph convolutional neural networks for web-scale recommender systems"). Each call ranks; to draw
    often, make a :class:`PprRanks` once.

    Parameters
    ----------
    graph : Graph
    users : integer ids [B]
    lo, hi : two ints, ranks; or two floats in [0, 1], fractions of the catalogue: floor(lo * n_items), floor(hi * n_items)
    n : int >= 0
    seed : int, or a one-element int64 tensor on the graph's device
    restart, tol : as for :func:`ppr`
    memory_budget : bytes; bands that do not fit are thinned, as by :meth:`PprRanks.build`

    Returns
    -------
    int64 [B, n]
        -1 where the band is empty: a user with no more than lo items left. Row b, draw j depends on (seed, b, j) and the band alone.

    Raises
    ------
    ValueError, TypeError, IndexError : as :func:`ppr`; lo, hi or n.

    Examples
    --------
    >>> graph = Graph.from_edges([0, 1, 1, 1], [0, 0, 1, 2])
    >>> ppr_rank_band(graph, [0], 1, 2, 3, seed=0)
    tensor([[1, 1, 1]])
    """
    users = check_nodes("ppr_rank_band", "users", users, graph, graph.n_users)
    distinct, rows = users.unique(return_inverse=True)
    band = PprRanks.build(
        graph, distinct, lo, hi, restart=restart, tol=tol, progress=False, memory_budget=memory_budget
    )
    return sample_listed(band.lists, band.counts, rows, n, seed)


class PprRanks:
    """Every user's items of PPR rank in [lo, hi), or every item's, kept to draw hard negatives from; made by :meth:`build`.

    Attributes
    ----------
    lists : int32 [U, width], a user's band, best rank first, padded with -1
    counts : int32 [U], its length
    users : int64 [U], the users; the items where ``of`` is "items"
    of : "users" or "items"
    """

    def __init__(self, lists: Tensor, counts: Tensor, users: Tensor, n_users: int, of: Sources = "users") -> None:
        self.lists, self.counts, self.users, self.of = lists, counts, users, of
        self._row = torch.full((n_users,), -1, dtype=torch.int64, device=users.device)
        self._row[users] = torch.arange(len(users), device=users.device)

    @classmethod
    def build(
        cls,
        graph: Graph,
        users: Any = None,
        lo: int | float = 2000,
        hi: int | float = 5000,
        *,
        restart: float = 0.15,
        tol: float = 1e-6,
        cache_dir: str | os.PathLike[str] | None = None,
        progress: bool = True,
        memory_budget: int = 1 << 30,
        world: World | None = None,
        of: Sources = "users",
    ) -> PprRanks:
        """Ranks once for all users (or for ``users``, distinct integer ids), on the graph's device.

        of : "users" or "items"
            Whose PPR. "items": ``users`` are ids of items, and ranked are all items but the one that the walks begin from: PinSAGE's hard negatives,
            which are of a query item.

        Takes 4 (hi - lo) bytes a user. Where that exceeds the budget, each user's band is thinned to as many ranks as fit, evenly spread
        (entry i of m is entry floor(i * count / m) of the whole band), and a warning says so.

        cache_dir : a folder
            Where the result is kept as an .npz, named after the graph's fingerprint and every parameter, and looked for first. A file that
            is damaged or cannot be read is made anew, with a warning; one that cannot be written is one too.
        world : the ranks that share the users out, such as ``World.current()``
            Each ranks a part of them and gets the whole result, to the bit what one process gets; rank 0 keeps the file. Default: this process alone.

        Other parameters as for :func:`ppr_rank_band`. ``progress``: a bar.

        >>> graph = Graph.from_edges([0, 1, 1, 1], [0, 0, 1, 2])
        >>> PprRanks.build(graph, lo=0, hi=2, progress=False).lists[0]
        tensor([2, 1], dtype=torch.int32)
        >>> PprRanks.build(graph, [1], 0, 2, of="items", progress=False).lists
        tensor([[0, 2]], dtype=torch.int32)
        """
        world, every = as_world(world, "PprRanks"), users is None
        if of not in ("users", "items"):
            raise ValueError(f"PprRanks: of must be 'users' or 'items', got {of!r:.80}")
        first, last = (0, graph.n_users) if of == "users" else (graph.n_users, graph.n_nodes)
        users = torch.arange(last - first, device=graph.device) if every else users
        users = check_nodes("PprRanks", of, users, graph, last - first)
        if not every and len(users.unique()) != len(users):
            raise ValueError(f"PprRanks: {of} must be distinct; pass {of}.unique()")
        check_sources("PprRanks", graph, users + first, restart, tol, torch.float32)
        low, high = _band(graph, lo, hi)
        width = high - low
        n, working = plan(
            "PprRanks", graph, len(users), _ranking_bytes((0, graph.n_items), high, torch.float32), 12 * len(users),
            torch.float32, memory_budget,
        )  # fmt: skip
        kept = min(width, (memory_budget - working) // max(4 * len(users), 1))
        if kept == 0 < width:
            raise ValueError(
                f"PprRanks: memory_budget must hold a rank of each of {len(users)} {of}, got {size_text(memory_budget)}; raise it"
            )
        if kept < width and world.first:
            warnings.warn(
                f"PprRanks: {width} ranks of {len(users)} {of} take {size_text(width * len(users) * 4)}; the memory_budget of "
                f"{size_text(memory_budget)} holds {kept} of each, evenly spread; raise it to keep all",
                stacklevel=2,
            )
        key = json_value({
            "kind": "ppr-ranks", "format": 2, "graph": graph.fingerprint(), "lo": low, "hi": high, "kept": kept,
            "restart": restart, "tol": tol, of: hashlib.sha256(users.cpu().numpy().tobytes()).hexdigest(),
        })  # fmt: skip
        world.agree("PprRanks.build", call=key)
        path = None if cache_dir is None else Path(cache_dir) / f"ppr-ranks-{_digest(key)}.npz"
        stored = None if path is None else _load(path, key, len(users), graph.n_items, world.first)
        to_make = world.any(stored is None)
        if stored is not None and not to_make:
            return cls(stored[0].to(graph.device), stored[1].to(graph.device), users, last - first, of)
        shares = world.shares(len(users))
        own = users[shares[world.rank] : shares[world.rank + 1]] + first
        lists = torch.full((len(own), kept), -1, dtype=torch.int32, device=graph.device)
        counts = torch.zeros(len(own), dtype=torch.int32, device=graph.device)
        columns = (graph.n_users, graph.n_nodes)
        left_out = _neighbours if of == "users" else _themselves
        blocks = (
            _ranked(graph, own, high, columns, restart, tol, torch.float32, n, left_out) if width and len(own) else ()
        )
        with world.together(), progress_bar(len(own), of[:-1], "PPR ranks", shown=progress and world.first) as bar:
            for rows, ids, _ in blocks:
                lists[rows], counts[rows] = _thin(ids[:, low:], kept)
                bar.update(len(rows))
        lists, counts = world.joined(lists, shares), world.joined(counts, shares)
        if path is not None and world.first:
            try:
                save_arrays(path, key, {"lists": lists.cpu().numpy(), "counts": counts.cpu().numpy()})
            except (OSError, ValueError) as error:  # the ranks are made: nothing is lost but their copy
                warnings.warn(f"PprRanks: the ranks are not kept for the next time: {error}", stacklevel=2)
        return cls(lists, counts, users, last - first, of)

    @accepts_arrays
    def sample(self, users: Any, n: int, seed: int | Tensor, offset: int | Tensor = 0) -> Any:
        """``n`` items of every user's band (every item's, where ``of`` is "items"), int64 [B, n], by :func:`sample_listed`: with offset 0 what
        :func:`ppr_rank_band` draws.

        Draw j of row b depends on (seed, offset + b, j) and the band alone. ValueError (CPU) for a user that was not built.
        """
        users = check_ids("PprRanks", self.of, users, (None,), self.users)
        if users.device.type == "cpu":
            known = (users >= 0) & (users < len(self._row))
            missing = torch.nonzero(~known | (self._row[users.clamp(0, len(self._row) - 1)] < 0))
            if len(missing):
                raise ValueError(f"PprRanks: {self.of[:-1]} {int(users[missing[0]])} was not among those of build()")
        return sample_listed(self.lists, self.counts, self._row[users], n, seed, offset)

    def __repr__(self) -> str:
        return f"PprRanks({self.lists.shape[0]} {self.of}, {self.lists.shape[1]} items each, {self.lists.device})"


def _columns(op: str, graph: Graph, target: str) -> tuple[int, int]:
    ranges = {"items": (graph.n_users, graph.n_nodes), "users": (0, graph.n_users), "all": (0, graph.n_nodes)}
    if target not in ranges:
        raise ValueError(f"{op}: target must be one of {tuple(ranges)}, got {target!r}")
    return ranges[target]


def _ranking_bytes(columns: tuple[int, int], k: int, dtype: torch.dtype) -> int:
    """Of a source while its block is ranked: the scores, and the ids and values that come out."""
    return (columns[1] - columns[0]) * dtype.itemsize + k * (8 + dtype.itemsize)


def _ranked(
    graph: Graph,
    nodes: Tensor,
    k: int,
    columns: tuple[int, int],
    restart: float,
    tol: float,
    dtype: torch.dtype,
    n: int,
    left_out: Callable[[Graph, Tensor], tuple[Tensor, Tensor]] | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(positions in ``nodes``, ids, scores) of the k best of ``columns`` but those ``left_out``, n sources at a time."""
    for rows, scores, _ in source_blocks(graph, nodes, restart, tol, dtype, n, columns, False):
        if left_out is not None:
            row, node = left_out(graph, nodes[rows])
            inside = (node >= columns[0]) & (node < columns[1])
            scores[row[inside], node[inside] - columns[0]] = float("nan")
        yield rows, *best_columns(graph, scores, k)


def _neighbours(graph: Graph, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Every edge of nodes of one side, as (position in ``nodes``, neighbour)."""
    is_user = bool(nodes[0] < graph.n_users)
    indptr, indices = (graph.indptr, graph.indices) if is_user else (graph.indptr_t, graph.indices_t)
    row, edge = edges_of(indptr, nodes if is_user else nodes - graph.n_users)
    return row, indices[edge] + (graph.n_users if is_user else 0)


def _themselves(graph: Graph, nodes: Tensor) -> tuple[Tensor, Tensor]:
    return torch.arange(len(nodes), device=nodes.device), nodes


def check_band(lo: int | float, hi: int | float) -> None:
    """Two ranks, or two fractions of the catalogue, lo below hi; TypeError or ValueError if they are not."""
    kinds = {type(lo), type(hi)}
    if kinds not in ({int}, {float}):
        raise TypeError(f"rank band: lo and hi must be two ints or two floats, got {lo!r} and {hi!r}")
    for name, value in (("lo", lo), ("hi", hi)):
        if value < 0 or (isinstance(value, float) and not value <= 1):
            raise ValueError(f"rank band: {name} must be a rank >= 0 or a fraction in [0, 1], got {value!r}")
    if lo >= hi:
        raise ValueError(f"rank band: lo must be below hi, got {lo!r} and {hi!r}")


def _band(graph: Graph, lo: int | float, hi: int | float) -> tuple[int, int]:
    """Ranks [low, high) of the catalogue."""
    check_band(lo, hi)
    low, high = (math.floor(x * graph.n_items) if isinstance(x, float) else x for x in (lo, hi))
    high = min(high, graph.n_items)
    return min(low, high), high


def _thin(ids: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """(lists int32 [B, kept], counts): ``ids``, padded with -1 at the end, or where more than ``kept`` are there, some of them."""
    count = (ids >= 0).sum(1, keepdim=True)
    at = torch.arange(kept, device=ids.device)[None]
    at = torch.where(count > kept, at * count // max(kept, 1), at)
    return ids.gather(1, at).to(torch.int32), count.clamp(max=kept)[:, 0].to(torch.int32)


def _digest(key: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]


def _load(path: Path, key: dict[str, Any], n_users: int, n_items: int, loud: bool) -> tuple[Tensor, Tensor] | None:
    try:
        meta, arrays = load_arrays(path, key["kind"], key["format"])
        with refusing(path):
            check_arrays(arrays, {"lists": ("int32", (n_users, key["kept"])), "counts": ("int32", (n_users,))})
            lists, counts = arrays["lists"], arrays["counts"]
            listed = np.arange(lists.shape[1]) < counts[:, None]
            if not same_values(meta, key) or (counts < 0).any() or (counts > lists.shape[1]).any():
                raise ValueError("it is not what its name says")
            if (lists[~listed] != -1).any() or (lists[listed] < 0).any() or (lists[listed] >= n_items).any():
                raise ValueError(f"its lists must hold items in [0, {n_items}), then -1")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if loud:
            warnings.warn(f"PprRanks: {error}; it is made anew", stacklevel=3)
        return None
    return torch.from_numpy(lists), torch.from_numpy(counts)
