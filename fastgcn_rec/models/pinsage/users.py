"""What users' features add to their items in PinSAGE."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import normalize

from ...core.graph import Graph, Side
from ...features import Encoded, Features
from ...ops.half_hop import half_hop
from ...ops.uniform_rows import uniform_rows
from .draws import COLD_USERS
from .inputs import Featured, encode

Tensor = torch.Tensor


class UserSide(Featured):
    """f_u = dense_u D + sum_t weights[u, t] table[tokens[u, t]], of the dimension of z; 0 at first. A user's vector is
    normalize(sum of z over the user's items + f_u): the features weigh as a few items do, how many is learnt."""

    def __init__(self, features: Features, encoded: Encoded, dim: int) -> None:
        super().__init__()
        self.make_inputs(features, encoded, dim)

    def forward(self, users: Tensor) -> Tensor:
        """f of users int64 [n]."""
        return self.inputs(users)

    def of_new(self, user_info: Mapping[str, Any]) -> Tensor:
        """f of new users from their columns."""
        dense, tokens, weights = (torch.from_numpy(a) for a in self.features.transform(user_info))
        like = self.table
        return self.inputs_of(dense.to(like), tokens.to(like.device), weights.to(like))

    def in_batch(self, users: Tensor, sizes: Tensor, cold_share: float, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """(f [n, dim] of a batch's users, sizes [n]): how many items each query is made of, for the ``cold_share`` of them that stand for
        new users none; their f is a new user's.

        Where nothing but f makes a query, its gradient is taken |f| times, if that is below 1: the smaller f, the more a step turns it,
        without bound where f begins.
        """
        f, sizes = self(users), sizes.to(self.table.dtype)
        if cold_share:
            rows = torch.arange(len(users), device=users.device)
            cold = uniform_rows(rows, 1, seed=seed, step=step, place=COLD_USERS)[:, 0] < cold_share
            f = torch.where(cold[:, None], self.inputs(users, as_new=True), f)
            sizes = sizes.where(~cold, 0)
        fixed = f.detach()
        turned = fixed + fixed.norm(dim=1, keepdim=True).clamp(max=1) * (f - fixed)
        return torch.where(sizes[:, None] > 0, f, turned), sizes


def make_user_side(features: Any, info: Any, known: Tensor, n_tokens: int | None, dim: int) -> UserSide | None:
    """None where there are no features of users."""
    if features is None:
        if info is not None:
            raise ValueError("PinSAGE: user_info needs user_features, which say how its columns are read")
        return None
    features = features if isinstance(features, Features) else Features.from_json(features)
    return UserSide(features, encode(features, info, known, "user", n_tokens), dim)


@dataclasses.dataclass(frozen=True)
class Summed:
    """Folds in users: normalize(sum of the items' vectors + f), as long as the items' vectors."""

    items: Tensor
    f: Tensor | None

    def __call__(self, edges: Graph, new: Side) -> Tensor:
        if new == "items":
            raise ValueError(
                "PinSAGE: edges alone do not make an item's vector; use embed_items(item_info, item_users)"
            )
        if self.f is not None and len(self.f) != edges.n_users:
            raise ValueError(
                f"PinSAGE: user_info must have a row for each of {edges.n_users} new users, got {len(self.f)}"
            )
        users = half_hop(edges, self.items, "users")
        return normalize(users if self.f is None else users + self.f, dim=1)
