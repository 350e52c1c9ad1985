"""What a training holds between two of its steps: all that a checkpoint must hold."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..core.world import World
from ..models import Recommender
from ..system.progress import Progress
from .checkpoint import Checkpoint
from .config import TrainConfig
from .history import History
from .steps.step import ManySteps, Step

Tensor = torch.Tensor
_SECONDS, _STEPS, _MOST_STEPS = 0.2, 20, 1000  # between two losses that are shown


class State:
    """The state of one training of ``model``, whose graph is the one that is trained on.

    Every change is made between ``whole = False`` and ``whole = True``: what comes up in the middle, by whatever way, finds a state that is not
    of one moment, which is never saved.

    Attributes
    ----------
    steps_per_epoch, total : int, the steps of one epoch and of all
    parameters : the trained ones of the model, by name
    best : copies of those of the best epoch so far; from before the training, where none was evaluated
    initial : copies from before the training, for a refit
    step : int, steps taken, over all epochs. loss_sum, seconds : within the epoch
    history : of the epochs that have ended. reported : how many of them ``on_epoch`` was called for
    saved : the step that the checkpoint is of, if there is one. unsaved : whether it lacks something
    """

    take_step: Step

    def __init__(self, model: Recommender, config: TrainConfig, chosen_on: str, checkpoint: Checkpoint | None) -> None:
        self.config, self.checkpoint, self.n_nodes = config, checkpoint, model.graph.n_nodes
        self.world = World() if model.columns is None else model.columns.world
        self.steps_per_epoch = config.steps_per_epoch(model.graph.n_edges)
        self.total = self.steps_per_epoch * config.epochs
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.best = _copies(self.parameters)
        self.initial = _copies(self.parameters) if config.refit else {}
        self.step, self.seconds = 0, 0.0
        self._shown, self._show_at = (0, time.perf_counter()), _STEPS
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=model.graph.device)
        self.history, self.reported = History(chosen_on=chosen_on), 0
        self.saved: int | None = None
        self.whole, self.unsaved = False, True

    def begin(self, take_step: Step) -> None:
        """With this way of taking steps: at the beginning, or where the checkpoint was left."""
        self.take_step = take_step
        if self.checkpoint is not None and self.checkpoint.exists():
            self._resume(self.checkpoint)
        self.whole = True

    def advance(self, bar: Progress) -> None:
        """One step, or as many as are taken at once, if the epoch has as many left."""
        start, take, before = time.perf_counter(), self.take_step, self.step
        n = take.at_once if isinstance(take, ManySteps) else 1
        if n > self.steps_per_epoch - before % self.steps_per_epoch:
            n = 1
        rates = [self.config.lr_at(t, self.total) for t in range(before, before + n)]
        self.whole, self.unsaved = False, True
        if isinstance(take, ManySteps):
            take.many(before, rates, self.loss_sum)
        else:
            self.loss_sum += take(before, rates[0])
        self.step += n
        self.whole = True
        if self.step >= self._show_at or self.step % self.steps_per_epoch == 0:
            self._show(bar)
        self.seconds += time.perf_counter() - start
        bar.update(n)

    def _show(self, bar: Progress) -> None:
        """Only here the host waits for a GPU, which is idle for a moment then: after as many steps as take a fifth of a second, and so no farther ahead of it."""
        done = (self.step - 1) % self.steps_per_epoch + 1
        bar.describe(f"epoch {(self.step - 1) // self.steps_per_epoch + 1}, loss {float(self.loss_sum) / done:.4f}")
        (step, then), self._shown = self._shown, (self.step, time.perf_counter())
        each = (self._shown[1] - then) / max(1, self.step - step)
        self._show_at = self.step + max(_STEPS, min(_MOST_STEPS, int(_SECONDS / max(each, 1e-6))))

    # --- epochs -----------------------------------------------------------------------------------------------------

    @property
    def ended_epoch(self) -> int:
        """The number of the epoch that the last step was the last of; 0 in the middle of one."""
        return self.step // self.steps_per_epoch if self.step and self.step % self.steps_per_epoch == 0 else 0

    @property
    def done(self) -> bool:
        return self.step >= self.total or bool(self.history.stopped)

    def record(self) -> dict[str, float]:
        """Of the epoch that has ended, as far as it is known: after an interruption, what that left. FloatingPointError where training has diverged."""
        epoch = self.ended_epoch
        if len(self.history.epochs) == epoch:
            return dict(self.history.epochs[-1])
        if not self._is_finite():
            self._fall_back(epoch)
        seconds = float(self.world.of_first(self.seconds))  # the record is the same on all ranks
        return {"epoch": float(epoch), "loss": float(self.loss_sum) / self.steps_per_epoch, "seconds": seconds}

    def end_epoch(self, history: History) -> None:
        """Takes the history with the epoch that has ended, and its parameters, if it is the best."""
        if history == self.history:
            return
        is_best = history.best_metric is not None and history.best_epoch == self.ended_epoch
        best = _copies(self.parameters) if is_best else self.best
        self.whole, self.unsaved = False, True
        self.history, self.best, self.seconds = history, best, 0.0
        self.loss_sum.zero_()
        self.whole = True

    def report(self, on_epoch: Callable[[dict[str, float]], None] | None) -> None:
        """Calls ``on_epoch`` with the last epoch's record, once over all interruptions."""
        if self.reported < len(self.history.epochs):
            self.reported, self.unsaved = len(self.history.epochs), True
            if on_epoch is not None:
                on_epoch(dict(self.history.epochs[-1]))

    def _is_finite(self) -> bool:
        """On every rank."""
        tensors = (self.loss_sum, *self.parameters.values())
        ends = (end for t in tensors if t.numel() for end in torch.aminmax(t.detach()))
        return not self.world.any(not all(map(math.isfinite, ends)))

    def _fall_back(self, epoch: int) -> None:
        self.restore(self.best)
        held = (
            "what it held before" if self.history.best_metric is None else f"epoch {self.history.best_epoch}, the best"
        )
        kept = ""
        if self.saved is not None and self.checkpoint is not None:
            kept = f", and {self.checkpoint.path} is of epoch {self.saved // self.steps_per_epoch}, before"
        raise FloatingPointError(
            f"fit: training has diverged, in epoch {epoch} the loss ({float(self.loss_sum) / self.steps_per_epoch:.4g}) or a parameter became infinite or not a "
            f"number; lower lr (now {self.config.lr}). The model holds {held}{kept}"
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Parameters of another moment into the model; nothing is saved after that."""
        self.whole = False
        _copy(tensors, self.parameters)

    # --- the checkpoint ---------------------------------------------------------------------------------------------

    def save(self) -> bool:
        """Whether all is in the checkpoint now, which takes nothing from the middle of a step and nothing that has diverged."""
        if self.checkpoint is None or not (self.whole and self._is_finite()):
            return False
        if self.unsaved:
            fields: dict[str, Any] = {
                "step": self.step,
                "loss_sum": float(self.loss_sum),
                "seconds": self.seconds,
                "history": dataclasses.asdict(self.history),
                "reported": self.reported,
            }
            self.checkpoint.write(fields, self._tensors())
            self.saved, self.unsaved = self.step, False
        return True

    def _parts(self) -> dict[str, Mapping[str, Tensor]]:
        return {"now": self.parameters, "best": self.best, "initial": self.initial}

    def _tensors(self) -> dict[str, Tensor]:
        own: dict[str, Tensor] = {f"{part}.{name}": t for part, of in self._parts().items() for name, t in of.items()}
        return own | self.take_step.state()

    def _resume(self, checkpoint: Checkpoint) -> None:
        found, tensors = checkpoint.read(self._tensors(), self.n_nodes)
        path = checkpoint.path
        try:
            history = History(**found["history"])
            ended = len(history.epochs)
        except TypeError as error:
            raise ValueError(f"fit: the history in {path} is none: {error}; delete it to start anew") from None
        if not (
            ended * self.steps_per_epoch <= found["step"] <= (ended + 1) * self.steps_per_epoch
            and found["step"] <= self.total
        ):
            raise ValueError(
                f"fit: {path} is of step {found['step']} after {ended} epochs, which is not within the {self.total} steps, {self.steps_per_epoch} an epoch, of "
                f"epochs={self.config.epochs}; repeat the old number to go on, or delete it to start anew"
            )
        self._shown, self._show_at = (found["step"], time.perf_counter()), found["step"] + _STEPS
        self.step, self.seconds, self.reported = found["step"], found["seconds"], found["reported"]
        self.loss_sum.fill_(found["loss_sum"])
        self.history = history
        for part, of in self._parts().items():
            _copy({name: tensors.pop(f"{part}.{name}") for name in of}, of)
        self.take_step.resume(self.step, tensors)
        self.saved, self.unsaved = self.step, False


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in tensors.items()}


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, t in target.items():
        t.copy_(source[name])
