import pytest
import torch
from support import DIMS, assert_close, same_bits_in_any_order

from fastgcn_rec.ops.gather_rows import gather_rows

DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def case(n_rows, dim, n, dtype, device, seed=0):
    """(table, ids, gradient of the rows)."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(n_rows, (n,), generator=generator)
    table, grad = (torch.randn(size, dim, generator=generator, dtype=torch.float64) for size in (n_rows, n))
    return table.to(device, dtype).requires_grad_(), ids.to(device), grad.to(device, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", DIMS)
def test_rows_and_their_gradient(device, dtype, dim):
    table, ids, grad = case(23, dim, 90, dtype, device)
    rows = gather_rows(table, ids)
    assert torch.equal(rows, table[ids])
    rows.backward(grad)
    expected = torch.zeros(23, dim, dtype=torch.float64).index_add_(0, ids.cpu(), grad.cpu().double())
    assert_close(table.grad, expected, terms=30.0)


def test_no_rows_and_no_ids(device):
    for n_rows, n in ((0, 0), (3, 0)):
        table, ids, grad = case(max(n_rows, 1), 4, n, torch.float32, device)
        table = table[:n_rows].detach().requires_grad_()
        gather_rows(table, ids).backward(grad)
        assert torch.equal(table.grad, torch.zeros_like(table))


def test_the_gradient_of_many_equal_ids_has_the_same_bits_on_every_run(device):
    """More than 3,072 ids, where that of torch.nn.functional.embedding has not on a GPU."""
    table, ids, grad = case(70, 24, 4400, torch.float32, device)

    def gradient():
        (found,) = torch.autograd.grad(gather_rows(table, ids), table, grad)
        return found

    first = gradient()
    assert all(torch.equal(first, gradient()) for _ in range(5))
    same_bits_in_any_order(gradient, device)


def test_gradients_of_gradients(device):
    table, ids, _ = case(6, 3, 8, torch.float64, device)
    assert torch.autograd.gradcheck(lambda x: gather_rows(x, ids), (table,))
    assert torch.autograd.gradgradcheck(lambda x: gather_rows(x, ids), (table,))


def test_is_a_proper_op(device):
    table, ids, _ = case(6, 3, 8, torch.float32, device)
    torch.library.opcheck(torch.ops.fastgcn_rec.gather_rows.default, (table, ids))
    torch.library.opcheck(torch.ops.fastgcn_rec.sum_rows.default, (table.detach()[:4], ids[:4], 9))
    compiled = torch.compile(lambda x: gather_rows(x, ids).square().sum(), backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(table), table[ids].square().sum())


def test_ids_out_of_range_are_errors():
    with pytest.raises(IndexError):
        gather_rows(torch.zeros(3, 2), torch.tensor([3]))
