import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import DIMS, FEW, assert_close, gradcheck, gradgradcheck, on_the_cpu, same_bits_in_any_order

from fastgcn_rec import dense, outer_sum
from fastgcn_rec.ops import reference

DTYPES = [torch.float32, torch.float64, torch.bfloat16]
SIZES = [0, 1, 2, 7, 33, 64, 95, 130, 300]


def normal(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@given(n=st.sampled_from(SIZES), inputs=st.sampled_from([0, *DIMS]), outputs=st.sampled_from([0, *DIMS]),
       bias=st.booleans(), transposed=st.booleans())  # fmt: skip
def test_matches_the_reference(device, dtype, n, inputs, outputs, bias, transposed):
    x, b = normal(n, inputs, dtype=dtype), normal(outputs, dtype=dtype, seed=2) if bias else None
    w = normal(inputs, outputs, dtype=dtype, seed=1).t() if transposed else normal(outputs, inputs, dtype=dtype, seed=1)
    y = dense(x.to(device), w.to(device), None if b is None else b.to(device))
    assert y.dtype == dtype
    terms = reference.dense(x.double().abs(), w.double().abs(), None if b is None else b.double().abs())
    expected = reference.dense(x.double(), w.double(), None if b is None else b.double())
    assert_close(y, expected, dtype, float(terms.max()) if terms.numel() else 0.0)


@pytest.mark.parametrize("dtype", DTYPES)
@given(n=st.sampled_from([*SIZES, 1100]), m=st.sampled_from([0, *DIMS]), k=st.sampled_from([0, *DIMS]))
def test_sums_over_rows_match_the_reference(device, dtype, n, m, k):
    a, b = normal(n, m, dtype=dtype), normal(n, k, dtype=dtype, seed=1)
    got = outer_sum(a.to(device), b.to(device))
    expected, terms = (reference.outer_sum(f(a.double()), f(b.double())) for f in (lambda t: t, torch.abs))
    for one, exact, largest in zip(got, expected, terms, strict=True):
        assert one.dtype == dtype
        assert_close(one, exact, dtype, float(largest.max()) if largest.numel() else 0.0)


def test_sums_that_are_cut_in_depth_and_across(device):
    x, w, b = normal(5, 700), normal(290, 700, seed=1), normal(290, seed=2)
    assert_close(dense(x.to(device), w.to(device), b.to(device)), reference.dense(x, w, b), terms=100.0)
    a, c = normal(600, 197), normal(600, 290, seed=1)
    assert_close(outer_sum(a.to(device), c.to(device))[0], reference.outer_sum(a, c)[0], terms=600.0)


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_pass_gradcheck_twice(device, bias):
    x, w, b = (t.to(device).requires_grad_() for t in (normal(4, 3), normal(2, 3, seed=1), normal(2, seed=2)))
    args = (x, w, b) if bias else (x, w)
    assert gradcheck(dense, args)
    assert gradgradcheck(dense, args)


def test_gradients_of_sums_pass_gradcheck_twice(device):
    args = tuple(t.to(device).requires_grad_() for t in (normal(4, 3), normal(4, 2, seed=1)))
    assert gradcheck(outer_sum, args)
    assert gradgradcheck(outer_sum, args)


def test_opcheck_and_compile(device):
    x, w, b = (t.to(device, torch.float32).requires_grad_() for t in (normal(9, 5), normal(4, 5), normal(4)))
    torch.library.opcheck(torch.ops.fastgcn_rec.dense.default, (x, w, b))
    torch.library.opcheck(torch.ops.fastgcn_rec.dense.default, (x, normal(5, 4).to(x).t(), None))
    torch.library.opcheck(torch.ops.fastgcn_rec.outer_sum.default, (x, x[:, :3].detach().requires_grad_()))
    compiled = torch.compile(lambda *t: dense(*t).square().sum(), fullgraph=True, backend="aot_eager")
    for got, expected in zip(
        torch.autograd.grad(compiled(x, w, b), (x, w, b)),
        torch.autograd.grad(dense(x, w, b).square().sum(), (x, w, b)),
        strict=True,
    ):
        assert_close(got, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3000, 64, 64), (700, 128, 100), (40, 513, 1000), (5000, 3, 1)])
def test_the_same_bits_in_any_order_of_threads(device, dtype, shape):
    n, inputs, outputs = (min(size, 300) for size in shape) if FEW else shape
    x, w, b = (t.to(device) for t in (normal(n, inputs, dtype=dtype), normal(outputs, inputs, dtype=dtype, seed=1),
                                      normal(outputs, dtype=dtype, seed=2)))  # fmt: skip
    grad = normal(n, outputs, dtype=dtype, seed=3).to(device)

    def run():
        leaves = [t.clone().requires_grad_() for t in (x, w, b)]
        y = dense(*leaves)
        return (y.detach(), *torch.autograd.grad(y, leaves, grad))

    same_bits_in_any_order(run, device, (2, 3, 5))


@on_the_cpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(64, 64), (300, 100), (31, 1)])
def test_a_row_does_not_depend_on_the_others(dtype, size):
    x, w, b = normal(211, size[0], dtype=dtype), normal(*size[::-1], dtype=dtype, seed=1), normal(size[1], dtype=dtype)
    whole = dense(x, w, b)
    for rows in (slice(0, 1), slice(3, 10), slice(90, 211)):
        assert torch.equal(dense(x[rows], w, b), whole[rows])
    assert torch.equal(dense(x, w.t().contiguous().t(), b), whole)


def test_arrays_views_and_autocast():
    x, w = np.arange(12, dtype=np.float32).reshape(4, 3), np.ones((2, 3), np.float32)
    assert dense(x, w).tolist() == (x @ w.T).tolist()
    assert outer_sum(x, x)[1].tolist() == x.sum(0).tolist()
    t = torch.from_numpy(x)
    assert dense(t[::2, 1:], torch.ones(1).expand(2, 2)).tolist() == (x[::2, 1:] @ np.ones((2, 2))).tolist()
    with torch.autocast("cpu", torch.bfloat16):
        assert dense(t.bfloat16(), torch.ones(2, 3), torch.ones(2)).dtype == torch.float32


def test_errors_name_the_rule_and_both_values():
    x = torch.ones(4, 3)
    for args, error, message in (
        ((x, torch.ones(2, 5)), ValueError, r"w must have shape \[outputs, inputs\] = \[any, 3\], got \[2, 5\]"),
        ((x, torch.ones(2, 3), torch.ones(3)), ValueError, r"b must have shape \[outputs\] = \[2\], got \[3\]"),
        ((torch.ones(3), torch.ones(2, 3)), ValueError, "x must have shape"),
        ((x.int(), torch.ones(2, 3)), TypeError, "x must be one of float32"),
        ((x, torch.ones(2, 3).double()), TypeError, "x and w must have one dtype"),
        ((x, "w"), TypeError, "w must be a tensor or an array, got str"),
    ):
        with pytest.raises(error, match=message):
            dense(*args)
    with pytest.raises(ValueError, match=r"b must have shape \[n, dim\] = \[4, dim\], got \[5, 2\]"):
        outer_sum(x, torch.ones(5, 2))
