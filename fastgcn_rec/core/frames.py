"""Columns as a table of another library: the one place where frames are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from .ids import is_missing, is_text

FrameKind: TypeAlias = Literal["pandas", "polars", "arrow", "dict", True]
FRAME_KINDS = ("pandas", "polars", "arrow", "dict")
_MODULES = {"pandas": "pandas", "polars": "polars", "arrow": "pyarrow"}


def check_frame_kind(kind: Any, who: str) -> str:
    """The kind by its name, True being "pandas"; ``who`` is the argument named in errors.

    Raises ValueError for no kind, ImportError where its library is missing: before anything is computed for it.
    """
    name = "pandas" if kind is True else kind
    if not isinstance(name, str) or name not in FRAME_KINDS:
        raise ValueError(f"{who} must be True or one of {FRAME_KINDS}, got {kind!r}")
    if name in _MODULES:
        _module(name, who)
    return name


def to_frame(columns: Mapping[str, Any], kind: FrameKind = "pandas", who: str = "kind") -> Any:
    """A table of columns of one length.

    Parameters
    ----------
    columns : from names to arrays [n]: numbers, bools, datetime64, or texts (object arrays of str, None where there is none)
    kind : "pandas" (or True), a pandas.DataFrame; "polars"; "arrow", a pyarrow.Table; "dict", the columns as they are
    who : the argument named in errors

    Raises
    ------
    ValueError : another kind. ImportError : the library is missing, by name.

    Examples
    --------
    >>> to_frame({"item": np.array(["tea"], object), "score": np.ones(1)}, "dict")
    {'item': array(['tea'], dtype=object), 'score': array([1.])}
    """
    name = check_frame_kind(kind, who)
    if name == "dict":
        return dict(columns)
    if name == "arrow":
        return arrow_table(columns)
    library = _module(name, who)
    if name == "pandas":
        return library.DataFrame(dict(columns))
    return library.DataFrame({column: _for_polars(library, values) for column, values in columns.items()})


def _for_polars(polars: Any, values: Any) -> Any:
    if _texts(values):
        return polars.Series(values.tolist(), dtype=polars.String)
    seconds = isinstance(values, np.ndarray) and values.dtype == "datetime64[s]"  # a unit that polars has not
    return values.astype("datetime64[ms]") if seconds else values


def arrow_table(columns: Mapping[str, Any]) -> Any:
    """A pyarrow.Table of columns as of :func:`to_frame`, or of pyarrow's own arrays; texts are strings also where there are none."""
    arrow = _module("arrow", "a table")
    return arrow.table(
        {
            name: arrow.array(values.tolist(), arrow.string()) if _texts(values) else values
            for name, values in columns.items()
        }
    )


def _texts(values: Any) -> bool:
    if not isinstance(values, np.ndarray) or not is_text(values):
        return False
    return values.dtype != object or all(isinstance(value, str) or is_missing(value) for value in values.tolist())


def _module(name: str, who: str) -> Any:
    try:
        if name == "pandas":
            import pandas as module
        elif name == "polars":
            import polars as module
        else:
            import pyarrow as module
    except ImportError:
        raise ImportError(
            f"{who}: a {name} table needs {_MODULES[name]}, which is not installed; pip install {_MODULES[name]}, or take another of {FRAME_KINDS}"
        ) from None
    return module
