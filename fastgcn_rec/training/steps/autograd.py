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
    """Forward, backward, and Adam over the parameters with ``requires_grad``.

    ``capturable``: whether the learning rate and Adam's numbers of steps are tensors on the device, as a CUDA graph needs them; the bits are the
    same.
    """

    def __init__(self, model: Recommender, config: TrainConfig, capturable: bool = False) -> None:
        self.model, self.config, self.batches = model, config, Batches(model, config)
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.capturable, self._lr = capturable, torch.zeros((), dtype=torch.float64, device=model.graph.device)
        self._last_lr = 0.0
        self.optimizer = Adam(self.parameters.values(), self._lr if capturable else 0.0, capturable=capturable)

    def __call__(self, t: int, lr: float) -> Tensor:
        self.set_lr(lr)
        return self.take(t, self.config.seed, t, t * self.config.batch_size)

    def set_lr(self, lr: float) -> None:
        if not self.capturable:
            self.optimizer.param_groups[0]["lr"] = lr
        elif lr != self._last_lr:
            self._lr.fill_(lr)
            self._last_lr = lr

    def take(self, t: int, seed: int | Tensor, step: int | Tensor, offset: int | Tensor) -> Tensor:
        """Step t, whose batch begins at sample ``offset`` and whose masks are number ``step`` of the stream that ``seed`` names."""
        users, pos, negatives = self.batches(t, seed, offset)
        with self.model.at_step(seed, step):
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
            state[f"{TAKEN}.{name}"] = torch.tensor(int(adam.get("step", 0)))
            state |= {f"{m}.{name}": adam[m] if m in adam else torch.zeros_like(p) for m in MOMENTS}
        return state | self.batches.state()

    def resume(self, step: int, state: Mapping[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            taken = int(state[f"{TAKEN}.{name}"])
            if taken:
                own = {m: state[f"{m}.{name}"].to(p.device) for m in MOMENTS}
                count = torch.tensor(taken, device=p.device) if self.capturable else taken
                self.optimizer.state[p] = {"step": count, **own}
        self.batches.resume(step, state)
