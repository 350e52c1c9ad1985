"""Kinds of users and of items, for which metrics are averaged by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.graph import Graph
from ..core.ids import is_missing, is_text
from ..data import Dataset

Mask = NDArray[np.bool_]
Groups = str | Sequence[str] | Mapping[str, Any]
ACTIVITY, POPULARITY = "activity", "popularity"
_HEAD, _TAIL = 0.2, 0.8  # of the training edges
_MOST, _FEW = 50, 10  # values that are groups: of a column; of numbers, before they are cut into quarters


class ItemKinds:
    """Popular items and others, and how much of those that are to be found stands in lists.

    Head: the fewest items that have a fifth of the training edges; tail: those that have the last fifth; mid: the others (Abdollahpouri et al. 2021).

    >>> kinds = ItemKinds(Graph.from_edges([0, 1, 2, 0, 1], [0, 0, 0, 1, 2], 3, 4), Graph.from_edges([0], [0], 3, 4))
    >>> {name: np.flatnonzero(mask).tolist() for name, mask in kinds.masks.items()}
    {'head': [0], 'mid': [1], 'tail': [2, 3]}
    """

    def __init__(self, known: Graph, relevant: Graph) -> None:
        degree = known.item_degree.cpu().numpy()
        order = np.argsort(-degree, kind="stable")
        before = np.cumsum(degree[order]) - degree[order]  # edges of those that are more popular
        total = int(degree.sum())
        head, tail = np.zeros(degree.size, bool), np.zeros(degree.size, bool)
        head[order] = before < _HEAD * total
        tail[order] = before >= _TAIL * total
        self.masks: dict[str, Mask] = {"head": head, "mid": ~(head | tail), "tail": tail & ~head}
        users, items = (side.cpu().numpy() for side in relevant.edges())
        self._wanted = [np.bincount(users[mask[items]], minlength=relevant.n_users) for mask in self.masks.values()]

    def recall(self, users: NDArray[np.int64], ids: NDArray[np.int64], hits: Mask) -> list[NDArray[np.float64]]:
        """Of each kind the recall of lists [n, k], float64 [n]; NaN for users to whom nothing of it is to be found."""
        found = []
        for mask, wanted in zip(self.masks.values(), self._wanted, strict=True):
            count = (hits & mask[ids]).sum(1)
            found.append(np.where(wanted[users] > 0, count / np.maximum(wanted[users], 1), np.nan))
        return found


def wants_kinds(groups: Groups) -> bool:
    return POPULARITY in ([groups] if isinstance(groups, str) else groups)


def user_groups(groups: Groups, data: Dataset | None, known: Graph, users: torch.Tensor) -> dict[str, Mask]:
    """Which of ``users`` int64 [n] are in each group, as "column=value". Errors: :func:`fastgcn_rec.evaluate`."""
    names = [groups] if isinstance(groups, str) else list(groups)
    place = users.cpu().numpy() if names else np.zeros(0, np.int64)
    found: dict[str, Mask] = {}
    for name in names:
        if isinstance(groups, Mapping):
            found |= _masks(name, _labels(name, groups[name], known.n_users)[place])
        elif name == ACTIVITY:
            found |= _quarters(name, known.user_degree.cpu().numpy()[place].astype(np.float64))
        elif name != POPULARITY:
            found |= _masks(name, _column(name, data)[place])
    return found


def _labels(name: str, given: Any, n_users: int) -> NDArray[Any]:
    values = np.asarray(given)
    if values.shape != (n_users,):
        raise ValueError(
            f"evaluate: groups[{name!r}] must be [n_users] = [{n_users}], by internal ids, got {list(values.shape)}"
        )
    return values


def _column(name: Any, data: Dataset | None) -> NDArray[Any]:
    known = (ACTIVITY, POPULARITY) if data is None else (ACTIVITY, POPULARITY, *data.user_info)
    if data is None or name not in data.user_info:
        raise ValueError(
            f"evaluate: groups must be among {', '.join(known)}{'' if data is not None else ' for edges'}, got {name!r}; "
            f"{'' if data is not None else 'pass the Dataset for columns of its users, or '}labels as {{{name!r}: [...]}}"
        )
    return data.user_info[name]


def _masks(name: str, values: NDArray[Any]) -> dict[str, Mask]:
    """A group a value, those without one "none"; of numbers of many kinds a quarter each."""
    listed = values.tolist()
    none = np.fromiter((is_missing(value) or value == "" for value in listed), bool, len(listed))
    numbers = _numbers(values, none)
    if numbers is not None and len(set(numbers[~none].tolist())) > _FEW:
        found = _quarters(name, numbers, ~none)
    else:
        texts = [str(value) for value in listed]
        order = sorted({text for text, missing in zip(texts, none.tolist(), strict=True) if not missing})
        if numbers is not None:
            order.sort(key=float)
        if len(order) > _MOST:
            raise ValueError(
                f"evaluate: groups: {name!r} has {len(order)} values, and at most {_MOST} can be groups; pass labels of fewer kinds, {{{name!r}: [...]}}"
            )
        own = np.array(texts, object)
        found = {f"{name}={text}": (own == text) & ~none for text in order}
    return found | ({f"{name}=none": none} if none.any() else {})


def _numbers(values: NDArray[Any], none: Mask) -> NDArray[np.float64] | None:
    if values.dtype.kind == "b" or not (is_text(values) or values.dtype.kind in "iuf"):
        return None
    try:
        return np.array(
            [np.nan if missing else float(value) for value, missing in zip(values.tolist(), none.tolist(), strict=True)]
        )
    except ValueError:
        return None


def _quarters(name: str, values: NDArray[np.float64], which: Mask | None = None) -> dict[str, Mask]:
    """Four groups of as many as equal values allow, by their least and largest."""
    which = np.ones(values.size, bool) if which is None else which
    if not which.any():
        return {}
    cuts = np.unique(np.quantile(values[which], [0.25, 0.5, 0.75]))
    place = np.searchsorted(cuts, values, "left")
    found: dict[str, Mask] = {}
    for n in range(cuts.size + 1):
        own = (place == n) & which
        if own.any():
            found[f"{name}={values[own].min():g}..{values[own].max():g}"] = own
    return found
