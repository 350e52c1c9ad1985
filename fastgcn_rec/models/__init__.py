"""Models."""

from .base import Recommender
from .ease import EASE
from .graph_filter import GraphFilter
from .item_item import ItemItem
from .lightgcn import LightGCN
from .mf import MF
from .neighbours import ItemKNN, RP3beta
from .ngcf import NGCF
from .pinsage.model import PinSAGE
from .popularity import Popularity

__all__ = [
    "EASE",
    "MF",
    "NGCF",
    "GraphFilter",
    "ItemItem",
    "ItemKNN",
    "LightGCN",
    "PinSAGE",
    "Popularity",
    "RP3beta",
    "Recommender",
]
