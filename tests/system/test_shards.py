"""Tables in several files: what one way of sharing them out wrote, every other reads, or is told what is missing."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec.system.archives import load_arrays, load_meta, save_arrays
from fastgcn_rec.system.contents import check_arrays, like
from fastgcn_rec.system.shards import Block, Collector, Shard, check_cover, next_number, remove_shards, write_shard

META = {"kind": "part", "format": 1, "step": 3}
DTYPES = {"now": "float32", "count": "int64"}


def tables(n, dim):
    numbers = np.arange(n * dim).reshape(n, dim)
    return {"now": numbers.astype(np.float32) / 8, "count": numbers}


def part(whole, block):
    """The definition: by fancy indexing."""
    rows = [row for a, b in block.rows for row in range(a, b)]
    return {name: table[rows][:, slice(*block.columns)] for name, table in whole.items()}


def grid(row_groups, column_ends, n):
    """Blocks of the groups of rows, each a list of intervals, by columns that end there."""
    columns = list(itertools.pairwise([0, *column_ends]))
    return [Block(tuple(rows), own) for rows in row_groups for own in columns]


def written(folder, blocks, whole, number=1):
    path = folder / "c.npz"
    return [
        write_shard(path, number, rank, len(blocks), META, block, part(whole, block))
        for rank, block in enumerate(blocks)
    ]


def read(folder, shards, own):
    whole = max(s.block.rows[-1][1] for s in shards if s.block.rows), max(s.block.columns[1] for s in shards)
    found = Collector(own, whole, DTYPES)
    found.read(folder / "c.npz", "part", shards)
    return found.tables


@st.composite
def shares(draw, n, dim):
    """Any grid: the rows cut into intervals that are dealt out to groups, in order within each, and the columns into intervals."""
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=5)))
    intervals = list(itertools.pairwise([0, *cuts, n]))
    groups = [[] for _ in range(draw(st.integers(1, 3)))]
    for interval in intervals:
        groups[draw(st.integers(0, len(groups) - 1))].append(interval)
    ends = sorted(draw(st.sets(st.integers(1, dim - 1), max_size=3))) if dim > 1 else []
    return grid(groups, [*ends, dim], n)


@given(st.data(), st.integers(0, 40), st.integers(1, 40))
def test_any_blocks_are_read_from_any_others(tmp_path_factory, data, n, dim):
    folder, whole = tmp_path_factory.mktemp("shards"), tables(n, dim)
    one, other = data.draw(shares(n, dim)), data.draw(shares(n, dim))
    check_cover(one, (n, dim))
    shards = written(folder, one, whole)
    for own in (*other, Block.whole((n, dim))):
        for name, table in read(folder, shards, own).items():
            np.testing.assert_array_equal(table, part(whole, own)[name])


@given(st.data(), st.integers(1, 40), st.integers(2, 40))
def test_blocks_with_a_gap_or_an_overlap_are_no_table(data, n, dim):
    blocks = [block for block in data.draw(shares(n, dim)) if block.shape[0]]
    which = data.draw(st.integers(0, len(blocks) - 1))
    check_cover(blocks, (n, dim))
    for wrong in (blocks[:which] + blocks[which + 1 :], [*blocks, blocks[which]]):
        with pytest.raises(ValueError, match="leave a gap, or overlap"):
            check_cover(wrong, (n, dim))
    for shape in ((n + 1, dim), (n - 1, dim), (n, dim + 1), (n, dim - 1)):
        with pytest.raises(ValueError, match="leave a gap, or overlap"):
            check_cover(blocks, shape)


def test_columns_of_a_whole_file_are_taken_as_those_of_shards(tmp_path):
    whole, own = tables(50, 40), Block(((0, 50),), (16, 32))
    save_arrays(tmp_path / "c.npz", META, whole | {"steps": np.array(7)})
    found = Collector(own, (50, 40), DTYPES)
    meta, arrays = load_arrays(tmp_path / "c.npz", "part", sinks=found.of(Block.whole((50, 40))))
    assert (meta["step"], int(arrays.pop("steps"))) == (3, 7)
    check_arrays(arrays, like(whole))
    for name, table in found.tables.items():
        np.testing.assert_array_equal(table, whole[name][:, 16:32])


def test_what_reads_a_block_holds_no_more_than_it_and_some_rows(tmp_path):
    n, dim = 60_000, 64
    blocks = grid([[(0, n)]], [32, dim], n)
    shards = written(tmp_path, blocks, tables(n, dim))
    for own in (Block(((0, n),), (0, 16)), Block(((0, n),), (16, 48)), Block(((5, 9), (n - 9, n)), (0, dim))):
        tracemalloc.start()
        read(tmp_path, shards, own)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 12 * own.shape[0] * own.shape[1] + 4 * 2**20


def test_what_is_not_the_file_that_was_written_is_refused_by_its_name(tmp_path):
    whole, blocks = tables(30, 40), grid([[(0, 30)]], [16, 40], 30)
    shards = written(tmp_path, blocks, whole)
    own, file = Block.whole((30, 40)), tmp_path / shards[1].file
    good = file.read_bytes()

    def refused(match, kind=ValueError):
        with pytest.raises(kind, match=match) as error:
            read(tmp_path, shards, own)
        assert file.name in str(error.value)

    for at in (200, len(good) // 2, len(good) - 200):
        file.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        refused(None)
    (other,) = written(tmp_path, blocks[1:], {name: table + 1 for name, table in part(whole, own).items()}, 9)
    file.write_bytes((tmp_path / other.file).read_bytes())
    refused("not the file that was written with those that name it")
    for wrong in (
        {"now": whole["now"]},
        whole | {"more": whole["now"]},
        whole | {"count": whole["now"]},
        tables(31, 40),
    ):
        shards[1] = write_shard(tmp_path / "c.npz", 1, 1, 2, META, blocks[1], {k: t[:, 16:] for k, t in wrong.items()})
        refused("array")
    file.unlink()
    refused("No such file", FileNotFoundError)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"file": "../c.npz", "checksum": "", "rows": [[0, 2]], "columns": [0, 2]},
        {"file": "c.npz", "checksum": 3, "rows": [[0, 2]], "columns": [0, 2]},
        {"file": "c.npz", "checksum": "", "rows": [[0, 2.0]], "columns": [0, 2]},
        {"file": "c.npz", "checksum": "", "rows": [[0, 2, 3]], "columns": [0, 2]},
        {"file": "c.npz", "checksum": "", "rows": [[2, 3], [0, 1]], "columns": [0, 2]},
        {"file": "c.npz", "checksum": "", "rows": [[0, 2]], "columns": [2, 2]},
        {"file": "c.npz", "checksum": "", "rows": [0, 2], "columns": [0, 2]},
    ],
)
def test_a_shard_that_a_manifest_could_not_name_is_refused(value):
    with pytest.raises(ValueError, match=r"shard|block"):
        Shard.of_json(value)


def test_a_shard_is_as_its_json(tmp_path):
    (shard,) = written(tmp_path, [Block(((0, 3), (5, 9)), (0, 4))], tables(9, 4))
    save_arrays(tmp_path / "m.npz", META | {"shards": [shard.as_json()]}, {})
    assert Shard.of_json(load_meta(tmp_path / "m.npz", "part")["shards"][0]) == shard


def test_shards_of_a_file_are_told_from_all_others(tmp_path):
    whole, blocks = tables(4, 4), [Block.whole((4, 4))]
    path = tmp_path / "c.npz"
    assert next_number(path) == 1
    for number in (1, 12):
        written(tmp_path, blocks, whole, number)
    assert next_number(path) == 13
    kept = ["c.npz", "c-refit.1-0of1.npz", "c.1-0of1.npy", "cc.1-0of1.npz", "c.x-0of1.npz"]
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / "link.npz").symlink_to(path)
    assert next_number(tmp_path / "link.npz") == 13
    remove_shards(path, but={"c.12-0of1.npz"})
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*kept, "c.12-0of1.npz", "link.npz"])
    remove_shards(tmp_path / "link.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*kept, "link.npz"])
