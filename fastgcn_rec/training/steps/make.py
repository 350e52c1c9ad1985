"""Which way of taking steps a training gets."""

from __future__ import annotations

from ...models import Recommender
from ...ops.optimizers import check_optimizer
from ..config import TrainConfig
from .autograd import AutogradStep
from .captured_autograd import CapturedAutograd
from .captured_native import CapturedNative
from .graphs import can_capture
from .native import NativeStep
from .step import Step


def make_step(model: Recommender, config: TrainConfig) -> Step:
    """The fastest way to train this model that gives the right gradient."""
    on_gpu = model.graph.device.type != "cpu" and model.columns is None
    alphas = model.diffusion()
    table = model.ego_embedding() if alphas is not None else None
    trained = [p for p in model.parameters() if p.requires_grad]
    alone = len(trained) == 1 and trained[0] is table
    if alphas is not None and table is not None and alone and table.is_contiguous():
        check_optimizer("fit", config.optimizer, len(alphas) - 1)
        return (CapturedNative if on_gpu and can_capture(config) else NativeStep)(model, config)
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
    if on_gpu and is_fixed(model) and can_capture(config):
        return CapturedAutograd(AutogradStep(model, config, capturable=True), config)
    return AutogradStep(model, config)


def is_fixed(model: Recommender) -> bool:
    """Whether its class itself says that a step is always the same: one derived from it may look at t, or at numbers of the host."""
    return "capturable" in vars(type(model)) and model.capturable
