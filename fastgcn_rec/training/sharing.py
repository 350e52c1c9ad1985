"""A training on several ranks: what they must agree on, and the model shared out among them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..core import native
from ..core.world import World
from ..data import Dataset
from ..models import Recommender
from ..system.stopping import Signalled, Stop
from .config import TrainConfig


@contextlib.contextmanager
def shared_out(
    model: Recommender, config: TrainConfig, dataset: Dataset, checkpoint: Path | None, stop: Stop
) -> Iterator[World]:
    """Within it a whole model is shared out by columns among the ranks of torch.distributed, if that is initialised; it is whole again afterwards, unless an
    error ends it that other ranks may know nothing of, or a second signal. One that was made for several ranks stays as it is."""
    world = World.current() if model.columns is None else model.columns.world
    with world.watched():
        if world.size > 1:
            name = None if checkpoint is None else checkpoint.name
            world.agree("fit", **_shared(model, config, dataset), checkpoint=name)
        if world.size == 1 or model.columns is not None:
            yield world
            return
        model.share_out(world)
        try:
            yield world
        except (FloatingPointError, Signalled):
            if not stop.at_once:
                model.gather()
            raise
        model.gather()


def _shared(model: Recommender, config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    """What all ranks must have alike, or they would not end with the same bits."""
    parameter = next(model.parameters())
    return {
        "version": native.__version__,
        "data": dataset.fingerprint(),
        "config": dataclasses.asdict(config),
        "model": {"class": type(model).__name__, **model.config()},
        "dtype": parameter.dtype,
        "device": parameter.device.type,
        "trained": [name for name, p in model.named_parameters() if p.requires_grad],
        "graph": model.graph.fingerprint(),
        "values": {name: _digest(t) for name, t in model.state_dict().items() if model.columns is None or t.ndim < 2},
    }


def _digest(t: torch.Tensor) -> str:
    return hashlib.blake2b(
        t.detach().contiguous().view(-1).view(torch.uint8).cpu().numpy().data, digest_size=8
    ).hexdigest()
