"""PinSAGE: items by their features and their importance neighbourhoods, users by their items; works for items never seen."""

from .model import PinSAGE

__all__ = ["PinSAGE"]
