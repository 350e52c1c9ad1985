"""Raw user-item events with coded ids, and the filters that precede a split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arguments import check_count
from ..core.ids import Array, Codes, IdIndex, Ints, among, as_ids, codes_of, factorize, pair_keys
from .columns import infos, ratings, times
from .rows import first_events
from .timeforms import check_times


@dataclass(frozen=True, eq=False)
class Interactions:
    """Events between users and items: E rows, U user ids, I item ids.

    Make one with `from_raw` or a reader (`read_csv`, `read_movielens`, ...). The same pair may occur more than once.

    Attributes
    ----------
    users : int32 [E]
        Codes into `user_ids`.
    items : int32 [E]
        Codes into `item_ids`.
    user_ids, item_ids : int64, or str (dtype object) [U], [I]
        Raw ids, sorted and unique. An id may have no event.
    rating : float32 or float64 [E] or None
        float32 where it was given so.
    time : int64 or float64 [E] or None
        Seconds since 1970 where the source says so, otherwise any increasing number.
    item_info : dict of str to array [I]
        Columns aligned with `item_ids`, such as "title", "year" and "genres". May be empty.
    user_info : dict of str to array [U]
        Columns aligned with `user_ids`, such as "age". May be empty.

    Examples
    --------
    >>> from fastgcn_rec.data import Interactions
    >>> events = Interactions.from_raw(["ann", "bob", "ann"], [7, 7, 9], time=[1, 2, 3])
    >>> events.user_ids.tolist(), events.items.tolist(), len(events)
    (['ann', 'bob'], [0, 0, 1], 3)
    >>> events
    Interactions(3 events, 2 users, 2 items, time)
    """

    users: Codes
    items: Codes
    user_ids: Array
    item_ids: Array
    rating: Array | None = None
    time: Array | None = None
    item_info: dict[str, Array] = field(default_factory=dict)
    user_info: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def from_raw(
        cls,
        users: Iterable[Any] | Array,
        items: Iterable[Any] | Array,
        rating: Iterable[float] | Array | None = None,
        time: Iterable[Any] | Array | None = None,
        item_info: Mapping[str, Any] | None = None,
        user_ids: Iterable[Any] | Array | None = None,
        item_ids: Iterable[Any] | Array | None = None,
        user_info: Mapping[str, Any] | None = None,
        *,
        time_unit: str | None = None,
        time_format: str | None = None,
    ) -> Interactions:
        """Code raw ids and check every column.

        Parameters
        ----------
        users, items : array-like [E]
            Raw ids, all integers or all strings.
        rating : array-like of numbers or truth values [E], optional
        time : array-like of numbers, dates or ISO texts [E], optional
            Dates (datetime64, datetime objects, pandas and Arrow timestamps) and texts (``2011-12-09 12:50:00``, ``2011-12-09T12:50:00Z``,
            ``...+02:00``) become seconds since 1970: int64, or float64 where there are fractions of a second. Without a zone they are UTC.
        item_info : mapping of str to array-like [I], pandas DataFrame or Arrow table, optional
            Columns of numbers, dates or texts in the order of `item_ids`, which is then required. A missing text is "", a missing number NaN.
        user_ids, item_ids : array-like, optional
            The id spaces, in any order, where they hold ids without an event. Default: the ids that occur.
        user_info : mapping of str to array-like [U], optional
            Columns in the order of `user_ids`, which is then required.
        time_unit : "s", "ms", "us", "ns" or None
            What times that are numbers count from 1970 on; they become seconds then. None: they stay as they are.
        time_format : str, optional
            The form of dates that are no ISO texts, as `datetime.strptime` has it ("%d.%m.%Y %H:%M"); UTC without an offset.

        Raises
        ------
        TypeError
            Ids that are neither all integers nor all strings; ratings that are not numbers, times that are neither numbers nor dates.
        ValueError
            Lengths that differ, repeated ids in an id space, events with ids outside it, NaN or infinity.

        Examples
        --------
        >>> from fastgcn_rec.data import Interactions
        >>> events = Interactions.from_raw([1, 2], [5, 5], item_ids=[6, 5], item_info={"title": ["six", "five"]})
        >>> events.item_info["title"].tolist()
        ['five', 'six']
        """
        check_times(time_unit, time_format)
        space_u, codes_u, order_u = _code(users, user_ids, "users", "user_ids")
        space_i, codes_i, order_i = _code(items, item_ids, "items", "item_ids")
        if codes_u.size != codes_i.size:
            raise ValueError(f"users and items must have the same length, got {codes_u.size} and {codes_i.size}")
        return cls(
            codes_u,
            codes_i,
            space_u,
            space_i,
            ratings(rating, codes_u.size),
            times(time, codes_u.size, time_unit, time_format),
            infos(item_info, order_i, "an item"),
            infos(user_info, order_u, "a user"),
        )

    def __len__(self) -> int:
        return int(self.users.size)

    def __repr__(self) -> str:
        columns = [name for name in ("rating", "time") if getattr(self, name) is not None]
        columns += [f"{side}_info[{name!r}]" for side in ("item", "user") for name in getattr(self, f"{side}_info")]
        return f"Interactions({len(self)} events, {self.n_users} users, {self.n_items} items{''.join(f', {c}' for c in columns)})"

    @property
    def n_users(self) -> int:
        """Number of user ids, with or without events."""
        return int(self.user_ids.size)

    @property
    def n_items(self) -> int:
        """Number of item ids, with or without events."""
        return int(self.item_ids.size)

    def pair_keys(self) -> Ints:
        """Return user * n_items + item, int64 [E]: equal for events of the same pair."""
        return pair_keys(self.users, self.items, self.n_users, self.n_items)

    def first_events(self) -> Ints:
        """Return the rows, int64, of each distinct pair's earliest event, in the order (user, item).

        Where times tie, or there is no time, the first row counts.
        """
        found = first_events(self.users, self.items, self.n_users, self.n_items, self.time)
        return found.rows.astype(np.int64, copy=False)

    def select(self, which: Array) -> Interactions:
        """Return the events that a boolean mask [E] or an index array picks; the id spaces stay.

        Examples
        --------
        >>> from fastgcn_rec.data import Interactions
        >>> events = Interactions.from_raw([1, 2, 2], [5, 5, 6])
        >>> picked = events.select(events.users == 1)
        >>> len(picked), picked.n_users
        (2, 2)
        """
        which = np.asarray(which)
        if which.dtype.kind not in "biu" and which.size:
            raise TypeError(f"which must be a boolean mask or an index array, got dtype {which.dtype}")
        if which.dtype == bool and which.shape != self.users.shape:
            raise ValueError(f"which must have shape [{len(self)}] as a mask, got {list(which.shape)}")
        if which.dtype != bool:
            which = which.astype(np.int64)
        return replace(
            self,
            users=self.users[which],
            items=self.items[which],
            rating=None if self.rating is None else self.rating[which],
            time=None if self.time is None else self.time[which],
        )

    def compact(self) -> Interactions:
        """Return the same events with the ids that have none removed from the id spaces.

        Examples
        --------
        >>> from fastgcn_rec.data import Interactions
        >>> events = Interactions.from_raw([1, 2, 2], [5, 5, 6]).select([0])
        >>> events.compact().item_ids.tolist()
        [5]
        """
        (used_u, users), (used_i, items) = _renumbered(self.users, self.n_users), _renumbered(self.items, self.n_items)
        return replace(
            self,
            users=users,
            items=items,
            user_ids=self.user_ids[used_u],
            item_ids=self.item_ids[used_i],
            item_info={name: column[used_i] for name, column in self.item_info.items()},
            user_info={name: column[used_u] for name, column in self.user_info.items()},
        )

    def filter_rating(self, min_rating: float) -> Interactions:
        """Return the events rated `min_rating` or higher; the id spaces stay (see `compact`).

        Compared in the ratings' own precision: that of the numbers that were given.

        Examples
        --------
        >>> from fastgcn_rec.data import Interactions
        >>> len(Interactions.from_raw([1, 2, 2], [5, 5, 6], rating=[3, 4, 5]).filter_rating(4))
        2
        """
        return self.select(self._rated(min_rating))

    def disliked(self, min_rating: float) -> Interactions:
        """Return an event for each pair all of whose events are rated below `min_rating`; the id spaces stay.

        Examples
        --------
        >>> from fastgcn_rec.data import Interactions
        >>> low = Interactions.from_raw([1, 2, 2, 2], [5, 5, 6, 6], rating=[1, 4, 1, 4]).disliked(4)
        >>> low.users.tolist(), low.items.tolist()
        ([0], [0])
        """
        high = self._rated(min_rating)
        keys = self.pair_keys()
        rows = np.flatnonzero(~high)
        rows = rows[~among(np.sort(keys[high]), keys[rows])]
        return self.select(rows[first_events(self.users[rows], self.items[rows], self.n_users, self.n_items).rows])

    def _rated(self, min_rating: float) -> NDArray[np.bool_]:
        if self.rating is None:
            raise ValueError(f"min_rating={min_rating} needs ratings, but these interactions have none; leave it out")
        if not isinstance(min_rating, (int, float, np.integer, np.floating)) or np.isnan(min_rating):
            raise ValueError(f"min_rating must be a number, got {min_rating!r}")
        with np.errstate(over="ignore"):  # a threshold beyond float32 is infinity there
            return np.asarray(self.rating >= self.rating.dtype.type(min_rating))

    def k_core(self, k_user: int, k_item: int | None = None) -> Interactions:
        """Return the largest part where every user has `k_user` items and every item `k_item` users at least.

        Distinct pairs are counted, so repeated events of a pair do not help. Ids that fall out leave the id spaces.

        Parameters
        ----------
        k_user : int
            Least number of distinct items a user keeps; 0 or 1 asks for nothing of users that have an event.
        k_item : int, optional
            Least number of distinct users an item keeps. Default: `k_user`.

        Examples
        --------
        >>> from fastgcn_rec.data import Interactions
        >>> core = Interactions.from_raw([1, 1, 2, 2, 3], [5, 6, 5, 6, 6]).k_core(2)
        >>> core.user_ids.tolist(), len(core)
        ([1, 2], 4)
        """
        k_user = check_count(k_user, "k_user", 0)
        k_item = k_user if k_item is None else check_count(k_item, "k_item", 0)
        rows = self.first_events()
        users, items = self.users[rows], self.items[rows]
        keep_u = np.bincount(users, minlength=self.n_users) >= k_user
        keep_i = np.bincount(items, minlength=self.n_items) >= k_item
        while True:
            keep = keep_u[users] & keep_i[items]
            if keep.all():
                break
            users, items = users[keep], items[keep]
            keep_u &= np.bincount(users, minlength=self.n_users) >= k_user
            keep_i &= np.bincount(items, minlength=self.n_items) >= k_item
        return self.select(keep_u[self.users] & keep_i[self.items]).compact()


def _renumbered(codes: Codes, n: int) -> tuple[Ints, Codes]:
    """(the codes below n that occur, the place of each code among them)."""
    occurs = np.zeros(n, bool)
    occurs[codes] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs, dtype=np.int32) - 1)[codes]


def _code(
    values: Iterable[Any] | Array, space: Iterable[Any] | Array | None, name: str, space_name: str
) -> tuple[Array, Codes, Ints | None]:
    """Return (sorted id space, codes, order that sorts the id space as passed or None)."""
    ids = as_ids(values, name)
    if space is None:
        found, codes = factorize(ids)
        return found, codes.astype(np.int32), None
    given = as_ids(space, space_name)
    _, order, ordered = IdIndex.of(given)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]].tolist()
    if repeated:
        raise ValueError(f"{space_name} must be unique, got {repeated[0]!r} more than once")
    return ordered, codes_of(ids, ordered, name, space_name).astype(np.int32), order
