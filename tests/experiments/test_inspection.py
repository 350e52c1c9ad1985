"""Pictures in plain characters, and what inspect makes of data of every kind."""

import json
import math
import re

import numpy as np
import pytest
from commands import code_of
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.data import DataSpec
from fastgcn_rec.experiments.inspection import inspect_data
from fastgcn_rec.experiments.pictures import MOST_BINS, are_dates, bars, by_doubling, over_time


@given(st.lists(st.integers(0, 5000) | st.integers(0, 2**40), max_size=40))
def test_degrees_lie_between_powers_of_two(degrees):
    bins = by_doubling(np.array(degrees, np.int64))
    assert sum(n for _, n in bins) == len(degrees)
    for name, n in bins:
        least, largest = (int(text.replace(",", "")) for text in (name.split("-") * 2)[:2])
        assert n == sum(least <= degree <= largest for degree in degrees)
        assert largest in (0, 1, 2, 2 * (least - 1))


EPOCHS = st.integers(10**8, 10**11 - 1)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-50, 50)


@given(st.lists(EPOCHS, min_size=1, max_size=30) | st.tuples(EPOCHS, st.lists(st.integers(0, 10**6), min_size=1, max_size=30)))  # fmt: skip
def test_dates_lie_in_the_bins_that_are_named(times):
    base, offsets = times if isinstance(times, tuple) else (0, times)
    seconds = [min(base + offset, 10**11 - 1) for offset in offsets]
    for column in (np.array(seconds, np.int64), np.array(seconds, np.float64)):
        bins = over_time(column)
        assert sum(n for _, n in bins) == len(seconds)
        assert len(bins) <= MOST_BINS + 1 or len(bins[0][0]) == 4
        assert bins[0][1] > 0
        assert bins[-1][1] > 0
        starts = [np.datetime64(name.replace(" ", "T"), "s").astype(np.int64) for name, _ in bins]
        for (_, n), begin, end in zip(bins, starts, [*starts[1:], math.inf], strict=True):
            assert n == sum(begin <= second < end for second in seconds)


@given(st.lists(NUMBERS, min_size=1, max_size=30) | st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30))
def test_other_numbers_lie_in_bins_of_one_width(numbers):
    column = np.array(numbers, np.int64 if all(isinstance(n, int) for n in numbers) else np.float64)
    bins = over_time(column)
    assert sum(n for _, n in bins) == len(numbers)
    assert are_dates(column.min(), column.max()) or len(bins) <= MOST_BINS


@given(st.lists(st.tuples(st.text("abc-", max_size=5), st.integers(0, 10**9)), max_size=10), st.integers(1, 60))
def test_bars_are_as_long_as_their_numbers(bins, width):
    lines = bars(bins, width)
    most = max((n for _, n in bins), default=0)
    for line, (name, n) in zip(lines, bins, strict=True):
        assert line.lstrip().startswith(name.lstrip())
        assert line.endswith(f" {n:,}")
        assert line.count("#") == (math.ceil(n * width / most) if n else 0)


def test_ratings_are_counted_or_have_quantiles(tmp_path):
    for values, kind in (([1, 2, 2, 5] * 5, "values"), ([k / 8 for k in range(1, 65)], "quantiles")):
        path = tmp_path / f"{kind}.csv"
        path.write_text("user,item,rating\n" + "".join(f"{k % 7},{k},{value}\n" for k, value in enumerate(values)))
        found = inspect_data(DataSpec.of(path, user="user", item="item", rating="rating")).to_dict()
        assert list(found["rating"]) == [kind]
        if kind == "values":
            assert found["rating"][kind] == [(1.0, 5), (2.0, 10), (5.0, 5)]
        else:
            assert found["rating"][kind]["median"] == np.median(values)


@pytest.mark.usefixtures("small_gowalla")
def test_data_that_come_with_their_split(capsys):
    assert code_of("inspect", "gowalla", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["split"]["train"], found["split"]["test"]) == (480, 120)
    assert found["events"] == 600
    assert found["time"] is found["rating"] is None


def test_a_validation_part_is_counted_where_there_is_one(tmp_path):
    path = tmp_path / "plays.csv"
    path.write_text("user,item\n" + "".join(f"{k % 17},{k * k % 29}\n" for k in range(400)))
    for valid in (None, 0.2):
        found = inspect_data(DataSpec.of(path, split="random", valid=valid))
        assert ("valid" in found.split) == (valid is not None)
        assert sum(found.split.get(part, 0) for part in ("train", "valid", "test")) == found.pairs


def test_the_columns_that_are_there_and_what_each_is_read_as(tmp_path, capsys):
    (tmp_path / "a.csv").write_text(
        "user_id,song,at,note\n" + "".join(f"{k % 7},s{k % 5},{1.6e12 + k * 1e9:.0f},x\n" for k in range(40))
    )
    assert code_of("inspect", tmp_path / "a.csv", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["column"], one["read_as"]) for one in found["columns"]] == [
        ("user_id", "user"),
        ("song", "item"),
        ("at", "time"),
        ("note", ""),
    ]
    assert found["columns"][2]["values"] == ["1600000000000", "1601000000000", "1602000000000"]
    assert found["time"]["first"] == "2020-09-13 12:26:40"
    assert code_of("inspect", tmp_path / "a.csv") == 0
    said = capsys.readouterr().out
    assert re.search(r"^song +item +s0, s1, s2$", said, re.MULTILINE)
    assert re.search(r"^note +x$", said, re.MULTILINE)
    assert re.search(r"^0 +s0 +2020-09-13 12:26:40$", said, re.MULTILINE)
