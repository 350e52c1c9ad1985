"""How ``fit`` takes one step: in one native call where the model allows it, else by autograd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import torch

from .models import Recommender
from .ops import Adam, TrainStep, binary_loss, bpr_loss, l2_loss, softmax_loss

if TYPE_CHECKING:
    from .train import TrainConfig

Tensor = torch.Tensor
MOMENTS = ("exp_avg", "exp_avg_sq")


class Step(Protocol):
    """Takes a step for a batch of internal ids and returns the loss before it."""

    def __call__(self, users: Tensor, pos: Tensor, neg: Tensor, lr: float) -> Tensor: ...
    def moments(self) -> dict[str, Tensor]:
        """Adam's state by "exp_avg.<parameter>" and "exp_avg_sq.<parameter>"; empty before the first step."""
        ...

    def resume(self, step: int, moments: Mapping[str, Tensor]) -> None:
        """Goes on after ``step`` steps; the parameters are the model's."""
        ...


def make_step(model: Recommender, config: TrainConfig) -> Step:
    """The fastest way to train this model that gives the right gradient."""
    table = model.ego_embedding() if model.diffusion() is not None else None
    if table is not None and table.device.type == "cpu" and table.is_contiguous():
        return NativeStep(model, config)
    if config.storage != "float32":
        raise ValueError(
            f"fit: storage={config.storage!r} needs a model with constant layer weights on the CPU, got "
            f"{type(model).__name__} on {model.graph.device}; leave storage at 'float32'"
        )
    return AutogradStep(model, config)


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
    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        table, alphas = model.ego_embedding(), model.diffusion()
        assert alphas is not None
        (self.name,) = (name for name, p in model.named_parameters() if p is table)
        self.step = TrainStep(
            model.graph, table, alphas, loss=config.loss, temperature=config.temperature, reg=config.reg,
            storage=torch.bfloat16 if config.storage == "bfloat16" else None,
        )  # fmt: skip

    def __call__(self, users: Tensor, pos: Tensor, neg: Tensor, lr: float) -> Tensor:
        self.step.lr = lr
        return self.step(users, pos, neg if neg.shape[1] else None)

    def moments(self) -> dict[str, Tensor]:
        return {f"{m}.{self.name}": getattr(self.step, m) for m in MOMENTS if self.step.step}

    def resume(self, step: int, moments: Mapping[str, Tensor]) -> None:
        self.step.step = step
        for m in MOMENTS:
            if f"{m}.{self.name}" in moments:
                getattr(self.step, m).copy_(moments[f"{m}.{self.name}"])
        self.step.refresh()


class AutogradStep:
    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = Adam(self.parameters.values())

    def __call__(self, users: Tensor, pos: Tensor, neg: Tensor, lr: float) -> Tensor:
        self.optimizer.param_groups[0]["lr"] = lr
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
