"""What happened in a training."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class History:
    """What happened in a training: its epochs, and the choice among them.

    Attributes
    ----------
    epochs : a record an epoch, {"epoch", "loss", "seconds"} and the metrics, where evaluated
    refit : likewise, of the epochs on all of train and the validation part that followed the choice
    best_epoch, best_metric : the chosen epoch, from 1, and what it is chosen by; None where nothing was evaluated
    chosen_on : "validation" or "validation (latest)", a part of train held out by chance or by time; "validation (own part)", the data set's or
        the one passed; "test (published protocol)"; "none"
    stopped : why it ended before the last epoch; empty where it did not

    Examples
    --------
    >>> from fastgcn_rec import MF, fit
    >>> from fastgcn_rec.data import synthetic_interactions
    >>> data = synthetic_interactions(50, 40, 400)
    >>> history = fit(MF(data, 8), data, epochs=2, protocol="none", progress=False)
    >>> len(history.epochs), history.best_epoch, history.chosen_on
    (2, 2, 'none')
    >>> history  # doctest: +ELLIPSIS
    History(2 epochs, ... s, best_epoch=2, best_metric=None, chosen_on='none')
    """

    epochs: list[dict[str, float]] = dataclasses.field(default_factory=list)
    refit: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_metric: float | None = None
    chosen_on: str = "none"
    stopped: str = ""

    def __repr__(self) -> str:
        refit = f" and {len(self.refit)} on all of train" if self.refit else ""
        best = "None" if self.best_metric is None else f"{self.best_metric:.4f}"
        stopped = f", stopped={self.stopped!r}" if self.stopped else ""
        return (
            f"History({len(self.epochs)} epochs{refit}, {self.seconds_train:.1f} s, best_epoch={self.best_epoch}, "
            f"best_metric={best}, chosen_on={self.chosen_on!r}{stopped})"
        )

    @property
    def seconds_train(self) -> float:
        return sum(record["seconds"] for record in self.epochs + self.refit)
