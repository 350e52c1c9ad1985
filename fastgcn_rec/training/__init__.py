"""Training: the settings, the steps and the one loop for every model that has something to train."""

from .config import TrainConfig
from .loop import History, Interrupted, fit

__all__ = ["History", "Interrupted", "TrainConfig", "fit"]
