"""A whole training step: LightGCN with BPR, LightGCN with in-batch softmax, matrix factorization."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

import torch

from fastgcn_rec import Adam, Graph, TrainStep, bpr_loss, l2_loss, propagate, sample_batch, softmax_loss

from . import peers
from .harness import Comparison, Contender, Settings, on_first_call

BATCH, REG, LR, TEMPERATURE = 2048, 1e-4, 1e-3, 0.12
Tensor = torch.Tensor


class Job:
    """A model (number of layers) and a loss; every way to take a step of it."""

    def __init__(self, settings: Settings, loss: str, n_layers: int) -> None:
        self.graph, self.loss, self.n_layers = settings.graph, loss, n_layers
        self.start = settings.embedding()
        self.alphas = [1 / (n_layers + 1)] * (n_layers + 1)
        self.n_neg = 0 if loss == "softmax" else 1
        self.batch = sample_batch(self.graph, BATCH, self.n_neg, seed=1)  # what the peers get, drawn beforehand

    def fused(
        self, storage: torch.dtype | None = None, optimizer: Literal["adam", "lazy_adam", "adagrad", "sgd"] = "adam"
    ) -> Callable[[], Tensor]:
        """Ours, sampling included, with the number of the step on the device, so that a graph can go on."""
        step = TrainStep(
            self.graph, self.start.clone(), self.alphas, loss=self.loss, temperature=TEMPERATURE, reg=REG, lr=LR, storage=storage, optimizer=optimizer,
        )  # fmt: skip

        device = self.start.device
        seed, offset = torch.tensor(0, device=device), torch.tensor(0, device=device)

        def run() -> Tensor:
            users, pos, neg = sample_batch(self.graph, BATCH, self.n_neg, seed=seed, offset=offset)
            offset.add_(BATCH)
            return step(users, pos, neg if self.n_neg else None)

        return run

    def composed(self) -> Callable[[], Tensor]:
        """Ours, from single ops under autograd, sampling included."""
        table = torch.nn.Parameter(self.start.clone())
        alphas = torch.tensor(self.alphas, device=table.device)  # a list is copied to the device by every call
        optimizer = Adam([table], lr=LR, capturable=table.device.type == "cuda")

        def run() -> Tensor:
            users, pos, neg = sample_batch(self.graph, BATCH, self.n_neg, seed=0)
            z = propagate(self.graph, table, alphas).split([self.graph.n_users, self.graph.n_items])
            nodes = torch.cat([users, self.graph.n_users + pos, (self.graph.n_users + neg).flatten()])
            value = bpr_loss(*z, users, pos, neg) if self.n_neg else softmax_loss(*z, users, pos, TEMPERATURE)
            return self._step(optimizer, value + REG / BATCH * l2_loss(table, nodes))

        return run

    def torch_form(self, multiply: Callable[[Tensor], Tensor], fused_adam: bool = True) -> Callable[[], Tensor]:
        """Plain torch with a sparse product; sampling not included."""
        table = torch.nn.Parameter(self.start.clone())
        on_gpu = table.device.type == "cuda"
        optimizer = torch.optim.Adam([table], lr=LR, fused=fused_adam, capturable=on_gpu)
        users, pos, neg = self.batch
        n = self.graph.n_users

        def run() -> Tensor:
            z = peers.mean_of_layers(multiply, table, self.n_layers)
            value = peers.bpr(z, n, users, pos, neg) if self.n_neg else peers.softmax(z, n, users, pos, TEMPERATURE)
            items = (pos, neg) if self.n_neg else (pos,)
            return self._step(optimizer, value + REG * peers.ridge(table, n, users, *items))

        return run

    def geometric(self, adjacency: Tensor) -> Callable[[], Tensor]:
        """torch-geometric's LightGCN as its documentation trains it (BPR); sampling not included."""
        from torch_geometric.nn import LightGCN

        model = LightGCN(self.graph.n_nodes, self.start.shape[1], self.n_layers).to(self.start.device)
        model.load_state_dict({**model.state_dict(), "embedding.weight": self.start})
        optimizer = torch.optim.Adam(model.parameters(), lr=LR)
        users, pos, neg = self.batch
        n = self.graph.n_users
        labels = torch.stack([users.repeat(2), n + torch.cat([pos, neg[:, 0]])])

        def run() -> Tensor:
            positive, negative = model(adjacency, labels).chunk(2)
            return self._step(
                optimizer, model.recommendation_loss(positive, negative, node_id=labels.unique(), lambda_reg=REG)
            )

        return run

    @staticmethod
    def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def gate(self, csr: Tensor) -> None:
        """One step of ours on the peers' batch, against plain torch."""
        table = self.start.clone()
        step = TrainStep(
            self.graph, table, self.alphas, loss=self.loss, temperature=TEMPERATURE, reg=REG, lr=LR
        )  # fmt: skip
        users, pos, neg = self.batch
        ours = step(users, pos, neg if self.n_neg else None)
        theirs = self.torch_form(lambda x: peers.SymmetricMatmul.apply(csr, x))()
        assert math.isclose(ours, theirs, rel_tol=1e-4), f"losses differ: ours {ours}, torch's {theirs}"
        wanted = torch.nn.Parameter(self.start.clone())
        z = peers.mean_of_layers(lambda x: peers.SymmetricMatmul.apply(csr, x), wanted, self.n_layers)
        items = (pos, neg) if self.n_neg else (pos,)
        n = self.graph.n_users
        value = peers.bpr(z, n, users, pos, neg) if self.n_neg else peers.softmax(z, n, users, pos, TEMPERATURE)
        (value + REG * peers.ridge(wanted, n, users, *items)).backward()
        torch.testing.assert_close(
            10 * step.exp_avg, wanted.grad, rtol=1e-3, atol=1e-4 * float(wanted.grad.abs().max())
        )


def comparisons(settings: Settings) -> Iterator[Comparison]:
    csr, coo = peers.normalized_csr(settings.graph), peers.normalized_coo(settings.graph)
    edges = peers.directed_edges(settings.graph)

    def by_csr(x: Tensor) -> Tensor:
        return peers.SymmetricMatmul.apply(csr, x)

    def by_coo(x: Tensor) -> Tensor:
        return torch.sparse.mm(coo, x)

    for title, loss, n_layers in (("bpr, 3 layers", "bpr", 3), ("softmax, 1 layer", "softmax", 1)):
        job = Job(settings, loss, n_layers)
        makers = {
            ("ours", "float32"): job.fused,
            ("ours", "bfloat16"): lambda job=job: job.fused(torch.bfloat16),
            ("ours, single ops", "float32"): job.composed,
            ("torch, CSR int32", "float32"): lambda job=job: job.torch_form(by_csr),
            ("torch, COO (LightGCN-PyTorch)", "float32"): lambda job=job: job.torch_form(by_coo, fused_adam=False),
        }
        if loss == "bpr":
            for kind, adjacency in (("edge_index", edges), ("sparse", csr)):
                makers[f"torch-geometric LightGCN, {kind}", "float32"] = lambda job=job, a=adjacency: job.geometric(a)
        contenders = [Contender(name, on_first_call(make), dtype) for (name, dtype), make in makers.items()]
        yield Comparison(f"step/{title}, batch {BATCH}", contenders, lambda job=job: job.gate(csr))
    yield from _mf(settings)
    yield from _optimizers(settings)


def _mf(settings: Settings) -> Iterator[Comparison]:
    """An epoch of matrix factorization on the CPU, where implicit's own SGD, one sample at a time, is another algorithm for the same model;
    a step of it on a GPU."""
    job = Job(settings, "bpr", 0)
    fused, plain = job.fused(), job.torch_form(lambda x: x)

    def gate() -> None:
        job.gate(peers.normalized_csr(settings.graph))

    if settings.device.type == "cuda":
        yield Comparison(f"step/mf, batch {BATCH}", [Contender("ours", fused), Contender("torch", plain)], gate)
        return
    steps = math.ceil(settings.graph.n_edges / BATCH)

    def epoch(step: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(steps):
                step()

        return run

    def sgd() -> Callable[[], None]:
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        matrix = settings.graph.to_scipy().astype("float32")
        model = BayesianPersonalizedRanking(
            factors=settings.dim, iterations=1, num_threads=torch.get_num_threads(), random_state=0
        )
        return lambda: model.fit(matrix, show_progress=False)

    contenders = [Contender(f"ours, {steps} steps", epoch(fused)), Contender("torch", epoch(plain))]
    contenders.append(Contender("implicit BPR (SGD)", on_first_call(sgd)))
    yield Comparison("step/mf epoch", contenders, gate)


def _optimizers(settings: Settings) -> Iterator[Comparison]:
    """A step of matrix factorization by what moves the batch's rows alone, beside adam, which moves all."""
    job = Job(settings, "bpr", 0)

    def gate() -> None:
        """Where every row is in every batch, lazy Adam is Adam."""
        graph, tables = Graph.from_edges(range(8), range(8)), []
        for optimizer in ("adam", "lazy_adam"):
            tables.append(torch.linspace(-1, 1, 16 * 8).reshape(16, 8))
            step = TrainStep(graph, tables[-1], optimizer=optimizer, reg=REG, lr=LR)
            for t in range(3):
                step(torch.arange(8), torch.arange(8), (torch.arange(8)[:, None] + t) % 8)
        torch.testing.assert_close(*tables)

    contenders = [
        Contender(f"ours, {name}", job.fused(optimizer=name)) for name in ("lazy_adam", "adam", "adagrad", "sgd")
    ]
    yield Comparison(f"step/mf by optimizer, batch {BATCH}", contenders, gate)
