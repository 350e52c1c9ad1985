"""A training step of NGCF, both forms, BPR and no dropout, beside plain torch with a sparse CSR product; on a GPU as a CUDA graph, as ``fit`` replays
it, and one operation after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from fastgcn_rec import NGCF, TrainConfig, sample_batch
from fastgcn_rec.training.batch_loss import batch_loss
from fastgcn_rec.training.steps.autograd import AutogradStep
from fastgcn_rec.training.steps.captured_autograd import CapturedAutograd
from fastgcn_rec.training.steps.step import Step

from . import peers
from .harness import Comparison, Contender, Settings

BATCH, REG, LAYERS, LR = 1024, 1e-5, 3, 1e-4
CONFIG = TrainConfig(batch_size=BATCH, reg=REG, sampler="edge")
Tensor = torch.Tensor


class Product(torch.autograd.Function):
    """a @ x with gradient a_t @ g."""

    @staticmethod
    def forward(ctx, a: Tensor, a_t: Tensor, x: Tensor) -> Tensor:
        ctx.a_t = a_t
        return a @ x

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.a_t @ grad


class Job:
    def __init__(self, settings: Settings, form: str) -> None:
        self.graph, self.form = settings.graph, form
        self.model = NGCF(self.graph, settings.dim, LAYERS, form, message_dropout=0.0).to(settings.device)
        self.batch = sample_batch(self.graph, BATCH, 1, seed=1)
        self.a = peers.normalized_csr(self.graph)
        self.a_t = self.a
        if form == "lecture":
            edges = peers.directed_edges(self.graph)
            degree = torch.cat([self.graph.user_degree, self.graph.item_degree]).float()
            size = (self.graph.n_nodes,) * 2
            self.a, self.a_t = (
                torch.sparse_coo_tensor(e, 1 / degree[edges[0]], size).coalesce().to_sparse_csr()
                for e in (edges, edges.flip(0))
            )

    def ours(self, step: Step) -> Callable[[], Tensor]:
        """Sampling included, as all of ours."""
        count = itertools.count()
        return lambda: step(next(count), LR)

    def eager(self) -> Callable[[], Tensor]:
        return self.ours(AutogradStep(self.copy(), CONFIG))

    def replayed(self) -> Callable[[], Tensor]:
        return self.ours(CapturedAutograd(AutogradStep(self.copy(), CONFIG, capturable=True), CONFIG))

    def recordable(self) -> Callable[[], Tensor]:
        """With the numbers of step and batch on the device, for a graph of the harness."""
        step, device = AutogradStep(self.copy(), CONFIG, capturable=True), self.batch[0].device
        seed, at, offset = (torch.zeros((), dtype=torch.int64, device=device) for _ in range(3))
        step.set_lr(LR)

        def run() -> Tensor:
            loss = step.take(0, seed, at, offset)
            at.add_(1)
            offset.add_(BATCH)
            return loss

        return run

    def copy(self) -> NGCF:
        model = NGCF(self.graph, self.model.embedding_dim, LAYERS, self.form, message_dropout=0.0)  # type: ignore[arg-type]
        model.load_state_dict(self.model.state_dict())
        return model.to(self.model.embedding.weight.device)

    def loss(self, model: NGCF) -> Tensor:
        """The equations on whole layers."""
        layers = [model.embedding.weight]
        for k in range(LAYERS):
            x, own, neighbors = layers[-1], model.own[k], model.neighbors[k]
            side = Product.apply(self.a, self.a_t, x)
            if self.form == "paper":
                y = F.linear(x + side, own, model.bias[k]) + F.linear(side * x, neighbors)
                layers.append(F.leaky_relu(y, 0.2))
            else:
                layers.append(
                    torch.relu(F.linear(torch.cat([x, side], 1), torch.cat([own, neighbors], 1), model.bias[k]))
                )
        z = layers[-1]
        if self.form == "paper":
            z = torch.cat([layers[0], *(F.normalize(y, dim=1) for y in layers[1:])], 1)
        users, pos, neg = self.batch
        n = self.graph.n_users
        return peers.bpr(z, n, users, pos, neg) + REG * peers.ridge(layers[0], n, users, pos, neg)

    def plain(self) -> Callable[[], Tensor]:
        """Sampling not included."""
        model = self.copy()
        captured = self.batch[0].device.type == "cuda"
        optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True, capturable=captured)

        def run() -> Tensor:
            optimizer.zero_grad(set_to_none=True)
            loss = self.loss(model)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return run

    def gate(self) -> None:
        """Loss and gradients on one batch."""
        config = TrainConfig(batch_size=BATCH, reg=REG)
        parameters = list(self.model.parameters())
        ours, theirs = batch_loss(self.model, config, *self.batch), self.loss(self.model)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)
        grads = (torch.autograd.grad(loss, parameters) for loss in (ours, theirs))
        for a, b in zip(*grads, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


def comparisons(settings: Settings) -> Iterator[Comparison]:
    for form in ("paper", "lecture"):
        job = Job(settings, form)
        if settings.device.type == "cuda":
            contenders = [
                Contender("ours", job.recordable()),
                Contender("ours, a replay a step", job.replayed(), calls=0),
                Contender("ours, not captured", job.eager(), calls=0),
            ]
        else:
            contenders = [Contender("ours", job.eager())]
        contenders.append(Contender("torch, CSR", job.plain()))
        yield Comparison(f"ngcf/{form}, {LAYERS} layers, batch {BATCH}", contenders, job.gate)
