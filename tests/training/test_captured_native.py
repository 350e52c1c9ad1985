"""What a CUDA graph of training steps is recorded from, run once for every replay: without a GPU its kernels are the emulated ones, and its streams
one after the other."""

import contextlib
import functools
import typing
from types import SimpleNamespace

import pytest
import torch
from support import EMULATED

from fastgcn_rec import MF, LightGCN, TrainConfig, fit
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.training import loop
from fastgcn_rec.training.steps.captured_native import CapturedNative
from fastgcn_rec.training.steps.native import NativeStep

emulated = pytest.mark.skipif(not EMULATED, reason="needs the emulated CUDA backend: make check-emulated")


class Stream:
    def wait_stream(self, other):
        """Whatever was called is done."""


@pytest.fixture
def replays(monkeypatch):
    """Graphs are replayed by recording them again; the sizes of those that were captured."""
    main, captured = Stream(), []
    for name, stand_in in {"current_stream": lambda device: main, "stream": contextlib.nullcontext}.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)

    def capture(self, t, n, loss_sum):
        captured.append(n)
        return SimpleNamespace(replay=functools.partial(self._record, t, n, loss_sum, Stream()))

    monkeypatch.setattr(CapturedNative, "_capture", capture)
    return captured


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(60, 80, 800)


SETTINGS = [
    (2, {}), (3, {"storage": "bfloat16"}), (1, {"loss": "softmax"}), (0, {"optimizer": "lazy_adam"}), (0, {"n_neg": 2}),
    (1, {"negatives": "uniform(2)"}), (2, {"negatives": "shared(7)"}),
]  # fmt: skip


def trained(data, monkeypatch, kind, layers, options, batch_size=26):
    """(losses, table) of two epochs by steps of this kind."""
    monkeypatch.setattr(loop, "make_step", kind)
    model = LightGCN(data, 8, layers) if layers else MF(data, 8)
    config = TrainConfig(
        epochs=2, batch_size=batch_size, protocol="none", lr_schedule="linear", lr=0.01, reg=1e-3, **options
    )
    history = fit(model, data, config, progress=False)
    return [record["loss"] for record in history.epochs], model.embedding.weight.detach()


@emulated
@pytest.mark.parametrize(("layers", "options"), SETTINGS)
def test_many_steps_in_parts_are_the_steps_one_by_one(layers, options, data, replays, monkeypatch):
    """25 steps an epoch: two graphs of ten and five of one, after two steps without."""
    alone = trained(data, monkeypatch, NativeStep, layers, options)
    assert replays == []
    captured = trained(data, monkeypatch, CapturedNative, layers, options)
    assert sorted(replays) == [1, 10]
    assert captured[0] == alone[0]
    assert torch.equal(captured[1], alone[1])


@emulated
def test_a_batch_is_not_drawn_before_what_its_sampler_reads_is_there(data, replays, monkeypatch):
    """Without hops batches are numbered ahead, but not by a sampler that reads the vectors of the step before."""
    options = {"negatives": "dynamic(1, candidates=8, refresh=1)", "loss": "max_margin"}
    alone = trained(data, monkeypatch, NativeStep, 0, options)
    captured = trained(data, monkeypatch, CapturedNative, 0, options)
    assert captured[0] == alone[0]
    assert torch.equal(captured[1], alone[1])


@emulated
def test_an_interrupted_training_by_graphs_goes_on_to_the_same_bits(data, replays, monkeypatch, tmp_path):
    options = {"loss": "softmax"}
    whole = trained(data, monkeypatch, CapturedNative, 1, options)

    class Stopped(CapturedNative):
        def many(self, t, rates, loss_sum):
            if t >= 30:
                raise KeyboardInterrupt
            super().many(t, rates, loss_sum)

    config = TrainConfig(epochs=2, batch_size=26, protocol="none", lr_schedule="linear", lr=0.01, reg=1e-3, **options)
    path = tmp_path / "checkpoint.npz"
    for kind in (Stopped, CapturedNative):
        monkeypatch.setattr(loop, "make_step", kind)
        model = LightGCN(data, 8, 1)
        with pytest.raises(KeyboardInterrupt) if kind is Stopped else contextlib.nullcontext():
            history = fit(model, data, config, progress=False, checkpoint=path)
    assert [record["loss"] for record in history.epochs] == whole[0]
    assert torch.equal(model.embedding.weight, whole[1])


def test_fewer_steps_than_a_graph_has_are_taken_one_by_one(data, monkeypatch):
    """What the loop asks for, of a step that any device can take."""

    class Counted(NativeStep):
        at_once = 10
        taken: typing.ClassVar = []

        def many(self, t, rates, loss_sum):
            self.taken.append((t, len(rates)))
            for i, lr in enumerate(rates):
                loss_sum += self(t + i, lr)

    alone = trained(data, monkeypatch, NativeStep, 2, {})
    counted = trained(data, monkeypatch, Counted, 2, {})
    epoch = [(0, 10), (10, 10), (20, 1), (21, 1), (22, 1), (23, 1), (24, 1)]
    assert Counted.taken == [(25 * e + t, n) for e in range(2) for t, n in epoch]
    assert counted[0] == alone[0]
    assert torch.equal(counted[1], alone[1])
