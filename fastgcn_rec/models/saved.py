"""Files of models: parameters, configuration, training graph and raw ids."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import IO, Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.columns import Columns
from ..core.graph import Graph
from ..core.world import World
from ..system.archives import load_arrays, name_of, refusing, save_arrays
from ..system.contents import Spec, check_arrays, check_csr, check_distinct, check_keys, like
from ..system.values import json_value, same_values

Tensor = torch.Tensor
Model = TypeVar("Model", bound=torch.nn.Module)
Path = str | os.PathLike[str] | IO[bytes]


class Savable(Protocol):
    """What of a model a file needs, or makes."""

    graph: Graph
    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    has_raw_ids: bool

    columns: Columns | None

    def config(self) -> dict[str, Any]: ...

    def whole_state(self) -> dict[str, Tensor]: ...

    def know_ids(self, user_ids: NDArray[Any], item_ids: NDArray[Any], raw: bool) -> None: ...

    @classmethod
    def restored(cls, graph: Graph, config: dict[str, Any], state: dict[str, Tensor]) -> Any: ...


Kind = TypeVar("Kind", bound=Savable)


def save_model(model: Savable, path: Path) -> None:
    world = World() if model.columns is None else model.columns.world
    state = _as_stored(model.whole_state())
    with world.together():
        if world.first:
            _write(model, state, path)


def _write(model: Savable, state: Mapping[str, Tensor], path: Path) -> None:
    meta = {"kind": "model", "format": 1, "class": type(model).__name__, "config": model.config(),
            "raw_ids": model.has_raw_ids, "weighted": model.graph.weight is not None}  # fmt: skip
    arrays = {f"state.{name}": t.numpy() for name, t in state.items()}
    graph = model.graph.to("cpu")
    arrays |= {"graph.indptr": graph.indptr.numpy(), "graph.indices": graph.indices.numpy()}
    if graph.weight is not None:
        arrays["graph.weight"] = graph.weight.numpy()
    save_arrays(path, meta, {**arrays, "user_ids": model.user_ids, "item_ids": model.item_ids})


def load_model(path: Path, registry: Mapping[str, type[Kind]]) -> Kind:
    """The model that :func:`save_model` wrote, of a class out of ``registry``; of a run's folder its model.npz."""
    if isinstance(path, (str, os.PathLike)) and os.path.isdir(path) and os.path.isfile(os.path.join(path, "model.npz")):
        path = os.path.join(path, "model.npz")
    meta, arrays = load_arrays(path, "model")
    with refusing(path):
        check_keys(meta, **{"class": str, "config": dict, "raw_ids": bool, "weighted": bool})
    kind = registry.get(meta["class"])
    if kind is None:
        raise ValueError(
            f"{name_of(path)} holds a {meta['class']}, which is not known here; import the module that defines it first"
        )
    with refusing(path):
        state = {n.removeprefix("state."): arrays.pop(n) for n in list(arrays) if n.startswith("state.")}
        graph, users, items = graph_and_ids(arrays, meta["weighted"])
        model: Kind = kind.restored(graph, meta["config"], {name: torch.from_numpy(a) for name, a in state.items()})
        if not same_values(json_value(model.config()), meta["config"]):
            raise ValueError(
                f"its {meta['class']} has other options than it says: {model.config()}, not {meta['config']}"
            )
        model.know_ids(users, items, meta["raw_ids"])
    return model


def load_state(model: torch.nn.Module, state: dict[str, Tensor]) -> None:
    """Fills a model with what a file says is its state; ValueError if that does not fit."""
    check_arrays(state, like(_as_stored(model.state_dict())))
    model.load_state_dict(state)
    for part in model.modules():
        check = getattr(part, "check_state", None)  # what its numbers must be, beside their shapes
        if callable(check):
            check()


def _as_stored(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ``state_dict`` as files hold it: on the CPU, its floating-point numbers as float32."""
    state = {name: t.detach().cpu() for name, t in state.items()}
    return {name: t.float() if t.is_floating_point() else t for name, t in state.items()}


def configured(kind: type[Model], graph: Graph, config: dict[str, Any], **more: Any) -> Model:
    """A model of the options of a file; ValueError names those that ``kind`` does not know."""
    known = inspect.signature(kind).parameters
    unknown = [name for name in config if name not in known]
    if unknown and not any(p.kind == p.VAR_KEYWORD for p in known.values()):
        raise ValueError(f"its {kind.__name__} has options that are not known here: {', '.join(unknown)}")
    return kind(graph, **config, **more)


def graph_and_ids(arrays: dict[str, NDArray[Any]], weighted: bool) -> tuple[Graph, NDArray[Any], NDArray[Any]]:
    """Of a file's arrays; ValueError unless they are what a model saves."""
    expected: dict[str, Spec] = {
        "user_ids": ("ids", ("users",)),
        "item_ids": ("ids", ("items",)),
        "graph.indptr": ("int64", ("rows",)),
        "graph.indices": ("int32", ("edges",)),
    }
    if weighted:
        expected["graph.weight"] = "float32", ("edges",)
    check_arrays(arrays, expected)
    users, items = arrays["user_ids"], arrays["item_ids"]
    indptr, indices = arrays["graph.indptr"], arrays["graph.indices"]
    if len(indptr) != len(users) + 1:
        raise ValueError(f"its graph has {len(indptr) - 1} users, and there are {len(users)} user_ids")
    check_csr("graph's", indptr, indices, len(items))
    for name, ids in (("user_ids", users), ("item_ids", items)):
        check_distinct(name, ids)
    rows = np.repeat(np.arange(len(users), dtype=np.int32), np.diff(indptr))
    return Graph.from_edges(rows, indices, len(users), len(items), arrays.get("graph.weight")), users, items
