import contextlib
import dataclasses
import math
import signal
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import assert_close, random_graph, watch_steps

from fastgcn_rec import MF, NGCF, LightGCN, Popularity, TrainConfig, evaluate, fit
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.losses import Objective
from fastgcn_rec.ops import reference
from fastgcn_rec.training import Interrupted
from fastgcn_rec.training.batch_loss import batch_loss
from fastgcn_rec.training.steps.autograd import AutogradStep
from fastgcn_rec.training.steps.captured import CapturedStep
from fastgcn_rec.training.steps.make import make_step
from fastgcn_rec.training.steps.native import NativeStep

SMALL = {"epochs": 4, "batch_size": 128, "eval_every": 2, "progress": False}


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(200, 150, 5000, seed=1)


@pytest.mark.parametrize("loss", ["bpr", "binary", "max_margin", "softmax"])
def test_the_training_loss_and_its_gradient_are_those_of_plain_torch(loss):
    graph = random_graph()
    config = TrainConfig(loss=loss, reg=0.1, temperature=0.5)
    model = LightGCN(graph, 16, 2).double()
    users, pos, neg = torch.arange(5), torch.arange(5) + 3, torch.tensor([[1, -1], [2, 2], [9, 8], [-1, -1], [4, 0]])
    weight = model.embedding.weight.detach().clone().requires_grad_()
    u, i = reference.propagate(graph, weight, model.alpha).split([40, 30])
    if loss == "softmax":
        expected = reference.softmax_loss(u, i, users, pos, 0.5)
        rows = [users, pos + 40]
    else:
        expected = getattr(reference, f"{loss}_loss")(u, i, users, pos, neg)
        rows = [users, pos + 40, (neg + 40)[neg >= 0]]
    expected = expected + 0.1 / 5 * 0.5 * weight[torch.cat(rows)].square().sum()
    value = batch_loss(model, config, users, pos, neg)
    assert_close(value, expected)
    assert_close(torch.autograd.grad(value, model.embedding.weight)[0], torch.autograd.grad(expected, weight)[0])


def test_training_beats_popularity_on_planted_structure():
    data = synthetic_interactions(400, 300, 10000, dim=8, seed=3)
    model = LightGCN(data, 32, 2)
    fit(model, data, epochs=25, batch_size=512, progress=False, lr=5e-3, sampler="edge")
    assert evaluate(model, data.test)["recall@20"] > 1.2 * evaluate(Popularity(data), data.test)["recall@20"]


def test_learned_alphas_change_and_fixed_ones_do_not(data):
    for learn in (False, True):
        model = LightGCN(data, 8, 2, learn_alpha=learn)
        before = model.alpha.detach().clone()
        fit(model, data, **SMALL, protocol="none")
        assert torch.equal(model.alpha, before) != learn


KINDS = {
    "mf with a falling learning rate": (lambda data: MF(data, 8), {"lr_schedule": "linear", "warmup": 0.5}),
    "lightgcn in bfloat16": (lambda data: LightGCN(data, 8, 2), {"storage": "bfloat16"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_goes_on_to_the_same_bits(kind, data, tmp_path):
    make, options = KINDS[kind]
    straight = make(data)
    fit(straight, data, **SMALL, **options)
    path = tmp_path / "checkpoint.npz"
    broken = make(data)

    def stop(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="run the same command again"):
        fit(broken, data, **SMALL, **options, checkpoint=path, on_epoch=stop)
    resumed = make(data)
    history = fit(resumed, data, **SMALL, **options, checkpoint=path)
    assert [r["epoch"] for r in history.epochs] == [1, 2, 3, 4]
    assert torch.equal(resumed.embedding.weight, straight.embedding.weight)
    with pytest.raises(ValueError, match="another config"):
        fit(make(data), data, **{**SMALL, **options, "batch_size": 64}, checkpoint=path)


@pytest.mark.parametrize(
    ("own", "best"),
    [({}, 4), ({"lr_schedule": "linear", "metric": "gini@20"}, 2)],  # the rates of the refit depend on the choice
)
def test_an_interrupted_refit_goes_on_to_the_same_bits(own, best, data, tmp_path, monkeypatch):
    options = {**SMALL, "refit": True, **own}
    straight = LightGCN(data, 8, 2)
    whole = fit(straight, data, **options)
    assert whole.best_epoch == best
    calls = iter(range(len(whole.epochs) * math.ceil(0.9 * len(data.train) / 128) + 5))

    def stop_in_the_refit(step, t, lr):
        if next(calls, None) is None:
            signal.raise_signal(signal.SIGINT)
        return step(t, lr)

    path = tmp_path / "checkpoint.npz"
    with monkeypatch.context() as patched:
        watch_steps(patched, stop_in_the_refit)
        with pytest.raises(Interrupted, match=r"interrupted in step 6 of .* is saved in .*checkpoint-refit\.npz"):
            fit(LightGCN(data, 8, 2), data, **options, checkpoint=path)
    resumed = LightGCN(data, 8, 2)
    history = fit(resumed, data, **options, checkpoint=path)
    assert torch.equal(resumed.embedding.weight, straight.embedding.weight)
    assert [r["loss"] for r in history.refit] == [r["loss"] for r in whole.refit]


@pytest.mark.parametrize("loss", ["bpr", "binary", "max_margin", "softmax"])
def test_the_native_step_and_autograd_train_alike(loss, data):
    config, losses = TrainConfig(loss=loss, reg=0.01, batch_size=64, n_neg=2), {}
    for kind in (NativeStep, AutogradStep):
        model = LightGCN(data, 16, 2).double()
        step = kind(model, config)
        losses[kind] = torch.stack([step(t, 0.1 / (t + 1)) for t in range(20)])
    assert_close(losses[NativeStep], losses[AutogradStep])


def test_the_learning_rate_rises_and_falls():
    rates = {
        (0.0, "constant"): [1, 1, 1, 1],
        (0.0, "linear"): [7 / 8, 5 / 8, 3 / 8, 1 / 8],
        (0.5, "constant"): [1 / 4, 3 / 4, 1, 1],
        (0.5, "linear"): [1 / 4, 3 / 4, 3 / 4, 1 / 4],
    }
    for (warmup, schedule), expected in rates.items():
        config = TrainConfig(lr=0.2, warmup=warmup, lr_schedule=schedule)
        assert [config.lr_at(t, 4) / 0.2 for t in range(4)] == pytest.approx(expected)
    with pytest.raises(ValueError, match="0 <= warmup < 1, got 1"):
        TrainConfig(warmup=1.0)


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_fit_takes_the_rates_of_its_schedule(schedule, data, tmp_path, monkeypatch):
    options = {**SMALL, "protocol": "none", "lr_schedule": schedule, "checkpoint": tmp_path / "c.npz"}
    seen = []

    def spy(step, t, lr):
        seen.append(lr)
        return step(t, lr)

    with monkeypatch.context() as patched:
        watch_steps(patched, spy)
        fit(MF(data, 8), data, **options)
    config = TrainConfig(lr_schedule=schedule)
    assert seen == [config.lr_at(t, len(seen)) for t in range(len(seen))]
    options["epochs"] = 5
    if schedule == "constant":
        assert len(fit(MF(data, 8), data, **options).epochs) == 5
    else:  # more epochs are another schedule
        with pytest.raises(ValueError, match="another config"):
            fit(MF(data, 8), data, **options)


def test_bfloat16_layers_need_the_native_step(data):
    model, config = LightGCN(data, 8, 2, learn_alpha=True), TrainConfig(storage="bfloat16")
    with pytest.raises(ValueError, match="storage='bfloat16' needs a model with constant layer weights"):
        make_step(model, config)


def test_validation_leaves_the_test_part_alone_and_the_graph_whole(data):
    model = MF(data, 8)
    graph = model.graph
    history = fit(model, data, **SMALL)
    assert history.chosen_on == "validation"
    assert model.graph is graph
    assert fit(MF(data, 8), data, **SMALL, protocol="published").chosen_on == "test (published protocol)"


def test_refit_trains_anew_on_everything_for_the_chosen_number_of_epochs(data, tmp_path):
    refitted, plain = LightGCN(data, 8, 2), LightGCN(data, 8, 2)
    history = fit(refitted, data, **SMALL, refit=True, checkpoint=tmp_path / "c.npz")
    assert len(history.refit) == history.best_epoch > 0
    fit(plain, data, **{**SMALL, "epochs": history.best_epoch}, protocol="none")
    assert torch.equal(refitted.embedding.weight, plain.embedding.weight)
    with pytest.raises(ValueError, match="refit needs protocol='validation'"):
        TrainConfig(refit=True, protocol="published")


def test_neighbours_are_the_nearest_by_cosine(data):
    model = MF(data, 8)
    z = torch.nn.functional.normalize(model.get_embedding().detach().double(), dim=1).split(
        [data.n_users, data.n_items]
    )
    for similar, space, unit in zip(
        (model.similar_users, model.similar_items), (data.user_ids, data.item_ids), z, strict=True
    ):
        near, cosines = similar(space[[4, 0]], 3)
        exact = unit[[4, 0]] @ unit.T
        exact[[0, 1], [4, 0]] = -2  # itself
        assert near.tolist() == space[exact.argsort(1, descending=True)[:, :3].numpy()].tolist()
        np.testing.assert_allclose(cosines, exact.sort(1, descending=True).values[:, :3], atol=1e-6)


def test_state_dict_loads_into_torch_geometric():
    lightgcn = pytest.importorskip("torch_geometric.nn", reason="needs torch_geometric: an extra").LightGCN
    graph = random_graph()
    ours = LightGCN(graph, 16, 3)
    theirs = lightgcn(graph.n_nodes, 16, 3)
    theirs.load_state_dict(ours.state_dict())
    rows = torch.repeat_interleave(torch.arange(40), graph.user_degree)
    edges = torch.stack([rows, graph.indices.long() + 40])
    both = torch.cat([edges, edges.flip(0)], 1)
    pairs = torch.stack([torch.arange(30), torch.arange(30) + 40])
    assert_close(ours(pairs), theirs(both, pairs))


def test_pyg_style_methods():
    model = LightGCN(random_graph(), 8, 1)
    pairs = torch.tensor([[0, 1], [40, 41]])
    scores = model(pairs)
    assert torch.equal(model.predict_link(pairs), (scores > 0).float())
    assert model.link_pred_loss(scores, torch.tensor([1, 0])) > 0
    loss = model.recommendation_loss(scores[:1], scores[1:], torch.tensor([0]), lambda_reg=2.0)
    expected = torch.nn.functional.softplus(scores[1] - scores[0]) + 2 * model.embedding.weight[0].square().sum()
    assert_close(loss, expected)


def test_model_errors():
    graph = random_graph()
    with pytest.raises(ValueError, match=r"num_layers \+ 1 = 3, got \[2\]"):
        LightGCN(graph, 8, 2, [0.5, 0.5])
    with pytest.raises(TypeError, match="must be a Dataset or a Graph, got list"):
        MF([], 8)
    with pytest.raises(ValueError, match="loss must be one of"):
        TrainConfig(loss="hinge")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own(TrainConfig):
    note: str = ""


def test_settings_of_a_class_of_ones_own_train_and_go_on(data, tmp_path):
    models, options = [MF(data, 8) for _ in range(2)], {**SMALL, "epochs": 2, "eval_every": 1}
    for model, config in zip(models, (Own(note="mine"), TrainConfig()), strict=True):
        fit(model, data, config, **options)
    assert torch.equal(models[0].embedding.weight, models[1].embedding.weight)
    calls = []
    for _ in range(2):
        fit(MF(data, 8), data, Own(), note="given", checkpoint=tmp_path / "c.npz", on_epoch=calls.append, **options)
    assert len(calls) == 2
    with pytest.raises(TypeError, match="'notes' is no field of Own; is note meant"):
        fit(models[0], data, Own(), notes="x")


def test_what_is_no_config_and_no_callback_is_refused_before_training(data):
    model = MF(data, 8)
    before = model.embedding.weight.clone()
    for config in ({"epochs": 1}, Objective()):
        with pytest.raises(TypeError, match=r"fit: config must be a TrainConfig, got .*; pass single settings as fit"):
            fit(model, data, config)
    with pytest.raises(TypeError, match="fit: on_epoch must be a function of an epoch's record, got 3"):
        fit(model, data, on_epoch=3, **SMALL)
    assert torch.equal(model.embedding.weight, before)


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_where_a_step_cannot_be_captured_it_goes_on_without(loss, data):
    config, tables = TrainConfig(loss=loss, batch_size=64), []
    for kind in (NativeStep, CapturedStep):
        model = LightGCN(data, 16, 2)
        step = kind(model, config)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for t in (0, 1, 2, 3, 7, 8):
                step(t, 0.01)
        assert len(caught) == (kind is CapturedStep)
        assert all("could not be captured as a CUDA graph" in str(w.message) for w in caught)
        tables.append(model.embedding.weight)
    assert torch.equal(*tables)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt("Ctrl-C"), MemoryError("full"), RuntimeError("not while capturing")]
)
@pytest.mark.parametrize("end_fails", [False, True])
def test_whatever_ends_a_capture_the_stream_is_as_before(data, monkeypatch, error, end_fails):
    class Capture(contextlib.nullcontext):  # as torch's, which ends the capture, and fails where that was disturbed
        def __exit__(self, *exception):
            if end_fails:
                raise RuntimeError("capture must end on the same stream it began on")

    streams = []
    for name, stand_in in {
        "current_stream": lambda device: "before", "CUDAGraph": object, "device": contextlib.nullcontext, "Stream": lambda device, priority=0: "its own",
        "graph": lambda graph, stream: Capture(), "set_stream": streams.append, "synchronize": lambda: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    step = CapturedStep(LightGCN(data, 16, 2), TrainConfig(batch_size=64))

    def ends(t, n, loss_sum, side):
        raise error

    monkeypatch.setattr(step, "_record", ends)
    step._offset = SimpleNamespace(device=torch.device("cuda"))
    if isinstance(error, RuntimeError) or (end_fails and not isinstance(error, KeyboardInterrupt)):
        with pytest.warns(UserWarning, match="could not be captured as a CUDA graph"):
            step._capture(2, 1, None)
    else:
        with pytest.raises(type(error), match=str(error)):
            step._capture(2, 1, None)
    assert streams == ["before"]


def test_a_callback_may_change_the_record_it_gets(data, tmp_path):
    kept = []

    def log(record):
        kept.append(record.pop("epoch"))
        record["note"] = object()

    options = SMALL | {"checkpoint": tmp_path / "c.npz", "on_epoch": log}
    for epochs in (2, 4):
        history = fit(MF(data, 4), data, **options | {"epochs": epochs})
    assert kept == [1, 2, 3, 4] == [record["epoch"] for record in history.epochs]
    assert all("note" not in record for record in history.epochs)


@pytest.mark.parametrize("protocol", ["none", "validation"])
def test_a_model_in_eval_mode_is_trained_as_any_other_and_returns_to_it(data, protocol):
    vectors = []
    for mode in (True, False):
        model = NGCF(data, 8, 1, message_dropout=0.5).train(mode)
        fit(model, data, **SMALL | {"epochs": 1, "protocol": protocol})
        assert model.training == mode
        assert not any(part.training != mode for part in model.modules())
        vectors.append(model.embedding.weight.detach())
    assert torch.equal(*vectors)
