"""What a search tried: its trials, whole on disk after each of them, and which one comes next."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

from ..ranking.metrics import is_better
from ..system.files import check_target
from ..system.values import json_value, same_values, write_json

FILE = "study.json"
FORMAT = 1
PROMOTED = 3  # of so many short trainings the best one is trained in full
SHORT = 3  # times shorter
_EARLY = 0.4  # of a training, before which none is stopped
_JUDGED = 3  # trials, of which the median says what falls behind

Stage = Literal["full", "short"]
State = Literal["done", "stopped", "failed"]


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of a search, or one making of a model that is not trained.

    Attributes
    ----------
    stage : "full", or "short" for a training of a third of the epochs, with a schedule of its own
    params : what the search chose: options by their names, settings of training as "train.NAME"
    state : "done"; "stopped", as it fell behind the others; "failed"
    value : the metric on the validation part, the best of its epochs; NaN where there is none
    values : of each epoch that was evaluated, (part of the training, metric)
    epochs, seconds : that it took
    error : what went wrong, or ""

    Examples
    --------
    >>> Trial("full", {"reg": 10.0}, "done", 0.25).value
    0.25
    """

    stage: Stage
    params: Mapping[str, Any]
    state: State = "done"
    value: float = math.nan
    values: Sequence[tuple[float, float]] = ()
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Begun:
    """A trial under way: what it is of, and what it had when it was written."""

    stage: Stage
    params: Mapping[str, Any]
    values: Sequence[tuple[float, float]] = ()
    seconds: float = 0.0


class Study:
    """The trials of one search: of one data set, recipe, space, metric and seed, which ``about`` holds.

    ``folder`` None: nothing is written.
    """

    def __init__(self, about: Mapping[str, Any], metric: str, folder: Path | None = None) -> None:
        self.about, self.metric, self.folder = json_value(about), metric, folder
        self.trials: list[Trial] = []
        self.begun: Begun | None = None
        self._sign = sign_of(metric)

    @classmethod
    def opened(cls, about: Mapping[str, Any], metric: str, folder: Path | None, overwrite: bool = False) -> Study:
        """The study of that folder, to go on with, or a new one.

        Raises
        ------
        FileExistsError : it holds another one; names what differs. ValueError : its file is damaged.
        """
        study = cls(about, metric, folder)
        if folder is None:
            return study
        file = check_target(folder / FILE)
        if overwrite or not file.exists():
            return study
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["format"] != FORMAT:
                raise ValueError(f"its format is {kept['format']!r}, and {FORMAT} is what this version reads")
            there = kept["about"]
            names = {one["name"] for one in there["space"]}
            study.trials = [_trial(one, names) for one in kept["trials"]]
            study.begun = None if kept["begun"] is None else Begun(**_filled(kept["begun"], names))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{file} is no study that can be gone on with: {error}; name another folder by --out, or take --overwrite to lose it"
            ) from None
        differ = list(_differences("", there, study.about))
        if differ:
            shown = ", ".join(f"{key} is {_short(theirs)} there, {_short(ours)} here" for key, theirs, ours in differ)
            raise FileExistsError(
                f"{folder} holds another study: {shown}; name another folder by --out, or take --overwrite to lose what is there"
            )
        return study

    def save(self) -> None:
        if self.folder is not None:
            trials = [dataclasses.asdict(trial) for trial in self.trials]
            begun = None if self.begun is None else dataclasses.asdict(self.begun)
            write_json(self.folder / FILE, {"format": FORMAT, "about": self.about, "trials": trials, "begun": begun})

    def add(self, trial: Trial) -> None:
        """The trial that was under way, ended."""
        self.trials.append(trial)
        self.begun = None
        self.save()

    @property
    def seconds(self) -> float:
        """Of all trials, and of the one under way."""
        return sum(trial.seconds for trial in self.trials) + (0.0 if self.begun is None else self.begun.seconds)

    def best(self) -> Trial | None:
        """The first of the best ones that were not stopped."""
        found: Trial | None = None
        for trial in self.trials:
            if trial.state == "done" and is_better(self.metric, trial.value, None if found is None else found.value):
                found = trial
        return found

    def to_promote(self) -> Trial | None:
        """The best short one that was not trained in full, where there are short ones enough; the first one, of what the recipe is, was already."""
        short = [trial for trial in self.trials if trial.stage == "short"]
        full = [trial for trial in self.trials if trial.stage == "full"]
        if len(short) - 1 < PROMOTED * len(full):  # the first full one is the recipe
            return None
        left = [trial for trial in short if trial.state == "done" and not any(same_values(trial.params, one.params) for one in full)]  # fmt: skip
        return max(left, key=lambda trial: trial.value * self._sign, default=None)

    def falls_behind(self, stage: Stage, part: float, value: float) -> bool:
        """The median rule (Golovin et al. 2017, "Google Vizier", section 3.2): whether the best so far, after that part of a training, is worse than the
        median of what the trials of the stage that were completed had by then. Not early in a training, where rates still rise, nor at its end."""
        if not _EARLY <= part < 1:
            return False
        then = [
            max(own * self._sign for at, own in trial.values if at <= part)
            for trial in self.trials
            if trial.stage == stage and trial.state == "done" and any(at <= part for at, _ in trial.values)
        ]
        return len(then) >= _JUDGED and value * self._sign < median(then)


def sign_of(metric: str) -> int:
    """1 where more of the metric is better, else -1.

    >>> sign_of("recall@20"), sign_of("gini@20")
    (1, -1)
    """
    return 1 if is_better(metric, 1.0, 0.0) else -1


def _number(kept: Any) -> float:
    """A metric; NaN, which JSON does not have, is null there."""
    return math.nan if kept is None else float(kept)


def _trial(kept: dict[str, Any], names: set[str]) -> Trial:
    if kept["state"] not in get_args(State):
        raise ValueError(f"a trial's state is {kept['state']!r}")
    return Trial(**_filled({**kept, "value": _number(kept["value"])}, names))


def _filled(kept: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """What every trial has, in its types. TypeError, ValueError, KeyError: it is none of this space."""
    seconds = float(kept["seconds"])
    if kept["stage"] not in get_args(Stage) or set(kept["params"]) != names or not 0 <= seconds < math.inf:
        raise ValueError(
            f"a trial has the stage {kept['stage']!r}, {seconds} s and the options {', '.join(kept['params'])}"
        )
    return {**kept, "seconds": seconds, "values": [(float(at), _number(value)) for at, value in kept["values"]]}


def _differences(key: str, there: Any, here: Any) -> Iterator[tuple[str, Any, Any]]:
    """(key, value there, value here) of what differs, down to single settings."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in {**there, **here}:
            yield from _differences(f"{key}.{name}" if key else name, there.get(name), here.get(name))
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for n, (theirs, ours) in enumerate(zip(there, here, strict=True)):
            yield from _differences(f"{key}[{n}]", theirs, ours)
    elif not same_values(there, here):
        yield key, there, here


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
