"""Pictures in plain characters: histograms for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Bins = list[tuple[str, int]]  # what each bin is called, and how many lie in it
MOST_BINS = 24
_AT_ONCE = 1 << 20  # rows
_HOUR, _DAY = 3600, 86400
_WIDTHS = (1, 60, 600, _HOUR, 6 * _HOUR, _DAY, 7 * _DAY)  # seconds
_MONTHS = (1, 3, 12, 60, 120, 1200)


def bars(bins: Bins, width: int = 40) -> list[str]:
    """A line a bin: its name, a bar, its number. What is not 0 has a bar.

    >>> print("\\n".join(bars([("1", 3), ("2", 0), ("3-4", 12)], width=8)))
      1 ##       3
      2          0
    3-4 ######## 12
    """
    most = max((n for _, n in bins), default=0)
    of_names = max((len(name) for name, _ in bins), default=0)
    return [f"{name:>{of_names}} {'#' * -(-n * width // most) if n else '':{width}} {n:,}" for name, n in bins]


def by_doubling(counts: NDArray[np.int64]) -> Bins:
    """How many of ``counts`` lie in each power of two: 0, 1, 2, 3-4, 5-8, ...

    >>> by_doubling(np.array([1, 1, 3, 4, 9]))
    [('1', 2), ('2', 0), ('3-4', 2), ('5-8', 0), ('9-16', 1)]
    """
    if not counts.size:
        return []
    sizes, many = np.unique(counts, return_counts=True)
    order = [0 if size == 0 else 1 + int(size - 1).bit_length() for size in sizes.tolist()]
    found = np.bincount(order, weights=many).astype(np.int64).tolist()
    first = order[0]
    return [(_doubled(place), found[place]) for place in range(first, len(found))]


def _doubled(place: int) -> str:
    if place < 3:
        return str(place)
    return f"{(1 << (place - 2)) + 1:,}-{1 << (place - 1):,}"


def are_dates(least: float, largest: float) -> bool:
    """Whether numbers may be seconds since 1970: from March 1973 to the year 5138."""
    return 1e8 <= least <= largest < 1e11


def over_time(times: NDArray[np.int64] | NDArray[np.float64]) -> Bins:
    """How many lie in each minute, hour, day, week, month or year, whatever gives 24 bins or fewer; plain numbers in bins of one width.

    >>> over_time(np.array([1325376000, 1325379600, 1328054400]))
    [('2011-12-26', 2), ('2012-01-02', 0), ('2012-01-09', 0), ('2012-01-16', 0), ('2012-01-23', 0), ('2012-01-30', 1)]
    >>> over_time(np.array([1, 2, 2, 3]))
    [('1', 1), ('2', 2), ('3', 1)]
    """
    if not times.size:
        return []
    least, largest = times.min().item(), times.max().item()
    return _dates(times, least, largest) if are_dates(least, largest) else _numbers(times, least, largest)


def _dates(times: NDArray[np.int64] | NDArray[np.float64], least: float, largest: float) -> Bins:
    first, last = int(least), int(largest)
    for width in _WIDTHS:
        monday = 4 * _DAY if width == 7 * _DAY else 0  # 1970-01-05 was one
        begin, end = (first - monday) // width, (last - monday) // width
        if end - begin < MOST_BINS:
            found = _counted(((part.astype(np.int64) - monday) // width - begin for part in _parts(times)), end - begin + 1)  # fmt: skip
            shown = "D" if width >= _DAY else "m" if width >= 60 else "s"
            starts = (np.arange(begin, end + 1) * width + monday).astype("datetime64[s]")
            return [(str(name).replace("T", " "), n) for name, n in zip(starts.astype(f"datetime64[{shown}]"), found, strict=True)]  # fmt: skip
    for months in _MONTHS:
        begin, end = _month(first) // months, _month(last) // months
        if end - begin < MOST_BINS or months == _MONTHS[-1]:
            break
    found = _counted((_month_of(part) // months - begin for part in _parts(times)), end - begin + 1)
    starts = (np.arange(begin, end + 1) * months).astype("datetime64[M]")
    return [(str(name)[: 4 if months >= 12 else 7], n) for name, n in zip(starts, found, strict=True)]


def _month(second: int) -> int:
    return int(_month_of(np.array([second]))[0])


def _month_of(seconds: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.int64]:
    return seconds.astype(np.int64).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)


def _numbers(times: NDArray[np.int64] | NDArray[np.float64], least: float, largest: float) -> Bins:
    whole = times.dtype.kind in "iu"
    if whole:
        width = -(-(int(largest) - int(least) + 1) // MOST_BINS)
        edges = np.array([int(least) + width * k for k in range(MOST_BINS) if least + width * k <= largest], np.int64)
    else:
        edges = np.unique(least + (largest / MOST_BINS - least / MOST_BINS) * np.arange(MOST_BINS))
    found = _counted((np.searchsorted(edges, part, side="right") - 1 for part in _parts(times)), edges.size)
    return [(f"{edge:,}" if whole else f"{edge:g}", n) for edge, n in zip(edges.tolist(), found, strict=True)]


def _counted(parts: Iterator[NDArray[np.int64]], n: int) -> Sequence[int]:
    found = np.zeros(n, np.int64)
    for part in parts:
        found += np.bincount(part, minlength=n)
    return [int(count) for count in found]


def _parts(values: NDArray[np.int64] | NDArray[np.float64]) -> Iterator[NDArray[np.int64] | NDArray[np.float64]]:
    for begin in range(0, values.size, _AT_ONCE):
        yield values[begin : begin + _AT_ONCE]
