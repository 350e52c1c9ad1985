"""adam_step and Adam: against torch, gone on with, the same bits, errors."""

import copy

import pytest
import torch
from support import assert_close, same_bits_in_any_order

from fastgcn_rec import Adam, adam_step
from fastgcn_rec.core import native


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_follows_torch(device, dtype, weight_decay):
    ours = torch.randn(37, 11, dtype=dtype, device=device).requires_grad_()
    theirs = ours.detach().double().requires_grad_()
    optimizers = [
        kind([p], lr=0.01, weight_decay=weight_decay) for kind, p in ((Adam, ours), (torch.optim.Adam, theirs))
    ]
    for step in range(20):
        gradient = torch.randn(37, 11, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        ours.grad = gradient.to(device, dtype)
        theirs.grad = ours.grad.double()
        for optimizer in optimizers:
            optimizer.step()
    assert_close(ours, theirs)


def test_adam_resumes_exactly_from_its_state():
    def run(steps, p, optimizer):
        for step in steps:
            p.grad = torch.full_like(p, 0.1 * (step + 1))
            optimizer.step()

    p = torch.ones(5, requires_grad=True)
    optimizer = Adam([p])
    run(range(3), p, optimizer)
    q = p.detach().clone().requires_grad_()
    resumed = Adam([q])
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # as a checkpoint on disk would be
    run(range(3, 6), p, optimizer)
    run(range(3, 6), q, resumed)
    assert torch.equal(p, q)


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False), (True, True)])
def test_a_capturable_adam_takes_the_same_steps_and_goes_on_from_the_others_state(before, after):
    def run(optimizer, p, steps):
        for step in steps:
            p.grad = torch.full_like(p, 0.1 * (step + 1))
            optimizer.step()

    p, q = (torch.ones(5, requires_grad=True) for _ in range(2))
    plain, other = Adam([p], lr=0.01), Adam([q], lr=0.01, capturable=before)
    run(plain, p, range(3))
    run(other, q, range(3))
    assert torch.equal(p, q)
    again = Adam([q], lr=torch.tensor(0.01, dtype=torch.float64), capturable=after)
    state = copy.deepcopy(other.state_dict())
    state["param_groups"][0] |= {"capturable": after, "lr": again.param_groups[0]["lr"]}
    again.load_state_dict(state)
    run(plain, p, range(3, 6))
    run(again, q, range(3, 6))
    assert torch.equal(p, q)
    step = again.state[q]["step"]
    assert (int(step), isinstance(step, torch.Tensor)) == (6, after)


def test_a_step_that_is_captured_must_be_capturable(monkeypatch):
    monkeypatch.setattr(native, "is_captured", lambda device: True)  # as on a GPU
    p = torch.ones(5, requires_grad=True)
    p.grad = torch.ones(5)
    with pytest.raises(RuntimeError, match=r"captured in a CUDA graph.*Adam\(\.\.\., capturable=True\)"):
        Adam([p]).step()
    assert torch.equal(p, torch.ones(5))
    Adam([p], capturable=True).step()
    assert not torch.equal(p, torch.ones(5))


def test_adam_gives_the_same_bits_in_any_order(device):
    start, gradient = torch.randn(2, 100_003, device=device)

    def run():
        p, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
        for step in (1, 2):
            adam_step(p, gradient, m, v, step)
        return p, m, v

    same_bits_in_any_order(run, device)


def test_adam_errors():
    p = torch.zeros(3)
    with pytest.raises(ValueError, match=r"grad must be like param, \[3\].*got \[4\]"):
        adam_step(p, torch.zeros(4), p.clone(), p.clone(), 1)
    with pytest.raises(ValueError, match="counts from 1, got 0"):
        adam_step(p, p.clone(), p.clone(), p.clone(), 0)
