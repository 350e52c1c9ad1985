"""What the parts of a file must be, before anything else looks at them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

Spec = tuple[str, tuple[int | str, ...]]


def check_keys(meta: Mapping[str, Any], **kinds: type) -> None:
    """ValueError unless ``meta`` has, beside "kind" and "format", these keys alone, each of its kind."""
    _same_names("key", meta.keys() - {"kind", "format"}, kinds.keys())
    for name, kind in kinds.items():
        if not isinstance(meta[name], kind):
            raise ValueError(f"its {name} must be a {kind.__name__}, got {meta[name]!r}")


def check_arrays(arrays: Mapping[str, Any], expected: Mapping[str, Spec]) -> None:
    """ValueError unless these arrays, or tensors, are there and no others, each of the dtype and shape expected.

    A text in place of a size stands for any, the same one wherever it occurs; the dtype "ids" for int64 or texts.

    >>> check_arrays({"a": np.zeros((2, 3)), "b": np.zeros(3)}, {"a": ("float64", (2, "n")), "b": ("float64", ("n",))})
    """
    _same_names("array", arrays.keys(), expected.keys())
    sizes: dict[str, int] = {}
    for name, (dtype, shape) in expected.items():
        found = str(arrays[name].dtype).removeprefix("torch.")
        if found != dtype and not (dtype == "ids" and (found == "int64" or arrays[name].dtype.kind in "OU")):
            raise ValueError(f"its array {name} must have dtype {dtype}, got {found}")
        actual = tuple(arrays[name].shape)
        if len(actual) == len(shape):
            sizes |= {key: n for key, n in zip(shape, actual, strict=True) if isinstance(key, str) and key not in sizes}
        wanted = tuple(sizes.get(n, n) if isinstance(n, str) else n for n in shape)
        if actual != wanted:
            raise ValueError(f"its array {name} must have shape {_shape(wanted)}, got {_shape(actual)}")


def like(arrays: Mapping[str, Any]) -> dict[str, Spec]:
    """What :func:`check_arrays` expects of a file that holds such arrays, or tensors."""
    return {name: (str(a.dtype).removeprefix("torch."), tuple(a.shape)) for name, a in arrays.items()}


def check_csr(name: str, indptr: NDArray[Any], indices: NDArray[Any], n_columns: int) -> None:
    """ValueError unless these are rows of sorted, distinct columns in [0, n_columns)."""
    if not len(indptr) or indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        raise ValueError(f"its {name} rows must begin at 0, not decrease, and end at its {len(indices)} entries")
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < n_columns:
        raise ValueError(
            f"its {name} columns must lie in [0, {n_columns}), got {int(indices.min())} to {int(indices.max())}"
        )
    falls = np.flatnonzero(np.diff(indices.astype(np.int64)) <= 0) + 1  # where a row may begin, and nothing else
    if not np.isin(falls, indptr).all():
        raise ValueError(f"its {name} columns must be sorted and distinct in each row")


def check_distinct(name: str, ids: NDArray[Any]) -> None:
    """ValueError unless no id occurs twice."""
    if len(set(ids.tolist())) != len(ids):
        raise ValueError(f"its {name} must be distinct")


def _same_names(what: str, found: Set[str], expected: Set[str]) -> None:
    missing, unknown = sorted(expected - found), sorted(found - expected)
    if missing or unknown:
        parts = [
            f"{word} {', '.join(map(repr, names))}" for word, names in (("lacks", missing), ("has", unknown)) if names
        ]
        raise ValueError(f"of the {what}s that it must have it {' and '.join(parts)}")


def _shape(sizes: tuple[Any, ...]) -> str:
    return f"[{', '.join(map(str, sizes))}]"
