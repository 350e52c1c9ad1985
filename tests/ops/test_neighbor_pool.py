import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import DIMS, assert_close, gradcheck, on_the_cpu, same_bits_in_any_order

from fastgcn_rec import neighbor_pool
from fastgcn_rec.ops import reference

DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def problem(n_rows, n, top, dim, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n_rows, dim, generator=g, dtype=torch.float64).to(dtype)
    ids = torch.randint(-1, n_rows, (n, top), generator=g) if n_rows else torch.full((n, top), -1)
    return x, ids, torch.rand(n, top, generator=g, dtype=torch.float32)


@given(
    st.integers(0, 12), st.integers(0, 12), st.integers(0, 5), st.sampled_from(DIMS), st.sampled_from(DTYPES), st.integers(0, 99)
)  # fmt: skip
def test_sums_and_gradients_are_the_references(device, n_rows, n, top, dim, dtype, seed):
    x, ids, weights = (t.to(device) for t in problem(n_rows, n, top, dim, dtype, seed))
    x.requires_grad_()
    out = neighbor_pool(x, ids, weights)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)
    out.backward(grad.to(device))
    exact = x.detach().cpu().double().requires_grad_()
    expected = reference.neighbor_pool(exact, ids.cpu(), weights.cpu().double())
    expected.backward(grad.double())
    assert out.dtype == x.grad.dtype == dtype
    assert_close(out, expected, terms=float(exact.detach().abs().max()) if n_rows else 0.0)
    assert_close(x.grad, exact.grad, terms=1.0)


def test_one_row_that_everybody_points_to(device):
    x, n = torch.randn(3, 33, dtype=torch.float64), 5000
    ids, weights = torch.full((n, 2), 1), torch.rand(n, 2)
    x = x.to(device).requires_grad_()
    neighbor_pool(x, ids.to(device), weights.to(device)).sum().backward()
    assert_close(x.grad[1], weights.double().sum().expand(33))
    assert not x.grad[[0, 2]].any()


def test_gradcheck(device):
    x, ids, weights = (t.to(device) for t in problem(6, 5, 3, 4))
    x.requires_grad_()
    assert gradcheck(lambda x: neighbor_pool(x, ids, weights), (x,))


@on_the_cpu
def test_opcheck_and_compile():
    x, ids, weights = problem(6, 5, 3, 4, torch.float32)
    x.requires_grad_()
    torch.library.opcheck(torch.ops.fastgcn_rec.neighbor_pool.default, (x, ids, weights))
    compiled = torch.compile(neighbor_pool, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, ids, weights), neighbor_pool(x, ids, weights))


@pytest.mark.parametrize("dim", [1, 33, 64])
def test_bits_do_not_depend_on_the_order_of_threads(device, dim):
    x, ids, weights = (t.to(device) for t in problem(40, 70, 7, dim, torch.float32))

    def run():
        leaf = x.clone().requires_grad_()
        out = neighbor_pool(leaf, ids, weights)
        out.square().sum().backward()
        return out.detach(), leaf.grad

    same_bits_in_any_order(run, device)


@on_the_cpu
def test_errors_name_what_is_wrong():
    x, ids, weights = problem(4, 3, 2, 5, torch.float32)
    with pytest.raises(ValueError, match=r"weights must have the shape of ids, \[3, 2\], got \[3, 1\]"):
        neighbor_pool(x, ids, weights[:, :1])
    with pytest.raises(TypeError, match="ids must be int64 or int32 ids, got float32"):
        neighbor_pool(x, ids.float(), weights)
    with pytest.raises(ValueError, match=r"x must have shape \[n_rows, dim\]"):
        neighbor_pool(x[0], ids, weights)
    with pytest.raises(TypeError, match="weights must be one of"):
        neighbor_pool(x, ids, ids)
    for bad in (4, -2):
        with pytest.raises(IndexError, match=f"id {bad}"):
            neighbor_pool(x, torch.full((3, 2), bad), weights)
