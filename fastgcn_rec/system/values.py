"""Values as JSON holds them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .files import StrPath, write_atomically


def write_json(path: StrPath, value: Any) -> None:
    """``value`` as :func:`json_value` makes it. JSON has no NaN and no infinity, and most programs refuse them: they become null."""
    text = json.dumps(_finite(json_value(value)), indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def json_value(value: Any, name: str = "value") -> Any:
    """``value`` as it comes back from JSON: scalars and arrays of NumPy and torch are numbers and lists, tuples are lists, keys are texts.

    >>> import numpy as np
    >>> json_value({"dims": (np.int64(2), np.float32(0.5)), "on": np.bool_(True)})
    {'dims': [2, 0.5], 'on': True}
    """
    if callable(getattr(value, "tolist", None)):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): json_value(own, f"{name}[{key!r}]") for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(own, f"{name}[{n}]") for n, own in enumerate(value)]
    if value is None or isinstance(value, (str, int, float)):  # a bool is an int
        return value
    raise TypeError(
        f"{name} must be of numbers, texts, truth values, lists and mappings to be written, got {type(value).__name__}"
    )


def same_values(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where 1, 1.0 and true differ."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_finite(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
