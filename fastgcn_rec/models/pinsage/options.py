"""The numbers that a PinSAGE model is made with, checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...core.arguments import as_python, check_count, check_flag, check_number

_LEAST = {"embedding_dim": 1, "hidden_dim": 1, "top": 1, "n_walks": 1, "walk_length": 1, "history": 1, "num_layers": 0}
_INTEGERS = (*_LEAST, "walk_seed", "seed")
_RULES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "round_share": ("lie in (0, 1)", lambda value: 0 < value < 1),
    "degree_power": ("be >= 0 and finite", lambda value: 0 <= value < math.inf),
    "cold_share": ("lie in [0, 1)", lambda value: 0 <= value < 1),
    "cold_user_share": ("lie in [0, 1)", lambda value: 0 <= value < 1),
    "trend": ("lie in [0, 1)", lambda value: 0 <= value < 1),
    "trend_weight": ("be >= 0 and finite, and 1e30 or less", lambda value: 0 <= value <= 1e30),
    "window": ("be >= 0 and finite, or None", lambda value: 0 <= value < math.inf),
}


def checked(**given: Any) -> dict[str, Any]:
    """The options in their order, as Python's numbers. TypeError for kinds, ValueError for values, which name the option."""
    return {name: _checked(name, value) for name, value in given.items()}


def _checked(name: str, value: Any) -> Any:
    if name in _INTEGERS:
        return check_count(value, f"PinSAGE: {name}", _LEAST.get(name))
    if name == "linear":
        check_flag(value, "PinSAGE: linear")
        return as_python(value)
    if name == "window" and value is None:
        return None
    number = check_number(value, f"PinSAGE: {name}")
    rule, holds = _RULES.get(name, ("", lambda value: True))
    if not holds(number):
        raise ValueError(f"PinSAGE: {name} must {rule}, got {number}")
    return number
