"""Ranks that read their rows of files have the rows of the data set that one process reads, and the memory of a part."""

import re

import numpy as np
import pytest
import torch
from rank_threads import on_grid
from ranks import on_ranks, outcomes

from fastgcn_rec.core.row_graph import RowGraph
from fastgcn_rec.core.world import World
from fastgcn_rec.data import load_dataset, read_parquet, row_data, rows
from fastgcn_rec.data.row_data import load_rows

pa = pytest.importorskip("pyarrow")


def write(folder, n=3000, texts=False, seed=0):
    """Two files of events, of which some repeat, with other ratings and times."""
    import pyarrow.parquet as parquet

    rng = np.random.default_rng(seed)
    users, items = ((size * rng.random(n) ** 2).astype(int) for size in (150, 60))
    users, items = users * 7919 % 1000, items * 104729 % 1000
    columns = {
        "user": [f"u{user}" for user in users] if texts else users,
        "item": items,
        "stars": rng.integers(1, 6, n).astype(float),
        "at": 1_500_000_000 + rng.integers(0, 2000, n),
        "ms": np.where(np.arange(n) == 7, 1_500_000_000_123, 1_500_000_000_000 + 1000 * rng.integers(0, 2000, n)),
    }
    table = pa.table(columns)
    for number, (begin, end) in enumerate(((0, n // 3), (n // 3, n))):
        parquet.write_table(table.slice(begin, end - begin), folder / f"events-{number}.parquet")
    return str(folder / "*.parquet")


def same_rows(world, path, options):
    """Whether a rank's rows are those of the whole data set."""
    own, whole = load_rows(path, world, per_row=3, **options), load_dataset(path, **options)
    users, items = own.graph.users, own.graph.items
    right = RowGraph.of(whole.graph(), users, items)
    for name in right.__dataclass_fields__:
        mine, other = getattr(own.graph, name), getattr(right, name)
        same = (
            torch.equal(mine, other) and mine.dtype == other.dtype if isinstance(other, torch.Tensor) else mine == other
        )
        assert same, (name, mine, other)
    assert own.user_ids.tolist() == whole.user_ids.tolist()
    assert own.item_ids.tolist() == whole.item_ids.tolist()
    assert own.dropped_duplicates == whole.dropped_duplicates > 0
    for mine, other in ((own.valid, whole.valid), (own.test, whole.test)):
        other = other.select((other.users >= users[0]) & (other.users < users[1]))
        other = other.select(np.lexsort((other.items, other.users)))
        for name in ("users", "items", "time", "weight"):
            column, expected = getattr(mine, name), getattr(other, name)
            assert len(mine) == 0 or (column is None) == (expected is None)
            assert len(mine) == 0 or column is None or np.array_equal(column, expected)
            assert len(mine) == 0 or column is None or column.dtype == expected.dtype
    return users, items, len(own.test)


CASES = [
    {"time": "at", "rating": "", "split": "random", "seed": 3, "valid": 0.1},
    {"time": "at", "rating": "stars", "weight": "rating"},
    {"time": "", "rating": "", "split": "leave-k-out", "by": "random", "k": 2},
    {"time": "at", "rating": "", "split": "temporal-user", "test": 0.3},
    {"time": "at", "rating": "", "split": "none"},
    {"time": "ms", "rating": "", "split": "random"},
]


def all_cases(world, paths):
    whole, texts = paths
    return [same_rows(world, whole, case) for case in CASES] + [same_rows(world, texts, CASES[0])]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ranks_have_the_rows_of_the_whole_data_set(tmp_path, size):
    paths = []
    for texts in (False, True):
        folder = tmp_path / str(texts)
        folder.mkdir()
        paths.append(write(folder, texts=texts))
    found = on_ranks(size, all_cases, paths) if size > 1 else [all_cases(World(), paths)]
    for of_case in zip(*found, strict=True):
        for side in (0, 1):
            ranges = [rank[side] for rank in of_case]
            assert [begin for begin, _ in ranges[1:]] == [end for _, end in ranges[:-1]]
    assert all(rank[2] > 0 for rank in found[0][:4])


@pytest.mark.parametrize("at_a_time", [1, 16, 100, 1000])
def test_ranks_have_the_same_rows_however_few_are_worked_at_at_a_time(tmp_path, at_a_time, monkeypatch):
    path = write(tmp_path)
    for module in (row_data, rows):
        monkeypatch.setattr(module, "DRAWN", at_a_time)
    for case in (CASES[0], CASES[2]):
        same_rows(World(), path, case)
        on_grid(1, 2, lambda grid, case=case: same_rows(grid.rows, path, case))


def test_shares_of_events_are_all_events_by_user(tmp_path):
    path = write(tmp_path, texts=True)
    columns = {"user": "user", "item": "item", "rating": "stars", "time": "at"}
    whole = read_parquet(path, **columns)
    shares = [read_parquet(path, **columns, share=(r, 3)) for r in range(3)]
    rows = [np.flatnonzero(np.isin(whole.users, np.unique(share.users))) for share in shares]
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(len(whole)))
    for share, own in zip(shares, rows, strict=True):
        assert share.user_ids.tolist() == whole.user_ids.tolist()
        assert share.item_ids.tolist() == whole.item_ids.tolist()
        for name in ("users", "items", "rating", "time"):
            assert np.array_equal(getattr(share, name), getattr(whole, name)[own])
    with pytest.raises(ValueError, match=r"share\[0\] must be <= 2, got 3"):
        read_parquet(path, share=(3, 3))


def test_what_needs_all_events_is_refused(tmp_path):
    path = write(tmp_path)
    for options, message in (
        ({"split": "temporal"}, "split must be one of 'random', .* which cut each user's events, got 'temporal'"),
        ({"k_core": 2}, "load_rows takes no k_core, which needs all events at once"),
        ({"rating": "stars", "min_rating": 2}, "load_rows takes no min_rating"),
    ):
        with pytest.raises(ValueError, match=message):
            load_rows(path, World(), **options)
    (tmp_path / "plays.csv").write_text("user,item\n1,2\n")
    with pytest.raises(ValueError, match=r"load_rows reads Parquet files, got 'plays' \(format 'csv'\)"):
        load_rows(tmp_path / "plays.csv", World())


def elsewhere(world, paths):
    return load_rows(paths[world.rank], world, user="user", item="item", time="", rating="")


def test_a_rank_that_cannot_read_stops_all(tmp_path):
    path = write(tmp_path)
    bad = tmp_path / "bad"
    bad.mkdir()
    table = pa.table({"user": pa.array([1, 2, None, *range(2000)]), "item": pa.array(range(2003))})
    pytest.importorskip("pyarrow.parquet").write_table(table, bad / "events-0.parquet")
    first, second = outcomes(2, elsewhere, [path, str(bad)])
    for error in (first, second):
        assert isinstance(error, ValueError)
        assert re.search(r"bad/events-0.parquet: column 'user' for user holds 1 nulls.* \(on rank 1\)", str(error))


def otherwise(world, path, others):
    return load_rows(path, world, **others[world.rank])


def test_ranks_that_load_otherwise_are_refused(tmp_path):
    path, options = write(tmp_path), {"time": "", "rating": ""}
    for other, name in (({"seed": 1}, "seed"), ({"per_row": 1}, "per_row")):
        for error in outcomes(2, otherwise, path, [options, {**options, **other}]):
            assert isinstance(error, ValueError)
            assert re.search(f"load_rows: all ranks must have the same .*{name}, and rank 1 has 1|{name}", str(error))


def test_arguments_of_another_kind_are_named(tmp_path):
    path = write(tmp_path)
    with pytest.raises(ValueError, match="split='random' has no option 'k'; it has test, seed, valid"):
        load_rows(path, World(), k=2)
    with pytest.raises(ValueError, match="load_rows: per_row must be <= 1048576"):
        load_rows(path, World(), per_row=2**62)
    for share in (3, None, (0,), (0, 1, 2)):
        with pytest.raises(TypeError, match=r"share must be two ints, \(r, n\), got"):
            read_parquet(path, share=share)
