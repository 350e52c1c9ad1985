"""Training: the settings, the steps and the one loop for every model that has something to train.

``config`` says how, ``batches`` what is drawn, ``steps`` how a step is taken and on which devices, ``choice`` which epoch is kept, ``state`` what
there is between two steps, ``checkpoint`` how that lies in a file; ``loop`` is ``fit``.
"""

from .config import TrainConfig
from .history import History
from .interruption import Interrupted
from .loop import fit

__all__ = ["History", "Interrupted", "TrainConfig", "fit"]
