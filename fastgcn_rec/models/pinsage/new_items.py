"""The graph and the ids of a PinSAGE model with more items."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.graph import Graph
from ...core.ids import among, as_ids, check_kind
from ...ranking.folded import edges_of_new
from ..base import Recommender


def graph_with(model: Recommender, n: int, item_users: Any) -> Graph:
    """The model's graph with n more items and their edges; ``item_users`` as for :meth:`PinSAGE.with_items`."""
    users, items = model.graph.edges()
    weight = model.graph.weight
    if item_users is not None:
        new = edges_of_new(model, item_users, "users")
        if new.n_users != n:
            raise ValueError(f"PinSAGE: item_users must have one row for each of {n} new items, got {new.n_users}")
        rows, columns = new.edges()
        users, items = torch.cat([users, columns]), torch.cat([items, rows + model.n_items])
        if weight is not None and new.weight is not None:
            weight = torch.cat([weight, new.weight])
    return Graph.from_edges(users, items, model.n_users, model.n_items + n, weight)


def ids_with(known: NDArray[Any], n: int, item_ids: Any) -> NDArray[Any]:
    """Raw ids of the known items and of n new ones."""
    if item_ids is None:
        if known.dtype.kind not in "iu":
            raise ValueError("PinSAGE: ids of this model are text; pass item_ids, one for each new item")
        item_ids = np.arange(n) + (known.max() + 1 if len(known) else 0)
    new = as_ids(item_ids, "item_ids")
    check_kind(new, known, "PinSAGE: item_ids", "items of the model")
    again = among(np.sort(known), new)
    if len(new) != n or len(np.unique(new)) != n or again.any():
        raise ValueError(
            f"PinSAGE: item_ids must be {n} different ids that the model does not have, got {len(new)}, "
            f"{len(new) - len(np.unique(new))} of them repeated and {again.sum()} known"
        )
    return np.concatenate([known, new])
