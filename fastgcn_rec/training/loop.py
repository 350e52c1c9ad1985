"""Training: one loop for every model that has something to train."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ..data import Dataset, Edges
from ..models import Recommender
from ..ranking.evaluate import evaluate
from ..ranking.metrics import is_better, parse_metric
from ..ranking.same import check_dataset
from ..system import stopping
from ..system.progress import Progress, progress_bar
from ..system.storage import check_target
from . import checkpoint as files
from .config import TrainConfig
from .steps import Step, check_learnable, make_step


@dataclasses.dataclass
class History:
    """What happened: one record an epoch ({"epoch", "loss", "seconds"} and the metrics, where evaluated), and the choice (``best_metric``
    is None where nothing was evaluated); ``refit`` holds the epochs on all of train that followed it."""

    epochs: list[dict[str, float]] = dataclasses.field(default_factory=list)
    refit: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_metric: float | None = None
    chosen_on: str = "none"
    stopped: str = ""

    @property
    def seconds_train(self) -> float:
        return sum(record["seconds"] for record in self.epochs + self.refit)


class Interrupted(stopping.Signalled):
    """Ctrl-C, SIGTERM or SIGHUP during training; the message says what is saved and how to go on, ``signal`` which of them it was."""


def fit(
    model: Recommender,
    dataset: Dataset,
    config: TrainConfig | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    **options: Any,
) -> History:
    """Trains ``model`` on the edges of its graph, with their weights; afterwards it holds the chosen epoch's parameters.

    Parameters
    ----------
    model : MF, LightGCN, ...
        Parameters with ``requires_grad=False`` stay as they are.
    dataset : Dataset
        The one that the model was made from: its ids and training edges are compared with the model's. A model of a Graph of these edges, which
        may have weights of its own, is taken as well.
    config : TrainConfig; ``options`` replace single fields of it
    checkpoint : path, optional
        Written every ``eval_every`` epochs, after the last, and when training stops before. If it exists, training goes on from it
        exactly: the same bits and the same History as without the interruption. Removed by nobody; delete it to start anew.
    progress : bool
        A bar with loss, rate and remaining time; a line from time to time where there is no terminal.
    on_epoch : called with every epoch's record (for logging; not while refitting)
        Once for every epoch, also over interruptions; again only for epochs after the last checkpoint where a process was killed or stopped by a
        second signal.

    Returns
    -------
    History

    Raises
    ------
    ValueError : before training, where there is nothing to train, to learn from or to choose the epoch on, or the checkpoint is of another training.
    FloatingPointError : training diverged (loss or parameters not finite at an epoch's end). The model holds the best epoch so far, or what it held
        before, and the checkpoint is the last one from before.
    Interrupted : Ctrl-C, SIGTERM or SIGHUP: the step under way is completed and all is saved; an evaluation is given up, and taken after going on. A second
        signal stops at once: what is in the middle of a step is not saved, and the checkpoint remains the last whole one. The model holds the
        parameters of the moment.

    Notes
    -----
    The same bits for the same seed, whatever the number of threads: sample t of the training stream depends on (seed, t) alone,
    and all gradient sums have a fixed order.

    Examples
    --------
    >>> from fastgcn_rec.data import synthetic_interactions
    >>> from fastgcn_rec.models import MF
    >>> data = synthetic_interactions(50, 40, 400)
    >>> len(fit(MF(data, 8), data, epochs=2, progress=False).epochs)
    2
    """
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    if unknown := [name for name in options if name not in known]:
        near = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"is {near[0]} meant" if near else f"there are {', '.join(known)}"
        raise TypeError(f"fit: {unknown[0]!r} is no field of TrainConfig; {hint}{'?' if near else ''}")
    config = dataclasses.replace(config or TrainConfig(), **options)
    if not isinstance(model, Recommender):
        raise TypeError(f"fit: model must be a Recommender, such as LightGCN(dataset), got {type(model).__name__}")
    if not list(model.parameters()):
        raise TypeError(
            f"fit: {type(model).__name__} has no parameters to train: a model of this class is ready when it is made"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            f"fit: all parameters of this {type(model).__name__} have requires_grad=False: nothing would be trained; call requires_grad_() on what "
            "should be"
        )
    check_dataset("fit", model, dataset)
    if len(dataset.train) == 0:
        raise ValueError(f"fit: {dataset.name} has no training edges")
    path = None if checkpoint is None else Path(checkpoint)
    with stopping.deferred() as stop, _training_mode(model):
        run = _Run(model, dataset, config, path, stop)
        if not config.refit:
            return run.go(progress, on_epoch)
        again = dataclasses.replace(config, protocol="none", refit=False)
        beside = None if path is None else refit_checkpoint(path)
        if beside is not None and beside.exists():  # found to be another's now, not after the first training
            mine = files.identity_of(model, again, dataset)
            files.check_identity(beside, files.read_identity(beside), mine, any_epochs=True)
        history = run.go(progress, on_epoch)
        _copy(run.initial, run.parameters)
        again = dataclasses.replace(again, epochs=history.best_epoch)
        history.refit = _Run(model, dataset, again, beside, stop).go(progress, None).epochs
        return history


@contextlib.contextmanager
def _training_mode(model: Recommender) -> Iterator[None]:
    """What is drawn at random in training is drawn, whatever mode the model was put in, to which it returns."""
    before = model.training
    model.train()
    try:
        yield
    finally:
        model.train(before)


def refit_checkpoint(checkpoint: str | os.PathLike[str]) -> Path:
    """Where the training after the choice keeps its own checkpoint."""
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}-refit{path.suffix}")


class _Run:
    """The state of one training: everything a checkpoint must hold."""

    def __init__(
        self, model: Recommender, dataset: Dataset, config: TrainConfig, checkpoint: Path | None, stop: stopping.Stop
    ) -> None:
        self.model, self.config, self.checkpoint, self.stop = model, config, checkpoint, stop
        if checkpoint is not None:
            check_target(checkpoint)
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.judge, self.graph = _judge(dataset, config), model.graph
        if config.protocol == "validation":
            assert self.judge is not None
            held = (
                torch.from_numpy(side).long().to(self.graph.device) for side in (self.judge.users, self.judge.items)
            )
            self.graph = self.graph.without_edges(*held)
        check_learnable(self.graph, config, dataset.name)
        self.steps = math.ceil(self.graph.n_edges / config.batch_size)  # an epoch
        self.total = self.steps * config.epochs
        self.identity = {} if checkpoint is None else files.identity_of(model, config, dataset)

        chosen_on = {"validation": "validation", "published": "test (published protocol)", "none": "none"}
        self.history = History(chosen_on=chosen_on[config.protocol])
        self.best = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.initial = {name: p.clone() for name, p in self.best.items()} if config.refit else {}
        self.step, self.seconds = 0, 0.0  # step counts over all epochs; seconds and loss_sum within one
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.graph.device)
        self.reported = 0  # epochs that on_epoch was called for
        self.whole = False  # whether all of this is of one moment, between two steps
        self.saved: int | None = None  # the step that the checkpoint is of
        self.unsaved = True  # whether it lacks something

    def go(self, progress: bool, on_epoch: Callable[[dict[str, float]], None] | None) -> History:
        full_graph, self.model.graph = self.model.graph, self.graph
        try:
            self.model.check_learnable()
            take_step = self.take_step = make_step(self.model, self.config)
            if self.checkpoint is not None and self.checkpoint.exists():
                self._resume(self.checkpoint)
            self.whole = True
            with progress_bar(self.total, "step", initial=self.step, shown=progress) as bar:
                while True:
                    if self.step and self.step % self.steps == 0:
                        self._end_epoch(self.step // self.steps, on_epoch, bar)
                    if self.step >= self.total or self.history.stopped:
                        break
                    stopping.check()
                    self._one_step(take_step, bar)
            if self.judge is not None:
                self.whole = False
                _copy(self.best, self.parameters)
            stopping.check()
        except KeyboardInterrupt:
            raise self._interrupted() from None
        except BaseException:
            with contextlib.suppress(OSError):  # not in place of the error
                self._save()
            raise
        finally:
            self.model.graph = full_graph
        return self.history

    def _one_step(self, take_step: Step, bar: Progress) -> None:
        start = time.perf_counter()
        self.whole, self.unsaved = False, True
        self.loss_sum += take_step(self.step, self.config.lr_at(self.step, self.total))
        self.step += 1
        self.whole = True
        if self.step % 20 == 0 or self.step % self.steps == 0:  # only here the host waits for a GPU
            done = (self.step - 1) % self.steps + 1
            bar.describe(f"epoch {(self.step - 1) // self.steps + 1}, loss {float(self.loss_sum) / done:.4f}")
        self.seconds += time.perf_counter() - start
        bar.update()

    def _end_epoch(self, epoch: int, on_epoch: Callable[[dict[str, float]], None] | None, bar: Progress) -> None:
        """What is left to do of it: all, or, after an interruption, what that left out."""
        history, config = self.history, self.config
        done = len(history.epochs) == epoch
        record = {"epoch": float(epoch), "loss": float(self.loss_sum) / self.steps, "seconds": self.seconds}
        if done:
            record = dict(history.epochs[-1])
        elif not self._is_finite():
            self._diverged(epoch)
        due = epoch % config.eval_every == 0 or epoch == config.epochs
        judged = self.judge is not None and due and config.metric not in record
        if judged:
            record |= self._judged(epoch)
        if judged or not done:
            new = self._choose(epoch, record, judged)
            best = (
                {name: p.detach().clone() for name, p in self.parameters.items()}
                if new.best_epoch == epoch and judged
                else self.best
            )
            self.whole, self.unsaved = False, True
            self.history, self.best, self.seconds = new, best, 0.0
            self.loss_sum.zero_()
            self.whole = True
        if judged:
            bar.write(
                f"epoch {epoch}: loss {record['loss']:.4f}, {config.metric} {record[config.metric]:.4f} on {history.chosen_on}"
            )
        if self.reported < epoch:
            self.reported, self.unsaved = epoch, True
            if on_epoch is not None:
                on_epoch(dict(record))
        if due:
            self._save()

    def _judged(self, epoch: int) -> dict[str, float]:
        stopping.check()
        name, k = parse_metric(self.config.metric)
        names = tuple(dict.fromkeys((name, "recall", "ndcg")))
        assert self.judge is not None
        found = evaluate(self.model, self.judge, self.graph, ks=[k], metrics=names)
        del found["n_users_evaluated"]
        if math.isnan(found[self.config.metric]):
            raise ValueError(
                f"fit: {self.config.metric} on {self.history.chosen_on} is not a number after epoch {epoch}, so that no epoch can be chosen by it: "
                "the users there have no item left to be shown; choose by another metric, or pass protocol='none'"
            )
        return found

    def _choose(self, epoch: int, record: dict[str, float], judged: bool) -> History:
        """The history with this epoch."""
        config, old = self.config, self.history
        new = dataclasses.replace(old, epochs=[*old.epochs[: epoch - 1], record])
        if self.judge is None:
            new.best_epoch = epoch
        elif judged and is_better(config.metric, record[config.metric], old.best_metric):
            new.best_epoch, new.best_metric = epoch, record[config.metric]
        elif judged and config.patience and epoch - old.best_epoch >= config.patience * config.eval_every:
            new.stopped = f"no better {config.metric} in {config.patience} evaluations"
        return new

    def _is_finite(self) -> bool:
        tensors = (self.loss_sum, *self.parameters.values())
        return all(map(math.isfinite, (end for t in tensors if t.numel() for end in torch.aminmax(t.detach()))))

    def _diverged(self, epoch: int) -> None:
        self.whole = False
        _copy(self.best, self.parameters)
        held = (
            "what it held before" if self.history.best_metric is None else f"epoch {self.history.best_epoch}, the best"
        )
        kept = "" if self.saved is None else f", and {self.checkpoint} is of epoch {self.saved // self.steps}, before"
        raise FloatingPointError(
            f"fit: training has diverged, in epoch {epoch} the loss ({float(self.loss_sum) / self.steps:.4g}) or a parameter became infinite or not a "
            f"number; lower lr (now {self.config.lr}). The model holds {held}{kept}"
        )

    # --- interruptions ----------------------------------------------------------------------------------------------

    def _interrupted(self) -> Interrupted:
        number = self.stop.signal or signal.SIGINT
        try:
            kept = not self.unsaved or (not self.stop.at_once and self._save())
        except KeyboardInterrupt:  # the second one: the file is the one from before
            kept = False
        if self.checkpoint is None:
            hint = "pass checkpoint=... to be able to go on after an interruption"
        elif kept:
            hint = f"everything is saved in {self.checkpoint}; run the same command again to go on"
        elif self.saved is not None:
            hint = f"what followed step {self.saved} is not saved; run the same command again to go on from there, by {self.checkpoint}"
        else:
            hint = "nothing is saved yet; run the same command again to begin anew"
        return Interrupted(f"interrupted in step {self.step} of {self.total}: {hint}", number)

    def _save(self) -> bool:
        """Whether all is in the checkpoint now, which takes nothing from the middle of a step and nothing that has diverged."""
        if self.checkpoint is None or not (self.whole and self._is_finite()):
            return False
        if not self.unsaved:
            return True
        state = {
            "step": self.step,
            "loss_sum": float(self.loss_sum),
            "seconds": self.seconds,
            "history": dataclasses.asdict(self.history),
            "reported": self.reported,
        }
        files.write(self.checkpoint, self.identity, state, self._tensors())
        self.saved, self.unsaved = self.step, False
        return True

    def _tensors(self) -> dict[str, torch.Tensor]:
        parts: dict[str, Mapping[str, torch.Tensor]] = {
            "now": self.parameters,
            "best": self.best,
            "initial": self.initial,
        }
        own: dict[str, torch.Tensor] = {f"{part}.{name}": t for part, of in parts.items() for name, t in of.items()}
        return own | self.take_step.state()

    def _resume(self, path: Path) -> None:
        free = not self.config.depends_on_epochs()  # then going on for longer is allowed
        state, tensors = files.read(path, self.identity, self._tensors(), self.graph.n_nodes, free)
        try:
            history = History(**state["history"])
            ended = len(history.epochs)
        except TypeError as error:
            raise ValueError(f"fit: the history in {path} is none: {error}; delete it to start anew") from None
        if not (ended * self.steps <= state["step"] <= (ended + 1) * self.steps and state["step"] <= self.total):
            raise ValueError(
                f"fit: {path} is of step {state['step']} after {ended} epochs, which is not within the {self.total} steps, {self.steps} an epoch, of "
                f"epochs={self.config.epochs}; repeat the old number to go on, or delete it to start anew"
            )
        self.step, self.seconds, self.reported = state["step"], state["seconds"], state["reported"]
        self.loss_sum.fill_(state["loss_sum"])
        self.history = history
        for part, of in (("now", self.parameters), ("best", self.best), ("initial", self.initial)):
            _copy({name: tensors.pop(f"{part}.{name}") for name in of}, of)
        self.take_step.resume(self.step, tensors)
        self.saved, self.unsaved = self.step, False


@torch.no_grad()
def _copy(source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> None:
    for name, t in target.items():
        t.copy_(source[name])


def _judge(dataset: Dataset, config: TrainConfig) -> Edges | None:
    """The edges that an epoch is chosen on; a ValueError where they should be and are not."""
    if config.protocol == "none":
        return None
    if config.protocol == "published":
        if len(dataset.test):
            return dataset.test
        raise ValueError(
            f"fit: protocol='published' chooses the epoch on the test part, and {dataset.name} has none; pass protocol='validation', or "
            "protocol='none' to keep the last epoch"
        )
    _, held = dataset.split_valid(config.valid_fraction, seed=config.seed)
    if len(held):
        return held
    most = int(dataset.graph().user_degree.max())
    larger = f", or valid_fraction={math.ceil(5000 / most) / 10000:g} or more" if most > 1 else ""
    raise ValueError(
        f"fit: valid_fraction={config.valid_fraction} of a user's training edges, rounded, is none for every user of {dataset.name}, where no user "
        f"has more than {most}: there is nothing to choose an epoch on; pass protocol='none' to keep the last epoch{larger}"
    )
