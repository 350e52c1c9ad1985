"""A graph and more edges."""

from __future__ import annotations

import torch

from .graph import Graph


def with_edges(graph: Graph, users: torch.Tensor, items: torch.Tensor, weight: torch.Tensor | None = None) -> Graph:
    """The graph and these pairs, int64 [n] each, with weights float32 [n] (default 1) where it has some; edges that it has already stay as they are.

    >>> grown = with_edges(Graph.from_edges([0, 1], [0, 1], n_items=3), torch.tensor([0, 0]), torch.tensor([0, 2]))
    >>> grown.edges()
    (tensor([0, 0, 1]), tensor([0, 2, 1]))
    """
    own_users, own_items = graph.edges()
    new = ~torch.isin(users * graph.n_items + items, own_users * graph.n_items + own_items)
    both = None
    if graph.weight is not None:
        weight = torch.ones(len(users), device=graph.device) if weight is None else weight.to(graph.weight)
        both = torch.cat([graph.weight, weight[new]])
    users, items = torch.cat([own_users, users[new]]), torch.cat([own_items, items[new]])
    return Graph.from_edges(users, items, graph.n_users, graph.n_items, both, device=graph.device)
