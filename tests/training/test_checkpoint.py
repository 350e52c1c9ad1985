"""What a checkpoint must be for a training to go on from it."""

import signal

import numpy as np
import pytest
import torch
from support import watch_steps

from fastgcn_rec import MF, NGCF, LightGCN, fit
from fastgcn_rec.cli import main
from fastgcn_rec.experiments import runs
from fastgcn_rec.system.archives import load_arrays, save_arrays
from fastgcn_rec.training import Interrupted
from fastgcn_rec.training.checkpoint import refit_checkpoint

QUICK = {"epochs": 4, "eval_every": 2, "batch_size": 256, "lr": 0.05, "progress": False}
KINDS = {
    "native": (lambda data: MF(data, 8), {}),
    "autograd": (lambda data: NGCF(data, 8, 1), {"protocol": "none"}),
    "stale negatives": (
        lambda data: LightGCN(data, 8, 1),
        {"protocol": "none", "negatives": "dynamic(1, candidates=4, refresh=3)"},
    ),
    "refit": (lambda data: LightGCN(data, 8, 1), {"refit": True}),
}


def tables(model):
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_array_and_field_is_looked_at_before_anything_is_taken(kind, data, tmp_path):
    make, options = KINDS[kind]
    options = {**QUICK, **options, "checkpoint": tmp_path / "c.npz"}
    straight = make(data)
    fit(straight, data, **options)
    meta, arrays = load_arrays(tmp_path / "c.npz", "checkpoint")
    changed = {
        f"without {field}": ({k: v for k, v in meta.items() if k != field}, arrays) for field in meta if field != "kind"
    }
    changed |= {
        "of another format": (meta | {"format": meta["format"] + 1}, arrays),
        "of a later step": (meta | {"step": 10**6}, arrays),
        "with another history": (meta | {"history": {"epochs": []}}, arrays),
        "with fewer epochs": (meta | {"history": meta["history"] | {"epochs": []}}, arrays),
        "with one array more": (meta, arrays | {"now.other": np.zeros(3, np.float32)}),
        "with other stale vectors": (meta, arrays | {"negatives.9": np.zeros((180, 8), np.float32)}),
    }
    assert {name.partition(".")[0] for name in arrays} >= {"now", "best", "exp_avg", "exp_avg_sq", "steps"}
    for name, array in arrays.items():
        changed[f"without {name}"] = meta, {n: a for n, a in arrays.items() if n != name}
        changed[f"{name} in another dtype"] = meta, arrays | {name: array.astype(np.int8)}
        changed[f"{name} in another precision"] = meta, arrays | {name: array.astype(np.float16)}
        changed[f"{name} with an axis more"] = meta, arrays | {name: array[None]}
        if array.ndim:
            changed[f"{name} with a row less"] = meta, arrays | {name: array[1:]}
    model, before = make(data), tables(make(data))
    for how, (fields, kept) in changed.items():
        save_arrays(tmp_path / "c.npz", fields, kept)
        with pytest.raises(ValueError, match=r"c\.npz"):
            fit(model, data, **options)
        assert all(map(torch.equal, tables(model), before)), how
    save_arrays(tmp_path / "c.npz", meta, arrays)
    resumed = make(data)
    fit(resumed, data, **options)
    assert all(map(torch.equal, tables(resumed), tables(straight)))


OTHERS = {
    "another model": (lambda data: LightGCN(data, 8, 0), {}),
    "another dimension": (lambda data: MF(data, 4), {}),
    "other settings": (lambda data: MF(data, 8), {"reg": 0.5}),
    "fewer epochs than were trained": (lambda data: MF(data, 8), {"epochs": 3}),
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("protocol", ["none", "validation"])
def test_the_checkpoint_of_another_training_is_refused(kind, protocol, data, tmp_path):
    make, options = OTHERS[kind]
    same = {**QUICK, "protocol": protocol, "checkpoint": tmp_path / "c.npz"}
    fit(MF(data, 8), data, **same)
    _refused(make(data), data, same | options)


def test_the_checkpoint_of_other_internal_ids_is_refused(data, tmp_path):
    fit(MF(data, 8), data, **QUICK, checkpoint=tmp_path / "c.npz")
    other = data.clustered(4)
    assert other.fingerprint() == data.fingerprint()
    _refused(MF(other, 8), other, {**QUICK, "checkpoint": tmp_path / "c.npz"})


def _refused(model, data, options):
    graph, before = model.graph, tables(model)
    with pytest.raises(ValueError, match=r"c\.npz"):
        fit(model, data, **options)
    assert model.graph is graph
    assert all(map(torch.equal, tables(model), before))


def test_a_refit_checkpoint_of_other_settings_is_noticed_before_the_first_training(data, tmp_path):
    path, epochs = tmp_path / "c.npz", []
    fit(MF(data, 8), data, **QUICK, refit=True, checkpoint=path)
    path.unlink()  # "to start anew"
    with pytest.raises(ValueError, match=r"c-refit\.npz was made with another config"):
        fit(MF(data, 8), data, **QUICK | {"lr": 0.01}, refit=True, checkpoint=path, on_epoch=epochs.append)
    assert not epochs
    refit_checkpoint(path).unlink()
    fit(MF(data, 8), data, **QUICK | {"lr": 0.01}, refit=True, checkpoint=path, on_epoch=epochs.append)
    assert len(epochs) == 4


def test_settings_as_numpy_scalars_name_the_same_training(data, tmp_path):
    path = tmp_path / "c.npz"
    options = {"epochs": np.int64(4), "lr": np.float64(0.05), "refit": np.bool_(False), "batch_size": torch.tensor(256)}
    fit(MF(data, np.int64(8)), data, **QUICK | options, checkpoint=path)
    seen = []
    fit(MF(data, 8), data, **QUICK, checkpoint=path, on_epoch=seen.append)
    assert not seen


@pytest.mark.usefixtures("small_gowalla")
@pytest.mark.parametrize("place", ["evaluate", "_plot", "write_json"])
def test_what_interrupts_a_run_after_training_never_costs_the_training(place, tmp_path, monkeypatch, capsys):
    command = ["train", "gowalla", "--epochs", "2", "--dim", "8", "--quiet", "--refit", "--out", str(tmp_path)]

    def fails(*args):
        raise OSError("no space left")

    def train_again(step, t, lr):
        raise AssertionError("trains anew")

    with monkeypatch.context() as patched:
        patched.setattr(runs, place, lambda *args, **kwargs: fails())
        assert main(command) == 1
    assert "no space left" in capsys.readouterr().err
    watch_steps(monkeypatch, train_again)
    assert main(command) == 0
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [
        "curves.png",
        "metrics.json",
        "model.npz",
        "run.toml",
    ]


def test_a_checkpoint_that_cannot_be_written_says_so_and_keeps_the_last_one(data, tmp_path, monkeypatch):
    path, straight = tmp_path / "c.npz", MF(data, 8)
    history = fit(straight, data, **QUICK)
    with monkeypatch.context() as patched:
        written = []

        def full(*args):
            written.append(args)
            if len(written) > 1:
                raise OSError(28, "No space left on device")
            save_arrays(*args)

        patched.setattr("fastgcn_rec.training.checkpoint.save_arrays", full)
        with pytest.raises(OSError, match="No space left"):
            fit(MF(data, 8), data, **QUICK, checkpoint=path)
    resumed = MF(data, 8)
    again = fit(resumed, data, **QUICK, checkpoint=path)
    assert torch.equal(resumed.embedding.weight, straight.embedding.weight)
    assert [r["loss"] for r in again.epochs] == [r["loss"] for r in history.epochs]


@pytest.mark.parametrize(
    "own", [{}, {"protocol": "none"}, {"refit": True}, {"patience": 1, "eval_every": 1, "lr": 0.5}]
)
def test_a_training_that_has_ended_is_not_done_nor_written_again(own, data, tmp_path, monkeypatch):
    options, first, again = {**QUICK, **own, "checkpoint": tmp_path / "c.npz"}, MF(data, 8), MF(data, 8)
    history = fit(first, data, **options)
    monkeypatch.setattr("fastgcn_rec.training.checkpoint.save_arrays", None)
    watch_steps(monkeypatch, None)
    assert fit(again, data, **options) == history
    assert torch.equal(first.embedding.weight, again.embedding.weight)


def test_ctrl_c_in_a_diverged_epoch_leaves_the_last_good_checkpoint(data, tmp_path, monkeypatch):
    path = tmp_path / "c.npz"

    def diverge(step, t, lr):
        loss = step(t, lr)
        return loss * float("nan") if t == 7 else loss

    def diverge_and_stop(step, t, lr):
        loss = diverge(step, t, lr)
        if t == 7:
            signal.raise_signal(signal.SIGINT)
        return loss

    with monkeypatch.context() as patched:
        watch_steps(patched, diverge_and_stop)
        with pytest.raises(Interrupted, match="what followed step 6 is not saved"):
            fit(MF(data, 8), data, **QUICK, checkpoint=path)
    with monkeypatch.context() as patched:
        watch_steps(patched, diverge)
        with pytest.raises(FloatingPointError, match=r"c\.npz is of epoch 2, before"):
            fit(MF(data, 8), data, **QUICK, checkpoint=path)
    model, straight = MF(data, 8), MF(data, 8)
    fit(model, data, **QUICK, checkpoint=path)
    fit(straight, data, **QUICK)
    assert torch.equal(model.embedding.weight, straight.embedding.weight)


def test_scores_that_overflow_end_training_with_the_last_step_saved(device, data, tmp_path, monkeypatch):
    path, model = tmp_path / "c.npz", LightGCN(data, 8, 1, norm=(0.0, 0.0)).to(device)
    table = model.embedding.weight.detach()

    def overflow(step, t, lr):
        loss = step(t, lr)
        if t == 1:
            table[:] = 3e38  # finite as the loss is; but sums over a user's items are not, and item 0 will be zero
            table[: len(data.user_ids) + 1] = 0
        return loss

    watch_steps(monkeypatch, overflow)
    with pytest.raises(ValueError, match=r"the score of query \d+ and item 0 is NaN"):
        fit(model, data, **QUICK | {"batch_size": 1000, "eval_every": 1}, checkpoint=path)
    meta, arrays = load_arrays(path, "checkpoint")
    assert meta["step"] == 2
    assert np.array_equal(arrays["now.embedding.weight"], table.cpu().numpy())


def test_an_error_is_not_hidden_by_one_of_saving_after_it(data, tmp_path, monkeypatch):
    def fail(step, t, lr):
        raise RuntimeError("device-side assert triggered")

    def fail_too(*args):
        raise RuntimeError("device-side assert triggered, while saving")

    watch_steps(monkeypatch, fail)
    monkeypatch.setattr("fastgcn_rec.training.state.State.save", fail_too)
    with pytest.raises(RuntimeError, match=r"triggered$"):
        fit(MF(data, 8), data, **QUICK, checkpoint=tmp_path / "c.npz")
