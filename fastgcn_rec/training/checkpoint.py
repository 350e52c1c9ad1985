"""The file that holds an interrupted training, read only where it is exactly what the training expects."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ..data import Dataset
from ..models import Recommender
from ..system.archives import load_arrays, save_arrays
from ..system.contents import Spec, check_arrays, check_keys, like
from ..system.files import check_target
from ..system.values import json_value, same_values
from .batches import STALE
from .config import TrainConfig

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
_DEFAULTS = dataclasses.asdict(TrainConfig())  # what settings were that the file's version did not have yet


class Checkpoint:
    """The file at ``path`` of the training that ``identity`` names; ``any_epochs``: it may have been begun for another number of epochs."""

    def __init__(self, path: Path, identity: Mapping[str, Any], any_epochs: bool) -> None:
        check_target(path)
        self.path, self.identity, self.any_epochs = path, identity, any_epochs

    @classmethod
    def of(cls, path: Path, model: Recommender, config: TrainConfig, dataset: Dataset) -> Checkpoint:
        """``model``: with the graph that it was made with, whatever part of it is trained on. A learning rate that depends on the number of
        epochs ties the file to it."""
        return cls(path, identity_of(model, config, dataset), not config.depends_on_epochs())

    def exists(self) -> bool:
        return self.path.exists()

    def write(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """``state``: the fields beside the identity, JSON values."""
        arrays = {name: t.detach().cpu().numpy() for name, t in tensors.items()}
        stale = sorted(name for name in arrays if name.startswith(STALE))
        meta = {"kind": "checkpoint", "format": 1, "identity": self.identity, "stale": stale, **state}
        save_arrays(self.path, meta, arrays)

    def read(self, expected: Mapping[str, Tensor], n_nodes: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """(state, tensors), the tensors named, shaped and typed as those ``expected``; on top of them come a sampler's stale vectors
        [n_nodes, any]. Raises ValueError, which says what differs and the way out."""
        meta, arrays = load_arrays(self.path, "checkpoint")
        with self._of_this_training():
            check_keys(meta, **_FIELDS)
        self._check_identity(meta["identity"], self.any_epochs)
        dtype, _ = next(iter(like(expected).values()))
        stale: dict[str, Spec] = {name: (dtype, (n_nodes, f"dim of {name}")) for name in meta["stale"]}
        with self._of_this_training():
            check_arrays(arrays, like(expected) | stale)
        return meta, {name: torch.from_numpy(array) for name, array in arrays.items()}

    def refuse_others(self) -> None:
        """Raises where the file is there and of another training than this one for some number of epochs; looks at nothing else in it."""
        if self.exists():
            self._check_identity(load_arrays(self.path, "checkpoint")[0].get("identity", {}), any_epochs=True)

    def _check_identity(self, theirs: Mapping[str, Any], any_epochs: bool) -> None:
        for part, here in self.identity.items():
            there = theirs.get(part)
            if part == "config" and isinstance(there, dict):
                there = {**_DEFAULTS, **there, **({"epochs": here["epochs"]} if any_epochs else {})}
            if not same_values(there, here):
                raise ValueError(
                    f"fit: {self.path} was made with another {part}:\n  there {there}\n  here  {here}\n"
                    "Delete it to start anew, or repeat the old settings to go on"
                )

    @contextlib.contextmanager
    def _of_this_training(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ValueError(
                f"fit: {self.path} is no checkpoint of this training: {error}; delete it to start anew"
            ) from None


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
    found: dict[str, Any] = json_value(identity)
    return found


def refit_checkpoint(checkpoint: str | os.PathLike[str]) -> Path:
    """Where the training after the choice keeps its own checkpoint."""
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}-refit{path.suffix}")
