"""What of a model is worth tuning, and between which values: declared beside each model, for whoever searches."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..system.values import json_value, same_values

Number = int | float


@dataclasses.dataclass(frozen=True)
class Tunable:
    """An option of a model, or a setting of its training, and the values that it may take: a range, or choices.

    Attributes
    ----------
    name : str
        Of an argument of the model, or "train." and that of a field of :class:`fastgcn_rec.TrainConfig`.
    low, high : numbers
        The ends of a range, both in it: of whole numbers if both are.
    log : bool
        Whether ratios count, not differences; then low > 0.
    choices : tuple
        In place of a range: values as TOML holds them, at least two.
    when : (name, values), optional
        What another option or setting must be for this one to play a part, such as ("train.loss", ("softmax",)); else it is left at its default.

    Raises
    ------
    TypeError : ends that are no numbers. ValueError : a range that is empty, or goes below 0 by ratios; both a range and choices, or neither.

    Examples
    --------
    >>> Tunable("num_layers", 1, 3).whole, Tunable("train.lr", 1e-4, 1e-2, log=True).whole
    (True, False)
    >>> Tunable("init", choices=("xavier", "identity")).with_value("orthogonal").choices
    ('xavier', 'identity', 'orthogonal')
    """

    name: str
    low: Number | None = None
    high: Number | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    when: tuple[str, tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.choices, (tuple, list)):
            raise TypeError(f"Tunable: name must be a text and choices a tuple, got {self.name!r} and {self.choices!r}")
        if self.choices:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError(f"Tunable: {self.name} has choices, and then no low, high or log")
            if len(self.choices) < 2:
                raise ValueError(f"Tunable: {self.name} needs at least two choices, got {self.choices}")
            kept = [json_value(one) for one in self.choices]
            if any(same_values(one, other) for n, one in enumerate(kept) for other in kept[:n]):
                raise ValueError(f"Tunable: the choices of {self.name} must differ, got {self.choices}")
            return
        for end in (self.low, self.high):
            if isinstance(end, bool) or not isinstance(end, (int, float)):
                raise TypeError(f"Tunable: low and high of {self.name} must be numbers, or give choices, got {end!r}")
        if not -math.inf < self.ends[0] < self.ends[1] < math.inf:
            raise ValueError(f"Tunable: low must be < high, both finite, got {self.low} and {self.high} of {self.name}")
        if self.log and self.ends[0] <= 0:
            raise ValueError(f"Tunable: low must be > 0 where ratios count, got {self.low} of {self.name}")

    @property
    def ends(self) -> tuple[Number, Number]:
        """(low, high) of a range."""
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    @property
    def whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return not self.choices and isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def first(self) -> Any:
        """The first choice, or the lower end."""
        return self.choices[0] if self.choices else self.low

    def with_value(self, value: Any) -> Tunable:
        """The same, made so wide that ``value`` is in it; as it is where that cannot be, such as 0 where ratios count."""
        if self.choices:
            return self if self.holds(value) else dataclasses.replace(self, choices=(*self.choices, value))
        fits = isinstance(value, int if self.whole else (int, float)) and not isinstance(value, bool)
        if not fits or (self.log and value <= 0):
            return self
        low, high = self.ends
        return dataclasses.replace(self, low=min(low, value), high=max(high, value))

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is one that it may take."""
        if self.choices:
            return any(same_values(json_value(value), json_value(one)) for one in self.choices)
        kind = int if self.whole else (int, float)
        return isinstance(value, kind) and not isinstance(value, bool) and self.ends[0] <= value <= self.ends[1]


_SOFTMAX, _BPR = ("train.loss", ("softmax",)), ("train.loss", ("bpr",))
TRAINING = (  # of every model that is trained
    Tunable("train.lr", 3e-4, 1e-2, log=True),
    Tunable("train.reg", 1e-7, 1e-2, log=True),
    Tunable("train.batch_size", choices=(1024, 2048, 4096)),
    Tunable("train.temperature", 0.05, 0.3, log=True, when=_SOFTMAX),
    Tunable("train.logq", 0.0, 1.0, when=_SOFTMAX),
    Tunable("train.negatives", choices=("", "uniform(4)", "dynamic(1, candidates=32, refresh=8)"), when=_BPR),
)
