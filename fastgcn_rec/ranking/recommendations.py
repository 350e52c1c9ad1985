"""Lists that something else made, whatever it was, as what ranks: they are evaluated as a model's are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.arguments import check_count
from ..core.graph import Graph
from ..core.ids import Array, IdIndex, Ints, among, as_texts, is_text
from ..data import Dataset, Interactions
from ..data.dataset import Part
from ..data.reading.frames import is_frame
from ..data.reading.ranked import Order, ranked_frame, read_ranked
from ..ops.sample import unseen_mask
from .lists import RANKED_AT_ONCE, SCORED_AT_ONCE
from .protocols import Lists
from .ranker import Ranker
from .rows_by_user import RowsByUser

Tensor = torch.Tensor
Invalid = Literal["refuse", "drop", "miss"]
_ROWS = 1 << 22  # that are looked at together
_NO_ITEM = -1  # in the place of one that no list can hold
_WAYS = "invalid='drop' (--invalid drop) leaves them out, invalid='miss' keeps their places, where they are no hits"


@dataclass(frozen=True)
class ListsReport:
    """What the lists hold, and what they should not.

    Attributes
    ----------
    rows, users : recommendations as they were given, and the users that have some
    other_users : rows of users that the data set does not have; they are left out
    unknown_items, repeated : rows whose item the data set does not have, or the list had before
    seen : of users with an item to be found, rows whose item they have in a part before
    without, short : users with an item to be found who have no list, and who have one of fewer than k items that count; the places count as misses
    ties : rows whose rank or score is that of the row before, which the order of the file parts
    k, by : the length that ``short`` is of, and what put the lists in order: "rank", "score" or "file"

    Examples
    --------
    >>> print(ListsReport(rows=9, users=2, other_users=0, unknown_items=1, repeated=0, seen=0, without=0, short=0, ties=0, k=5, by="file"))
    9 rows, lists of 2 users of the data
    1 rows of items that are not in the data
    """

    rows: int
    users: int
    other_users: int
    unknown_items: int
    repeated: int
    seen: int
    without: int
    short: int
    ties: int
    k: int
    by: Order

    def __str__(self) -> str:
        lines = [f"{self.rows:,} rows, lists of {self.users:,} users of the data"]
        told = {
            "rows of users who are not in the data: left out": self.other_users,
            "rows of items that are not in the data": self.unknown_items,
            "rows of items that the list has twice": self.repeated,
            "rows of items that the user has already": self.seen,
            "users with an item to be found have no list: they count 0": self.without,
            f"users with an item to be found have lists of fewer than {self.k}": self.short,
            f"rows have the {self.by} of the one before: in the order of the file": self.ties,
        }
        return "\n".join([*lines, *(f"{count:,} {what}" for what, count in told.items() if count)])


class Recommendations(Ranker):
    """Lists of any origin, to be evaluated as a model's are: ``evaluate(Recommendations(data, users, items), data)``.

    Parameters
    ----------
    data : Dataset, whose users and items the lists are of
    users, items : raw ids [n]
        A row a recommendation, in any order of users.
    score, rank : numbers [n], optional
        What puts a user's items in order, the highest score or the lowest rank first, ties in the order of the rows; default: the order of the rows.
    invalid : "refuse", "drop" or "miss"
        What becomes of items that no list can hold: those that the data set does not have, that the list had before, or, where lists are made, that the user has
        seen. They are an error; left out, so that those behind move up; or keep their place and are no hits.

    Raises
    ------
    ValueError : lengths that differ, both score and rank, items that are refused, no user that the data set has. TypeError : ids of no kind, no numbers.

    Notes
    -----
    Rows of users that the data set does not have are left out. A user without a list has no hits. Memory: some 20 bytes a row while they are put in order, 60 where those of a user stand apart; 4 to 8
    afterwards.

    Examples
    --------
    >>> from fastgcn_rec import evaluate
    >>> from fastgcn_rec.data import Edges, build_dataset
    >>> had, wanted = Edges([0, 1], [1, 0]), Edges([0, 1], [0, 1])
    >>> data = build_dataset("cafe", had, wanted, np.array(["ann", "bob"], object), np.array(["milk", "tea"], object))
    >>> lists = Recommendations(data, ["ann", "bob", "bob"], ["milk", "cake", "tea"], score=[0.5, 0.9, 0.1], invalid="miss")
    >>> evaluate(lists, data, ks=[1, 2])["recall@1"], evaluate(lists, data, ks=[1, 2])["recall@2"]
    (0.5, 1.0)
    >>> lists.report(k=2).unknown_items
    1
    """

    similarity = "dot"

    def __init__(
        self,
        data: Dataset,
        users: Any,
        items: Any,
        *,
        score: Any = None,
        rank: Any = None,
        invalid: Invalid = "refuse",
    ) -> None:
        if score is not None and rank is not None:
            raise ValueError("Recommendations: score and rank: one of them puts a list in order; leave the other out")
        by: Order = "score" if score is not None else "rank" if rank is not None else "file"
        self._take(data, [Interactions.from_raw(users, items, rank if score is None else score)], by, invalid)

    @classmethod
    def of_rows(
        cls, data: Dataset, rows: list[Interactions], by: Order, invalid: Invalid = "refuse"
    ) -> Recommendations:
        """Of rows that were read, whose ratings are ranks or scores: the one entry, which is taken out, so that its memory goes on the way."""
        made = cls.__new__(cls)
        made._take(data, rows, by, invalid)
        return made

    def _take(self, data: Dataset, held: list[Interactions], by: Order, invalid: Invalid) -> None:
        if not isinstance(data, Dataset):
            raise TypeError(f"Recommendations: data must be a Dataset, got {type(data).__name__}")
        if invalid not in get_args(Invalid):
            raise ValueError(f"Recommendations: invalid must be one of {get_args(Invalid)}, got {invalid!r}")
        self._know(data)
        self.data, self.invalid, self.by = data, invalid, by
        rows = held.pop()
        self._rows = len(rows)
        of_users, of_items = _places(data.user_ids, rows.user_ids), _places(data.item_ids, rows.item_ids)
        if len(rows) and not (of_users >= 0).any():
            raise ValueError(
                f"Recommendations: none of the {rows.n_users} users of the lists is one of the {data.n_users} of {data.name}; they are {_some(rows.user_ids)} "
                f"in the lists and {_some(data.user_ids)} in the data"
            )
        order = RowsByUser(of_users[rows.users], self.n_users, _ROWS)
        self._other_users, self._starts = order.left_out, order.starts
        items, values = rows.items, rows.rating
        del rows
        self._items = of_items[order.of(items)]
        del items
        self._order(None if values is None else order.of(values))
        self._look()

    def _order(self, values: Array | None) -> None:
        """Puts each list in its order."""
        self._ties, self._scores = 0, None
        if values is None:
            return
        for rows, own in self._parts():
            keys = values[rows] if self.by == "rank" else -values[rows]
            same = own[1:] == own[:-1]
            if (same & (keys[1:] < keys[:-1])).any():
                order = np.lexsort((keys, own))
                self._items[rows], values[rows], keys = self._items[rows][order], values[rows][order], keys[order]
            self._ties += int((same & (keys[1:] == keys[:-1])).sum())
        if self.by == "score":
            self._scores = values.astype(np.float32, copy=False)

    def _look(self) -> None:
        """Finds what no list can hold, whoever sees it."""
        self._repeated, self._unknown = 0, int((self._items == _NO_ITEM).sum())
        kept: list[NDArray[np.int32]] = []
        for rows, own in self._parts():
            items = self._items[rows]  # a view
            keys = own * self.n_items + items
            ordered = np.sort(keys[items != _NO_ITEM])
            if (ordered[1:] == ordered[:-1]).any():
                order = np.argsort(keys, kind="stable")
                again = order[1:][(keys[order[1:]] == keys[order[:-1]]) & (items[order[1:]] != _NO_ITEM)]
                items[again] = _NO_ITEM
                self._repeated += int(again.size)
            kept.append(own[items != _NO_ITEM].astype(np.int32) if self.invalid == "drop" else np.zeros(0, np.int32))
        if self.invalid == "refuse" and self._unknown + self._repeated:
            raise ValueError(
                f"Recommendations: items that are not in {self.data.name}: {self._unknown} rows; items that stand in the list before: {self._repeated} rows; "
                f"{_WAYS}"
            )
        if self.invalid == "drop" and self._unknown + self._repeated:
            real = self._items != _NO_ITEM
            counts = np.bincount(np.concatenate(kept), minlength=self.n_users)
            self._starts = np.concatenate(([0], np.cumsum(counts)))
            self._items = self._items[real]
            self._scores = None if self._scores is None else self._scores[real]

    def _parts(self) -> Iterator[tuple[slice, Ints]]:
        """(some rows, which are whole lists, the user of each)."""
        first = 0
        while first < self.n_users:
            last = int(np.searchsorted(self._starts, self._starts[first] + _ROWS, "right")) - 1
            last = min(max(last, first + 1), self.n_users)
            rows = slice(int(self._starts[first]), int(self._starts[last]))
            yield rows, np.repeat(np.arange(first, last), np.diff(self._starts[first : last + 1]))
            first = last

    def ranked(self, seen: Graph | None, users: Tensor, k: int, batch_users: int = SCORED_AT_ONCE) -> Lists:
        """The lists, of k items at most. ValueError: they hold items in ``seen``, and these are refused."""
        place, device, longest = users.cpu().numpy(), users.device, int(np.diff(self._starts).max(initial=0))
        for at in range(0, max(len(users), 1), size := max(1, min(RANKED_AT_ONCE, _ROWS // max(longest, 1)))):
            block = place[at : at + size]
            ids, scores = self._padded(block, None if self.invalid == "drop" else k)
            if seen is not None:
                ids, scores = self._without(seen, block, ids, scores, place)
            if ids.shape[1] < k:
                more = ((0, 0), (0, k - ids.shape[1]))
                ids, scores = np.pad(ids, more, constant_values=-1), np.pad(scores, more, constant_values=-np.inf)
            made = torch.from_numpy(ids[:, :k]), torch.from_numpy(scores[:, :k])
            yield users[at : at + size], made[0].to(device), made[1].to(device)

    def _padded(self, users: Ints, most: int | None) -> tuple[Ints, NDArray[np.float32]]:
        """(items [b, m], scores [b, m]) of the lists of users [b], or of the first ``most`` of each; without scores minus the place from 1."""
        starts, sizes = self._starts[users], self._starts[users + 1] - self._starts[users]
        sizes = sizes if most is None else np.minimum(sizes, most)
        place = np.arange(int(sizes.max(initial=0)))
        there = place < sizes[:, None]
        rows = np.where(there, starts[:, None] + place, 0)
        own = self._items if self._items.size else np.full(1, _NO_ITEM, np.int32)
        ids = np.where(there, own[rows], _NO_ITEM).astype(np.int64)
        if self._scores is None or not self._scores.size:
            given = np.broadcast_to(-(place + 1).astype(np.float32), ids.shape)
        else:
            given = self._scores[rows]
        return ids, np.where(ids == _NO_ITEM, np.float32(-np.inf), given)

    def _without(
        self, seen: Graph, block: Ints, ids: Ints, scores: NDArray[np.float32], every: Ints
    ) -> tuple[Ints, NDArray[np.float32]]:
        bad = _seen(seen, block, ids)
        if not bad.any():
            return ids, scores
        if self.invalid == "refuse":
            count = self._count_seen(seen, every, ids.shape[1])
            raise ValueError(
                f"Recommendations: {count} rows of the {len(every)} lists have items that their users have already, such as item {self.item_ids[ids[bad][0]]!s} of "
                f"user {self.user_ids[block[bad.any(1)][0]]!s}: were the lists made on another split? If not, {_WAYS}"
            )
        if self.invalid == "miss":
            return np.where(bad, _NO_ITEM, ids), np.where(bad, np.float32(-np.inf), scores)
        order = np.argsort(bad | (ids == _NO_ITEM), axis=1, kind="stable")
        ids, scores = np.where(bad, _NO_ITEM, ids), np.where(bad, np.float32(-np.inf), scores)
        return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)

    def _count_seen(self, seen: Graph, users: Ints, most: int | None) -> int:
        size = max(1, _ROWS // max(int(np.diff(self._starts).max(initial=0)), 1))
        blocks = (users[at : at + size] for at in range(0, len(users), size))
        return sum(int(_seen(seen, block, self._padded(block, most)[0]).sum()) for block in blocks)

    def report(self, part: Part = "test", k: int = 20) -> ListsReport:
        """What the lists hold, and what they should not, where a part of the data is to be found in their first k items.

        ValueError : another part. TypeError, ValueError : k is no count.
        """
        k = check_count(k, "report: k", 1)
        tested = np.unique(self.data.part(part).users).astype(np.int64)
        before: dict[Part, tuple[Part, ...]] = {"test": ("train", "valid"), "valid": ("train",), "train": ()}
        seen = self.data.graph(parts=before[part]) if before[part] else None
        count = np.zeros(len(tested), np.int64)
        n_seen, size = 0, max(1, _ROWS // max(int(np.diff(self._starts).max(initial=0)), 1))
        for at in range(0, len(tested), size):
            block = tested[at : at + size]
            ids, _ = self._padded(block, None)
            bad = np.zeros(ids.shape, bool) if seen is None else _seen(seen, block, ids)
            n_seen += int(bad.sum())
            count[at : at + size] = ((ids != _NO_ITEM) & ~bad).sum(1)
        sizes = np.diff(self._starts)
        without = sizes[tested] == 0
        return ListsReport(
            rows=self._rows,
            users=int((sizes > 0).sum()),
            other_users=self._other_users,
            unknown_items=self._unknown,
            repeated=self._repeated,
            seen=n_seen,
            without=int(without.sum()),
            short=int(((count < min(k, self.n_items)) & ~without).sum()),
            ties=self._ties,
            k=k,
            by=self.by,
        )


def read_recommendations(
    source: Any,
    data: Dataset,
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    score: str | int | None = None,
    rank: str | int | None = None,
    invalid: Invalid = "refuse",
    say: Callable[[str], None] | None = None,
    **reading: Any,
) -> Recommendations:
    """Read recommendation lists that any library wrote, to be evaluated on a data set as a model is.

    Parameters
    ----------
    source : path, glob, list of these, "-", or a table in memory
        Delimited text of any kind, Parquet or JSON lines, compressed too, a row a recommendation in any order; a user and its items on a line, best first; what
        :func:`fastgcn_rec.write_recommendations` wrote; a frame of pandas, Polars, Arrow or DuckDB, or a dict of columns.
    data : Dataset, whose raw ids the lists have
    user, item, score, rank : str or int, optional
        Columns by name or position; default: found by their names, without a header user, item and score. One of score (highest first) and rank (lowest first)
        puts a list in order, ties in the order of the rows; where the file has both, rank; where it has none, the order of the rows.
    invalid : "refuse", "drop" or "miss", see :class:`Recommendations`
    say : function of a text, optional
        Is told what was taken for what.
    reading : options of :func:`fastgcn_rec.data.read_csv`, such as ``sep``

    Raises
    ------
    FileNotFoundError : there is no such file. ValueError : columns that cannot be told apart, values that are no numbers, and what
        :class:`Recommendations` refuses.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastgcn_rec import Popularity, evaluate, write_recommendations
    >>> from fastgcn_rec.data import synthetic_interactions
    >>> data, path = synthetic_interactions(50, 40, 400, seed=1), pathlib.Path(tempfile.mkdtemp()) / "lists.csv"
    >>> model = Popularity(data)
    >>> written = write_recommendations(model, path, progress=False)
    >>> evaluate(read_recommendations(path, data), data) == evaluate(model, data)
    True
    """
    columns = {"user": user, "item": item, "score": score, "rank": rank}
    given = {role: column for role, column in columns.items() if column is not None}
    if is_frame(source):
        if reading:
            raise ValueError(f"read_recommendations: a table in memory takes no {', '.join(reading)}; leave them out")
        rows = ranked_frame(source, given)
    else:
        if not isinstance(source, (str, os.PathLike, Iterable)):
            raise TypeError(
                f"read_recommendations: source must be a path, a list of paths or a table, got {type(source).__name__}"
            )
        listed = [source] if isinstance(source, (str, os.PathLike)) else list(source)
        rows = read_ranked([os.fspath(one) for one in listed], given, reading)
    if say is not None:
        say(rows.said)
    events, by = [rows.events], rows.by
    del rows
    return Recommendations.of_rows(data, events, by, invalid)


def _seen(seen: Graph, users: Ints, ids: Ints) -> NDArray[np.bool_]:
    device = seen.device
    unseen = unseen_mask(seen, torch.from_numpy(users).to(device), torch.from_numpy(ids).to(device)).cpu().numpy()
    return ~unseen & (ids != _NO_ITEM)


def _places(space: Array, ids: Array) -> NDArray[np.int32]:
    """The internal id of each of distinct raw ids, -1 for those that there are not; texts are compared with integers as texts."""
    if is_text(space) != is_text(ids):
        space, ids = (as_texts(map(str, some.tolist())) for some in (space, ids))
    index = IdIndex.of(space)
    places = np.full(ids.size, -1, np.int32)
    known = among(index.ordered, ids)
    places[known] = index.rows(ids[known], "ids", "ids")
    return places


def _some(ids: Sequence[Any] | Array) -> str:
    return ", ".join(map(repr, np.asarray(ids[:3]).tolist())) + (", ..." if len(ids) > 3 else "")
