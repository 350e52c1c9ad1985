"""What a node is before any layer: a learnt linear function of its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...features import Categorical, Encoded, Features, guess_columns
from ...features.encoding import length_of
from ...ops.neighbor_pool import neighbor_pool
from .layers import Linear

Tensor = torch.Tensor


class Featured(torch.nn.Module):
    """A module with features of n nodes, whose inputs are dense D + sum_t weights[t] table[tokens[t]]."""

    features: Features
    dense: Linear
    table: torch.nn.Parameter
    feature_dense: Tensor
    feature_tokens: Tensor
    feature_weights: Tensor

    def make_inputs(self, features: Features, encoded: Encoded, dim: int) -> None:
        """Sets the features and makes the parameters, not yet filled."""
        self.features = features
        self.set_features(encoded)
        self.dense = Linear(self.features.n_dense, dim, bias=False)
        self.table = torch.nn.Parameter(torch.empty(self.features.n_tokens, dim))

    def set_features(self, encoded: Encoded) -> None:
        """Other nodes' features, or the same nodes' from elsewhere; the parameters stay."""
        self._new: tuple[Tensor, Tensor] | None = None
        for name, array in encoded._asdict().items():
            self.register_buffer(f"feature_{name}", torch.from_numpy(array))

    def check_state(self) -> None:
        """ValueError unless all tokens, which come from a file, are rows of the table, or -1."""
        tokens, n = self.feature_tokens, len(self.table)
        if tokens.numel() and not -1 <= int(tokens.min()) <= int(tokens.max()) < n:
            raise ValueError(f"its tokens must lie in [-1, {n}), got {int(tokens.min())} to {int(tokens.max())}")

    def encoded(self) -> Encoded:
        """The features, float32, on the CPU."""
        tokens = self.feature_tokens.cpu().numpy()
        return Encoded(self.feature_dense.float().cpu().numpy(), tokens, self.feature_weights.float().cpu().numpy())

    def inputs(self, nodes: Tensor, as_new: bool = False) -> Tensor:
        """Of nodes int64 [n], [n, dim]; ``as_new``: with unknown in place of the values that only the node has."""
        tokens, weights = self._tokens_as_new() if as_new else (self.feature_tokens, self.feature_weights)
        return self.inputs_of(self.feature_dense[nodes], tokens[nodes], weights[nodes])

    def inputs_of(self, dense: Tensor, tokens: Tensor, weights: Tensor) -> Tensor:
        """Of encoded features, a row for each node."""
        pooled: Tensor = neighbor_pool(self.table, tokens, weights)
        return self.dense(dense) + pooled

    def _tokens_as_new(self) -> tuple[Tensor, Tensor]:
        if self._new is None or self._new[0].device != self.table.device or self._new[1].dtype != self.table.dtype:
            new = self.features.as_new(self.encoded())
            tokens, weights = torch.from_numpy(new.tokens), torch.from_numpy(new.weights)
            self._new = tokens.to(self.table.device), weights.to(self.table)
        return self._new


def guessed(item_info: Mapping[str, Any], item_ids: NDArray[Any]) -> tuple[Features, dict[str, Any]]:
    """Features of every column, read as it is guessed to be meant, and of the ids as one more; and the columns with that one."""
    check_columns(item_info, "item_info")
    info = dict(item_info)
    if "year" in info and (year := np.asarray(info["year"])).dtype.kind in "iu":  # 0: unknown
        info["year"] = np.where(year == 0, np.nan, year.astype(np.float64))
    ids = "id"
    while ids in info:
        ids += "_"
    return Features({**guess_columns(info), ids: Categorical()}), {**info, ids: item_ids}


def check_columns(info: Any, name: str) -> None:
    if isinstance(info, (Sequence, np.ndarray)) or not hasattr(
        info, "__getitem__"
    ):  # a DataFrame is one, without being a Mapping
        raise TypeError(f"PinSAGE: {name} must be a mapping of column names to values, got a {type(info).__name__}")


def encode(
    features: Features, info: Mapping[str, Any] | None, known: Tensor, what: str, n_tokens: int | None
) -> Encoded:
    """The nodes' features, fitted first on the ``known`` of them (a mask [n]) unless they are; ``what``: "item" or "user".

    Without ``info``: what the features of a file are read into, ``n_tokens`` wide.
    """
    if info is None:
        if n_tokens is None:
            raise ValueError(
                f"PinSAGE: there are no features of {what}s; pass {what}_info={{column: values [n_{what}s]}}"
            )
        shape = len(known), n_tokens
        dense = np.zeros((len(known), features.n_dense), np.float32)
        return Encoded(dense, np.full(shape, -1), np.zeros(shape, np.float32))
    check_columns(info, f"{what}_info")
    for name in features.columns:
        if name in info and (n := length_of(name, info[name])) != len(known):
            raise ValueError(
                f"PinSAGE: {what}_info must have a row for each of {len(known)} {what}s, got {n} in column {name!r}"
            )
    if features.learnt is None:
        features.fit(info, known.cpu().numpy())
    return features.transform(info)


def stacked(above: Encoded, below: Encoded) -> Encoded:
    """The features of both, as wide as the wider."""
    width = max(above.tokens.shape[1], below.tokens.shape[1])

    def widened(array: NDArray[Any], fill: int) -> NDArray[Any]:
        return np.pad(array, ((0, 0), (0, width - array.shape[1])), constant_values=fill)

    return Encoded(
        np.concatenate([above.dense, below.dense]),
        np.concatenate([widened(above.tokens, -1), widened(below.tokens, -1)]),
        np.concatenate([widened(above.weights, 0), widened(below.weights, 0)]),
    )
