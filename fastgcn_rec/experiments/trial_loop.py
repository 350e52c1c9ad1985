"""Trial after trial of a search: what comes next, what cuts one, and what is said of it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import torch

from ..system.stopping import Signalled
from ..system.values import same_values
from ..training.checkpoint import remove_checkpoint
from .recipe_file import write_recipe
from .recipes import Recipe
from .search import Search
from .study import PROMOTED, SHORT, Begun, Study, Trial, sign_of
from .trials import Bench

WINNER = "recipe.toml"
CHECKPOINT = "trial.npz"  # of a training that is not finished
_FAILURES = (ValueError, FloatingPointError, MemoryError, torch.OutOfMemoryError)  # of values that do not work


class _Cut(Exception):
    """The time is up."""


class _Behind(Exception):
    """The trial falls behind the others."""


class Work:
    """Trial after trial, until trials or seconds are used up."""

    def __init__(self, bench: Bench, study: Study, search: Search, seconds: float, say: Callable[[str], None]) -> None:
        self.bench, self.study, self.search, self.seconds, self.say = bench, study, search, seconds, say
        self.checkpoint = None if study.folder is None else study.folder / CHECKPOINT
        self.longest = max((trial.seconds for trial in study.trials), default=0.0)

    def run(self, most: int | None, ended: Callable[[], None]) -> str:
        """Why it ended. Signalled, a KeyboardInterrupt: all is saved."""
        try:
            return self._until(most, ended)
        except KeyboardInterrupt as error:
            raise self._interrupted(error) from None

    def _until(self, most: int | None, ended: Callable[[], None]) -> str:
        study, up = self.study, f"{self.seconds / 60:g} minutes are over"
        while most is None or len(study.trials) < most:
            uncut = self.longest if self.bench.recipe.train is None else 0.0  # what is not trained is not cut
            if study.seconds + uncut >= self.seconds:
                return up
            if study.begun is None:
                if (following := self._next()) is None:
                    return "the space has nothing that was not tried"
                study.begun = following
                self._forget()
                study.save()
            try:
                trial = self._tried(study.begun)
            except _Cut:
                return f"{up}, within trial {len(study.trials)}"
            study.add(trial)
            self._forget()
            self.longest = max(self.longest, trial.seconds)
            if study.folder is not None:
                write_recipe(self.winner(), study.folder / WINNER)
            self.say(self._line(trial))
            ended()
        return f"{most} trials"

    def _next(self) -> Begun | None:
        """The recipe in full, then short, as it is what all are compared with; then new values, or the best of those that were short."""
        trials, bench = self.study.trials, self.bench
        if not trials:
            return Begun("full", bench.params)
        stage = bench.stages[-1]
        tried = [trial for trial in trials if trial.stage == stage]
        if not tried:
            return Begun(stage, bench.params)
        if stage == "short" and (best := self.study.to_promote()) is not None:
            return Begun("full", best.params)
        params = self.search.propose(tried)
        return None if params is None else Begun(stage, params)

    def _tried(self, begun: Begun) -> Trial:
        """The trial, ended. What cuts it leaves what it has in the study."""
        study, start = self.study, time.perf_counter()
        values, epochs = dict(begun.values), 0
        first = not study.trials

        def noted() -> None:
            spent = begun.seconds + time.perf_counter() - start
            study.begun = dataclasses.replace(begun, values=sorted(values.items()), seconds=spent)

        def on_epoch(record: dict[str, float], n: int) -> None:
            nonlocal epochs
            epochs = int(record["epoch"])
            if first and epochs == 1:
                self._estimate(record["seconds"], n)
            if self.bench.metric in record:
                values[epochs / n] = record[self.bench.metric]
                by_then = [value for at, value in values.items() if at <= epochs / n]
                so_far = max(by_then, key=lambda value: value * sign_of(self.bench.metric))
                if not first and study.falls_behind(begun.stage, epochs / n, so_far):
                    raise _Behind
            if epochs < n:
                noted()
                if self.bench.metric in record:  # before the checkpoint is: what a kill leaves has all that came before
                    study.save()
                if study.seconds >= self.seconds:
                    raise _Cut

        def ended(state: Any, value: float = math.nan, error: str = "") -> Trial:
            spent = begun.seconds + time.perf_counter() - start
            return Trial(begun.stage, begun.params, state, value, sorted(values.items()), epochs, spent, error)

        try:
            recipe = self.bench.recipe_of(begun.stage, begun.params)
            value, found, epochs = self.bench.run(recipe, self.checkpoint, on_epoch)
            values |= dict(found)
            return ended("done", value)
        except _Behind:
            return ended("stopped")
        except (_Cut, KeyboardInterrupt):
            noted()
            study.save()
            raise
        except _FAILURES as error:
            if first:
                raise
            return ended("failed", error=str(error) or type(error).__name__)

    def _interrupted(self, error: KeyboardInterrupt) -> Signalled:
        number, folder = getattr(error, "signal", None), self.study.folder
        kept = "pass out= to be able to go on after an interruption" if folder is None else (
            f"all is saved in {folder}; run the same command again to go on"
        )  # fmt: skip
        said = f"interrupted in trial {len(self.study.trials)}: {kept}"
        return Signalled(said) if number is None else Signalled(said, number)

    def _forget(self) -> None:
        if self.checkpoint is not None:
            remove_checkpoint(self.checkpoint)

    def _estimate(self, seconds: float, epochs: int) -> None:
        """How long it will take, by the first epoch; evaluations come on top."""
        full = seconds * epochs
        short = full / SHORT if "short" in self.bench.stages else 0.0
        said = f"an epoch takes {seconds:.1f} s, a training {full / 60:.1f} minutes" + f", a short one {short / 60:.1f}" * (short > 0)  # fmt: skip
        if self.seconds < math.inf:
            left = max(0.0, self.seconds - full - short)
            n = left / (full if not short else (PROMOTED * short + full) / (PROMOTED + 1))
            said += f"; about {n:.0f} trials after the recipe's own in {self.seconds / 60:g} minutes, more where some are stopped"
        self.say(said)

    def _line(self, trial: Trial) -> str:
        n, best = len(self.study.trials) - 1, self.study.best()
        came = {"stopped": f"stopped after {trial.epochs} epochs", "failed": f"failed: {trial.error}"}
        reached = came.get(trial.state, f"{self.bench.metric} {trial.value:.4f}")
        if best is not None and best is not trial:
            reached += f" (best {best.value:.4f})"
        differ = {key: value for key, value in trial.params.items() if not same_values(value, self.bench.params[key])}
        what = (
            "the recipe" * (not differ)
            + ", " * (not differ and trial.stage == "short")
            + "short" * (trial.stage == "short")
            or "in full"
        )
        changes = ", ".join(f"{key.removeprefix('train.')} {shown(value)}" for key, value in differ.items())
        return f"trial {n}, {what}: {reached}, {trial.seconds:.0f} s" + f": {changes}" * bool(differ)

    def winner(self) -> Recipe:
        """The best recipe as it was trained; that which the search began from where none was trained to its end."""
        best, recipe = self.study.best(), self.bench.recipe
        if best is None:
            return recipe
        told = f"{self.bench.metric} {best.value:.4f} on the validation part of {self.bench.data.name}, the best of {len(self.study.trials)} trials of tune"
        return dataclasses.replace(self.bench.recipe_of(best.stage, best.params), expected=told)


def shown(value: Any) -> str:
    """As tables and lines have it.

    >>> shown(0.00012), shown("xavier")
    ('0.00012', 'xavier')
    """
    return f"{value:g}" if isinstance(value, float) else str(value)
