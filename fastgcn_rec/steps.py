"""How ``fit`` takes one step: in one native call where the model allows it, else by autograd."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import torch

from .models import Recommender
from .ops import Adam, TrainStep, binary_loss, bpr_loss, l2_loss, sample_batch, softmax_loss

if TYPE_CHECKING:
    from .train import TrainConfig

Tensor = torch.Tensor
MOMENTS = ("exp_avg", "exp_avg_sq")


class Step(Protocol):
    """Draws batch t = 0, 1, ... of the config's stream, takes a step on it, and returns the loss before the step."""

    def __call__(self, t: int, lr: float) -> Tensor: ...
    def moments(self) -> dict[str, Tensor]:
        """Adam's state by "exp_avg.<parameter>" and "exp_avg_sq.<parameter>"; empty before the first step."""
        ...

    def resume(self, step: int, moments: Mapping[str, Tensor]) -> None:
        """Goes on after ``step`` steps; the parameters are the model's."""
        ...


def make_step(model: Recommender, config: TrainConfig) -> Step:
    """The fastest way to train this model that gives the right gradient."""
    table = model.ego_embedding() if model.diffusion() is not None else None
    if table is not None and table.is_contiguous():
        return NativeStep(model, config) if table.device.type == "cpu" else CapturedStep(model, config)
    if config.storage != "float32":
        raise ValueError(
            f"fit: storage={config.storage!r} needs a model with constant layer weights, got "
            f"{type(model).__name__}; leave storage at 'float32'"
        )
    return AutogradStep(model, config)


def draw_batch(model: Recommender, config: TrainConfig, seed: int | Tensor, offset: int | Tensor) -> tuple[Tensor, ...]:
    n_neg = 0 if config.loss == "softmax" else config.n_neg
    return sample_batch(model.graph, config.batch_size, n_neg, seed=seed, offset=offset, by=config.sampler)


def batch_loss(model: Recommender, config: TrainConfig, users: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
    """The loss of one batch, ridge penalty included; ids are internal."""
    user_emb, item_emb = model.get_embedding().split([model.n_users, model.n_items])
    nodes = [users, pos + model.n_users]
    if config.loss == "softmax":
        loss = softmax_loss(user_emb, item_emb, users, pos, config.temperature)
    else:
        pair = bpr_loss if config.loss == "bpr" else binary_loss
        loss = pair(user_emb, item_emb, users, pos, neg)
        nodes.append(torch.where(neg >= 0, neg + model.n_users, neg).flatten())
    if config.reg:
        loss = loss + config.reg / len(users) * l2_loss(model.ego_embedding(), torch.cat(nodes))
    return loss


class NativeStep:
    """One native call a step."""

    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        table, alphas = model.ego_embedding(), model.diffusion()
        assert alphas is not None
        self.model, self.config = model, config
        (self.name,) = (name for name, p in model.named_parameters() if p is table)
        self.step = TrainStep(
            model.graph, table, alphas, loss=config.loss, temperature=config.temperature, reg=config.reg,
            storage=torch.bfloat16 if config.storage == "bfloat16" else None,
        )  # fmt: skip

    def __call__(self, t: int, lr: float) -> Tensor:
        self.step.lr = lr
        return self._take(self.config.seed, t * self.config.batch_size)

    def _take(self, seed: int | Tensor, offset: int | Tensor) -> Tensor:
        users, pos, neg = draw_batch(self.model, self.config, seed, offset)
        return self.step(users, pos, neg if neg.shape[1] else None)

    def moments(self) -> dict[str, Tensor]:
        return {f"{m}.{self.name}": getattr(self.step, m) for m in MOMENTS if self.step.step}

    def resume(self, step: int, moments: Mapping[str, Tensor]) -> None:
        self.step.step = step
        for m in MOMENTS:
            if f"{m}.{self.name}" in moments:
                getattr(self.step, m).copy_(moments[f"{m}.{self.name}"])
        self.step.refresh()


class CapturedStep(NativeStep):
    """The same on a GPU: sampler and step are captured once as a CUDA graph, which every further step replays. The host
    neither waits nor launches single kernels; where capture fails, it says so and goes on without."""

    eager_steps = 2  # before the capture: they make what is made on first use

    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        super().__init__(model, config)
        device = self.step.embedding.device
        self._seed = torch.tensor(config.seed, dtype=torch.int64, device=device)
        self._offset = torch.zeros((), dtype=torch.int64, device=device)
        self._next, self._taken = 0, 0
        self._replay: Callable[[], None] | None = None
        self._loss: Tensor | None = None

    def __call__(self, t: int, lr: float) -> Tensor:
        self.step.lr = lr
        if t != self._next:
            self._offset.fill_(t * self.config.batch_size)
        self._next = t + 1
        if self._taken == self.eager_steps:
            self._capture()
        self._taken += 1
        if self._replay is None or self._loss is None:
            return self._both()
        self._replay()
        return self._loss.clone()

    def _both(self) -> Tensor:
        loss = self._take(self._seed, self._offset)
        self._offset.add_(self.config.batch_size)
        return loss

    def _capture(self) -> None:
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):  # records, does not run
                self._loss = self._both()
            self._replay = graph.replay
        except RuntimeError as error:
            warnings.warn(
                f"fit: the training step could not be captured as a CUDA graph, it goes on without, slower: {error}",
                stacklevel=2,
            )


class AutogradStep:
    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = Adam(self.parameters.values())

    def __call__(self, t: int, lr: float) -> Tensor:
        self.optimizer.param_groups[0]["lr"] = lr
        users, pos, neg = draw_batch(self.model, self.config, self.config.seed, t * self.config.batch_size)
        loss = batch_loss(self.model, self.config, users, pos, neg)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def moments(self) -> dict[str, Tensor]:
        states = ((name, self.optimizer.state[p]) for name, p in self.parameters.items() if p in self.optimizer.state)
        return {f"{m}.{name}": state[m] for name, state in states for m in MOMENTS}

    def resume(self, step: int, moments: Mapping[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            if f"{MOMENTS[0]}.{name}" in moments:
                own = {m: moments[f"{m}.{name}"].to(p.device) for m in MOMENTS}
                self.optimizer.state[p] = {"step": step, **own}
