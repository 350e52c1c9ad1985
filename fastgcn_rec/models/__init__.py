"""Models."""

from .base import Recommender
from .lightgcn import LightGCN
from .mf import MF
from .pinsage import PinSAGE
from .popularity import Popularity

__all__ = ["MF", "LightGCN", "PinSAGE", "Popularity", "Recommender"]
