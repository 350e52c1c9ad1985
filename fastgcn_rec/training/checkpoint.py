"""The file that holds an interrupted training, read only where it is exactly what the training expects."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ..data import Dataset
from ..models import Recommender
from ..system.storage import Spec, check_arrays, check_keys, like, load_arrays, plain, same_values, save_arrays
from .config import TrainConfig
from .steps import STALE

Tensor = torch.Tensor
_FIELDS = {
    "identity": dict,
    "stale": list,
    "step": int,
    "loss_sum": float,
    "seconds": float,
    "history": dict,
    "reported": int,
}


def write(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """``state``: the rest of the fields, JSON values."""
    arrays = {name: t.detach().cpu().numpy() for name, t in tensors.items()}
    stale = sorted(name for name in arrays if name.startswith(STALE))
    save_arrays(path, {"kind": "checkpoint", "format": 1, "identity": identity, "stale": stale, **state}, arrays)


def read(
    path: Path, identity: Mapping[str, Any], expected: Mapping[str, Tensor], n_nodes: int, any_epochs: bool
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(state, tensors) of a training of this ``identity``, whose tensors are named, shaped and typed as those ``expected``; on top of them come
    a sampler's stale vectors [n_nodes, any]. ``any_epochs``: whether it may have been made for another number of epochs.

    Raises ValueError, which says what differs and the way out.
    """
    meta, arrays = load_arrays(path, "checkpoint")
    with _of_this_training(path):
        check_keys(meta, **_FIELDS)
    check_identity(path, meta["identity"], identity, any_epochs)
    dtype, _ = next(iter(like(expected).values()))
    stale: dict[str, Spec] = {name: (dtype, (n_nodes, f"dim of {name}")) for name in meta["stale"]}
    with _of_this_training(path):
        check_arrays(arrays, like(expected) | stale)
    return meta, {name: torch.from_numpy(array) for name, array in arrays.items()}


@contextlib.contextmanager
def _of_this_training(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"fit: {path} is no checkpoint of this training: {error}; delete it to start anew") from None


def read_identity(path: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = load_arrays(path, "checkpoint")[0].get("identity", {})
    return found


def identity_of(model: Recommender, config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    """What must be the same for a training to go on, as JSON reads it back."""
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    others = hashlib.sha256()
    for name, t in model.state_dict().items():
        if name not in trained:
            others.update(f"{name} {t.dtype} {list(t.shape)}\0".encode() + t.detach().cpu().numpy().tobytes())
    identity = {
        "config": dataclasses.asdict(config),
        "model": {"class": type(model).__name__, **model.config()},
        "trained": sorted(trained),
        "untrained": others.hexdigest()[:16],
        "data": [dataset.fingerprint(), model.trained_by()],
        "graph": model.graph.fingerprint(),  # has the internal ids and the weights
    }
    found: dict[str, Any] = plain(identity)
    return found


def check_identity(path: Path, theirs: Mapping[str, Any], mine: Mapping[str, Any], any_epochs: bool) -> None:
    for part, here in mine.items():
        there = theirs.get(part)
        if part == "config" and any_epochs and isinstance(there, dict):
            there = {**there, "epochs": here["epochs"]}
        if not same_values(there, here):
            raise ValueError(
                f"fit: {path} was made with another {part}:\n  there {there}\n  here  {here}\n"
                "Delete it to start anew, or repeat the old settings to go on"
            )
