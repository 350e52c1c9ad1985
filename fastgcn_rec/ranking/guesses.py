"""What stands in for a node that nothing is known of: the one guess of all models, for their own nodes without an edge and for new ones (docs/serve.md)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..core.graph import Graph

Tensor = torch.Tensor
AsScored = Callable[[Tensor], Tensor]


def without_noise(
    users: Tensor, items: Tensor, graph: Graph, as_scored: AsScored, described: bool
) -> tuple[Tensor, Tensor]:
    """Vectors [n_users, dim], [n_items, dim] in which nodes without an edge, whose rows only ever were initial noise, are guessed: such an item has the
    vector 0, such a user :func:`typical_user`. A user's score of an item then is the mean of those of users with an edge, near popularity.

    described : the nodes are known by more than their edges; then rows stand as they are but for users whose row is 0.
    """
    of_users, of_items = graph.bare("users"), graph.bare("items")
    if not described:
        users, items = _blank(users, of_users), _blank(items, of_items)
    if of_users is not None:
        users = with_guesses(users, of_users, typical_user(users, graph, as_scored))
    return users, items


def _blank(vectors: Tensor, bare: Tensor | None) -> Tensor:
    return vectors if bare is None else vectors.masked_fill(bare[:, None], 0)


def typical_user(users: Tensor, graph: Graph | None, as_scored: AsScored) -> Tensor:
    """[dim]: the mean of ``users`` [n_users, dim] over those with an edge (all of them without a graph), as they enter a score; summed in float64
    in their order."""
    known = as_scored(users if graph is None else users[graph.user_degree > 0])
    if not len(known):
        return users.new_zeros(users.shape[1])
    return torch.from_numpy(known.cpu().numpy().mean(0, dtype=np.float64)).to(users)


def with_guesses(users: Tensor, bare: Tensor, typical: Tensor) -> Tensor:
    """``users`` [n, dim] with ``typical`` in place of the zeros of those without an edge, ``bare`` bool [n]."""
    blank = bare & ~users.any(1)
    return torch.where(blank[:, None], typical, users) if bool(blank.any()) else users
