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
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .npz import packed, read_npz, unpacked, write_npz

_META = "meta.json"
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
        _check_kind(path, mode)
        if not os.access(real, os.W_OK):
            raise PermissionError(errno.EACCES, "is protected against writing", str(path))
    folder = next(parent for parent in real.parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, so that nothing can be written below it", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "is a folder in which no file may be made", str(folder))
    return real


def _check_kind(path: StrPath, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file in it", str(path))
    for is_kind, kind in _SPECIAL.items():
        if is_kind(mode):
            raise ValueError(f"{path} is {kind}; name a regular file")


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


def this_host() -> str:
    """What names of temporary files say of the machine."""
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()


def _temporary(real: Path, mode: int) -> tuple[int, Path]:
    """A new file beside ``real``, locked for as long as it is open, by which :func:`_sweep` knows that somebody writes it."""
    while True:
        path = real.parent / f"{_prefix(real)}{this_host()}-{os.urandom(8).hex()}{_SUFFIX}"
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
    names: list[str] = []
    with contextlib.suppress(OSError):  # a folder may be written and not read
        names = os.listdir(real.parent)
    for name in names:
        found = form.fullmatch(name)
        if found is None:
            continue
        with contextlib.suppress(OSError):
            handle = os.open(real.parent / name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if found[1] == this_host() or time.time() - os.fstat(handle).st_mtime > _STALE:
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


def same_values(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where 1, 1.0 and true differ."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_finite(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_arrays(path: StrPath | IO[bytes], meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """An .npz with the arrays and ``meta`` (its "kind" and "format" among it) as JSON text; object arrays [n] hold texts.

    ``path`` may be a binary file that is open for writing; whether that is whole is the caller's care then.
    """
    text = json.dumps(plain(meta, "meta")).encode()
    members = {_META: np.frombuffer(text, np.uint8), **packed(arrays)}
    if isinstance(path, (str, os.PathLike)):
        write_atomically(path, lambda file: write_npz(file, members))
    elif hasattr(path, "write"):
        write_npz(path, members)
    else:
        raise TypeError(f"path must be a path or a binary file that is open for writing, got {type(path).__name__}")


def load_arrays(
    path: StrPath | IO[bytes], kind: str, format: int = 1
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The way back, to (meta, arrays): what :func:`save_arrays` wrote and nothing else, as the checksum says.

    The names, dtypes and shapes are those of the file: see :func:`check_arrays`. ``path`` may be a binary file that can be read and sought.

    Raises
    ------
    ValueError : naming the file; for one that is damaged, changed or no file of fastgcn_rec, of another ``kind`` or another ``format``.
    OSError : the file is missing or cannot be read.
    """
    with _opened(path) as file:
        with refusing(path):
            members = read_npz(file)
            name, text = next(members)
            meta = json.loads(text.tobytes()) if name == _META else None
            if not isinstance(meta, dict):
                raise ValueError(f"its first member is {name!r}, not the {_META} of a file of fastgcn_rec")
        if meta.get("kind") != kind:
            raise ValueError(f"{name_of(path)} holds a {meta.get('kind')!r}, not a {kind!r}")
        if not same_values(meta.get("format"), format):
            raise ValueError(
                f"{name_of(path)} has format {meta.get('format')!r} of a {kind}, and this version of fastgcn_rec reads format {format}; read it "
                "with the version that wrote it, or make it anew"
            )
        with refusing(path):
            return meta, unpacked(dict(members))


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
    with _naming(path):
        _check_kind(path, os.stat(path).st_mode)
        with open(path, "rb") as file:
            yield file


def name_of(path: StrPath | IO[bytes]) -> str:
    """What messages call it."""
    return os.fspath(path) if isinstance(path, (str, os.PathLike)) else str(getattr(path, "name", type(path).__name__))


# --- what a file's parts must be --------------------------------------------------------------------------------------

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
