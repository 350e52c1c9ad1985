"""Models."""

from .base import Recommender
from .blend import Blend
from .ease import EASE
from .graph_filter import GraphFilter
from .ials import IALS
from .item_item import ItemItem
from .lightgcn import LightGCN
from .mf import MF
from .neighbours import ItemKNN, RP3beta, UserKNN
from .ngcf import NGCF
from .pinsage.model import PinSAGE
from .popularity import Popularity
from .slim import SLIM
from .sparse_ease import SparseEASE

__all__ = [
    "EASE",
    "IALS",
    "MF",
    "NGCF",
    "SLIM",
    "Blend",
    "GraphFilter",
    "ItemItem",
    "ItemKNN",
    "LightGCN",
    "PinSAGE",
    "Popularity",
    "RP3beta",
    "Recommender",
    "SparseEASE",
    "UserKNN",
]
