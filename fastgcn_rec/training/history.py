"""What happened in a training."""

from __future__ import annotations

import dataclasses


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
