"""What happened in a training."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class History:
    """What happened: one record an epoch ({"epoch", "loss", "seconds"} and the metrics, where evaluated), and the choice (``best_metric``
    is None where nothing was evaluated); ``refit`` holds the epochs on all of train that followed it.

    Examples
    --------
    >>> from fastgcn_rec import MF, fit
    >>> from fastgcn_rec.data import synthetic_interactions
    >>> data = synthetic_interactions(50, 40, 400)
    >>> history = fit(MF(data, 8), data, epochs=2, protocol="none", progress=False)
    >>> len(history.epochs), history.best_epoch, history.chosen_on
    (2, 2, 'none')
    """

    epochs: list[dict[str, float]] = dataclasses.field(default_factory=list)
    refit: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_metric: float | None = None
    chosen_on: str = "none"
    stopped: str = ""

    @property
    def seconds_train(self) -> float:
        return sum(record["seconds"] for record in self.epochs + self.refit)
