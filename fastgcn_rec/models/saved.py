"""What a model's file must hold beside its state."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.graph import Graph
from ..system.storage import Spec, check_arrays, check_csr, check_distinct

Model = TypeVar("Model", bound=torch.nn.Module)


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
