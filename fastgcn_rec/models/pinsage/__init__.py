"""PinSAGE: items by their features and their importance neighbourhoods, users by their items; works for items never seen.

``model`` is what the package makes of it all: ids, vectors of everybody, recommending. ``network`` has the parameters (``inputs``, ``layers``,
``users``), ``walks`` the neighbourhoods, ``batch`` the loss of a batch that ``rounds`` and ``window`` hide from what predicts it (``draws``),
``new_items`` the graph with more items, and ``trend`` what is popular now.
"""

from .model import PinSAGE

__all__ = ["PinSAGE"]
