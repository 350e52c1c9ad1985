"""Steps that a CUDA graph replays: on a GPU as they are; without one what a graph would record runs again, with the host's numbers of the recording."""

import contextlib
import importlib
import signal

import pytest
import torch
from support import random_graph, watch_steps
from torch.utils._python_dispatch import TorchDispatchMode

from fastgcn_rec import MF, NGCF, LightGCN, TrainConfig, fit
from fastgcn_rec.ops.registration import scalar
from fastgcn_rec.training import Interrupted, loop
from fastgcn_rec.training.batches import Batches
from fastgcn_rec.training.steps.autograd import AutogradStep
from fastgcn_rec.training.steps.captured_autograd import CapturedAutograd
from fastgcn_rec.training.steps.make import is_fixed, make_step

QUICK = {"epochs": 3, "batch_size": 128, "eval_every": 1, "lr": 0.02, "progress": False, "protocol": "none"}
KINDS = {
    "ngcf": (lambda g: NGCF(g, 8, 2, message_dropout=0.2, node_dropout=0.1), {}),
    "ngcf, lecture, softmax": (
        lambda g: NGCF(g, 8, 2, "lecture", message_dropout=0.1, node_dropout=0.2),
        {"loss": "softmax", "logq_density": 0.5, "lr_schedule": "linear", "warmup": 0.3},
    ),
    "ngcf, negatives of the moment": (
        lambda g: NGCF(g, 8, 1),
        {"negatives": "dynamic(1)+popularity(1)", "batch_size": 1100, "epochs": 6},
    ),
    "learned alphas": (lambda g: LightGCN(g, 8, 2, learn_alpha=True), {"negatives": "shared(9)", "sampler": "user"}),
    "dropped edges": (lambda g: LightGCN(g, 8, 2, edge_dropout=0.3), {"loss": "max_margin"}),
    "dropped edges, renormalised": (
        lambda g: LightGCN(g, 8, 2, edge_dropout=0.3, edge_dropout_norm="renormalise"),
        {"reg": 0.0},
    ),
    "noise": (lambda g: LightGCN(g, 8, 2, noise=0.1), {"loss": "binary", "n_neg": 3}),
}


STAND_INS = {  # for what a capture asks of torch
    "current_stream": lambda device: "before", "CUDAGraph": object, "device": contextlib.nullcontext, "graph": lambda graph, stream: contextlib.nullcontext(),
    "Stream": lambda device: "own", "set_stream": lambda stream: None, "synchronize": lambda: None,
}  # fmt: skip


@pytest.fixture
def captures(device, monkeypatch):
    """Whether each capture until now came to a graph."""
    found, original = [], CapturedAutograd._capture

    def capture(self, t):
        if device.type == "cuda":
            original(self, t)
        else:

            def replay():
                self.step.batches.embeddings.forget(t)  # a graph computes them anew
                self._loss = self._both(t)

            self._replay, self._loss = replay, torch.zeros(())
        found.append(self._replay is not None)

    monkeypatch.setattr(CapturedAutograd, "_capture", capture)
    return found


def captured(model, config):
    return CapturedAutograd(AutogradStep(model, config, capturable=True), config)


def fitted(monkeypatch, make_step, model, data, **options):
    with monkeypatch.context() as patched:
        patched.setattr(loop, "make_step", make_step)
        return fit(model, data, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_replayed_step_has_the_bits_of_the_step(kind, device, captures):
    make, options = KINDS[kind]
    config = TrainConfig(**{"batch_size": 64, "seed": 3, **options})
    results = []
    for way in (AutogradStep, captured):
        model = make(random_graph()).to(device)
        step = way(model, config)
        losses = [step(t, 0.1 / (t + 1)) for t in (0, 1, 2, 3, 4, 9, 10, 4)]
        results.append([*losses, *model.parameters(), *(t for _, t in sorted(step.state().items()))])
    assert captures == [True]
    assert len(results[0]) == len(results[1])
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("kind", KINDS)
def test_fit_comes_to_the_same_history_and_parameters(kind, device, data, captures, monkeypatch):
    make, options = KINDS[kind]
    results = []
    for way in (AutogradStep, make_step if device.type == "cuda" else captured):
        model = make(data).to(device)
        history = fitted(monkeypatch, way, model, data, **QUICK | options)
        results.append(([epoch["loss"] for epoch in history.epochs], list(model.parameters())))
    assert captures == [True]
    (losses, parameters), (replayed, others) = results
    assert losses == replayed
    assert all(map(torch.equal, parameters, others))


@pytest.mark.parametrize("kind", ["ngcf", "learned alphas"])
@pytest.mark.parametrize("at", [1, 7])
def test_a_training_that_stops_goes_on_to_the_same_bits(kind, at, device, data, captures, tmp_path, monkeypatch):
    make, options = KINDS[kind]
    straight, broken = (make(data).to(device) for _ in range(2))
    options = QUICK | options
    fitted(monkeypatch, AutogradStep, straight, data, **options)

    def stop(step, t, lr):
        if t == at:
            signal.raise_signal(signal.SIGINT)
        return step(t, lr)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "make_step", captured)
        watch_steps(patched, stop)
        with pytest.raises(Interrupted, match=f"in step {at + 1}"):
            fit(broken, data, **options, checkpoint=tmp_path / "c.npz")
    resumed = make(data).to(device)
    fitted(monkeypatch, captured, resumed, data, **options, checkpoint=tmp_path / "c.npz")
    assert captures == [True] * (1 + (at > 2))
    assert all(map(torch.equal, straight.parameters(), resumed.parameters()))


def test_a_step_that_is_captured_goes_on_from_another_state(device, captures):
    config = TrainConfig(batch_size=64)
    model = NGCF(random_graph(), 8, 2).to(device)
    step = captured(model, config)
    for t in range(5):
        step(t, 0.01)
    state = {name: t.clone() for name, t in step.state().items()}
    parameters = [p.detach().clone() for p in model.parameters()]
    losses = [step(t, 0.01) for t in range(5, 10)]
    after = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for p, value in zip(model.parameters(), parameters, strict=True):
            p.copy_(value)
    step.resume(5, state)
    assert all(map(torch.equal, losses, [step(t, 0.01) for t in range(5, 10)]))
    assert all(map(torch.equal, after, model.parameters()))
    assert captures == [True, True]


@pytest.mark.parametrize("make", [
    lambda g, rate: NGCF(g, 8, 2, message_dropout=rate), lambda g, rate: NGCF(g, 8, 2, "lecture", message_dropout=0.0, node_dropout=rate),
    lambda g, rate: LightGCN(g, 8, 2, learn_alpha=True, edge_dropout=rate), lambda g, rate: LightGCN(g, 8, 2, learn_alpha=True, noise=rate),
])  # fmt: skip
def test_every_replay_draws_masks_of_its_own(make, device, captures, monkeypatch):
    graph = random_graph().to(device)
    batch = Batches(MF(graph, 2), TrainConfig(batch_size=64))(0, 0, 0)
    monkeypatch.setattr(Batches, "__call__", lambda self, t, seed, offset: batch)
    for rate in (0.0, 0.3):
        step = captured(make(graph, rate), TrainConfig(batch_size=64))
        losses = [float(step(t, 0.0)) for t in (*range(6), 3)]
        assert losses[-1] == losses[3]
        assert len(set(losses)) == (6 if rate else 1)
    assert captures == [True, True]


class Derived(NGCF):
    """Which might look at t."""


class Said(NGCF):
    """Which says that it does not."""

    @property
    def capturable(self):
        return True


@pytest.mark.parametrize(
    ("make", "fixed"),
    [
        (lambda g: NGCF(g, 8, 2), True),
        (lambda g: LightGCN(g, 8, 2, learn_alpha=True), True),
        (lambda g: LightGCN(g, 8, 2, noise=0.1, contrast=0.1), False),
        (lambda g: Derived(g, 8, 2), False),
        (lambda g: Said(g, 8, 2), True),
    ],
)
def test_what_a_model_says_of_itself_decides(make, fixed, device):
    model, config = make(random_graph()).to(device), TrainConfig(batch_size=64)
    assert is_fixed(model) == fixed
    assert type(make_step(model, config)) is (CapturedAutograd if fixed and device.type == "cuda" else AutogradStep)


class NothingRead(TorchDispatchMode):
    """Refuses what would make the host wait for a GPU, or copy to it: none of that can be captured."""

    refused = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "repeat_interleave", "lift_fresh", "equal", "is_nonzero")  # fmt: skip

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        name = op.name().removeprefix("aten::").split(".")[0]
        if name in self.refused:
            raise AssertionError(f"{op} in a step that is to be captured")
        return op(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_the_step_waits_for_a_gpu(kind, monkeypatch):
    make, options = KINDS[kind]
    config = TrainConfig(**{"batch_size": 64, **options})
    step = captured(make(random_graph()), config)
    for t in range(CapturedAutograd.eager_steps):
        step(t, 0.01)
    for file in ("sample", "select_negatives"):  # which read the value of the CPU's tensors
        module = importlib.import_module(f"fastgcn_rec.ops.{file}")
        monkeypatch.setattr(module, "offset_of", lambda value, rows, *rest: scalar(value, torch.int64, *rest, "offset"))
    with NothingRead():
        step._both(CapturedAutograd.eager_steps)
    with pytest.raises(AssertionError, match="to be captured"), NothingRead():
        float(torch.ones(1).sum())


@pytest.mark.parametrize("negatives", ["dynamic(1)", "uniform(1)"])
def test_what_a_capture_that_fails_has_recorded_is_not_read(negatives, monkeypatch):
    config, tables = TrainConfig(batch_size=64, negatives=negatives), []
    for way in (AutogradStep, captured):
        model = NGCF(random_graph(), 8, 2)
        step = way(model, config)
        for t in range(2):
            step(t, 0.01)
        if way is captured:
            taken = step._both

            def fails(t, step=step, taken=taken):
                step.step.batches.embeddings.kept[1] = t, torch.full((70, 24), torch.nan)  # recorded, not computed
                monkeypatch.setattr(step, "_both", taken)
                raise RuntimeError("operation not permitted when stream is capturing")

            monkeypatch.setattr(step, "_both", fails)
            for name, stand_in in STAND_INS.items():
                monkeypatch.setattr(torch.cuda, name, stand_in)
            step.device = torch.device("cuda")
            with pytest.warns(UserWarning, match="could not be captured as a CUDA graph.*not permitted"):
                step(2, 0.01)
        else:
            step(2, 0.01)
        step(3, 0.01)
        tables.append(model.embedding.weight)
    assert torch.equal(*tables)
