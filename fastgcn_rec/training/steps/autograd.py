"""Steps by autograd, for any model."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...models import Recommender
from ...ops.adam_step import Adam
from ..batch_loss import batch_loss
from ..batches import Batches
from ..config import TrainConfig
from .step import MOMENTS, TAKEN

Tensor = torch.Tensor


class AutogradStep:
    """Forward, backward, and Adam over the parameters with ``requires_grad``."""

    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        self.model, self.config, self.batches = model, config, Batches(model, config)
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = Adam(self.parameters.values())

    def __call__(self, t: int, lr: float) -> Tensor:
        self.optimizer.param_groups[0]["lr"] = lr
        users, pos, negatives = self.batches(t, self.config.seed, t * self.config.batch_size)
        with self.model.at_step(self.config.seed, t):
            loss = self.model.batch_loss(self.config, t, users, pos, negatives)
            if loss is None:
                loss = batch_loss(self.model, self.config, users, pos, *negatives)
            auxiliary = self.model.auxiliary_loss(users, pos)
        if auxiliary is not None:
            loss = loss + auxiliary
        if not loss.requires_grad:
            raise ValueError(
                f"fit: the loss does not depend on {', '.join(self.parameters)}, and no other parameter is to be trained; call requires_grad_() on those "
                "that it depends on"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for name, p in self.parameters.items():
            adam = self.optimizer.state.get(p, {})
            state[f"{TAKEN}.{name}"] = torch.tensor(adam.get("step", 0))
            state |= {f"{m}.{name}": adam[m] if m in adam else torch.zeros_like(p) for m in MOMENTS}
        return state | self.batches.state()

    def resume(self, step: int, state: Mapping[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            taken = int(state[f"{TAKEN}.{name}"])
            if taken:
                own = {m: state[f"{m}.{name}"].to(p.device) for m in MOMENTS}
                self.optimizer.state[p] = {"step": taken, **own}
        self.batches.resume(step, state)
