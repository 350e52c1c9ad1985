"""Which way of taking steps a training gets."""

from __future__ import annotations

from ...models import Recommender
from ...ops.optimizers import check_optimizer
from ..config import TrainConfig
from .autograd import AutogradStep
from .captured import CapturedStep, can_capture
from .native import NativeStep
from .step import Step


def make_step(model: Recommender, config: TrainConfig) -> Step:
    """The fastest way to train this model that gives the right gradient."""
    alphas = model.diffusion()
    table = model.ego_embedding() if alphas is not None else None
    trained = [p for p in model.parameters() if p.requires_grad]
    alone = len(trained) == 1 and trained[0] is table
    if alphas is not None and table is not None and alone and table.is_contiguous():
        check_optimizer("fit", config.optimizer, len(alphas) - 1)
        captured = table.device.type != "cpu" and model.columns is None and can_capture(config)
        return CapturedStep(model, config) if captured else NativeStep(model, config)
    if config.optimizer != "adam":
        raise ValueError(
            f"fit: optimizer={config.optimizer!r} needs a model whose embedding table alone is trained, without layers (MF, or LightGCN with num_layers=0), "
            f"got {type(model).__name__}; take optimizer='adam'"
        )
    if config.storage != "float32":
        raise ValueError(
            f"fit: storage={config.storage!r} needs a model with constant layer weights of which the embedding table is trained, got "
            f"{type(model).__name__}; leave storage at 'float32'"
        )
    return AutogradStep(model, config)
