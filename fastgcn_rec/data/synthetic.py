"""Synthetic user-item graphs with power-law degrees and a taste structure to be learned, of any size.

The law
-------
*Degrees.* The user of rank r (0-based) has the degree d(r), proportional to (r + s)^-power with s = 1 + 0.01 * n_users,
scaled to the sum `n_edges` and clipped to [1, n_items / 4]. Items have the popularity p(r), proportional to
(r + s)^-power with s = 1 + 0.002 * n_items; their degrees follow it, flattened at the top, as a user takes an item once only.

*Taste.* Every item belongs to one of `dim` communities, every user to two: 55 % of a user's draws come from the first, 25 %
from the second, 20 % from the whole catalogue; within a community, and in the catalogue, items are drawn by popularity.
So popularity explains a part and the community of a user a larger part, as a model of that rank can find out.

*Distinct pairs.* Draws of a user that repeat are drawn again, up to eight times; what is still missing then is filled
from the whole catalogue with equal chances. Every user ends with its degree exactly.

Users and items are numbered in a random order. Numbers come from Philox keyed by (seed, chunk of users), so the outcome
depends on the arguments alone. Memory: 8 bytes an edge for the result, about as much again while it is numbered, and a
constant for the chunk at work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.arguments import check_count, check_fraction, check_number
from ..core.ids import Array, Ints
from ..core.philox import generator
from .build import build_dataset
from .dataset import Dataset
from .edges import Edges
from .rows import held_out

CHUNK_EDGES = 1 << 20
_ROUNDS = 8
_FIRST, _SECOND = 0.55, 0.25  # shares of a user's draws from its two communities; the rest is from everywhere
_STREAM_SETUP, _STREAM_CHUNKS, _STREAM_TEST = 0, 1, 1 << 62

_Int32 = NDArray[np.int32]


def synthetic_edges(
    n_users: int, n_items: int, n_edges: int, dim: int = 16, seed: int = 0, power: float = 0.8
) -> tuple[_Int32, _Int32]:
    """Generate a user-item graph as two arrays of ids, grouped by chunks of users; see the module for the law.

    Parameters
    ----------
    n_users, n_items : int
    n_edges : int
        Number of distinct pairs: at least `n_users`, at most n_users * n_items / 4.
    dim : int
        Number of communities, at most `n_items`.
    seed : int
    power : float
        Exponent of the degree laws, at least 0 (equal degrees).

    Returns
    -------
    (users, items) : int32 [n_edges], int32 [n_edges]

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or outside its range.

    Examples
    --------
    >>> from fastgcn_rec.data import synthetic_edges
    >>> users, items = synthetic_edges(100, 80, 1000, seed=1)
    >>> len(users), len(set(zip(users.tolist(), items.tolist())))
    (1000, 1000)
    """
    law = _Law.make(n_users, n_items, n_edges, dim, seed, power)
    users, items = np.empty(n_edges, np.int32), np.empty(n_edges, np.int32)
    at = 0
    for _, chunk_users, chunk_items in law.chunks():
        users[at : at + chunk_users.size] = chunk_users
        items[at : at + chunk_items.size] = chunk_items
        at += chunk_users.size
    return users, items


def synthetic_interactions(
    n_users: int,
    n_items: int,
    n_edges: int,
    dim: int = 16,
    seed: int = 0,
    power: float = 0.8,
    test: float | None = 0.2,
) -> Dataset:
    """Generate a data set by the law of `synthetic_edges`, with a random share of each user's edges held out.

    Parameters
    ----------
    n_users, n_items, n_edges, dim, seed, power
        As in `synthetic_edges`, errors too; the edges of both parts together are its edges.
    test : float or None
        Share of each user's edges for the test part, halves rounded up; a user keeps one training edge at least. None: no
        test part.

    Returns
    -------
    Dataset
        Raw ids are 0 to n - 1 on both sides.

    Examples
    --------
    >>> from fastgcn_rec.data import synthetic_interactions
    >>> synthetic_interactions(100, 80, 1000)
    Dataset('synthetic-100x80-1000-seed0', 100 users, 80 items, 804 train + 196 test edges)
    """
    fraction = None if test is None else check_fraction(test, "test")
    law = _Law.make(n_users, n_items, n_edges, dim, seed, power)
    quota = np.zeros(n_users, np.int64) if fraction is None else held_out(law.degrees, fraction)
    n_test = int(quota.sum())
    parts = {
        held: (np.empty(size, np.int32), np.empty(size, np.int32))
        for held, size in ((False, n_edges - n_test), (True, n_test))
    }
    at = {False: 0, True: 0}
    for chunk, users, items in law.chunks():
        if fraction is None:
            mask = np.zeros(users.size, bool)
        else:
            # The edges stand user by user already: sorting by (user, random number) shuffles within each.
            dice = generator(seed, _STREAM_TEST + chunk).integers(1 << 32, size=users.size)
            order = np.argsort(((users - users[0]).astype(np.int64) << 32) + dice, kind="stable")
            firsts = np.flatnonzero(np.diff(users, prepend=-1))
            rank = np.arange(users.size) - np.repeat(firsts, np.diff(firsts, append=users.size))
            mask = np.empty(users.size, bool)
            mask[order] = rank < quota[users]
        for held, (part_users, part_items) in parts.items():
            picked = mask if held else ~mask
            end = at[held] + int(picked.sum())
            part_users[at[held] : end] = users[picked]
            part_items[at[held] : end] = items[picked]
            at[held] = end
    name = f"synthetic-{n_users}x{n_items}-{n_edges}-seed{seed}"
    return build_dataset(
        name,
        Edges(*parts[False]),
        Edges(*parts[True]),
        np.arange(n_users, dtype=np.int64),
        np.arange(n_items, dtype=np.int64),
        distinct=True,
    )


@dataclass(frozen=True, eq=False)
class _Law:
    """The drawn parameters of a graph; item positions are grouped by community."""

    seed: int
    degrees: Ints  # [n_users], by user id
    tastes: Ints  # [n_users, 2], the communities of every user
    item_at: _Int32  # [n_items], item id at every position
    cumulative: NDArray[np.float64]  # [n_items + 1], popularity of the positions before
    bounds: Ints  # [dim + 1], first position of every community

    @classmethod
    def make(cls, n_users: int, n_items: int, n_edges: int, dim: int, seed: int, power: float) -> _Law:
        n_users, n_items = check_count(n_users, "n_users", 1), check_count(n_items, "n_items", 1)
        n_edges, dim = check_count(n_edges, "n_edges", 0), check_count(dim, "dim", 1)
        for name, value in (("n_users", n_users), ("n_items", n_items)):
            if value >= 2**31:
                raise ValueError(f"{name} must be below 2**31, got {value}")
        most = max(1, n_items // 4)
        if not n_users <= n_edges <= n_users * most:
            raise ValueError(
                f"n_edges must lie between n_users = {n_users} and n_users * max(1, n_items // 4) = {n_users * most}, "
                f"got {n_edges}"
            )
        if dim > n_items:
            raise ValueError(f"dim must be at most n_items = {n_items}, got {dim}")
        if not 0 <= check_number(power, "power") <= 4:
            raise ValueError(f"power must lie in [0, 4], got {power}")
        rng = generator(seed, _STREAM_SETUP)
        degrees = np.empty(n_users, np.int64)
        degrees[rng.permutation(n_users)] = _degrees(_zipf(n_users, power, 0.01), n_edges, most)
        tastes = rng.integers(dim, size=(n_users, 2))
        # Rank r goes to community r % dim, so that communities are alike in size and popularity.
        by_community = np.argsort(np.arange(n_items) % dim, kind="stable")
        cumulative = np.zeros(n_items + 1)
        np.cumsum(_zipf(n_items, power, 0.002)[by_community], out=cumulative[1:])
        sizes = np.bincount(np.arange(n_items) % dim, minlength=dim)
        bounds = np.concatenate(([0], np.cumsum(sizes)))
        item_at = rng.permutation(n_items)[by_community].astype(np.int32)
        return cls(seed, degrees, tastes, item_at, cumulative, bounds)

    def chunks(self) -> Iterator[tuple[int, _Int32, _Int32]]:
        """Yield (chunk, users, items), consecutive users with all their edges, about CHUNK_EDGES at a time."""
        ends = np.cumsum(self.degrees)
        first, chunk = 0, 0
        while first < ends.size:
            before = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + CHUNK_EDGES, side="right")))
            rng = generator(self.seed, _STREAM_CHUNKS + chunk)
            keys = self._draw(rng, first, last)
            n_items = self.item_at.size
            yield (
                chunk,
                (keys // n_items + first).astype(np.int32),
                self.item_at[keys % n_items],
            )
            first, chunk = last, chunk + 1

    def _draw(self, rng: np.random.Generator, first: int, last: int) -> Ints:
        """Return sorted distinct keys (user - first) * n_items + position, degrees[u] of them for every user."""
        n_items = self.item_at.size
        degrees = self.degrees[first:last]
        keys = np.zeros(0, np.int64)
        missing, round_ = degrees, 0
        while missing.any():
            local = np.repeat(np.arange(last - first), missing)
            anywhere = round_ >= _ROUNDS
            positions = rng.integers(n_items, size=local.size) if anywhere else self._positions(rng, local + first)
            drawn = np.sort(local * n_items + positions)
            fresh = np.concatenate(([True], drawn[1:] != drawn[:-1]))
            if keys.size:
                fresh &= keys[np.minimum(np.searchsorted(keys, drawn), keys.size - 1)] != drawn
            drawn = drawn[fresh]
            missing = missing - np.bincount(drawn // n_items, minlength=last - first)
            keys = np.sort(np.concatenate((keys, drawn)), kind="stable")  # two sorted runs: one merge
            round_ += 1
        return keys

    def _positions(self, rng: np.random.Generator, users: Ints) -> Ints:
        """Draw one item position for each entry of `users`, by taste and popularity."""
        pick = rng.random(users.size)
        community = self.tastes[users, (pick >= _FIRST).astype(np.int64)]
        everywhere = pick >= _FIRST + _SECOND
        low = np.where(everywhere, 0, self.bounds[community])
        high = np.where(everywhere, self.item_at.size, self.bounds[community + 1])
        start, stop = self.cumulative[low], self.cumulative[high]
        target = start + rng.random(users.size) * (stop - start)
        found = np.searchsorted(self.cumulative, target, side="right") - 1
        return np.clip(found, low, high - 1).astype(np.int64, copy=False)


def _zipf(n: int, power: float, shift: float) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.power(np.arange(n) + 1.0 + shift * n, -float(power))
    weights /= weights.sum()
    return weights


def _degrees(weights: Array, total: int, most: int) -> Ints:
    """Return integer degrees in [1, most] of the sum `total`, proportional to `weights` as far as the bounds allow."""
    low, high = 0.0, total / float(weights.min()) + most / float(weights.min())
    for _ in range(200):  # bisect the scale at which the clipped weights have the right sum
        scale = (low + high) / 2
        low, high = (scale, high) if np.clip(weights * scale, 1, most).sum() < total else (low, scale)
    wanted = np.cumsum(np.clip(weights * high, 1, most))
    wanted *= total / wanted[-1]
    rounded = np.floor(wanted + 0.5).astype(np.int64)
    degrees = np.diff(np.concatenate(([0], rounded)))
    return _settle(np.clip(degrees, 1, most), total, most)


def _settle(degrees: Ints, total: int, most: int) -> Ints:
    """Move the few units that rounding put beyond the bounds."""
    while excess := int(degrees.sum()) - total:
        movable = np.flatnonzero(degrees > 1 if excess > 0 else degrees < most)[: abs(excess)]
        degrees[movable] -= np.sign(excess)
    return degrees
