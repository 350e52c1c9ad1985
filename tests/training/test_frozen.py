"""Parameters with requires_grad=False, and those that have no gradient in some steps."""

import signal

import pytest
import torch
from support import watch_steps

from fastgcn_rec import EASE, MF, NGCF, LightGCN, PinSAGE, TrainConfig, fit
from fastgcn_rec.features import Categorical, Features
from fastgcn_rec.training import Interrupted
from fastgcn_rec.training.steps.autograd import AutogradStep
from fastgcn_rec.training.steps.make import make_step

QUICK = {"epochs": 2, "batch_size": 256, "eval_every": 1, "lr": 0.05, "progress": False}
QUICK_CONFIG = {name: QUICK[name] for name in ("batch_size", "lr")}


def pinsage(data, **options):
    kind = [f"k{i % 7}" for i in range(data.n_items)]
    return PinSAGE(data, Features({"kind": Categorical()}), {"kind": kind}, embedding_dim=8, hidden_dim=8, n_walks=20)


PARTLY = {
    "a table under learned alphas": (lambda data: LightGCN(data, 8, 2, learn_alpha=True), ["embedding.weight"]),
    "learned alphas": (lambda data: LightGCN(data, 8, 2, learn_alpha=True), ["alpha"]),
    "ngcf's table": (lambda data: NGCF(data, 8, 1), ["embedding.weight"]),
    "ngcf's matrices": (lambda data: NGCF(data, 8, 1), ["own", "neighbors"]),
    "pinsage's features": (pinsage, ["table", "dense.weight"]),
}


@pytest.mark.parametrize("kind", PARTLY)
def test_frozen_parameters_stay_and_the_others_are_trained_as_beside_them(kind, data, tmp_path):
    make, frozen = PARTLY[kind]
    model, other = make(data), make(data)
    frozen = [name for name in frozen if name in dict(model.named_parameters())]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    fit(model, data, **QUICK, protocol="none", checkpoint=tmp_path / "c.npz")
    step = AutogradStep(other, TrainConfig(**QUICK_CONFIG))
    for t in range(2 * step.batches.steps_per_epoch):  # all are trained, but those are put back
        step(t, 0.05)
        with torch.no_grad():
            for name in frozen:
                other.get_parameter(name).copy_(before[name])
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) == (name in frozen)
        assert torch.equal(p, other.get_parameter(name))
    with torch.no_grad():
        model.get_parameter(frozen[0]).add_(1)
    with pytest.raises(ValueError, match="made with another untrained"):
        fit(model, data, **QUICK, protocol="none", checkpoint=tmp_path / "c.npz")


@pytest.mark.parametrize("make", [MF, LightGCN, NGCF, lambda data, dim: pinsage(data)])
@pytest.mark.parametrize("protocol", ["none", "validation"])
def test_where_nothing_is_to_be_trained_fit_says_so_and_changes_nothing(make, protocol, data):
    model = make(data, 8).requires_grad_(False)
    before, graph = [p.clone() for p in model.parameters()], model.graph
    with pytest.raises(ValueError, match=r"requires_grad=False: nothing would be trained; call requires_grad_\(\)"):
        fit(model, data, **QUICK, protocol=protocol)
    assert all(map(torch.equal, model.parameters(), before))
    assert model.graph is graph


def test_models_without_parameters_are_refused(data):
    with pytest.raises(TypeError, match="EASE has no parameters to train"):
        fit(EASE(data), data, **QUICK)


class Sometimes(MF):
    """A parameter that only every third step has a gradient of, and one that none has."""

    def __init__(self, data, dim=8):
        super().__init__(data, dim)
        self.scale, self.idle = torch.nn.Parameter(torch.ones(dim)), torch.nn.Parameter(torch.ones(2))

    def diffusion(self):
        return None

    def batch_loss(self, config, t, users, pos, negatives):
        z = self.embedding.weight * self.scale if t % 3 == 1 else self.embedding.weight
        scores = (z[users] * (z[pos + self.n_users] - z[negatives.ids[:, 0].clamp(min=0) + self.n_users])).sum(1)
        return -torch.nn.functional.logsigmoid(scores).mean()


def test_parameters_that_had_fewer_steps_go_on_from_their_own(data, tmp_path, monkeypatch):
    straight, resumed = Sometimes(data), Sometimes(data)
    options = {**QUICK, "protocol": "none", "epochs": 3}
    fit(straight, data, **options)

    def stop(step, t, lr):
        if t == 5:
            signal.raise_signal(signal.SIGINT)
        return step(t, lr)

    with monkeypatch.context() as patched:
        watch_steps(patched, stop)
        with pytest.raises(Interrupted, match="in step 6"):
            fit(resumed, data, **options, checkpoint=tmp_path / "c.npz")
    fit(resumed, data, **options, checkpoint=tmp_path / "c.npz")
    assert all(map(torch.equal, resumed.parameters(), straight.parameters()))


def test_the_native_step_is_for_models_whose_table_alone_is_trained(data):
    model = MF(data, 8)
    assert type(make_step(model, TrainConfig())).__name__ == "NativeStep"
    model.extra = torch.nn.Parameter(torch.zeros(3))
    assert type(make_step(model, TrainConfig())).__name__ == "AutogradStep"


def test_a_loss_without_what_is_to_be_trained_is_refused(data):
    model = MF(data, 8)
    model.extra = torch.nn.Parameter(torch.zeros(3))
    model.embedding.weight.requires_grad_(False)
    with pytest.raises(ValueError, match="the loss does not depend on extra"):
        fit(model, data, **QUICK, protocol="none")
