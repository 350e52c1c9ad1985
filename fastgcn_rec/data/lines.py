"""Text files as they come: gzip, UTF-8, UTF-16 and Latin-1 are read, files of other kinds are refused by name."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_BLOCK = 1 << 20
_UNPACK = "unpack it first"
_FOREIGN = {
    b"PK\x03\x04": ("a compressed archive (.zip, .xlsx, .npz)", _UNPACK),
    b"BZh": ("compressed by bzip2", _UNPACK),
    b"\xfd7zXZ": ("compressed by xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", _UNPACK),
    b"7z\xbc\xaf": ("a compressed 7z archive", _UNPACK),
    b"PAR1": ("a Parquet file", "read_parquet reads it"),
    b"\x93NUMPY": ("a NumPy array", "Interactions.from_raw takes arrays"),
    b"\x89HDF": ("an HDF5 file", "Interactions.from_raw takes arrays"),
    b"SQLite format 3": ("an SQLite database", "Interactions.from_raw takes columns"),
}
_MARKS = {  # in this order: UTF-32's begins as UTF-16's does
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, what gzip compressed decompressed. ValueError: a file that is damaged or of another kind than text."""
    with open(path, "rb") as raw:
        head = raw.read(16)
        raw.seek(0)
        for magic, (kind, way_out) in _FOREIGN.items():
            if head.startswith(magic):
                raise ValueError(f"{path} is {kind}, not a text file; {way_out}")
        if not head.startswith(b"\x1f\x8b"):
            yield raw
            return
        try:
            with gzip.GzipFile(fileobj=raw) as plain:
                yield plain  # type: ignore[misc]
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is compressed by gzip and damaged: {error}") from error


@contextmanager
def open_lines(path: Path, encoding: str | None = None) -> Iterator[io.TextIOWrapper]:
    """The file's lines with their ends (LF, CR LF or CR); `encoding` None finds out which."""
    encoding = encoding_of(path) if encoding is None else encoding
    with open_bytes(path) as stream, io.TextIOWrapper(stream, encoding=encoding, newline="") as lines:
        try:
            yield lines
        except UnicodeError as error:
            raise ValueError(f"{path}: not text in {encoding} ({error}); name another encoding=") from error


def encoding_of(path: Path) -> str:
    """What the byte order mark says; else UTF-8 where the bytes are valid UTF-8, otherwise Latin-1 (the older MovieLens files)."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_bytes(path) as stream:
        block = stream.read(_BLOCK)
        marked = _mark(block)
        if marked is not None:
            return marked
        if 0 in block[:4]:
            for encoding, zeros in (("utf-16-le", block[1:8:2]), ("utf-16-be", block[:8:2])):
                if not any(zeros):
                    raise ValueError(
                        f"{path} seems to be UTF-16 without a byte order mark; if so, encoding={encoding!r}"
                    )
        try:
            while block:
                decoder.decode(block)
                block = stream.read(_BLOCK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8-sig"


def _mark(head: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), None)


def read_utf8(path: Path) -> bytes:
    """All of the file, for readers of bytes: recoded where it has a byte order mark, else as it is."""
    with open_bytes(path) as stream:
        raw = stream.read()
    encoding = _mark(raw)
    try:
        return raw if encoding is None else raw.decode(encoding).encode()
    except UnicodeError as error:
        raise ValueError(f"{path}: not text in {encoding} ({error})") from error


def line_at(path: Path, encoding: str | None, number: int) -> str:
    """The text of line `number`, from 1, without its end; "" behind the last."""
    with open_lines(path, encoding) as lines:
        for n, line in enumerate(lines, 1):
            if n == number:
                return line.rstrip("\r\n")
    return ""


def malformed_line(path: Path, number: int, line: str, reason: str) -> ValueError:
    """Return the error for one line of a file: its number is 1-based, and a long line is cut."""
    shown = line if len(line) <= 120 else line[:117] + "..."
    return ValueError(f"{path}, line {number}: {reason}; the line is {shown!r}")
