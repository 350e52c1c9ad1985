"""Checks of what a caller passes: scalars of Python, NumPy or torch, and arrays of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_floats(values: Any, name: str) -> NDArray[np.float32]:
    """Return real numbers of any kind as float32; texts and complex numbers, of which NumPy would make some, are refused, and so is what a mask hides."""
    if np.ma.is_masked(values):
        raise ValueError(f"{name} must be numbers throughout, got masked ones; fill them with .filled(value) first")
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"{name} must be numbers in rows of one length: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}; convert them with .astype(np.float32)")
    with np.errstate(over="ignore"):  # becomes infinite, which whoever asks for finite ones sees
        return array.astype(np.float32, copy=False)


def as_python(value: Any) -> Any:
    """A scalar of NumPy or torch as Python's, lists and tuples of them likewise; anything else as it is."""
    if type(value) in (list, tuple):
        return type(value)(map(as_python, value))
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def check_number(value: Any, name: str) -> float:
    """Return an int or a float, of Python, NumPy or torch, as a float."""
    value = as_python(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(
            f"{name} must be a number that float64 holds, got an integer of {int(value).bit_length()} bits"
        ) from None


def check_each(values: Any, name: str) -> list[float]:
    """Return several numbers, in a list, an array or a tensor, as floats."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of numbers, got {values!r:.80}")
    return [check_number(value, name) for value in values]


def check_size(value: Any, name: str, most: float = 1e30) -> float:
    """Return a number that is finite, and so far from float32's end that its products are too, as a float."""
    number = check_number(value, name)
    if not abs(number) <= most:
        raise ValueError(f"{name} must be finite, and {most:g} or less in size, got {number}")
    return number


def check_numbers(who: str, **values: Any) -> list[float]:
    """Return several numbers of one caller, as floats, in their order."""
    return [check_number(value, f"{who}: {name}") for name, value in values.items()]


def check_fraction(value: float, name: str) -> float:
    """Return a share strictly between 0 and 1 as a float."""
    number = check_number(value, name)
    if not 0 < number < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")
    return number


def check_flag(value: Any, name: str) -> bool:
    """Return True or False, of Python, NumPy or torch, or 1 or 0, as a bool. What merely counts as true is none."""
    value = as_python(value)
    if not isinstance(value, int) or value not in (0, 1):
        raise TypeError(f"{name} must be True or False, got {value!r:.80}")
    return bool(value)


def check_count(value: Any, name: str, least: int | None = None, most: int | None = None) -> int:
    """Return an integer, of Python, NumPy or torch, `least` or more and `most` or less, as an int. A float is none, whole or not."""
    value = as_python(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be <= {most}, got {value}")
    return value
