"""Files without pickle, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import socket
import stat
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_META = "meta.json"
_TEXT, _ENDS = ".text", ".ends"  # members of an array of texts
_SUFFIX = ".part"  # of temporary files
_STALE = 86_400  # seconds without a change after which another machine's temporary file is taken for left over
_SPECIAL = {stat.S_ISFIFO: "a FIFO", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}

StrPath = str | os.PathLike[str]


def check_target(path: StrPath) -> Path:
    """The file that writing to ``path`` makes or replaces, symlinks followed.

    Raises
    ------
    OSError, ValueError : ``path`` cannot be written: a folder, a FIFO, a device, a protected file, or a place where no file can be made. To be
        called before the work whose result goes there.
    """
    real = Path(os.path.realpath(path))
    try:
        mode = os.stat(real).st_mode
    except (FileNotFoundError, NotADirectoryError):
        pass
    else:
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder; name a file in it", str(path))
        for is_kind, kind in _SPECIAL.items():
            if is_kind(mode):
                raise ValueError(f"{path} is {kind}; files are written whole, so name a regular file")
        if not os.access(real, os.W_OK):
            raise PermissionError(errno.EACCES, "is protected against writing", str(path))
    folder = next(parent for parent in real.parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, so that nothing can be written below it", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "is a folder in which no file may be made", str(folder))
    return real


def write_atomically(path: StrPath, write: Callable[[IO[bytes]], Any]) -> None:
    """Calls ``write`` on a temporary file beside ``path`` and moves it there once it is safely on disk.

    The umask holds for a new file; one that is replaced keeps its mode and, where that is allowed, its owner. Of a symlink the target is
    replaced. Temporary files that killed writers of the same file have left are removed first. Errors of :func:`check_target`, before
    ``write`` is called, and OSError, which names ``path``.
    """
    real = check_target(path)
    with _naming(path):
        real.parent.mkdir(parents=True, exist_ok=True)
        _sweep(real)
        old = real.stat() if real.exists() else None
        handle, temporary = _temporary(real, 0o666 if old is None else old.st_mode & 0o777)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                if old is not None:
                    _take_over(handle, old)
                os.fsync(handle)
                os.replace(temporary, real)  # while the lock is held
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _prefix(real: Path) -> str:
    return f".{os.fsdecode(os.fsencode(real.name)[:200])}."  # 255 bytes are a name's most


def _host() -> str:
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()


def _temporary(real: Path, mode: int) -> tuple[int, Path]:
    """A new file beside ``real``, locked for as long as it is open, by which :func:`_sweep` knows that somebody writes it."""
    while True:
        path = real.parent / f"{_prefix(real)}{_host()}-{os.urandom(8).hex()}{_SUFFIX}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a sweep was faster and removes it
            pass
        except OSError:  # no locks here: no sweep can take one either
            return handle, path
        if os.fstat(handle).st_nlink:
            return handle, path
        os.close(handle)


def _sweep(real: Path) -> None:
    """Removes temporary files of ``real`` that nobody writes any more: those whose lock can be had. As the locks of some network file systems hold
    within a machine alone, those of other machines must not have changed for a day either."""
    form = re.compile(re.escape(_prefix(real)) + r"([0-9a-f]{8})-[0-9a-f]{16}" + re.escape(_SUFFIX))
    for name in os.listdir(real.parent):
        found = form.fullmatch(name)
        if found is None:
            continue
        with contextlib.suppress(OSError):
            handle = os.open(real.parent / name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if found[1] == _host() or time.time() - os.fstat(handle).st_mtime > _STALE:
                    os.unlink(real.parent / name)
            finally:
                os.close(handle)


def _take_over(handle: int, old: os.stat_result) -> None:
    """Owner, group and mode of the file that is replaced, as far as the system lets this process give them."""
    new, mode = os.fstat(handle), old.st_mode & 0o777
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        for owner in (old.st_uid, -1):
            with contextlib.suppress(OSError):
                os.fchown(handle, owner, old.st_gid)
                break
    new = os.fstat(handle)
    if new.st_gid != old.st_gid:
        mode = mode & 0o707 | (mode & 0o007) << 3  # to another group: what everybody may
    if new.st_mode & 0o777 != mode:
        with contextlib.suppress(OSError):  # some network file systems have modes of their own
            os.fchmod(handle, mode)


@contextlib.contextmanager
def _naming(path: StrPath) -> Iterator[None]:
    """OSErrors from within name ``path``, where they would name nothing or a temporary file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{path}: {error}") from error
        if error.filename is None or os.fsdecode(error.filename).endswith(_SUFFIX):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def write_json(path: StrPath, value: Any) -> None:
    """``value`` as :func:`plain` makes it. JSON has no NaN and no infinity, and most programs refuse them: they become null."""
    text = json.dumps(_finite(plain(value)), indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def plain(value: Any, name: str = "value") -> Any:
    """``value`` as it comes back from JSON: scalars and arrays of NumPy and torch are numbers and lists, tuples are lists, keys are texts.

    >>> plain({"dims": (np.int64(2), np.float32(0.5)), "on": np.bool_(True)})
    {'dims': [2, 0.5], 'on': True}
    """
    if callable(getattr(value, "tolist", None)):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(own, f"{name}[{key!r}]") for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(own, f"{name}[{n}]") for n, own in enumerate(value)]
    if value is None or isinstance(value, (str, int, float)):  # a bool is an int
        return value
    raise TypeError(
        f"{name} must be of numbers, texts, truth values, lists and mappings to be written, got {type(value).__name__}"
    )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_finite(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_arrays(path: StrPath, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """An .npz with the arrays and ``meta`` as JSON text. An object array [n] of texts is stored as their UTF-8 bytes and where each ends."""
    members: dict[str, NDArray[Any]] = {_META: np.frombuffer(json.dumps(plain(meta, "meta")).encode(), np.uint8)}
    for name, array in arrays.items():
        members |= _text_members(name, array) if array.dtype == object else {name: array}
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **members))


def load_arrays(path: StrPath, kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
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
