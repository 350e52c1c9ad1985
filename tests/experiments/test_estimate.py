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
