"""PinSAGE: the pooling of all items' neighbourhoods, and a whole minibatch step (forward, backward, Adam), beside torch-geometric.

The features are made up: 8 of 4,096 tokens an item. Neighbourhoods are given to all contenders alike: the walks that make them are timed by
the case "walks", and ``fit`` shares them among the steps of a round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from fastgcn_rec import PinSAGE, TrainConfig, neighbor_pool, random_walk, sample_batch
from fastgcn_rec.features import Features, Text
from fastgcn_rec.models.pinsage.draws import mixed
from fastgcn_rec.negatives import Negatives
from fastgcn_rec.training.steps.make import make_step

from .harness import Comparison, Contender, Settings

BATCH, HISTORY, TEMPERATURE, TOP = 512, 10, 0.1, 10
PAPER = {
    "linear": False,
    "n_walks": 100,
    "walk_length": 3,
    "degree_power": 0.0,
    "cold_share": 0.0,
    "round_share": 0.02,
}


def comparisons(settings: Settings) -> Iterator[Comparison]:
    graph, dim = settings.graph, settings.dim
    generator = torch.Generator().manual_seed(settings.seed)
    words = torch.randint(2000, (graph.n_items, 8), generator=generator).tolist()
    info = {"title": [" ".join(f"w{w}" for w in row) for row in words]}
    model = PinSAGE(
        graph, Features({"title": Text()}), info, embedding_dim=dim, hidden_dim=dim, top=TOP, history=HISTORY, **PAPER
    )
    model.to(settings.device)
    near = model.neighborhoods()
    yield _pooling(near.ids, near.weights, settings)
    if settings.device.type == "cpu":
        yield from _step(model, settings)


def _pooling(ids: torch.Tensor, weights: torch.Tensor, settings: Settings) -> Comparison:
    x = settings.embedding()[: len(ids)].clone().requires_grad_()
    target, rank = torch.nonzero(ids >= 0, as_tuple=True)
    source, weight, grad = ids[target, rank], weights[target, rank], torch.ones_like(x)

    def gradient(pool: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        return lambda: torch.autograd.grad(pool(), x, grad)[0]

    def ours() -> torch.Tensor:
        return neighbor_pool(x, ids, weights)

    def summed() -> torch.Tensor:
        return torch.zeros_like(x).index_add(0, target, x[source] * weight[:, None])

    def gathered() -> torch.Tensor:
        return (x[ids.clamp(min=0)] * weights[:, :, None]).sum(1)

    def gate() -> None:
        torch.testing.assert_close(ours(), summed(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient(ours)(), gradient(summed)(), rtol=1e-4, atol=1e-5)

    jobs = {"ours": ours, "torch, gather and index_add": summed, "torch, gather [n, T, dim] and sum": gathered}
    return Comparison(
        f"pinsage/pool {len(ids)} x {ids.shape[1]}, forward and backward",
        [Contender(name, gradient(job)) for name, job in jobs.items()],
        gate,
        n_units=2 * len(source),
        unit="rows",
    )


def _step(model: PinSAGE, settings: Settings) -> Iterator[Comparison]:
    try:
        from .peers_pinsage import TorchPinSAGE
    except ImportError:
        return
    graph = model.graph
    config = TrainConfig(loss="softmax", temperature=TEMPERATURE, batch_size=BATCH, reg=0.0)
    users, pos, _ = sample_batch(graph, BATCH, 0, seed=config.seed)
    now = model.rounds.at(model.graph, config, 0)
    peer = TorchPinSAGE(model, now.near)
    degree, edge_users = now.graph.user_degree, torch.repeat_interleave(graph.user_degree)
    optimizer = torch.optim.Adam(peer.parameters(), lr=1e-3)

    def history(of: torch.Tensor) -> torch.Tensor:
        rank = (torch.rand(len(of), HISTORY) * degree[of][:, None]).long()
        at = (now.graph.indptr[of][:, None] + rank).clamp(max=now.graph.n_edges - 1)
        return torch.where(degree[of][:, None] > 0, now.graph.indices[at].long(), -1)

    def gate() -> None:
        walks = random_walk(now.graph, users.repeat_interleave(HISTORY), 1, mixed(config.seed, 0))
        seen = torch.where(walks[:, 1] >= 0, walks[:, 1] - graph.n_users, -1).view(BATCH, HISTORY)
        ours = model.batch_loss(config, 0, users, pos, Negatives(pos.new_empty(BATCH, 0)))
        theirs = peer.loss(seen, pos, TEMPERATURE)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        got = torch.autograd.grad(ours, model.table)[0]
        want = torch.autograd.grad(theirs, peer.bag.weight)[0]
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4 * float(want.abs().max()))

    take = make_step(model, config)

    def torch_step() -> torch.Tensor:
        edges = torch.randint(graph.n_edges, (BATCH,))
        loss = peer.loss(history(edge_users[edges]), graph.indices[edges].long(), TEMPERATURE)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    yield Comparison(
        f"pinsage/step, batch {BATCH} from {HISTORY} items each",
        [Contender("ours", lambda: take(0, 1e-3)), Contender("torch-geometric", torch_step)],
        gate,
        n_units=BATCH,
        unit="pairs",
    )
