"""Ctrl-C, SIGTERM and exceptions at any moment of a training: the same command ends with the bits and the history of an uninterrupted one."""

import contextlib
import gc
import signal
import sys
import threading

import pytest
import torch
from support import watch_steps

from fastgcn_rec import NGCF, LightGCN, evaluate, fit
from fastgcn_rec.cli import main
from fastgcn_rec.system import stopping
from fastgcn_rec.training import Interrupted, checkpoint, choice

KINDS = {
    "no choice": (LightGCN, {"protocol": "none"}),
    "validation": (LightGCN, {}),
    "autograd": (NGCF, {}),
    "stale negatives": (LightGCN, {"protocol": "none", "negatives": "dynamic(1, candidates=4, refresh=3)"}),
    "refit": (LightGCN, {"refit": True}),
    "own part": (LightGCN, {"refit": True, "own_part": True}),
}


class Training:
    """One of KINDS, run as often as asked for."""

    def __init__(self, kind, data, path):
        self.make, own = KINDS[kind]
        own = dict(own)
        self.data, self.path = data.with_valid(data.split_valid(0.2)[1]) if own.pop("own_part", False) else data, path
        self.options = {"epochs": 4, "eval_every": 2, "batch_size": 256, "lr": 0.05, "progress": False, **own}
        self.whole = self.run(None)

    def run(self, path="own", on_epoch=None, model=None):
        model = self.make(self.data, 8, 1) if model is None else model
        path = self.path if path == "own" else path
        history = fit(model, self.data, **self.options, checkpoint=path, on_epoch=on_epoch)
        records = [
            {k: v for k, v in record.items() if k != "seconds"}
            for record in [*history.epochs, None, *history.refit]
            if record
        ]
        rest = history.best_epoch, history.best_metric, history.stopped
        return [p.detach().clone() for p in model.parameters()], records, rest

    def check(self, found):
        assert all(map(torch.equal, found[0], self.whole[0]))
        assert found[1:] == self.whole[1:]

    def run_to_the_end(self, interrupt, **options):
        """As often as it takes, calling interrupt(times run before); how often that was."""
        for times in range(100):
            interrupt(times)
            with contextlib.suppress(Interrupted):
                self.check(self.run(**options))
                return times
        raise AssertionError("no progress")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("same_model", "number"), [(False, signal.SIGINT), (True, signal.SIGTERM)])
def test_a_signal_in_every_step_and_every_evaluation(kind, same_model, number, data, tmp_path, monkeypatch):
    training, epochs, evaluations = Training(kind, data, tmp_path / "c.npz"), [], []
    taken = 0

    def after_a_step(step, t, lr):
        nonlocal taken
        taken += 1
        signal.raise_signal(number)  # the first one in a run of fit comes while a step is under way: it is completed
        return step(t, lr)

    def in_an_evaluation(*args, **kwargs):
        evaluations.append(args)
        if len(evaluations) % 2:
            signal.raise_signal(number)
        return evaluate(*args, **kwargs)

    watch_steps(monkeypatch, after_a_step)
    monkeypatch.setattr(choice, "evaluate", in_an_evaluation)
    model = training.make(data, 8, 1) if same_model else None
    times = training.run_to_the_end(lambda times: None, on_epoch=epochs.append, model=model)
    judged = sum("recall@20" in record for record in training.whole[1])
    assert times == taken + judged  # nothing was done twice
    assert len(evaluations) == 2 * judged
    assert [record["epoch"] for record in epochs] == [1, 2, 3, 4]  # on_epoch is called once for each
    assert (
        signal.getsignal(number) == {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}[number]
    )


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in.*(ZipFile.__del__|_io.FileIO)"
)  # of what was interrupted as it was made
@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_at_any_call(kind, data, tmp_path):
    training = Training(kind, data, tmp_path / "c.npz")

    def counted(stop_at):
        """KeyboardInterrupt at a call of a function in C or the return from one."""
        calls = 0

        def profile(frame, event, arg):
            nonlocal calls
            if event in ("c_call", "c_return"):
                calls += 1
                if calls == stop_at:
                    sys.setprofile(None)
                    raise KeyboardInterrupt

        sys.setprofile(profile)
        try:
            training.run()
        except KeyboardInterrupt:
            pass
        except ValueError as error:  # Python's, of a ZipFile that was opening a member
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
        finally:
            sys.setprofile(None)
            torch.set_grad_enabled(True)
        return calls

    total = counted(0)
    for place in range(12):
        for file in tmp_path.iterdir():
            file.unlink()
        counted(1 + (2 * place + 1) * total // 24)
        training.check(training.run())
    gc.collect()  # what complains does so here


@pytest.mark.parametrize("kind", ["no choice", "refit"])
def test_a_second_signal_stops_in_the_middle_of_a_step_and_saves_nothing_of_it(kind, data, tmp_path, monkeypatch):
    training, halves = Training(kind, data, tmp_path / "c.npz"), iter([5, 10])

    def half_a_step(step, t, lr):
        loss = step(t, lr)
        if t == at:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
        return loss

    for at in halves:
        with monkeypatch.context() as patched:
            watch_steps(patched, half_a_step)
            with pytest.raises(
                Interrupted, match=rf"in step {at} of .*{'begin anew' if at == 5 else 'what followed step'}"
            ):
                training.run()
        assert training.path.exists() == (at > 5)
    training.check(training.run())


def test_a_second_signal_while_the_first_saves_leaves_the_checkpoint_from_before(data, tmp_path, monkeypatch):
    training, write = Training("no choice", data, tmp_path / "c.npz"), checkpoint.save_arrays

    def stop(step, t, lr):
        if t == 7:
            signal.raise_signal(signal.SIGINT)
        return step(t, lr)

    def save(path, meta, arrays):
        if meta["step"] == 8:
            signal.raise_signal(signal.SIGINT)
        write(path, meta, arrays)

    with monkeypatch.context() as patched:
        watch_steps(patched, stop)
        patched.setattr(checkpoint, "save_arrays", save)
        with pytest.raises(Interrupted, match="in step 8 of 12: what followed step 6 is not saved"):
            training.run()
    training.check(training.run())


def test_an_exception_in_a_callback_loses_nothing(data, tmp_path):
    training, epochs = Training("validation", data, tmp_path / "c.npz"), []

    def fails(record):
        epochs.append(record["epoch"])
        if len(epochs) == 3:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        training.run(on_epoch=fails)
    training.check(training.run(on_epoch=fails))
    assert epochs == [1, 2, 3, 4]


def test_without_a_checkpoint_the_model_holds_the_last_step_and_the_whole_graph(data, monkeypatch):
    model, reference = LightGCN(data, 8, 1), LightGCN(data, 8, 1)
    graph = model.graph

    def stop(step, t, lr):
        if t == 3:
            signal.raise_signal(signal.SIGINT)
        return step(t, lr)

    fit(reference, data, epochs=1, batch_size=len(data.train) // 4 + 1, protocol="none", progress=False)
    watch_steps(monkeypatch, stop)
    with pytest.raises(Interrupted, match="in step 4 of 40: pass checkpoint="):
        fit(model, data, epochs=10, batch_size=len(data.train) // 4 + 1, protocol="none", progress=False)
    assert torch.equal(model.embedding.weight, reference.embedding.weight)
    assert model.graph is graph


def test_an_epoch_that_fewer_epochs_make_the_last_is_judged(data, tmp_path):
    training = Training("validation", data, tmp_path / "c.npz")
    training.options |= {"epochs": 3, "eval_every": 4}
    training.whole = training.run(None)
    training.options["epochs"] = 8

    def stop(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        training.run(on_epoch=stop)
    training.options["epochs"] = 3
    training.check(training.run())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_noted_within_and_come_as_ever_outside(number):
    before = signal.getsignal(number)
    with contextlib.suppress(KeyboardInterrupt), stopping.deferred() as stop:
        stopping.check()
        with stopping.deferred() as inner:
            assert inner is stop
            signal.raise_signal(number)
        assert (stop.signal, stop.at_once) == (number, False)
        with pytest.raises(KeyboardInterrupt):
            stopping.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)  # again: at once
        stopping.check()
    assert stop.at_once
    assert signal.getsignal(number) == before
    stopping.check()


def test_a_signal_that_nobody_looked_for_comes_again_at_the_end():
    with pytest.raises(KeyboardInterrupt), stopping.deferred():
        signal.raise_signal(signal.SIGINT)


def test_handlers_of_others_stay_and_other_threads_change_nothing():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *args: seen.append(args))
    try:
        with stopping.deferred() as stop:
            signal.raise_signal(signal.SIGTERM)
        assert (len(seen), stop.signal) == (1, None)
    finally:
        signal.signal(signal.SIGTERM, before)

    def elsewhere():
        with stopping.deferred() as stop:
            seen.append(stop.signal)
            stopping.check()

    with stopping.deferred() as stop:
        stop.signal = signal.SIGINT
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        stop.signal = None
    assert seen[1:] == [None]


@pytest.mark.usefixtures("small_gowalla")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_line_ends_by_the_signals_code_and_goes_on(number, code, tmp_path, monkeypatch, capsys):
    command = ["train", "gowalla", "--epochs", "4", "--dim", "8", "--quiet", "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0

    def stop(step, t, lr):
        signal.raise_signal(number)
        return step(t, lr)

    with monkeypatch.context() as patched:
        watch_steps(patched, stop)
        assert main([*command, str(tmp_path / "broken")]) == code
    assert "run the same command again to go on" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "broken")]) == 0
    models = [(tmp_path / name / "model.npz").read_bytes() for name in ("whole", "broken")]
    assert models[0] == models[1]
