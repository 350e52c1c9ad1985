"""Models."""

from .base import Recommender
from .lightgcn import LightGCN
from .mf import MF
from .ngcf import NGCF
from .popularity import Popularity

__all__ = ["MF", "NGCF", "LightGCN", "Popularity", "Recommender"]
