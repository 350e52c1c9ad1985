"""A model of your own on single ops: python examples/own_model.py [--steps N]

Two kinds of layers, weighed by a learned gate for each node, on the propagation, the sampler and the fused BPR loss of the package. Everything between is
torch; what comes out is evaluated and recommends as the package's own models do.
"""

from __future__ import annotations

import argparse

import torch

import fastgcn_rec as fgr
from fastgcn_rec.data import load_dataset, synthetic_interactions


class Gated(torch.nn.Module):
    """z_v = g_v e_v + (1 - g_v) (A~ E)_v, g = sigmoid(E w): how much of a node is its own and how much its neighbours'."""

    def __init__(self, graph: fgr.Graph, dim: int = 64) -> None:
        super().__init__()
        self.graph = graph
        self.table = torch.nn.Parameter(0.1 * torch.randn(graph.n_nodes, dim))
        self.gate = torch.nn.Linear(dim, 1)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        own, near = self.table, fgr.propagate(self.graph, self.table, alphas=[0.0, 1.0])
        gate = torch.sigmoid(self.gate(own))
        z = gate * own + (1 - gate) * near
        return z[: self.graph.n_users], z[self.graph.n_users :]  # users first, then items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a name or a file; default: made up")
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    torch.manual_seed(0)
    data = (
        load_dataset(args.data, split="random")
        if args.data
        else synthetic_interactions(600, 400, 15_000, dim=8, seed=2)
    )
    graph = data.graph()

    model = Gated(graph)
    adam = fgr.Adam(model.parameters(), lr=1e-2)
    for step in range(args.steps):
        batch = fgr.sample_batch(graph, 1024, n_neg=1, seed=0, offset=1024 * step)  # one seed, and on in its stream
        loss = fgr.bpr_loss(*model(), *batch)  # users, positives, negatives
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 100 == 0:
            print(f"step {step:4d}  loss {loss.item():.4f}")

    with torch.no_grad():
        ranker = fgr.Vectors(*model(), data)
    for name, one in (("gated", ranker), ("popularity", fgr.Popularity(data))):
        found = fgr.evaluate(one, data)
        print(f"{name:10s} Recall@20 {found['recall@20']:.4f}  NDCG@20 {found['ndcg@20']:.4f}")
    ids, scores = ranker.recommend(data.user_ids[:2], k=5)
    print(ids, scores.round(3))


if __name__ == "__main__":
    main()
