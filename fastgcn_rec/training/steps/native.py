"""Steps in one native call each."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...losses import item_bias
from ...models import Recommender
from ...ops.train_step import TrainStep
from ..batches import Batches
from ..config import TrainConfig
from .step import TAKEN

Tensor = torch.Tensor


class NativeStep:
    """One native call a step, for models that are a diffusion with constant weights of one trained table."""

    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        table, alphas = model.ego_embedding(), model.diffusion()
        assert alphas is not None
        self.config, self.batches = config, Batches(model, config)
        (self.name,) = (name for name, p in model.named_parameters() if p is table)
        self.step = TrainStep(
            model.graph, table, alphas, norm=model.norm, loss=config.loss, temperature=config.temperature,
            negative_weight=config.negative_weight, item_bias=item_bias(config, model.graph), margin=config.margin, reg=config.reg, storage=torch.bfloat16 if config.storage == "bfloat16" else None,
            columns=model.columns, optimizer=config.optimizer,
        )  # fmt: skip

    def __call__(self, t: int, lr: float) -> Tensor:
        self.set_lr(lr)
        return self.take(t, self.config.seed, t, t * self.config.batch_size)

    def set_lr(self, lr: float) -> None:
        self.step.lr = lr

    def take(self, t: int, seed: int | Tensor, step: int | Tensor, offset: int | Tensor) -> Tensor:
        """The step on batch t, which begins at sample ``offset`` of the stream that ``seed`` names; nothing in it is random but the batch."""
        users, pos, (neg, mask) = self.batches(t, seed, offset)
        return self.step(users, pos, neg if neg.shape[1] else None, mask)

    def state(self) -> dict[str, Tensor]:
        own = {f"{name}.{self.name}": t.contiguous() for name, t in self.step.state.items()}
        return own | {f"{TAKEN}.{self.name}": torch.tensor(self.step.step)} | self.batches.state()

    def resume(self, step: int, state: Mapping[str, Tensor]) -> None:
        self.step.step = int(state[f"{TAKEN}.{self.name}"])
        for name, t in self.step.state.items():
            t.copy_(state[f"{name}.{self.name}"])
        self.step.refresh()
        self.batches.resume(step, state)
