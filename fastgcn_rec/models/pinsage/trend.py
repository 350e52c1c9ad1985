"""What is popular at the end of training, against what was popular in it."""

from __future__ import annotations

import numpy as np
import torch

from ...core.graph import Graph
from .window import PairTimes

Tensor = torch.Tensor


def trend_of(graph: Graph, times: PairTimes, share: float) -> Tensor:
    """log((r_i + 1) / (s d_i + 1)) of every item, float32 [n_items + 1]: d_i its edges, r_i those among the latest ``share`` of all edges, and those of
    the same time as the first of them, s the share that these are. An item without an edge, and the last entry, for items to come, have the mean over
    the latest edges: they are ranked as an item that is bought now."""
    users, items = graph.edges()
    if not len(items):
        return torch.zeros(graph.n_items + 1)
    time, of = times.to(graph.device).at(users, items).cpu().numpy(), items.cpu().numpy()
    latest = time >= np.sort(time)[min(int((1 - share) * len(time)), len(time) - 1)]
    recent, edges = (np.bincount(ids, minlength=graph.n_items + 1) for ids in (of[latest], of))
    trend = np.log((recent + 1) / (latest.mean() * edges + 1))
    trend[edges == 0] = (recent * trend).sum() / recent.sum()
    return torch.from_numpy(trend.astype(np.float32))
