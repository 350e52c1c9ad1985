"""PinSAGE as users of torch-geometric write it: MessagePassing over bipartite blocks, torch.nn and torch.optim."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch_geometric.nn import MessagePassing

from fastgcn_rec import PinSAGE

Tensor = torch.Tensor


class ImportanceConv(MessagePassing):
    def __init__(self, dim: int) -> None:
        super().__init__(aggr="add")
        self.Q, self.W = torch.nn.Linear(dim, dim), torch.nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor, own: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        target = x[own]
        pooled = self.propagate(
            edge_index, x=(self.Q(x).relu(), None), edge_weight=edge_weight, size=(len(x), len(target))
        )
        return F.normalize(self.W(torch.cat([target, pooled], 1)).relu(), dim=1)

    def message(self, x_j: Tensor, edge_weight: Tensor) -> Tensor:
        return edge_weight[:, None] * x_j


class TorchPinSAGE(torch.nn.Module):
    """With the parameters, features and neighbourhoods of one of ours."""

    def __init__(self, ours: PinSAGE, near: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        dim, (self.near_ids, self.near_weights) = ours.table.shape[1], near
        self.n_items = ours.n_items
        self.features = ours.feature_dense
        kept = ours.feature_tokens >= 0
        self.tokens, self.token_weights = ours.feature_tokens[kept], ours.feature_weights[kept]
        self.counts = kept.sum(1)
        self.first = self.counts.cumsum(0) - self.counts
        self.bag = torch.nn.EmbeddingBag(len(ours.table), dim, mode="sum")
        self.dense = torch.nn.Linear(ours.feature_dense.shape[1], dim, bias=False)
        self.convs = torch.nn.ModuleList(ImportanceConv(dim) for _ in ours.layers)
        self.G1 = torch.nn.Linear(dim, dim)
        self.G2 = torch.nn.Linear(dim, ours.G2.weight.shape[0], bias=False)
        names = {"table": "bag.weight"}
        state = {names.get(n, n.replace("layers.", "convs.")): p.detach().clone() for n, p in ours.named_parameters()}
        self.load_state_dict(state)

    def inputs(self, items: Tensor) -> Tensor:
        counts = self.counts[items]
        offsets = counts.cumsum(0) - counts
        at = torch.arange(int(counts.sum())) + torch.repeat_interleave(self.first[items] - offsets, counts)
        bags = self.bag(self.tokens[at], offsets, per_sample_weights=self.token_weights[at])
        return self.dense(self.features[items]) + bags

    def embed(self, items: Tensor) -> Tensor:
        needed = [items]
        for _ in self.convs:
            ids = self.near_ids[needed[-1]]
            needed.append(torch.cat([needed[-1], ids[ids >= 0]]).unique())
        h = self.inputs(needed[-1])
        place = torch.empty(self.n_items, dtype=torch.int64)
        for conv, nodes, sources in zip(self.convs, needed[-2::-1], needed[:0:-1], strict=True):
            place[sources] = torch.arange(len(sources))
            ids = self.near_ids[nodes]
            target, rank = torch.nonzero(ids >= 0, as_tuple=True)
            edges = torch.stack([place[ids[target, rank]], target])
            h = conv(h, place[nodes], edges, self.near_weights[nodes][target, rank])
        return F.normalize(self.G2(self.G1(h).relu()), dim=1)

    def loss(self, seen: Tensor, pos: Tensor, temperature: float) -> Tensor:
        """In-batch softmax; seen int64 [B, H], the items that a row is predicted from, -1 = none."""
        there = seen >= 0
        items, local = torch.cat([seen[there], pos]).unique(return_inverse=True)
        z, n = self.embed(items), int(there.sum())
        at = torch.zeros_like(seen).masked_scatter(there, local[:n])
        queries = F.normalize((z[at] * there[:, :, None]).mean(1), dim=1)
        return F.cross_entropy(queries @ z[local[n:]].T / temperature, torch.arange(len(pos)))
