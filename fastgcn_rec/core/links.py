"""A graph as ops take it: eight tensors in their schemas, one argument where they are called straight."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from . import native

Tensor = torch.Tensor


class Links:
    """A graph's six tensors and its schedule, and the kernels' view of them, which is kept from call to call.

    A tensor's memory may move while the tensor stays, as when a graph goes to another process and torch puts it into shared memory. So the
    view is of the addresses of now, which are cheaper to ask than a view is to make.
    """

    __slots__ = ("_there", "_view", "tensors")

    def __init__(self, *tensors: Any) -> None:  # eight, of which weights and schedule may be None
        self.tensors = tensors
        self._there = [t for t in tensors if t is not None]
        self._view = _View([], None)

    def native(self) -> Any:
        view, at = self._view, native.addresses(self._there)
        if view.addresses != at:
            view = self._view = _View(at, native.graph(*self.tensors))
        return view.graph

    def __reduce__(self) -> tuple[type[Links], tuple[Any, ...]]:
        return Links, self.tensors


class _View(NamedTuple):
    addresses: list[int]
    graph: Any
