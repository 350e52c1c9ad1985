"""Whether a model and a data set mean the same: the same raw id behind every internal one, the same training edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.graph import Graph
from ..core.ids import among, pair_keys
from ..data import Dataset
from .protocols import Ids, KnowsIds


def check_same_data(who: str, model: KnowsIds, dataset: Any, name: str = "the model", *, part: bool = False) -> None:
    """Raises unless ``dataset`` is a Dataset with the model's ids, whose training edges are those of the model's graph, or (``part``) hold them.

    Its validation part may be in the graph: a refit puts it there.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(
            f"{who}: dataset must be a Dataset, got {type(dataset).__name__}; make_dataset or build_dataset makes one of edges"
        )
    graph = model.graph
    if graph is None:
        raise ValueError(
            f"{who}: {name}, a {type(model).__name__}, knows no edges to compare with those of {dataset.name}; make it with the graph that it was "
            "trained on"
        )
    if (graph.n_users, graph.n_items) != (dataset.n_users, dataset.n_items):
        raise ValueError(
            f"{who}: {name} is for {graph.n_users} users and {graph.n_items} items, {dataset.name} has {dataset.n_users} and "
            f"{dataset.n_items}; make the model from this data set"
        )
    check_same_ids(who, model, (dataset.user_ids, dataset.item_ids), dataset.name, name)
    own = edge_keys(graph)
    train, valid = (
        np.sort(pair_keys(part.users, part.items, graph.n_users, graph.n_items))
        for part in (dataset.train, dataset.valid)
    )
    if np.array_equal(own, train):
        return
    other = int((~among(train, own) & ~among(valid, own)).sum())
    missing = int((~among(own, train)).sum())
    if other or (missing and not part):
        refitted = (
            ""
            if missing
            else ", or dataset.with_valid(valid) where these are of a validation part that a refit trained on"
        )
        raise ValueError(
            f"{who}: of the {len(own)} edges of the graph of {name} {other} are no training edges of {dataset.name}, and of the {len(train)} "
            f"training edges there {missing} are not in the graph; make the model from this data set, or pass the one that it was made from{refitted}"
        )


def check_same_ids(who: str, model: Any, ids: Ids | None, what: str, name: str = "the model") -> None:
    """Raises where the model and ``what`` both know the raw ids behind their internal ones, and these differ."""
    own: Ids | None = getattr(model, "ids", None)
    if own is None or ids is None:
        return
    for side, mine, theirs in zip(("user", "item"), own, ids, strict=True):
        if mine is theirs or np.array_equal(mine, theirs):
            continue
        differs = f"{len(theirs)} {side}s for {len(mine)}"
        if len(mine) == len(theirs):
            at = np.flatnonzero(mine != theirs) if mine.dtype.kind == theirs.dtype.kind else np.arange(len(mine))
            first = int(at[0])
            differs = f"internal id {first} is {side} {theirs[first]!s} there and {mine[first]!s} in {name}, and so on for {len(at)} of {len(mine)}"
        raise ValueError(
            f"{who}: {what} has other {side}s than {name}, or numbers them otherwise: {differs}. Pass the data set that the model was made "
            "from (another split of the same events numbers ids anew), or make the model from this one"
        )


def edge_keys(graph: Graph) -> NDArray[np.int64]:
    """user * n_items + item of every edge, ascending."""
    users, items = graph.edges()
    keys: NDArray[np.int64] = torch.add(items, users, alpha=graph.n_items).cpu().numpy()
    return keys
