"""Lines of text files in any encoding, and the errors that show one."""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .compressed import open_bytes

_BLOCK = 1 << 20
_ESCAPED = re.compile("[\udc80-\udcff]")
_MARKS = {  # in this order: UTF-32's begins as UTF-16's does
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


@contextmanager
def open_lines(path: Path, encoding: str | None = None, *, whole: bool = True) -> Iterator[io.TextIOWrapper]:
    """The file's lines with their ends (LF, CR LF or CR); `encoding` and `whole` as `encoding_of` takes them."""
    check_encoding(encoding)
    encoding = encoding_of(path, encoding, whole=whole)
    with open_bytes(path) as stream, io.TextIOWrapper(stream, encoding=encoding, newline="") as lines:
        try:
            yield lines
        except UnicodeError as error:
            raise ValueError(f"{path}: not text in {encoding} ({error}); name another encoding=") from error


def encoding_of(path: Path, given: str | None = None, *, whole: bool = True) -> str:
    """What the byte order mark says; else UTF-8 where the bytes are valid UTF-8, otherwise Latin-1 (the older MovieLens files).

    A `given` one stays, but for a mark of its own kind, which is no text. Without `whole` the first MiB speaks for all.
    """
    with open_bytes(path) as stream:
        block = stream.read(_BLOCK)
        marked = _mark(block)
        if given is not None:
            return marked if marked is not None and _family(given) == _family(marked) else given
        if marked is not None:
            return marked
        if 0 in block[:4]:
            for encoding, zeros in (("utf-16-le", block[1:8:2]), ("utf-16-be", block[:8:2])):
                if not any(zeros):
                    raise ValueError(
                        f"{path} seems to be UTF-16 without a byte order mark; if so, encoding={encoding!r}"
                    )
        return _guessed(path, stream, block, whole)


def _guessed(path: Path, stream: IO[bytes], block: bytes, whole: bool) -> str:
    """UTF-8 or Latin-1. ValueError: bytes of neither, which would be other characters in silence."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    good, bad = 0, Counter[str]()  # how many characters beyond ASCII, and bytes that are part of none
    final = False
    while not final:
        final = not block
        if decoder.getstate()[0] or not block.isascii():
            text = decoder.decode(block, final and whole)
            odd = _ESCAPED.findall(text)
            good += len(text) - len(odd) - len(text.encode("ascii", "ignore"))
            bad.update(odd)
        block = stream.read(_BLOCK) if whole and not final else b""
    control = next((byte for byte in bad if byte < "\udca0"), None)
    if good > bad.total() > 0:
        raise ValueError(
            f"{path}: not text in utf-8 throughout: {good} characters are, and {bad.total()} bytes are of none; mend those, or name another encoding="
        )
    if control is not None:
        raise ValueError(
            f"{path}: not text in utf-8, nor in latin-1, which has no character 0x{ord(control) - 0xDC00:02x}; encoding= names what it is, such as 'cp1252'"
        )
    return "latin-1" if bad else "utf-8-sig"


def check_encoding(encoding: str | None) -> None:
    """ValueError: Python knows no encoding of that name."""
    try:
        "".encode(encoding or "utf-8")
    except LookupError:
        raise ValueError(
            f"encoding must be one that Python knows, such as 'latin-1' or 'cp1252', got {encoding!r}"
        ) from None


def _family(encoding: str) -> str:
    name = codecs.lookup(encoding).name
    return next((family for family in ("utf-8", "utf-16", "utf-32") if name.startswith(family)), name)


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
