"""Files without pickle, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_META = "meta.json"
_TEXT, _ENDS = ".text", ".ends"  # members of an array of texts


def write_atomically(path: str | os.PathLike[str], write: Callable[[IO[bytes]], None]) -> None:
    """Calls ``write`` on a temporary file beside ``path`` and moves it there once it is safely on disk."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    write_atomically(path, lambda file: file.write((json.dumps(value, indent=2) + "\n").encode()))  # type: ignore[arg-type, return-value]


def save_arrays(path: str | os.PathLike[str], meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """An .npz with the arrays and ``meta`` as JSON text. An object array [n] of texts is stored as their UTF-8 bytes and where each ends."""
    members: dict[str, NDArray[Any]] = {_META: np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    for name, array in arrays.items():
        members |= _text_members(name, array) if array.dtype == object else {name: array}
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **members))  # type: ignore[arg-type]


def load_arrays(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The way back; ``kind`` must be meta["kind"]."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta: dict[str, Any] = json.loads(arrays.pop(_META).tobytes())
        for name in [name for name in arrays if name.endswith(_ENDS)]:
            own = name.removesuffix(_ENDS)
            arrays[own] = _texts(own, arrays.pop(own + _TEXT), arrays.pop(name))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a file of fastgcn_rec, or is damaged: {error}") from error
    if meta.get("kind") != kind:
        raise ValueError(f"{path} holds a {meta.get('kind')!r}, not a {kind!r}")
    return meta, arrays


def _text_members(name: str, texts: NDArray[Any]) -> dict[str, NDArray[Any]]:
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts.tolist()]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    return {name + _TEXT: np.frombuffer(b"".join(encoded), np.uint8), name + _ENDS: ends}


def _texts(name: str, data: NDArray[Any], ends: NDArray[Any]) -> NDArray[Any]:
    starts = np.concatenate(([0], ends[:-1])) if ends.size else ends
    fits = data.dtype == np.uint8 and ends.dtype == np.int64 and data.ndim == ends.ndim == 1
    if not fits or (ends < starts).any() or (starts < 0).any() or (int(ends[-1]) if ends.size else 0) != data.size:
        raise ValueError(f"{name}: the ends of the texts do not fit their {data.size} bytes")
    raw, texts = data.tobytes(), np.empty(ends.size, object)
    texts[:] = [raw[a:b].decode("utf-8", "surrogatepass") for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    return texts
