import itertools
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import DIMS, assert_close, gradcheck, on_the_cpu, same_bits_in_any_order

from fastgcn_rec import binary_loss, bpr_loss, l2_loss, max_margin_loss, softmax_loss
from fastgcn_rec.core import native
from fastgcn_rec.ops import reference

PAIR = [
    (bpr_loss, reference.bpr_loss),
    (binary_loss, reference.binary_loss),
    (max_margin_loss, reference.max_margin_loss),
]


def tables(n_users, n_items, dim, dtype, seed=0, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    both = (torch.randn(n, dim, generator=generator) for n in (n_users, n_items))
    return [t.to(device, dtype).requires_grad_() for t in both]


def batches(batch, n_neg, shared, n_users=7, n_items=9, seed=0, missing=True, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    users = torch.randint(n_users, (batch,), generator=generator)
    pos = torch.randint(n_items, (batch,), generator=generator)
    neg = torch.randint(-1 if missing else 0, n_items, (1 if shared else batch, n_neg), generator=generator)
    return users.to(device), pos.to(device), neg.to(device)


def compare(loss, expected_loss, user_emb, item_emb, *batch, loss_terms=0.0, grad_terms=0.0):
    wide = [t.detach().double().requires_grad_() for t in (user_emb, item_emb)]
    value, expected = loss(user_emb, item_emb, *batch), expected_loss(*wide, *batch)
    assert_close(value, expected, user_emb.dtype, loss_terms)
    got = torch.autograd.grad(3 * value, (user_emb, item_emb))
    for a, b in zip(got, torch.autograd.grad(3 * expected, wide), strict=True):
        assert_close(a, b, user_emb.dtype, grad_terms)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("pair", PAIR, ids=["bpr", "binary", "max_margin"])
@given(st.sampled_from(DIMS), st.integers(1, 40), st.integers(0, 5), st.booleans())
def test_pair_losses_match_the_reference(device, dtype, pair, dim, batch, n_neg, shared):
    compare(*pair, *tables(7, 9, dim, dtype, device=device), *batches(batch, n_neg, shared, device=device))


@pytest.mark.parametrize(("pair", "dtype"), [*zip(PAIR, [torch.float32, torch.float64, torch.bfloat16], strict=True)])
@pytest.mark.parametrize(("batch", "n_neg", "dim"), [(33, 130, 33), (16, 128, 32), (15, 300, 70)])
def test_shared_negatives_at_the_edges_of_their_tiles(device, pair, dtype, batch, n_neg, dim):
    user_emb, item_emb = tables(50, 60, dim, dtype, device=device)
    users, pos, neg = batches(batch, n_neg, True, 50, 60, device=device)
    mask = torch.rand(batch, n_neg, generator=torch.Generator().manual_seed(1)).to(device) < 0.6
    mask[1] = False
    losses = [partial(loss, mask=mask) for loss in pair]
    compare(*losses, user_emb, item_emb, users, pos, neg, grad_terms=1.0)


@pytest.mark.parametrize("pair", PAIR, ids=["bpr", "binary", "max_margin"])
@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e-6, 10.0, 1e4])
def test_shared_negatives_of_any_magnitude(device, pair, scale):
    user_emb, item_emb = (
        (scale * t.detach()).requires_grad_() for t in tables(50, 60, 33, torch.float32, device=device)
    )
    compare(*pair, user_emb, item_emb, *batches(70, 90, True, 50, 60, device=device), grad_terms=scale / 70)


def test_gradients_of_pairs_that_are_far_apart_keep_their_digits(device):
    generator = torch.Generator().manual_seed(0)
    user_emb, item_emb = (torch.randint(-2, 3, (n, 20), generator=generator) / 8 for n in (50, 60))  # scores are exact
    user_emb[:, 0], item_emb[:30, 0], item_emb[30:, 0] = 4, 4, -2
    user_emb, item_emb = (t.to(device).requires_grad_() for t in (user_emb, item_emb))
    users, pos, neg = (
        torch.randint(*ids, generator=generator).to(device) for ids in ((50, (70,)), (30, (70,)), (30, 60, (1, 90)))
    )
    compare(bpr_loss, reference.bpr_loss, user_emb, item_emb, users, pos, neg)


@pytest.mark.parametrize("loss", [bpr_loss, binary_loss, max_margin_loss])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_shared_negative_that_is_no_number_touches_only_rows_that_take_it(device, loss, bad):
    user_emb, item_emb = tables(20, 90, 33, torch.float32, device=device)
    users, mask = torch.arange(20, device=device), torch.ones(20, 70, dtype=torch.bool, device=device)
    neg = torch.arange(20, 90, device=device)[None]
    mask[:, 5] = False
    mask[3, 5] = True
    others = users != 3
    expected = torch.autograd.grad(loss(user_emb, item_emb, users, users, neg, mask=mask), user_emb)[0]
    with torch.no_grad():
        item_emb[25] = bad
    for taken in (True, False):
        mask[3, 5] = taken
        grad = torch.autograd.grad(loss(user_emb, item_emb, users, users, neg, mask=mask), user_emb)[0]
        assert_close(grad[others], expected[others])
        assert bool(grad[3].isfinite().all()) is not taken


@pytest.mark.parametrize("pair", PAIR, ids=["bpr", "binary", "max_margin"])
@given(st.integers(1, 40), st.integers(0, 5), st.booleans(), st.integers(0, 9))
def test_a_mask_takes_negatives_out_for_single_rows(device, pair, batch, n_neg, shared, seed):
    loss, expected = pair
    user_emb, item_emb = tables(7, 9, 8, torch.float64, device=device)
    users, pos, neg = batches(batch, n_neg, shared, seed=seed, device=device)
    mask = (torch.rand(batch, n_neg, generator=torch.Generator().manual_seed(seed)) < 0.6).to(device)
    rows = torch.where(mask, neg, -1)
    args = user_emb, item_emb, users, pos
    values = loss(*args, neg, mask=mask), loss(*args, rows), expected(*args, neg, mask=mask)
    grads = [torch.autograd.grad(v, (user_emb, item_emb)) for v in values]
    for value, grad in zip(values[:2], grads[:2], strict=True):
        assert_close(value, values[2])
        for a, b in zip(grad, grads[2], strict=True):
            assert_close(a, b, terms=1.0)


def test_the_margin_counts_and_a_pair_beyond_it_gives_nothing(device):
    user_emb, item_emb = torch.ones(1, 1, device=device), torch.tensor([[3.0], [1.0], [4.0]], device=device)
    zero, neg = torch.zeros(1, dtype=torch.int64, device=device), torch.tensor([[1, 2]], device=device)
    for margin, expected in ((0.0, 0.5), (0.5, 0.75), (3.0, 2.5)):
        assert float(max_margin_loss(user_emb, item_emb, zero, zero, neg, margin)) == expected
    with pytest.raises(ValueError, match=r"margin must be >= 0 and finite, got -1\.0"):
        max_margin_loss(user_emb, item_emb, zero, zero, neg, -1.0)


def test_mask_errors():
    user_emb, item_emb = tables(7, 9, 4, torch.float32)
    users, pos, neg = batches(6, 3, True)
    with pytest.raises(TypeError, match="mask must be a bool tensor, got int64"):
        bpr_loss(user_emb, item_emb, users, pos, neg, torch.ones(6, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"mask must have shape \[batch, M\] = \[6, 3\], got \[1, 3\]"):
        bpr_loss(user_emb, item_emb, users, pos, neg, torch.ones(1, 3, dtype=torch.bool))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@given(
    st.sampled_from(DIMS),
    st.sampled_from([1, 2, 5, 31, 64, 127, 129, 300]),
    st.sampled_from([0.07, 0.5, 2.0]),
    st.sampled_from([1.0, 0.0, 0.6, 1.7]),
    st.booleans(),
)
def test_softmax_matches_the_reference(device, dtype, dim, batch, temperature, weight, with_bias):
    users, pos, _ = batches(batch, 1, False, device=device)
    user_emb, item_emb = tables(7, 9, dim, dtype, device=device)
    # cosines of size 1 are divided by t before they cancel; gradients are divided by the norm after they are projected
    norm = min(float(t.detach().double().norm(dim=1).min()) for t in (user_emb, item_emb))
    terms = {"loss_terms": 1 / temperature, "grad_terms": 3 / (temperature * norm)}
    bias = torch.randn(batch, dtype=dtype, generator=torch.Generator().manual_seed(5)).to(device) if with_bias else None
    options = temperature, weight, bias
    compare(softmax_loss, reference.softmax_loss, user_emb, item_emb, users, pos, *options, **terms)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("batch", "dim"), [(1, 1), (31, 3), (33, 64), (65, 1), (127, 100), (128, 64), (129, 256), (256, 8), (257, 65)]
)
def test_softmax_at_the_edges_of_its_tiles(device, dtype, batch, dim):
    users, pos, _ = batches(batch, 1, False, device=device)
    user_emb, item_emb = tables(7, 9, dim, dtype, device=device)
    norm = min(float(t.detach().double().norm(dim=1).min()) for t in (user_emb, item_emb))
    bias = torch.randn(batch, dtype=dtype, generator=torch.Generator().manual_seed(5)).to(device)
    terms = {"loss_terms": 5.0, "grad_terms": 15 / norm}
    compare(softmax_loss, reference.softmax_loss, user_emb, item_emb, users, pos, 0.2, 1.3, bias, **terms)


def test_the_workspace_of_softmax_does_not_grow_with_the_square_of_the_batch(device):
    for batch, dim in itertools.product((1, 300, 2048, 1 << 16, 1 << 17), (1, 64, 256)):
        for size in (4, 8):
            assert native.size("softmax_loss", device, batch, dim, size) <= size * (
                batch * (8 * dim + 256) + (1 << 24) + 4096
            )


def test_gradcheck(device):
    user_emb, item_emb = tables(7, 9, 4, torch.float64, device=device)
    for shared in (False, True):
        batch = batches(6, 3, shared, device=device)
        for loss, _ in PAIR:
            assert gradcheck(lambda u, i, loss=loss, b=batch: loss(u, i, *b), (user_emb, item_emb))
    assert gradcheck(lambda u, i: softmax_loss(u, i, *batch[:2], 0.5), (user_emb, item_emb))
    assert gradcheck(lambda u: l2_loss(u, torch.tensor([0, 3, 3, -1], device=device)), (user_emb,))


@given(st.lists(st.integers(-1, 5), max_size=30))
def test_l2_counts_repeated_rows_and_skips_missing_ones(device, ids):
    emb = torch.randn(6, 5, device=device, requires_grad=True)
    ids = torch.tensor(ids, dtype=torch.int64, device=device)
    wide = emb.detach().double().requires_grad_()
    value, expected = l2_loss(emb, ids), reference.l2_loss(wide, ids)
    assert_close(value, expected)
    assert_close(torch.autograd.grad(value, emb)[0], torch.autograd.grad(expected, wide)[0])


def test_extreme_scores_stay_finite(device):
    user_emb, item_emb = (300.0 * t.detach().requires_grad_() for t in tables(7, 9, 64, torch.float32, device=device))
    batch = batches(20, 2, False, device=device)
    for loss, _ in PAIR:
        assert torch.isfinite(loss(user_emb, item_emb, *batch))
    assert torch.isfinite(softmax_loss(user_emb, item_emb, *batch[:2], 0.001))
    zeros = torch.zeros(7, 4, device=device, requires_grad=True)
    value = softmax_loss(zeros, torch.zeros(9, 4, device=device), *batch[:2], 0.1)
    assert torch.isfinite(torch.autograd.grad(value, zeros)[0]).all()


@pytest.mark.parametrize("loss", [bpr_loss, binary_loss, max_margin_loss])
def test_a_row_without_negatives_counts_as_zero(device, loss):
    user_emb, item_emb = tables(3, 3, 4, torch.float64, device=device)
    users, pos = torch.tensor([0, 1], device=device), torch.tensor([0, 1], device=device)
    neg = torch.tensor([[2], [-1]], device=device)
    both = loss(user_emb, item_emb, users, pos, neg)
    first = loss(user_emb, item_emb, users[:1], pos[:1], neg[:1])
    second = loss(user_emb, item_emb, users[1:], pos[1:], neg[:1, :0])
    torch.testing.assert_close(both, (first + second) / 2)


def test_an_empty_batch_gives_zero_with_zero_gradients(device):
    user_emb, item_emb = tables(3, 3, 4, torch.float32, device=device)
    none = torch.empty(0, dtype=torch.int64, device=device)
    for value in (
        bpr_loss(user_emb, item_emb, none, none, none.reshape(0, 1)),
        softmax_loss(user_emb, item_emb, none, none),
    ):
        assert value == 0
        assert torch.autograd.grad(value, user_emb)[0].abs().sum() == 0


def test_the_same_bits_in_any_order(device):
    user_emb, item_emb = tables(50, 60, 64, torch.float32, device=device)
    for shared in (False, True):
        users, pos, neg = batches(700, 4, shared, 50, 60, device=device)

        def run(users=users, pos=pos, neg=neg):
            values = [f(user_emb, item_emb, users, pos, neg) for f, _ in PAIR]
            values += [softmax_loss(user_emb, item_emb, users, pos), l2_loss(user_emb, users)]
            grads = [g for v in values for g in torch.autograd.grad(v, (user_emb, item_emb), allow_unused=True)]
            return [t for t in values + grads if t is not None]

        same_bits_in_any_order(run, device)


@pytest.mark.parametrize(("dtype", "batch", "dim"), [(torch.float64, 130, 66), (torch.bfloat16, 129, 33)])
def test_softmax_gives_the_same_bits_in_any_order(device, dtype, batch, dim):
    user_emb, item_emb = tables(7, 9, dim, dtype, device=device)
    users, pos, _ = batches(batch, 1, False, device=device)

    def run():
        value = softmax_loss(user_emb, item_emb, users, pos, 0.2)
        return (value, *torch.autograd.grad(value, (user_emb, item_emb)))

    same_bits_in_any_order(run, device)


def test_opcheck_and_compile(device):
    user_emb, item_emb = tables(7, 9, 4, torch.float32, device=device)
    for shared in (False, True):
        users, pos, neg = batches(6, 3, shared, device=device)
        ops = torch.ops.fastgcn_rec
        torch.library.opcheck(ops.pair_loss.default, (user_emb, item_emb, users, pos, neg, None, 0, 0.0))
        mask = torch.ones(6, 3, dtype=torch.bool, device=device)
        torch.library.opcheck(ops.pair_loss.default, (user_emb, item_emb, users, pos, neg, mask, 2, 0.5))
    torch.library.opcheck(ops.softmax_loss.default, (user_emb, item_emb, users, pos, 0.5, 1.0, None))
    bias = torch.ones(6, device=device)
    torch.library.opcheck(ops.softmax_loss.default, (user_emb, item_emb, users, pos, 0.5, 1.5, bias))
    torch.library.opcheck(ops.l2_loss.default, (user_emb, users))
    torch.library.opcheck(ops.scatter_rows.default, (pos, None, user_emb.detach(), users, None, 9, torch.float32))

    def total(u, i):
        return bpr_loss(u, i, users, pos, neg) + softmax_loss(u, i, users, pos) + l2_loss(u, users)

    compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
    got = torch.autograd.grad(compiled(user_emb, item_emb), (user_emb, item_emb))
    for a, b in zip(got, torch.autograd.grad(total(user_emb, item_emb), (user_emb, item_emb)), strict=True):
        assert_close(a, b)


def test_numpy_arrays_are_accepted():
    rng = np.random.default_rng(0)
    u, i = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=(5, 4)).astype(np.float32)
    value = bpr_loss(u, i, np.array([0, 2]), np.array([1, 1]), np.array([[3], [4]]))
    assert isinstance(value, np.ndarray)
    assert float(value) > 0


def test_mixed_dtypes_need_autocast():
    user_emb, item_emb = tables(7, 9, 4, torch.float32)
    batch = batches(6, 3, False)
    with pytest.raises(TypeError, match=r"must have one dtype, got torch\.bfloat16 and torch\.float32"):
        bpr_loss(user_emb.to(torch.bfloat16), item_emb, *batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert bpr_loss(user_emb.to(torch.bfloat16), item_emb, *batch).dtype == torch.float32


@on_the_cpu
def test_errors_name_the_argument_and_both_values():
    user_emb, item_emb = tables(7, 9, 4, torch.float32)
    users, pos, neg = batches(6, 3, False, missing=False)
    with pytest.raises(IndexError, match=r"users: id 7 at position 0 is outside \[0, 7\)"):
        bpr_loss(user_emb, item_emb, torch.full_like(users, 7), pos, neg)
    with pytest.raises(IndexError, match=r"neg: id -2 at position 0 is outside \[-1, 9\)"):
        bpr_loss(user_emb, item_emb, users, pos, torch.full_like(neg, -2))
    with pytest.raises(ValueError, match=r"neg must have shape \[batch, n_neg\] = \[6, n_neg\].*got \[2, 3\]"):
        bpr_loss(user_emb, item_emb, users, pos, neg[:2])
    with pytest.raises(ValueError, match=r"neg must have shape \[batch or 1, n_neg\], got \[6\]"):
        bpr_loss(user_emb, item_emb, users, pos, neg[:, 0])
    with pytest.raises(ValueError, match=r"item_emb must have shape \[n_items, dim\] = \[n_items, 4\], got \[9, 3\]"):
        softmax_loss(user_emb, item_emb[:, :3], users, pos)
    with pytest.raises(ValueError, match="temperature must be > 0 and finite, got 0"):
        softmax_loss(user_emb, item_emb, users, pos, 0.0)
    with pytest.raises(ValueError, match=r"negative_weight must be >= 0 and finite, got -1"):
        softmax_loss(user_emb, item_emb, users, pos, 0.5, -1.0)
    with pytest.raises(ValueError, match=r"bias must have shape \[B\] = \[6\], got \[9\]"):
        softmax_loss(user_emb, item_emb, users, pos, 0.5, bias=torch.zeros(9))


@pytest.mark.parametrize("loss", [bpr_loss, binary_loss, max_margin_loss])
@pytest.mark.parametrize("shared", [False, True])
def test_nan_is_not_taken_for_a_perfect_score(device, loss, shared):
    users = torch.zeros(2, dtype=torch.int64, device=device)
    user_emb = torch.full((1, 4), float("nan"), device=device, requires_grad=True)
    item_emb = torch.ones(3, 4, device=device)
    value = loss(user_emb, item_emb, users, users + 1, users[None] + 2 if shared else users[:, None] + 2)
    value.backward()
    assert value.isnan()
    assert user_emb.grad.isnan().all()
