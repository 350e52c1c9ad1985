"""Ridge regressions of rows beside dense ones in plain NumPy, float64."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from support import assert_close, on_the_cpu, same_bits_in_any_order

from fastgcn_rec import _C, Graph
from fastgcn_rec.algorithms.ridge_rows import RidgeRows

LEVELS = ["baseline", "v3", "v4"]


def rows_of(n_rows, n_columns, most, weighted, seed):
    """Rows of 0 to ``most`` entries; the first has none, the second all columns."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, min(most, n_columns) + 1, n_rows)
    sizes[:2] = np.array([0, n_columns])[: len(sizes[:2])]
    rows = np.repeat(np.arange(n_rows), sizes)
    columns = np.concatenate([rng.choice(n_columns, n, replace=False) for n in sizes]).astype(np.int64)
    weight = rng.uniform(0.1, 4, len(rows)) if weighted else None
    graph = Graph.from_edges(rows, columns, n_rows, n_columns, weight)
    return graph.indptr, graph.indices, graph.weight


def problem(n_rows, n_columns, dim, most, weighted=False, seed=0):
    """(rows, v, ridge, target)."""
    rows, draw = rows_of(n_rows, n_columns, most, weighted, seed), torch.Generator().manual_seed(seed)
    v = torch.randn(n_columns, dim, generator=draw) / dim**0.5
    return rows, v, 0.2 + torch.rand(n_rows, generator=draw), torch.rand(len(rows[1]), generator=draw)


def exact(rows, v, ridge, target, unobserved):
    v, found = v.double().numpy(), []
    for row, (first, last) in enumerate(zip(rows[0][:-1].tolist(), rows[0][1:].tolist(), strict=True)):
        own = v[rows[1][first:last].long().numpy()]
        weight = np.ones(last - first) if rows[2] is None else rows[2][first:last].double().numpy()
        a = unobserved * v.T @ v + float(ridge[row]) * np.eye(v.shape[1]) + (own.T * weight) @ own
        found.append(np.linalg.solve(a, own.T @ (weight * target[first:last].double().numpy())))
    return torch.from_numpy(np.array(found))


def solved(rows, v, ridge, target, unobserved, **options):
    fits = RidgeRows(v, unobserved)
    return fits.back(fits.solve(rows, ridge, target, **options))


@given(
    st.integers(1, 12),
    st.integers(1, 90),
    st.sampled_from([1, 3, 15, 16, 17, 32, 33, 48, 70]),
    st.booleans(),
    st.sampled_from([0.0, 0.003, 0.7]),
    st.integers(0, 1000),
)
def test_it_is_the_dense_solution(n_rows, n_columns, dim, weighted, unobserved, seed):
    asked = problem(n_rows, n_columns, dim, n_columns, weighted, seed)
    assert_close(solved(*asked, unobserved).double(), exact(*asked, unobserved), torch.float32, terms=1.0)


@on_the_cpu
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_longer_and_shorter_than_a_vector_at_every_level(level, weighted):
    asked = problem(40, 400, 100, 390, weighted)
    before = _C.isa_level()
    try:
        try:
            _C.select_isa_level(level)
        except ValueError:
            pytest.skip(f"no {level} here")
        found = solved(*asked, 0.01)
    finally:
        _C.select_isa_level(before)
    assert_close(found.double(), exact(*asked, 0.01), torch.float32, terms=1.0)


def test_a_row_knows_nothing_of_the_others():
    rows, v, ridge, target = problem(20, 60, 33, 60, weighted=True)
    fits = RidgeRows(v, 0.1)
    together = fits.solve(rows, ridge, target)
    for row, (first, last) in enumerate(zip(rows[0][:-1].tolist(), rows[0][1:].tolist(), strict=True)):
        alone = torch.tensor([0, last - first]), rows[1][first:last].clone(), rows[2][first:last].clone()
        one = fits.solve(alone, ridge[row : row + 1], target[first:last])
        assert torch.equal(one[0], together[row])


def test_a_row_without_entries_is_zero():
    rows, v, ridge, _ = problem(3, 10, 5, 10)
    assert not solved(rows, v, ridge, None, 0.5)[0].any()


def loss(x, rows, v, ridge, target, unobserved):
    """Of each row."""
    x, v = x.double(), v.double()
    total = unobserved * (x @ v.T).square().sum(1) + ridge.double() * x.square().sum(1)
    of_row = torch.repeat_interleave(torch.arange(len(x)), rows[0].diff())
    weight = 1.0 if rows[2] is None else rows[2].double()
    missed = weight * (target.double() - (x[of_row] * v[rows[1].long()]).sum(1)).square()
    return total.index_add(0, of_row, missed)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("block", [1, 16, 20, 32, 64])
def test_passes_by_blocks_go_down_to_the_solution(block, weighted):
    rows, v, ridge, target = problem(25, 120, 70, 100, weighted)
    fits = RidgeRows(v, 0.05)
    best = fits.solve(rows, ridge, target)
    lowest = loss(fits.back(best), rows, v, ridge, target, 0.05)
    x = fits.turned(torch.randn(25, 70, generator=torch.Generator().manual_seed(1)))
    before = loss(fits.back(x), rows, v, ridge, target, 0.05)
    for _ in range(60):
        x = fits.solve(rows, ridge, target, x, block)
        after = loss(fits.back(x), rows, v, ridge, target, 0.05)
        assert (after <= before * (1 + 1e-5) + 1e-6).all()
        assert (after >= lowest - 1e-5).all()
        before = after
    assert_close(x, best, terms=2.0)


def test_one_block_is_the_solution_wherever_it_starts():
    rows, v, ridge, target = problem(25, 120, 70, 100)
    fits = RidgeRows(v, 0.05)
    start = fits.turned(torch.randn(25, 70))
    assert torch.equal(fits.solve(rows, ridge, target, start, 70), fits.solve(rows, ridge, target))


def test_a_pass_leaves_its_start_as_it_is():
    rows, v, ridge, target = problem(5, 60, 40, 60)
    fits = RidgeRows(v)
    start = torch.zeros(5, 48)
    fits.solve(rows, ridge, target, start, 16)
    assert not start.any()


@on_the_cpu
@pytest.mark.parametrize("block", [None, 16])
def test_threads_do_not_matter(block):
    rows, v, ridge, target = problem(60, 120, 70, 110, weighted=True)
    start = None if block is None else torch.zeros(60, 80)

    def run():
        fits = RidgeRows(v, 0.05)
        return [fits.v, fits.solve(rows, ridge, target, start, block)]

    same_bits_in_any_order(run, torch.device("cpu"), (2, 3, 4))


def test_v_may_be_of_any_float_and_order():
    rows, v, ridge, target = problem(5, 30, 20, 30)
    like = RidgeRows(v.double().T.contiguous().T, 0.1).solve(rows, ridge.double(), target.double())
    assert torch.equal(like, RidgeRows(v, 0.1).solve(rows, ridge, target))


@pytest.mark.parametrize(
    ("v", "unobserved", "error", "text"),
    [
        (np.ones((2, 2)), 0.0, TypeError, "v must be a tensor of floats, got float64"),
        (torch.ones(2, 2, dtype=torch.int64), 0.0, TypeError, "v must be a tensor of floats, got torch.int64"),
        (torch.ones(2), 0.0, ValueError, r"v must have shape \[n, dim\], dim >= 1, got \[2\]"),
        (torch.ones(2, 0), 0.0, ValueError, r"got \[2, 0\]"),
        (torch.ones(2, 2), -1.0, ValueError, "unobserved must be >= 0 and finite, got -1.0"),
        (torch.full((2, 2), 1e30), 0.0, ValueError, "are not finite"),
    ],
)
def test_bad_vectors(v, unobserved, error, text):
    with pytest.raises(error, match=f"RidgeRows: .*{text}"):
        RidgeRows(v, unobserved)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ridge": torch.zeros(5)}, "ridge must be > 0 and finite"),
        ({"ridge": torch.full((5,), torch.nan)}, "ridge must be > 0 and finite"),
        ({"ridge": torch.ones(4)}, r"ridge must have shape \[5\], got \[4\]"),
        ({"target": torch.ones(4)}, "target must have shape"),
        ({"start": torch.zeros(5, 32)}, "start and block belong together"),
        ({"start": torch.zeros(5, 20), "block": 16}, r"start must have shape \[5, 32\], got \[5, 20\]"),
        ({"target": torch.full((30,), torch.inf)}, "the matrix of row 1 is not positive definite in float32, or its"),
    ],
)
def test_bad_options(options, text):
    rows, v, ridge, _ = problem(5, 30, 20, 0)  # 30 entries, of row 1
    with pytest.raises(ValueError, match=f"RidgeRows: {text}"):
        RidgeRows(v).solve(rows, **({"ridge": ridge} | options))


def test_it_names_the_first_row_whose_matrix_has_no_factor():
    rows = torch.tensor([0, 2, 4]), torch.tensor([0, 1, 0, 1], dtype=torch.int32), torch.tensor([1.0, 1.0, 1e30, 1e30])
    with pytest.raises(ValueError, match="the matrix of row 1 is not positive definite"):
        RidgeRows(torch.ones(2, 16)).solve(rows, torch.ones(2))
