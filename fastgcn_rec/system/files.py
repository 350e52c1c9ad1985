"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

_SUFFIX = ".part"  # of temporary files
_STALE = 86_400  # seconds without a change after which another machine's temporary file is taken for left over
_SPECIAL = {stat.S_ISFIFO: "a FIFO", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}

StrPath = str | os.PathLike[str]
_T = TypeVar("_T")


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


def write_atomically(path: StrPath, write: Callable[[IO[bytes]], _T]) -> _T:
    """Calls ``write`` on a temporary file beside ``path`` and moves it there once it is safely on disk; returns what ``write`` does.

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
                result = write(file)
                file.flush()
                if old is not None:
                    _take_over(handle, old)
                os.fsync(handle)
                os.replace(temporary, real)  # while the lock is held
            return result
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


@contextlib.contextmanager
def beside(path: StrPath) -> Iterator[Path]:
    """A new, empty file in the folder of ``path``, which is made where it is not there, for as long as the caller is within."""
    real = check_target(path)
    with _naming(path):
        real.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _temporary(real, 0o666)
    try:
        yield temporary
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


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
def locked(folder: StrPath) -> Iterator[None]:
    """Within it the folder, which is made where it is not there, is this caller's alone: a RuntimeError where another one has it so. The lock ends with
    its process, however that ends; file systems without locks have none."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"{folder} is being written by another run; wait for its end, or name another folder"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


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


@contextlib.contextmanager
def opened(path: StrPath) -> Iterator[IO[bytes]]:
    """The file, to be read; a folder, a FIFO or a device is refused."""
    with _naming(path):
        _check_kind(path, os.stat(path).st_mode)
        with open(path, "rb") as file:
            yield file
