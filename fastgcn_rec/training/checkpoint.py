"""The file that holds an interrupted training, read only where it is exactly what the training expects."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ..core.world import World
from ..data import Dataset
from ..models import Recommender
from ..system.archives import load_arrays, load_meta, save_arrays
from ..system.contents import Spec, check_arrays, check_keys, like
from ..system.files import beside, check_target
from ..system.npz import Sinks
from ..system.shards import Block, Collector, Shard, next_number, remove_shards, write_shard
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
_FORMATS = (1, 2)  # of all arrays in one file, and of a manifest that names shards
_SHARD = "checkpoint shard"
_SEEN_WITHIN = 50  # tenths of a second, in which a file system shows one rank's file to the others
_DEFAULTS = dataclasses.asdict(TrainConfig())  # what settings were that the file's version did not have yet


@dataclasses.dataclass(frozen=True)
class Share:
    """The block ``own`` of tables of the shape ``whole`` that this rank of ``world`` holds, where ranks share them out."""

    world: World
    whole: tuple[int, int]
    own: Block

    @classmethod
    def of(cls, model: Recommender) -> Share | None:
        """None: this process has all of them."""
        if model.columns is None or model.columns.world.size == 1:
            return None
        n, columns = model.graph.n_nodes, model.columns
        return cls(columns.world, (n, columns.dim), Block(((0, n),), (columns.first, columns.last)))


class Checkpoint:
    """The file at ``path`` of the training that ``identity`` names; ``any_epochs``: it may have been begun for another number of epochs.

    Where ranks ``share`` the tables out, it is a manifest that names a shard of each, and all that is done with it is collective. One process and any
    number of ranks go on from what others wrote.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], any_epochs: bool, share: Share | None = None) -> None:
        self.path, self.identity, self.any_epochs, self.share = path, identity, any_epochs, share
        self.world = World() if share is None else share.world
        with self.world.together():
            check_target(path)
        _check_shared(path, self.world)

    @classmethod
    def of(cls, path: Path, model: Recommender, config: TrainConfig, dataset: Dataset) -> Checkpoint:
        """``model``: with the graph that it was made with, whatever part of it is trained on, and shared out as it is trained. A learning rate that
        depends on the number of epochs ties the file to it."""
        return cls(path, identity_of(model, config, dataset), not config.depends_on_epochs(), Share.of(model))

    def exists(self) -> bool:
        return bool(self.world.of_first(self.path.exists()))

    # --- writing ----------------------------------------------------------------------------------------------------

    def write(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """``state``: the fields beside the identity, JSON values, of which rank 0's are written. ``tensors``: those with two axes are the tables that
        ranks share out, and the others the same on all."""
        arrays = {name: t.detach().cpu().numpy() for name, t in tensors.items()}
        stale = sorted(name for name in arrays if name.startswith(STALE))
        meta = {"kind": "checkpoint", "format": 1, "identity": self.identity, "stale": stale, **state}
        if self.share is None:
            save_arrays(self.path, meta, arrays)
            remove_shards(self.path)
        else:
            self._write_shards(self.share.own, meta, arrays)

    def _write_shards(self, own: Block, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        tables = {name: array for name, array in arrays.items() if array.ndim == 2}
        others = {name: array for name, array in arrays.items() if name not in tables}
        of_shard = {"kind": _SHARD, "format": 1, "identity": meta["identity"], "step": meta["step"]}
        with self.world.together():
            number = self._sweep() if self.world.first else 0
        number = self.world.of_first(number)
        with self.world.together():
            shard = write_shard(self.path, number, self.world.rank, self.world.size, of_shard, own, tables)
        shards = [one.as_json() for one in self.world.values(shard)]
        with self.world.together():
            if self.world.first:
                save_arrays(self.path, {**meta, "format": 2, "shards": shards}, others)
                self._sweep()

    def _sweep(self) -> int:
        """Removes the shards that the file does not name: of the one before it, or of a writer that was killed. Returns a number for the next ones."""
        with contextlib.suppress(ValueError):  # one that was damaged is written over; its shards go with the next
            meta = load_meta(self.path, "checkpoint", _FORMATS) if self.path.exists() else {}
            remove_shards(self.path, but={Shard.of_json(one).file for one in meta.get("shards", [])})
        return next_number(self.path)

    # --- reading ----------------------------------------------------------------------------------------------------

    def read(self, expected: Mapping[str, Tensor], n_nodes: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """(state, tensors), the tensors named, shaped and typed as those ``expected``; on top of them come a sampler's stale vectors
        [n_nodes, any]. Raises ValueError, which says what differs and the way out."""
        with self.world.together():
            meta, arrays = self._read(expected, n_nodes)
        return meta, {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _read(self, expected: Mapping[str, Tensor], n_nodes: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        meta = load_meta(self.path, "checkpoint", _FORMATS)
        sharded = meta["format"] == 2
        with self._of_this_training():
            check_keys(meta, **_FIELDS, **({"shards": list} if sharded else {}))
        self._check_identity(meta["identity"], self.any_epochs)
        dtype, _ = next(iter(like(expected).values()))
        if self.share is None and not sharded:
            stale: dict[str, Spec] = {name: (dtype, (n_nodes, f"dim of {name}")) for name in meta["stale"]}
            return meta, self._arrays(like(expected) | stale)
        tables = {name: t for name, t in expected.items() if t.ndim == 2}
        others = like({name: t for name, t in expected.items() if t.ndim != 2})
        n, dim = next(iter(tables.values())).shape if self.share is None else self.share.whole
        own = Block.whole((n, dim)) if self.share is None else self.share.own
        dtypes = {name: one for name, (one, _) in like(tables).items()} | dict.fromkeys(meta["stale"], dtype)
        found = Collector(own, (n, dim), dtypes)
        if sharded:
            arrays = self._arrays(others)
            with self._of_this_training():
                shards = [Shard.of_json(one) for one in meta["shards"]]
            found.read(self.path, _SHARD, shards)
        else:
            of_file: dict[str, Spec] = {name: (one, (n, dim)) for name, one in dtypes.items()}
            arrays = self._arrays(others | of_file, found.of(Block.whole((n, dim))))
        return meta, arrays | found.tables

    def _arrays(self, expected: Mapping[str, Spec], sinks: Sinks | None = None) -> dict[str, NDArray[Any]]:
        _, arrays = load_arrays(self.path, "checkpoint", _FORMATS, sinks)
        with self._of_this_training():
            check_arrays(arrays, expected)
        return arrays

    def refuse_others(self) -> None:
        """Raises where the file is there and of another training than this one for some number of epochs; looks at nothing else in it."""
        if self.exists():
            with self.world.together():
                found = load_meta(self.path, "checkpoint", _FORMATS)
                self._check_identity(found.get("identity", {}), any_epochs=True)

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
            columns = model.columns if t.ndim == 2 else None
            shape = list(t.shape) if columns is None else [len(t), columns.dim]
            others.update(f"{name} {t.dtype} {shape}\0".encode())
            for _, rows in [(0, t)] if columns is None else columns.blocks(t):
                others.update(rows.detach().cpu().numpy().tobytes())
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


def remove_checkpoint(path: Path) -> None:
    """With the shards of ranks, if it names any."""
    path.unlink(missing_ok=True)
    remove_shards(path)


def _check_shared(path: Path, world: World) -> None:
    """ValueError on every rank where one does not see the folder that rank 0 writes to."""
    if world.size == 1:
        return
    world.agree("fit", **{"name of checkpoint": path.name})
    with contextlib.ExitStack() as stack:
        with world.together():
            probe = stack.enter_context(beside(path)) if world.first else None
        name = world.of_first(probe and probe.name)
        blind = [
            rank
            for rank, seen in enumerate(world.values(_is_seen(Path(os.path.realpath(path)).with_name(name))))
            if not seen
        ]
    if blind:
        raise ValueError(
            f"fit: rank {', '.join(map(str, blind))} of {world.size} does not see in the folder of checkpoint={str(path)!r} what rank 0 writes there; "
            "name a file in a file system that all ranks share"
        )


def _is_seen(path: Path) -> bool:
    for _ in range(_SEEN_WITHIN):
        if path.exists():
            return True
        time.sleep(0.1)
    return False
