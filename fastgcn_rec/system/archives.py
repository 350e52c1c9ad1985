"""Files of arrays without pickle, which are read again only as they were written."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .files import StrPath, opened, write_atomically
from .npz import Sinks, packed, read_npz, unpacked, write_npz
from .values import json_value, same_values

_META = "meta.json"


def save_arrays(path: StrPath | IO[bytes], meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """An .npz with the arrays and ``meta`` (its "kind" and "format" among it) as JSON text; object arrays [n] hold texts. Returns its checksum.

    ``path`` may be a binary file that is open for writing; whether that is whole is the caller's care then.
    """
    text = json.dumps(json_value(meta, "meta")).encode()
    members = {_META: np.frombuffer(text, np.uint8), **packed(arrays)}
    if isinstance(path, (str, os.PathLike)):
        return write_atomically(path, lambda file: write_npz(file, members))
    if hasattr(path, "write"):
        return write_npz(path, members)
    raise TypeError(f"path must be a path or a binary file that is open for writing, got {type(path).__name__}")


def load_arrays(
    path: StrPath | IO[bytes],
    kind: str,
    format: int | tuple[int, ...] = 1,
    sinks: Sinks | None = None,
    checksum: str | None = None,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The way back, to (meta, arrays): what :func:`save_arrays` wrote and nothing else, as the checksum says.

    The names, dtypes and shapes are those of the file: see :func:`check_arrays`. ``path`` may be a binary file that can be read and sought.
    ``sinks`` says which arrays go elsewhere row by row; in their places come zeros that take no memory. ``checksum``: the one that the file must have,
    where another file names it.

    Raises
    ------
    ValueError : naming the file; for one that is damaged, changed or no file of fastgcn_rec, of another ``kind`` or another ``format``.
    OSError : the file is missing or cannot be read.
    """
    with _opened(path) as file:
        with refusing(path):
            members = read_npz(file, sinks, checksum)
            meta = _meta(members)
        _check_kind(path, meta, kind, format)
        with refusing(path):
            return meta, unpacked(dict(members))


def load_meta(path: StrPath, kind: str, format: int | tuple[int, ...] = 1) -> dict[str, Any]:
    """What :func:`load_arrays` says of the file before it reads the rest and the checksum of all."""
    with _opened(path) as file:
        with refusing(path):
            meta = _meta(read_npz(file))
        _check_kind(path, meta, kind, format)
        return meta


def _meta(members: Iterator[tuple[str, NDArray[Any]]]) -> dict[str, Any]:
    name, text = next(members)
    meta = json.loads(text.tobytes()) if name == _META else None
    if not isinstance(meta, dict):
        raise ValueError(f"its first member is {name!r}, not the {_META} of a file of fastgcn_rec")
    return meta


def _check_kind(path: StrPath | IO[bytes], meta: Mapping[str, Any], kind: str, format: int | tuple[int, ...]) -> None:
    if meta.get("kind") != kind:
        raise ValueError(f"{name_of(path)} holds a {meta.get('kind')!r}, not a {kind!r}")
    formats = format if isinstance(format, tuple) else (format,)
    if not any(same_values(meta.get("format"), known) for known in formats):
        raise ValueError(
            f"{name_of(path)} has format {meta.get('format')!r} of a {kind}, and this version of fastgcn_rec reads format "
            f"{' and '.join(map(str, formats))}; read it with the version that wrote it, or make it anew"
        )


@contextlib.contextmanager
def refusing(path: StrPath | IO[bytes]) -> Iterator[None]:
    """Whatever is wrong within is wrong with the file: a ValueError that names it. An error of the system stays what it is."""
    try:
        yield
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{name_of(path)} is not a file of fastgcn_rec, or is damaged: {why}") from error


@contextlib.contextmanager
def _opened(path: StrPath | IO[bytes]) -> Iterator[IO[bytes]]:
    if not isinstance(path, (str, os.PathLike)):
        if not hasattr(path, "read"):
            raise TypeError(f"path must be a path or a binary file that is open for reading, got {type(path).__name__}")
        yield path
        return
    with opened(path) as file:
        yield file


def name_of(path: StrPath | IO[bytes]) -> str:
    """What messages call it."""
    return os.fspath(path) if isinstance(path, (str, os.PathLike)) else str(getattr(path, "name", type(path).__name__))
