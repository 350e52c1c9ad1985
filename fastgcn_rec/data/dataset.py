"""A data set ready for training: contiguous ids in degree order, a training and a test part, and its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..algorithms.coclustering import cocluster
from ..core.arguments import check_count, check_fraction
from ..core.graph import Graph
from ..core.ids import Array, IdIndex, Ints, as_ids, is_text, pair_keys
from ..core.philox import generator
from .published import published_fingerprint
from .report import DatasetReport, degree_summary
from .rows import held_out, last_ranks

_INT32_MAX = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Edges:
    """Pairs of internal ids: `users` and `items`, int32 [E], with a `time` [E] and a `weight` float32 [E], > 0, or None.

    `ids` are the raw ids that the internal ones stand for, (of users, of items), where the edges are those of a `Dataset`, which sets it;
    else None. By them `fit` and `evaluate` notice edges that mean others than the model's.

    Examples
    --------
    >>> from fastgcn_rec.data import Edges
    >>> edges = Edges([0, 0, 1], [2, 3, 3])
    >>> len(edges), edges.users.dtype.name
    (3, 'int32')
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    time: Array | None = None
    weight: NDArray[np.float32] | None = None
    ids: tuple[Array, Array] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # Any integers are taken, so that callers need not cast; they are int32 from here on.
        for name in ("users", "items"):
            ids = np.asarray(getattr(self, name))
            if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
                raise TypeError(f"{name} must be integers [E], got dtype {ids.dtype} and shape {list(ids.shape)}")
            if ids.size and not 0 <= ids.min() <= ids.max() <= _INT32_MAX:
                raise ValueError(f"{name} must lie in [0, 2**31), got {ids.min()} to {ids.max()}")
            object.__setattr__(self, name, ids.astype(np.int32, copy=False))
        if self.users.size != self.items.size:
            raise ValueError(f"users and items must have one length, got {self.users.size} and {self.items.size}")
        if self.time is not None and self.time.shape != self.users.shape:
            raise ValueError(f"time must have shape [{self.users.size}], got {list(self.time.shape)}")
        if self.weight is not None:
            object.__setattr__(self, "weight", _weights(self.weight, self.users.size))

    def __len__(self) -> int:
        return int(self.users.size)

    def select(self, which: Array) -> Edges:
        """Return the edges that a boolean mask [E] or an index array picks."""
        time, weight = (None if column is None else column[which] for column in (self.time, self.weight))
        return replace(self, users=self.users[which], items=self.items[which], time=time, weight=weight)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Users, items and their edges in a training and a test part, under internal ids.

    Internal ids are contiguous and ordered by descending training degree, ties by raw id (:meth:`clustered` orders them
    otherwise). No pair occurs twice within a part. A user or item may have no training edge (cold). Made by `make_dataset`, `load_dataset`, `read_lightgcn`,
    `synthetic_interactions` or `build_dataset`.

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
        Rows left out because their pair had occurred before in the same part.
    user_info : dict of str to array [n_users]
        Columns aligned with internal user ids, such as "age". May be empty.
    disliked : Edges
        The pairs that were rated below the `min_rating` of `make_dataset`, and never so high, without times: ``model.recommend(users, exclude=data.disliked)``
        does not bring them back. They are no part of the split and may be later than it; the fingerprint is without them. May be empty.

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
    disliked: Edges = field(default_factory=lambda: Edges(np.zeros(0, np.int32), np.zeros(0, np.int32)))

    def __post_init__(self) -> None:
        for part in ("train", "test", "disliked"):
            edges: Edges = getattr(self, part)
            if edges.ids is None or edges.ids[0] is not self.user_ids or edges.ids[1] is not self.item_ids:
                object.__setattr__(self, part, replace(edges, ids=(self.user_ids, self.item_ids)))

    @property
    def n_users(self) -> int:
        """Number of users, cold ones included."""
        return int(self.user_ids.size)

    @property
    def n_items(self) -> int:
        """Number of items, cold ones included."""
        return int(self.item_ids.size)

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {self.n_users} users, {self.n_items} items, "
            f"{len(self.train)} train + {len(self.test)} test edges{', weighted' if self.train.weight is not None else ''})"
        )

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
        digest = hashlib.sha256(b"fastgcn_rec data set 1\0")
        ranks: list[Ints] = []
        for _, order, ordered in (self._user_index, self._item_index):
            text = is_text(ordered)
            raw = _between_nuls(ordered) if text else ordered.astype("<i8").tobytes()
            digest.update(f"{'text' if text else 'int'} {ordered.size} {len(raw)}\0".encode() + raw)
            rank = np.empty(order.size, np.int64)
            rank[order] = np.arange(order.size)
            ranks.append(rank)
        for part in (self.train, self.test):
            keys = pair_keys(ranks[0][part.users], ranks[1][part.items], self.n_users, self.n_items)
            weight = part.weight
            if weight is None:
                keys.sort()
            else:
                order = np.argsort(keys)
                keys, weight = keys[order], weight[order]
            digest.update(f"pairs {keys.size}\0".encode() + keys.astype("<i8", copy=False).tobytes())
            if weight is not None:
                digest.update(b"weights\0" + weight.astype("<f4", copy=False).tobytes())
        counts = (self.n_users, self.n_items, len(self.train), len(self.test))
        return "-".join([*map(str, counts), digest.hexdigest()[:16]])

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
        overlap = np.intersect1d(self._keys(self.train), self._keys(self.test), assume_unique=True)
        fingerprint = self.fingerprint()
        published = published_fingerprint(self.name)
        cells = self.n_users * self.n_items
        return DatasetReport(
            name=self.name,
            users=self.n_users,
            items=self.n_items,
            train=len(self.train),
            test=len(self.test),
            density=(len(self.train) + len(self.test) - overlap.size) / cells if cells else 0.0,
            duplicates=self.dropped_duplicates,
            overlap=int(overlap.size),
            cold_users=int((user_degree == 0).sum()),
            cold_items=int((item_degree == 0).sum()),
            users_without_test=int((~tested).sum()),
            user_degree=degree_summary(user_degree),
            item_degree=degree_summary(item_degree),
            fingerprint=fingerprint,
            published=None if published is None else published == fingerprint,
        )

    def graph(self, device: str | torch.device = "cpu") -> Graph:
        """Return the `fastgcn_rec.Graph` of the training edges, with their weights, on a device."""
        train = self.train
        return Graph.from_edges(train.users, train.items, self.n_users, self.n_items, train.weight, device=device)

    def split_valid(
        self, fraction: float = 0.1, seed: int = 0, by: Literal["random", "temporal"] = "random"
    ) -> tuple[Dataset, Edges]:
        """Cut a validation part from the training edges, user by user.

        Every user gives the share `fraction` of its edges, halves rounded up, and keeps at least one. Internal ids, item
        columns and the test part stay as they are. An item may lose all its training edges.

        Parameters
        ----------
        fraction : float
            Share of each user's training edges, strictly between 0 and 1.
        seed : int
            Decides which edges, for ``by="random"``; the row order does not matter.
        by : "random" or "temporal"
            Any edges, or each user's latest (ties by row order).

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
        elif by == "random":
            rank_by = np.empty(users.size)
            rank_by[np.argsort(self._keys(self.train))] = generator(seed).random(users.size)
        else:
            raise ValueError(f"by must be 'random' or 'temporal', got {by!r}")
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
        new_u, new_i = _places_of(users), _places_of(items)
        return replace(
            self,
            train=replace(self.train, users=new_u[self.train.users], items=new_i[self.train.items]),
            test=replace(self.test, users=new_u[self.test.users], items=new_i[self.test.items]),
            disliked=replace(self.disliked, users=new_u[self.disliked.users], items=new_i[self.disliked.items]),
            user_ids=self.user_ids[users],
            item_ids=self.item_ids[items],
            item_info={name: column[items] for name, column in self.item_info.items()},
            user_info={name: column[users] for name, column in self.user_info.items()},
        )

    def _keys(self, part: Edges) -> Ints:
        return pair_keys(part.users, part.items, self.n_users, self.n_items)


def _weights(given: Any, n_edges: int) -> NDArray[np.float32]:
    values = np.asarray(given)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"weight must be numbers [E], got dtype {values.dtype}")
    if values.shape != (n_edges,):
        raise ValueError(f"weight must have shape [{n_edges}], got {list(values.shape)}")
    with np.errstate(over="ignore"):
        weight = values.astype(np.float32, copy=False)
    bad = ~(np.isfinite(weight) & (weight > 0))
    if bad.any():
        at = int(bad.argmax())
        raise ValueError(
            f"weight must be positive and finite in float32, got {values[at]} at edge {at}; leave such edges out"
        )
    return weight


def _between_nuls(texts: Array) -> bytes:
    """The texts' UTF-8 bytes with a NUL between any two; a NUL within one is 0xFF, which is in no UTF-8."""
    joined = "\0".join(texts.tolist())
    if joined.count("\0") < max(texts.size, 1):
        return joined.encode("utf-8", "surrogatepass")
    return b"\0".join(text.encode("utf-8", "surrogatepass").replace(b"\0", b"\xff") for text in texts.tolist())


def _places_of(order: Ints) -> NDArray[np.int32]:
    """The inverse of a permutation."""
    places = np.empty(order.size, np.int32)
    places[order] = np.arange(order.size, dtype=np.int32)
    return places
