"""From Parquet files to the rows of a data set that one of several ranks holds, where these share out its nodes: no rank holds all events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from ..core.arguments import check_count
from ..core.blocks import Blocks
from ..core.csr import check_nodes, rows_of_edges
from ..core.graph import row_sums
from ..core.ids import Array, Codes, Ints
from ..core.philox import generator
from ..core.row_graph import MOST_PER_ROW, RowGraph, row_bounds
from ..core.world import World, as_world
from .build import by_degree, degrees_of
from .dataset import places_of
from .edges import Edges
from .make import check_options, edges_of_parts
from .presplit import parts_of
from .reading.sources import TIMES, events_from
from .rows import DRAWN, Distinct
from .spec import DataSpec
from .splits import SPLITS

_OF_USERS = ("random", "temporal-user", "leave-k-out", "none")  # splits that cut each user's events by themselves
_NONE = Edges(np.zeros(0, np.int32), np.zeros(0, np.int32))


@dataclass(frozen=True, eq=False)
class RowData:
    """A rank's rows of a data set: what `load_dataset` makes of the same files, cut.

    Attributes
    ----------
    name : str
    graph : RowGraph
        Of the training edges.
    user_ids, item_ids : int64, or str (dtype object) [n_users], [n_items]
        Raw ids of all internal ids: every rank has them.
    valid, test : Edges
        Of own users, by user, then item.
    dropped_duplicates : int
        Of all ranks together.
    """

    name: str
    graph: RowGraph
    user_ids: Array
    item_ids: Array
    valid: Edges
    test: Edges
    dropped_duplicates: int

    @property
    def n_users(self) -> int:
        return self.graph.n_users

    @property
    def n_items(self) -> int:
        return self.graph.n_items


def load_rows(source: Any, world: World, *, per_row: int = 0, **options: Any) -> RowData:
    """Load this rank's rows of Parquet files, with the memory of a share of them; all ranks of the world call it, with the same arguments.

    Every rank reads all files and keeps the events of some users; splits them; and sends the edges to the ranks whose rows they are, users' and items'.
    At the peak that is some 30 bytes for each of its events; ids, degrees and about 50 bytes for each id are there on every rank.

    Parameters
    ----------
    source : path, glob, folder or list of them
    world : World
        Rank r gets the r-th range of users and of items.
    per_row : int
        What a row counts beside its edges where ranges are made even, see `row_bounds`.
    **options
        Those of `load_dataset` for Parquet files, without `min_rating` and `k_core`, and with a split by user: "random" (the default), "temporal-user",
        "leave-k-out" or "none".

    Raises
    ------
    ValueError
        Other files than Parquet's, another split, options that need all events at once, and what reading and splits raise.

    Examples
    --------
    >>> from fastgcn_rec.core.world import World
    >>> from fastgcn_rec.data.row_data import load_rows
    >>> data = load_rows("events/*.parquet", World.current(), per_row=16)  # doctest: +SKIP
    """
    world, per_row = as_world(world, "load_rows"), check_count(per_row, "load_rows: per_row", 0, MOST_PER_ROW)
    world.agree("load_rows", per_row=per_row, options=options)
    given = DataSpec.of(source, **options)
    with world.together():
        spec = given.resolved()
        split = {"split": "random", **spec.split}
        _check(spec, split)
        guessed, share = set(TIMES).isdisjoint(given.reading), (world.rank, world.size)
        inter = events_from(spec.source, spec.columns, spec.reading, guessed=guessed, share=share)
    weighted = split.pop("weight", None) is not None or spec.columns.get("weight", "") != ""
    if inter.time is not None and world.any(inter.time.dtype.kind == "f"):  # which those of a share need not show
        inter = replace(inter, time=inter.time.astype(np.float64, copy=False))
    function = SPLITS[split.pop("split")]
    if "draw" in signature(function).parameters:
        split["draw"] = partial(_Numbers, world)
    parts = function(inter, **split)
    dropped = sum(world.values(len(inter) - sum(parts.sizes)))
    spaces = inter.user_ids, inter.item_ids
    world.agree("load_rows", n_users=inter.n_users, n_items=inter.n_items)
    columns = {
        "users": inter.users,
        "items": inter.items,
        "time": inter.time,
        "weight": inter.rating if weighted else None,
    }
    del inter
    train, *valid, test = edges_of_parts(columns, parts)
    del parts
    train = replace(train, time=None)
    sizes = spaces[0].size, spaces[1].size
    check_nodes(*sizes)
    degrees = [_summed(world, degrees_of(codes, n)) for codes, n in zip((train.users, train.items), sizes, strict=True)]
    orders = [by_degree(degree) for degree in degrees]
    degree = [torch.from_numpy(own[order]) for own, order in zip(degrees, orders, strict=True)]
    numbering = _Numbering(
        world, [places_of(order) for order in orders], [row_bounds(own, world.size, per_row) for own in degree]
    )
    held_out = [numbering.of_own_users(part) for part in (*(valid or [_NONE]), test)]
    del valid, test
    held = [train]
    del train
    graph = numbering.graph(held, degree)
    user_ids, item_ids = (space[order] for space, order in zip(spaces, orders, strict=True))
    return RowData(spec.name, graph, user_ids, item_ids, held_out[0], held_out[1], dropped)


class _Numbering:
    """Internal ids for codes, and which rank has the rows of which."""

    def __init__(self, world: World, places: list[Codes], bounds: list[list[int]]) -> None:
        self.world, self.places, self.bounds = world, places, bounds
        self.ranges = [(own[world.rank], own[world.rank + 1]) for own in bounds]

    def of_own_users(self, edges: Edges) -> Edges:
        """Own users' of the edges that all ranks have, by user, then item."""
        own = self._sent(edges, 0)
        return own.select(np.lexsort((own.items, own.users)))

    def graph(self, held: list[Edges], degree: list[torch.Tensor]) -> RowGraph:
        """Of the one entry, which is taken out and goes once all is sent."""
        halves: list[torch.Tensor | None] = []
        sums = [own.double() for own in degree]
        for side in (0, 1):
            own = self._sent(held[0] if side == 0 else held.pop(), side)
            rows, cols = map(torch.from_numpy, (own.users, own.items) if side == 0 else (own.items, own.users))
            weight = None if own.weight is None else torch.from_numpy(own.weight)
            first, last = self.ranges[side]
            rows -= first
            half = rows_of_edges(rows, cols, weight, last - first, self.places[1 - side].size)
            del own, rows, cols
            if weight is not None:
                shapes = [[end - begin] for begin, end in pairwise(self.bounds[side])]
                sums[side] = torch.cat(self.world.exchange([row_sums(half[0], half[2])] * self.world.size, shapes))
            halves += half
        sizes = len(degree[0]), len(degree[1]), int(degree[0].sum())
        return RowGraph(*sizes, *self.ranges, *halves, *degree, *sums)  # type: ignore[arg-type]

    def _sent(self, edges: Edges, side: int) -> Edges:
        """The edges that all ranks have of own users (side 0) or own items (1), in internal ids: a stretch of each at a time."""
        given = {"users": edges.users, "items": edges.items, "time": edges.time, "weight": edges.weight}
        columns = {name: column for name, column in given.items() if column is not None}
        found = {name: Blocks(column.dtype) for name, column in columns.items()}
        cuts = self.bounds[side][1:-1]
        for begin in range(0, max(self.world.values(len(edges))), DRAWN):
            users, items, *others = (columns[name][begin : begin + DRAWN] for name in found)
            ids = self.places[0][users], self.places[1][items]
            owner = np.searchsorted(cuts, ids[side], side="right")
            order, counts = np.argsort(owner, kind="stable"), np.bincount(owner, minlength=self.world.size)
            shapes = [[n] for n in self.world.gather(torch.from_numpy(counts))[:, self.world.rank].tolist()]
            for blocks, column in zip(found.values(), (*ids, *others), strict=True):
                for part in self.world.exchange(torch.from_numpy(column[order]).split(counts.tolist()), shapes):
                    blocks.room(len(part))[:] = part.numpy()
        own: dict[str, Any] = {name: blocks.whole() for name, blocks in found.items()}
        return Edges(**own)


class _Numbers:
    """Numbers by chance for own pairs, of those that are drawn for the pairs of all ranks in their order: by user, then item."""

    def __init__(self, world: World, found: Distinct, seed: int) -> None:
        degrees = _summed(world, found.degrees)
        self.indptr, self.shift = (
            found.indptr,
            np.cumsum(degrees) - degrees - found.indptr[:-1],
        )  # from an own pair's place to that of all
        self.random, self.at = generator(seed).random, 0  # own pairs that have a number
        self.block, self.begin = np.empty(0), 0  # the numbers that were drawn last, of all from this one on

    def __call__(self, n: int) -> Array:
        first, last = np.searchsorted(self.indptr, (self.at, self.at + n), side="right") - 1
        bounds = np.clip(self.indptr[first : last + 2], self.at, self.at + n)
        place = np.arange(self.at, self.at + n) + np.repeat(self.shift[first : last + 1], np.diff(bounds))
        out = np.empty(n)
        done = 0
        while True:
            upto = int(np.searchsorted(place, self.begin + self.block.size))
            out[done:upto] = self.block[place[done:upto] - self.begin]
            done = upto
            if done == n:
                break
            self.begin += self.block.size
            self.block = self.random(DRAWN)
        self.at += n
        return out


def _check(spec: DataSpec, split: Mapping[str, Any]) -> None:
    """ValueError: something needs all events at once."""
    form = "known" if spec.known else spec.reading["format"]
    if form != "parquet":
        raise ValueError(
            f"load_rows reads Parquet files, got {spec.name!r} (format {form!r}); write it as Parquet, or cut a whole graph: RowGraph.of"
        )
    if parts_of(spec.source, split) is not None:
        raise ValueError(
            f"load_rows splits events by itself, but {spec.name} comes with its split; give it the files of all events"
        )
    refused = [name for name in ("min_rating", "k_core") if split.get(name) is not None] + [*spec.beside]
    if refused:
        raise ValueError(f"load_rows takes no {refused[0]}, which needs all events at once; filter the files first")
    if split["split"] not in _OF_USERS:
        raise ValueError(
            f"split must be one of {', '.join(map(repr, _OF_USERS))}, which cut each user's events, got {split['split']!r}"
        )
    check_options((name for name in split if name not in ("split", "weight")), split["split"])


def _summed(world: World, own: Ints) -> Ints:
    """Sums of all ranks' counts, a stretch at a time."""
    blocks = [world.gather(torch.from_numpy(own[at : at + DRAWN])).sum(0).numpy() for at in range(0, own.size, DRAWN)]
    return np.concatenate([np.zeros(0, np.int64), *blocks])
