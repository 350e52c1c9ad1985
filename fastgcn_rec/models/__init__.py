"""Models."""

from .base import Recommender
from .lightgcn import LightGCN
from .mf import MF
from .popularity import Popularity

__all__ = ["MF", "LightGCN", "Popularity", "Recommender"]
