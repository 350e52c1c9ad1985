"""TOML as people write it: read with errors that name the file, and written from plain values."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def read_toml(path: Path) -> dict[str, Any]:
    """What stands in the file. ValueError names the file, the line and the column; OSError: it cannot be read."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be a text in UTF-8, got the byte {error.object[error.start]:#04x} at {error.start}; save it as UTF-8") from None  # fmt: skip
    except RecursionError:
        raise ValueError(f"{path}: its tables or lists stand in one another too often to be read") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no TOML: {error}; texts stand in quotes, truth values are true and false") from None  # fmt: skip


def toml_text(values: Mapping[str, Any]) -> str:
    """``values`` as TOML: texts, truth values, numbers, lists of them, and mappings, which become tables.

    Raises
    ------
    TypeError : a value of another kind, None among them, which TOML does not have. ValueError : a text with half of a surrogate pair.

    Examples
    --------
    >>> print(toml_text({"seed": 1, "data": {"source": ["a.csv", "b.csv"], "reading": {"header": False}}}))
    seed = 1
    <BLANKLINE>
    [data]
    source = ["a.csv", "b.csv"]
    <BLANKLINE>
    [data.reading]
    header = false
    <BLANKLINE>
    """
    return "\n".join(_table(values, ())).lstrip("\n") + "\n"


def _table(values: Mapping[str, Any], name: tuple[str, ...]) -> Iterator[str]:
    own = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    if name and (own or not tables):
        yield f"\n[{'.'.join(map(_key, name))}]"
    for key, value in own.items():
        yield f"{_key(key)} = {_value(value, '.'.join((*name, key)))}"
    for key, table in tables.items():
        yield from _table(table, (*name, key))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key, "a key")


def _value(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f"{value}"  # inf, -inf and nan are TOML's too
    if isinstance(value, str):
        return _text(value, name)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(own, f'{name}[{n}]') for n, own in enumerate(value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(own, f'{name}.{key}')}" for key, own in value.items()) + "}"
    raise TypeError(f"{name} must be a text, a truth value, a number, a list or a mapping to be TOML, got {type(value).__name__}")  # fmt: skip


def _text(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds half of a surrogate pair, which TOML, of UTF-8, cannot: {text!a}") from None
    escaped = (_ESCAPES.get(c) or (f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c) for c in text)
    return f'"{"".join(escaped)}"'
