"""The parameters of PinSAGE, and the vectors of items that come of them and of neighbourhoods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import normalize

from ...features import Encoded, Features
from .inputs import Featured
from .layers import Layer, Linear, Neighborhoods
from .users import UserSide

Tensor = torch.Tensor


class Network(Featured):
    """What is learnt, of items and of users' features; it knows no graph. ``options`` are :class:`PinSAGE`'s."""

    options: dict[str, Any]
    user_side: UserSide | None

    def make_network(
        self, options: Mapping[str, Any], features: Features, encoded: Encoded, user_side: UserSide | None
    ) -> None:
        """Makes the parameters and fills them."""
        self.options = dict(options)
        dim, linear = self.options["hidden_dim"], self.options["linear"]
        self.make_inputs(features, encoded, dim)
        self.layers = torch.nn.ModuleList(Layer(dim, linear) for _ in range(self.options["num_layers"]))
        self.G1 = Linear(dim, dim)
        self.G2 = Linear(dim, self.options["embedding_dim"], bias=False)
        self.user_side = user_side
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        generator = torch.Generator().manual_seed(int(self.options["seed"]))
        for name, p in self.named_parameters():
            if p.dim() == 1 or name.startswith("user_side"):
                p.zero_()
                continue
            std = self.options["init_std"] if name in ("table", "dense.weight") else p.shape[1] ** -0.5
            p.copy_(torch.randn(p.shape, generator=generator, device="cpu") * std)
        self.table[self.features.unknown_tokens()] = 0
        for layer in self.layers:
            assert isinstance(layer, Layer)
            if layer.linear:
                one = torch.eye(layer.Q.weight.shape[0])
                layer.Q.weight.copy_(one)
                layer.W.weight.copy_(torch.cat([one, one], 1))

    def embed(self, items: Tensor, near: Neighborhoods) -> Tensor:
        """z of items int64 [n], sorted and distinct: every node that the K layers need is computed once a layer."""
        needed = [items]
        for _ in self.layers:
            ids = near.ids[needed[-1]]
            needed.append(torch.cat([needed[-1], ids[ids >= 0]]).unique())
        h = self.inputs(needed[-1])
        for layer, nodes, inputs in zip(self.layers, needed[-2::-1], needed[:0:-1], strict=True):
            ids = near.ids[nodes]
            h = layer(h, torch.searchsorted(inputs, nodes), Neighborhoods(places(inputs, ids), near.weights[nodes]))
        return self.outputs(h)

    def embed_as_new(self, items: Tensor) -> Tensor:
        """z of items int64 [n] as :meth:`PinSAGE.embed_items` would give it, were they new and without an edge: what ``cold_share`` trains."""
        h, own = self.inputs(items, as_new=True), torch.arange(len(items), device=items.device)
        none = Neighborhoods(items.new_full((len(items), 1), -1), h.new_zeros(len(items), 1))
        for layer in self.layers:
            h = layer(h, own, none)
        return self.outputs(h)

    def outputs(self, h: Tensor) -> Tensor:
        """z of h^K [n, hidden_dim]."""
        return normalize(self.G2(self.G1(h).relu()), dim=1)


def places(items: Tensor, ids: Tensor) -> Tensor:
    """Where ids stand in sorted items; -1 stays -1."""
    return torch.where(ids >= 0, torch.searchsorted(items, ids), ids)
