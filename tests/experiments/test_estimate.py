"""Estimates of memory."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgcn_rec import TrainConfig
from fastgcn_rec.cli import main
from fastgcn_rec.experiments.estimate import estimate_memory


@given(
    *[st.integers(1, 2**31 - 1)] * 3,
    st.integers(0, 4),
    st.integers(2, 2**31 - 1),
    st.integers(1, 2**20),
    st.sampled_from(["bpr", "softmax"]),
)
def test_an_estimate_is_of_bytes_that_64_bits_count_or_names_what_is_too_large(
    n_users, n_items, dim, n_layers, batch, n_neg, loss
):
    config, what = TrainConfig(batch_size=batch, n_neg=n_neg, loss=loss), (n_users, n_items, 5, dim, n_layers)
    most = (n_users + n_items + batch * (2 + (n_neg if loss == "bpr" else 0))) * max(dim, batch)
    if n_users + n_items >= 2**31:
        with pytest.raises(ValueError, match=r"estimate_memory: n_users \+ n_items must be <= 2147483647"):
            estimate_memory(*what, config)
        return
    if most >= 2**57:
        with pytest.raises(ValueError, match=f"estimate_memory: dim = {dim} with"):
            estimate_memory(*what, config)
        return
    small = estimate_memory(*what, config)
    assert min(dataclasses.astuple(small)) >= 0
    assert small.batch >= 4 * (n_users + n_items)
    assert small.total < 2**63


def test_estimate_needs_no_data_and_names_what_it_takes(capsys):
    assert main(["estimate", "1000,2000,50000", "--dim", "32", "--layers", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1,000 users, 2,000 items, 50,000 pairs; 2 layers, dim 32")
    assert f"parameters  {16 * 3000 * 32 / 2**20:10.1f} MiB" in out
    assert main(["estimate", "nowhere"]) == 2
    assert "USERS,ITEMS,PAIRS, got 'nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_ranks_share_out_what_has_columns_and_nothing_else(storage):
    config, what = TrainConfig(storage=storage), (30_000, 40_000, 800_000, 200, 2)
    one, four = (dataclasses.asdict(estimate_memory(*what, config, ranks)) for ranks in (1, 4))
    width, table = 56, 4 * 70_000 * 200  # 13 panels, the last one of 8 columns: three ranks have 3 panels, one has 4
    for part in ("edges", "graph", "building", "split"):
        assert four[part] == one[part]
    for part in ("parameters", "layers"):
        assert four[part] * 200 == one[part] * width
    assert (one["whole"], four["whole"]) == (0, table + table * width // 200)
    assert four["evaluation"] < one["evaluation"]
    assert four["batch"] > one["batch"] / 4


def test_more_ranks_than_panels_of_columns_have_no_estimate():
    with pytest.raises(ValueError, match="5 ranks share 64 columns in panels of 16"):
        estimate_memory(10, 10, 20, 64, ranks=5)
    with pytest.raises(ValueError, match="estimate_memory: ranks must be"):
        estimate_memory(10, 10, 20, 64, ranks=0)


def test_the_command_says_what_each_rank_takes(capsys):
    assert main(["estimate", "1000,2000,50000", "--dim", "64", "--ranks", "2"]) == 0
    out = capsys.readouterr().out
    assert "each of 2 ranks" in out
    assert f"parameters  {16 * 3000 * 32 / 2**20:10.1f} MiB" in out
    assert f"whole       {4 * 3000 * 96 / 2**20:10.1f} MiB" in out
