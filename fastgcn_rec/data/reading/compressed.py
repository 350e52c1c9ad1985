"""The bytes of a file: gzip, bzip2, xz, zstd and zip are undone, known by their first bytes; what is no text at all is refused by name.

A file in a zip archive has the path ``archive.zip/inner.csv``.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

_ZIP = b"PK\x03\x04"
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x50\x2a\x4d\x18": "zstd",  # a frame of pzstd's, which decompressors pass over
}
_FOREIGN = {
    b"7z\xbc\xaf": ("a compressed 7z archive", "unpack it first"),
    b"Rar!": ("a compressed RAR archive", "unpack it first"),
    b"\x04\x22\x4d\x18": ("compressed by lz4", "unpack it first"),
    b"\x1f\x9d": ("compressed by compress", "unpack it first"),
    b"PK\x05\x06": ("an empty zip archive", "it holds nothing"),
    b"PAR1": ("a Parquet file", "read_parquet reads it"),
    b"ARROW1": ("an Arrow file", "Interactions.from_raw takes its columns"),
    b"ORC": ("an ORC file", "Interactions.from_raw takes its columns"),
    b"\x93NUMPY": ("a NumPy array", "Interactions.from_raw takes arrays"),
    b"\x89HDF": ("an HDF5 file", "Interactions.from_raw takes arrays"),
    b"SQLite format 3": ("an SQLite database", "Interactions.from_raw takes columns"),
    b"%PDF-": ("a PDF document", "export its table as CSV"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an Excel file (.xls)", "export it as CSV"),
}
_FREE = 256 << 20  # so many bytes may come of any archive
_FOLDS = 200  # and beyond them so many of each byte that it has: tables of text take a tenth of it
_WINDOW = 512 << 20  # the memory that xz may ask for


def kind_of(path: Path) -> str | None:
    """What compressed a file ("gzip", "bzip2", "xz", "zstd", "zip"); None for any other.

    >>> import gzip, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "plays.csv"
    >>> _ = path.write_bytes(gzip.compress(b"user,item"))
    >>> kind_of(path)
    'gzip'
    """
    with open(path, "rb") as raw:
        return _kind(raw.read(16))


def _kind(head: bytes) -> str | None:
    if head.startswith(_ZIP):
        return "zip"
    return next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), None)


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, decompressed. ValueError: a file that is damaged, grows beyond measure, or is of another kind than text."""
    archive = archive_of(path)
    if archive is not None:
        with _opened_member(archive, path.relative_to(archive).as_posix()) as (stream, size):
            yield _checked(stream, path, "zip", size)
        return
    with open(path, "rb") as raw:
        head = raw.read(16)
        raw.seek(0)
        kind = _kind(head)
        if kind == "zip":
            inner = members(path)
            if len(inner) != 1:
                raise ValueError(f"{path} is a zip archive of {len(inner)} files; name one of them: {_some(inner)}")
            with open_bytes(inner[0]) as stream:
                yield stream
        elif kind is None:
            _refuse(path, head)
            yield raw
        else:
            yield _checked(_decompressed(raw, kind), path, kind, path.stat().st_size)


def _refuse(path: Path, head: bytes, packed: str | None = None) -> None:
    for magic, (kind, way_out) in _FOREIGN.items():
        if head.startswith(magic):
            raise ValueError(
                f"{path} is {kind}, not a text file; "
                + (way_out if packed is None else f"it is compressed by {packed}: unpack it first")
            )


def _checked(stream: IO[bytes], path: Path, kind: str, size: int) -> IO[bytes]:
    plain = io.BufferedReader(_Bounded(stream, path, kind, size), 1 << 16)
    head = plain.peek(16)[:16]
    inner = _kind(head)
    if inner is not None:
        raise ValueError(f"{path} is compressed twice, by {kind} and by {inner}; unpack it first")
    _refuse(path, head, kind)
    return plain


class _Bounded(io.RawIOBase):
    """Counts what comes of a compressed file."""

    def __init__(self, stream: IO[bytes], path: Path, kind: str, size: int) -> None:
        self.stream, self.path, self.kind, self.most = stream, path, kind, max(_FREE, _FOLDS * size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _refusing(self.path, self.kind):
            block = self.stream.read(len(buffer))
        self.most -= len(block)
        if self.most < 0:
            raise ValueError(
                f"{self.path} is compressed by {self.kind} and grows to more than {_FOLDS} times its size, as what is made to fill a memory does; "
                "unpack it first if it is meant"
            )
        buffer[: len(block)] = block
        return len(block)


@contextmanager
def _refusing(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, _Damaged) as error:
        raise ValueError(f"{path} is compressed by {kind} and damaged: {error}") from error


class _Damaged(Exception):
    pass


def _decompressed(raw: IO[bytes], kind: str) -> IO[bytes]:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    if kind == "zstd":
        return _zstd(raw)
    make: Callable[[], Any] = (
        bz2.BZ2Decompressor if kind == "bzip2" else lambda: lzma.LZMADecompressor(memlimit=_WINDOW)
    )
    return io.BufferedReader(_Frames(raw, make, 1 << 16))


class _Decompressor(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _Frames(io.RawIOBase):
    """Compressed streams, one behind the other; the last must be whole, and nothing but zeros may follow it."""

    def __init__(self, raw: IO[bytes], make: Callable[[], _Decompressor], block: int, bounded: bool = True) -> None:
        self.raw, self.make, self.block, self.bounded = raw, make, block, bounded
        self.frame, self.rest, self.plain = make(), b"", b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.plain and self._more(len(buffer)):
            pass
        part, self.plain = self.plain[: len(buffer)], self.plain[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def _more(self, wanted: int) -> bool:
        """Decompress some; False at the end of the file."""
        if self.frame.eof:
            self.rest = self.frame.unused_data.lstrip(b"\0")
            while not self.rest:
                block = self.raw.read(self.block)
                if not block:
                    return False
                self.rest = block.lstrip(b"\0")
            self.frame = self.make()
        data, self.rest = self.rest, b""
        if not data and getattr(self.frame, "needs_input", True):
            data = self.raw.read(self.block)
            if not data:
                raise _Damaged("it ends before its last block")
        try:
            self.plain = self.frame.decompress(data, wanted) if self.bounded else self.frame.decompress(data)
        except (lzma.LZMAError, OSError) as error:
            raise _Damaged(str(error)) from error
        return True


def _zstd(raw: IO[bytes]) -> IO[bytes]:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # of Python 3.14
    except ImportError:
        pass
    else:
        return io.BufferedReader(_Frames(raw, _naming(zstd.ZstdDecompressor, zstd.ZstdError), 1 << 16))
    try:
        import zstandard
    except ImportError:
        pass
    else:
        # Its output is not bounded by a length, but by its input: a block of 128 KiB takes 4 bytes at least.
        make = _naming(lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError)
        return io.BufferedReader(_Frames(raw, make, 1 << 11, bounded=False))
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "a file that zstd compressed needs Python 3.14, or: pip install 'fastgcn_rec[zstd]'"
        ) from error
    return _ArrowZstd(pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd"))  # type: ignore[return-value]


def _naming(make: Callable[[], Any], own: type[Exception]) -> Callable[[], Any]:
    class Named:
        """A decompressor whose errors are OSErrors, as bz2's are."""

        def __init__(self) -> None:
            self.inner = make()

        def decompress(self, *arguments: Any) -> bytes:
            try:
                return self.inner.decompress(*arguments)
            except own as error:
                raise OSError(str(error)) from error

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    return Named


class _ArrowZstd:
    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def read(self, n: int) -> bytes:
        try:
            return self.stream.read(n)
        except OSError as error:
            raise _Damaged(str(error)) from error


# ---- archives of files


def archive_of(path: Path) -> Path | None:
    """The zip archive that a path leads into; None where it is a file's own.

    >>> import pathlib
    >>> archive_of(pathlib.Path("plays.csv")) is None
    True
    """
    if path.exists():
        return None
    for parent in path.parents:
        if parent.exists():
            return parent if parent.is_file() and kind_of(parent) == "zip" else None
    return None


def exists(path: Path) -> bool:
    """Whether there is such a file or folder, or such a file in an archive."""
    if path.exists():
        return True
    archive = archive_of(path)
    return archive is not None and path in members(archive)


def members(archive: Path) -> list[Path]:
    """The files in a zip archive, as ``archive.zip/inner.csv``, sorted; none that is hidden. ValueError: archives that hold no tables of text."""
    with _archive(archive) as opened:
        names = [info.filename for info in opened.infolist() if not info.is_dir()]
    odd = next(
        (name for name in names if name.startswith("/") or ".." in name.split("/") or names.count(name) > 1), None
    )
    if odd is not None:
        raise ValueError(
            f"{archive} holds a file named {odd!r}, which is outside of it or there twice; unpack it first"
        )
    if "[Content_Types].xml" in names:
        raise ValueError(
            f"{archive} is a document such as .xlsx in a compressed archive, not a text file; export it as CSV"
        )
    if names and all(name.endswith(".npy") for name in names):
        raise ValueError(
            f"{archive} is a compressed archive of arrays (.npz), not a text file; read_npz reads matrices"
        )
    return sorted(archive / name for name in names if not any(is_hidden(part) for part in name.split("/")))


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of data: hidden, a mark such as _SUCCESS, or a checksum."""
    return (
        name.startswith((".", "_"))
        or name.lower().endswith((".crc", ".md5", ".sha1", ".sha256", ".sha512"))
        or name.upper() in ("MD5SUMS", "SHA1SUMS", "SHA256SUMS", "SHA512SUMS", "THUMBS.DB", "DESKTOP.INI")
    )


@contextmanager
def _opened_member(archive: Path, name: str) -> Iterator[tuple[IO[bytes], int]]:
    with _archive(archive) as opened:
        info = next((info for info in opened.infolist() if archive / info.filename == archive / name), None)
        if info is None:
            raise FileNotFoundError(f"{archive} holds no {name}; its files are {_some(members(archive))}")
        if info.flag_bits & 1:
            raise ValueError(f"{archive / name} is encrypted; unpack it first")
        try:
            stream = opened.open(info)
        except NotImplementedError as error:
            raise ValueError(f"{archive / name} cannot be unpacked ({error}); unpack it first") from error
        with stream:
            yield stream, info.compress_size


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is compressed by zip and damaged: {error}") from error


def _some(paths: list[Path]) -> str:
    return ", ".join(map(str, paths[:10])) + (", ..." if len(paths) > 10 else "")
