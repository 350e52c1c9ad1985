"""A data set ready for training: contiguous ids in degree order, a training, a validation and a test part, and its identity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from ..algorithms.coclustering import cocluster
from ..core.arguments import check_count, check_fraction
from ..core.frames import FrameKind, to_frame
from ..core.graph import Graph
from ..core.ids import Array, IdIndex, Ints, among, as_ids, as_texts, pair_keys
from ..core.philox import generator
from .edges import Edges, joined
from .fingerprint import fingerprint
from .interactions import Interactions
from .published import published_fingerprint
from .report import DatasetReport, degree_summary
from .rows import first_events, held_out, last_ranks

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


def _no_edges() -> Edges:
    return Edges(np.zeros(0, np.int32), np.zeros(0, np.int32))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Users, items and their edges in a training, a validation and a test part, under internal ids.

    Internal ids are contiguous and ordered by descending training degree, ties by raw id (:meth:`clustered` orders them
    otherwise). No pair occurs twice within a part, and none in both `train` and `valid`. A user or item may have no training edge (cold). Made by `make_dataset`, `load_dataset`, `read_split`,
    `read_lightgcn`, `synthetic_interactions` or `build_dataset`.

    Attributes
    ----------
    name : str
    train, test : Edges
        With weights where `make_dataset` was asked for them: those of `train` are the graph's.
    user_ids, item_ids : int64, or str (dtype object) [n_users], [n_items]
        Raw id of every internal id.
    item_info : dict of str to array [n_items]
        Columns aligned with internal item ids, such as "title". May be empty.
    dropped_duplicates : int
        Rows left out because their pair had occurred before in the same part, or, of `valid`, in `train`.
    user_info : dict of str to array [n_users]
        Columns aligned with internal user ids, such as "age". May be empty.
    disliked : Edges
        The pairs that were rated below the `min_rating` of `make_dataset`, and never so high, without times: ``model.recommend(users, exclude=data.disliked)``
        does not bring them back. They are no part of the split and may be later than it; the fingerprint is without them. May be empty.
    valid : Edges
        What `fit` chooses an epoch on, in place of a part of `train`. Empty unless the data came with one or `make_dataset` was asked for one.

    Examples
    --------
    >>> from fastgcn_rec.data import Interactions, make_dataset
    >>> events = Interactions.from_raw(["ann", "ann", "bob"], ["tea", "cake", "tea"])
    >>> data = make_dataset("cafe", events, split="none")
    >>> data.user_ids.tolist(), data.item_ids.tolist()
    (['ann', 'bob'], ['tea', 'cake'])
    >>> data.items_of(["cake"]).tolist()
    [1]
    """

    name: str
    train: Edges
    test: Edges
    user_ids: Array
    item_ids: Array
    item_info: dict[str, Array] = field(default_factory=dict)
    dropped_duplicates: int = 0
    user_info: dict[str, Array] = field(default_factory=dict)
    disliked: Edges = field(default_factory=_no_edges)
    valid: Edges = field(default_factory=_no_edges)

    def __post_init__(self) -> None:
        for part in (*PARTS, "disliked"):
            edges: Edges = getattr(self, part)
            if edges.ids is None or edges.ids[0] is not self.user_ids or edges.ids[1] is not self.item_ids:
                object.__setattr__(self, part, replace(edges, ids=(self.user_ids, self.item_ids)))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """From pickles of before there were validation parts or disliked pairs, too."""
        none = replace(_no_edges(), ids=(state["user_ids"], state["item_ids"]))
        self.__dict__.update({"valid": none, "disliked": none, **state})

    @property
    def n_users(self) -> int:
        """Number of users, cold ones included."""
        return int(self.user_ids.size)

    @property
    def n_items(self) -> int:
        """Number of items, cold ones included."""
        return int(self.item_ids.size)

    def __repr__(self) -> str:
        sizes = " + ".join(f"{len(self.part(name))} {name}" for name in PARTS if name != "valid" or len(self.valid))
        weighted = ", weighted" if self.train.weight is not None else ""
        return f"Dataset({self.name!r}, {self.n_users} users, {self.n_items} items, {sizes} edges{weighted})"

    def part(self, name: Part) -> Edges:
        """Return "train", "valid" or "test" by its name; a ValueError for any other."""
        if name not in PARTS:
            raise ValueError(f"part must be one of {', '.join(map(repr, PARTS))}, got {name!r}")
        edges: Edges = getattr(self, name)
        return edges

    def users_of(self, raw_ids: Iterable[Any] | Array) -> Ints:
        """Return the internal ids, int64, of raw user ids; a ValueError names the first unknown ones."""
        return self._user_index.rows(as_ids(raw_ids, "raw_ids"), "raw_ids", f"users of {self.name}")

    def items_of(self, raw_ids: Iterable[Any] | Array) -> Ints:
        """Return the internal ids, int64, of raw item ids; a ValueError names the first unknown ones."""
        return self._item_index.rows(as_ids(raw_ids, "raw_ids"), "raw_ids", f"items of {self.name}")

    @cached_property
    def _user_index(self) -> IdIndex:
        return IdIndex.of(self.user_ids)

    @cached_property
    def _item_index(self) -> IdIndex:
        return IdIndex.of(self.item_ids)

    def fingerprint(self) -> str:
        """Return ``users-items-train-test-<16 hex digits>``: equal for equal data, whatever the order of rows and ids.

        With a validation part ``users-items-train-valid-test-...``: it enters the digits too.

        The digits are the head of a SHA-256 over the raw ids in sorted order and over the pairs of each part, as pairs of
        ranks among those ids, in sorted order, followed by the pairs' weights where there are some. Times and columns do not enter.

        Examples
        --------
        >>> from fastgcn_rec.data import Interactions, make_dataset
        >>> one = make_dataset("a", Interactions.from_raw([1, 2], [3, 4]), split="none")
        >>> two = make_dataset("b", Interactions.from_raw([2, 1], [4, 3]), split="none")
        >>> one.fingerprint() == two.fingerprint()
        True
        """
        parts: dict[str, Edges] = {name: self.part(name) for name in PARTS if name != "valid" or len(self.valid)}
        return fingerprint(self._user_index, self._item_index, parts)

    def report(self) -> DatasetReport:
        """Return the figures to look at before training; `print` shows them.

        Examples
        --------
        >>> from fastgcn_rec.data import Interactions, make_dataset
        >>> data = make_dataset("toy", Interactions.from_raw([1, 2, 2], [3, 3, 3]), split="none")
        >>> data.report().duplicates
        1
        """
        user_degree = np.bincount(self.train.users, minlength=self.n_users)
        item_degree = np.bincount(self.train.items, minlength=self.n_items)
        tested = np.bincount(self.test.users, minlength=self.n_users) > 0
        known = np.concatenate((self._keys(self.train), self._keys(self.valid)))
        overlap = np.intersect1d(known, self._keys(self.test), assume_unique=True)
        identity = self.fingerprint()
        published = published_fingerprint(self.name)
        cells = self.n_users * self.n_items
        return DatasetReport(
            name=self.name,
            users=self.n_users,
            items=self.n_items,
            train=len(self.train),
            test=len(self.test),
            density=(known.size + len(self.test) - overlap.size) / cells if cells else 0.0,
            duplicates=self.dropped_duplicates,
            overlap=int(overlap.size),
            cold_users=int((user_degree == 0).sum()),
            cold_items=int((item_degree == 0).sum()),
            users_without_test=int((~tested).sum()),
            user_degree=degree_summary(user_degree),
            item_degree=degree_summary(item_degree),
            fingerprint=identity,
            published=None if published is None else published == identity,
            valid=len(self.valid),
        )

    def to_frame(self, part: Part | None = "train", kind: FrameKind = "pandas") -> Any:
        """Return the edges of a part as a table of raw ids, a row an edge.

        Parameters
        ----------
        part : "train", "valid", "test" or None
            None: all of them, one after the other.
        kind : "pandas" (or True), "polars", "arrow" or "dict"
            "dict" gives the columns as arrays and needs no other library.

        Returns
        -------
        table
            The columns "user", "item", "time" and "weight" where there are some, and "part".

        Raises
        ------
        ValueError
            Another part or kind.
        ImportError
            The library of the kind is not installed.

        Examples
        --------
        >>> from fastgcn_rec.data import Interactions, make_dataset
        >>> data = make_dataset("cafe", Interactions.from_raw(["ann", "ann"], ["tea", "cake"], time=[5, 6]), split="none")
        >>> {name: column.tolist() for name, column in data.to_frame(kind="dict").items()}
        {'user': ['ann', 'ann'], 'item': ['tea', 'cake'], 'time': [5, 6], 'part': ['train', 'train']}
        """
        names: list[Part] = [*PARTS] if part is None else [part]
        parts = [self.part(name) for name in names]
        columns: dict[str, Array] = {
            "user": np.concatenate([self.user_ids[edges.users] for edges in parts]),
            "item": np.concatenate([self.item_ids[edges.items] for edges in parts]),
        }
        for column in ("time", "weight"):
            values = [getattr(edges, column) for edges in parts if len(edges) or len(parts) == 1]
            if values and all(value is not None for value in values):
                columns[column] = np.concatenate(values)
        columns["part"] = np.repeat(as_texts(names), [len(edges) for edges in parts])
        return to_frame(columns, kind)

    def graph(self, device: str | torch.device = "cpu", parts: Part | Sequence[Part] = "train") -> Graph:
        """Return the `fastgcn_rec.Graph` of the training edges, or of those of another part or several, with their weights, on a device."""
        names: Sequence[Part] = parts if isinstance(parts, (list, tuple)) else [parts]  # type: ignore[list-item]
        if not names:
            raise ValueError(f"parts must be one of {', '.join(map(repr, PARTS))}, or several of them, got none")
        edges = joined([self.part(name) for name in names])
        return Graph.from_edges(edges.users, edges.items, self.n_users, self.n_items, edges.weight, device=device)

    def with_valid(self, valid: Edges | Interactions) -> Dataset:
        """Return the same data with another validation part, whose pairs are training edges no longer.

        Internal ids stay as they are.

        Parameters
        ----------
        valid : Edges of internal ids, or Interactions
            Such as the second of what :meth:`split_valid` gives, or events read from a file, whose ids must be known here.

        Raises
        ------
        TypeError
            Neither of both.
        ValueError
            Ids that are not here, or edges of a data set that numbers them otherwise.

        Examples
        --------
        >>> from fastgcn_rec.data import Interactions, make_dataset
        >>> data = make_dataset("toy", Interactions.from_raw([1, 1, 2], [5, 6, 5]), split="none")
        >>> data.with_valid(Interactions.from_raw([1], [6]))
        Dataset('toy', 2 users, 2 items, 2 train + 1 valid + 0 test edges)
        """
        if isinstance(valid, Interactions):
            users = self._user_index.rows(valid.user_ids[valid.users], "valid", f"users of {self.name}")
            items = self._item_index.rows(valid.item_ids[valid.items], "valid", f"items of {self.name}")
            valid = Edges(users.astype(np.int32), items.astype(np.int32), valid.time)
        self._check_own(valid)
        keys = self._keys(valid)
        rows = np.sort(first_events(valid.users, valid.items, self.n_users, self.n_items, valid.time).rows)
        train = self.train.select(~among(np.sort(keys), self._keys(self.train)))
        dropped = self.dropped_duplicates + keys.size - rows.size
        return replace(self, train=train, valid=valid.select(rows), dropped_duplicates=dropped)

    def _check_own(self, edges: Edges) -> None:
        """That pairs are of internal ids of this data set."""
        if not isinstance(edges, Edges):
            raise TypeError(
                f"valid must be Edges of internal ids, such as the second of dataset.split_valid(0.1), or Interactions, got {type(edges).__name__}"
            )
        for side, own, n in (("users", self.user_ids, self.n_users), ("items", self.item_ids, self.n_items)):
            ids, given = getattr(edges, side), None if edges.ids is None else edges.ids[side == "items"]
            if given is not None and given is not own and not np.array_equal(given, own):
                raise ValueError(
                    f"valid has other {side} than {self.name}, or numbers them otherwise; take a part of this data set, or pass its events with "
                    "their raw ids: Interactions"
                )
            if ids.size and ids.max() >= n:
                raise ValueError(f"valid.{side} must lie in [0, {n}), the internal ids of {self.name}, got {ids.max()}")

    def split_valid(
        self, fraction: float = 0.1, seed: int = 0, by: Literal["random", "temporal", "order"] = "random"
    ) -> tuple[Dataset, Edges]:
        """Cut a validation part from the training edges, user by user.

        Every user gives the share `fraction` of its edges, halves rounded up, and keeps at least one. Internal ids, columns and
        the other parts stay as they are: :meth:`with_valid` makes the cut the data set's own. An item may lose all its training edges.

        Parameters
        ----------
        fraction : float
            Share of each user's training edges, strictly between 0 and 1.
        seed : int
            Decides which edges, for ``by="random"``; the row order does not matter.
        by : "random", "temporal" or "order"
            Any edges; each user's latest (ties by row order); each user's last ones in the order of rows, for data that are in the order of time and do not have it.

        Returns
        -------
        (Dataset, Edges)
            The data set with fewer training edges, and the validation edges.

        Raises
        ------
        ValueError
            `fraction` outside (0, 1), an unknown `by`, or ``by="temporal"`` without times.

        Examples
        --------
        >>> from fastgcn_rec.data import Interactions, make_dataset
        >>> data = make_dataset("toy", Interactions.from_raw([1] * 10, range(10)), split="none")
        >>> fit, valid = data.split_valid(0.2)
        >>> len(fit.train), len(valid)
        (8, 2)
        """
        fraction = check_fraction(fraction, "fraction")
        users = self.train.users
        rank_by: Array
        if by == "temporal":
            if self.train.time is None:
                raise ValueError(f"by='temporal' needs times, but {self.name} has none; use by='random'")
            rank_by = self.train.time
        elif by == "order":
            rank_by = np.zeros(users.size)
        elif by == "random":
            rank_by = np.empty(users.size)
            rank_by[np.argsort(self._keys(self.train))] = generator(seed).random(users.size)
        else:
            raise ValueError(f"by must be 'random', 'temporal' or 'order', got {by!r}")
        quota = held_out(np.bincount(users, minlength=self.n_users), fraction)
        valid = last_ranks(users, rank_by, self.n_users) < quota[users]
        return replace(self, train=self.train.select(~valid)), self.train.select(valid)

    def clustered(self, n_clusters: int = 64, seed: int = 0) -> Dataset:
        """Return the same data with internal ids ordered by clusters of users and items, by degree within each.

        Rows that are gathered together then lie together in the cache: docs/performance.md says what it gives. Clusters are those of spectral
        co-clustering (Dhillon 2001, "Co-clustering documents and words using bipartite spectral graph partitioning"): k-means on the singular
        vectors of D^-1/2 R D^-1/2 of the training edges. Raw ids and the fingerprint stay; results differ as they do between seeds, since
        initial values and ties depend on internal ids. Data with at most 16 users or items, or without training edges, stay as they are.

        Parameters
        ----------
        n_clusters : int >= 1
        seed : int

        Examples
        --------
        >>> from fastgcn_rec.data import synthetic_interactions
        >>> data = synthetic_interactions(300, 200, 4000)
        >>> data.clustered(8).fingerprint() == data.fingerprint()
        True
        """
        check_count(n_clusters, "n_clusters", 1)
        found = cocluster(self.graph(), n_clusters, seed)
        return self if found is None else self.renumbered(*(np.argsort(labels, kind="stable") for labels in found))

    def renumbered(self, users: Ints, items: Ints) -> Dataset:
        """The same data, where the internal ids 0, 1, ... are those of what had users[0], users[1], ... and items[0], ..."""
        new_u, new_i = places_of(users), places_of(items)

        def renumbered(part: Edges) -> Edges:
            return replace(part, users=new_u[part.users], items=new_i[part.items])

        return replace(
            self,
            train=renumbered(self.train),
            test=renumbered(self.test),
            valid=renumbered(self.valid),
            disliked=renumbered(self.disliked),
            user_ids=self.user_ids[users],
            item_ids=self.item_ids[items],
            item_info={name: column[items] for name, column in self.item_info.items()},
            user_info={name: column[users] for name, column in self.user_info.items()},
        )

    def _keys(self, part: Edges) -> Ints:
        return pair_keys(part.users, part.items, self.n_users, self.n_items)


def places_of(order: Ints) -> NDArray[np.int32]:
    """The inverse of a permutation."""
    places = np.empty(order.size, np.int32)
    places[order] = np.arange(order.size, dtype=np.int32)
    return places
