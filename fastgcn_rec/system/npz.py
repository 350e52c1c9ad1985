"""The bytes of our .npz files: what ``numpy.load`` reads, less all that a damaged or foreign file could do with it.

A member is an array in NumPy's format 1.0, stored as it is: neither compressed nor encrypted, so that no member is larger than the file. The last one
is the checksum: BLAKE2b over the names, headers and bytes of those before it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

CHECKSUM = "checksum"
_SUFFIX = ".npy"
_TEXT, _ENDS = ".text", ".ends"  # members of an array of texts
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<|][biuf]\d)', 'fortran_order': False, 'shape': \(((?:\d{1,18}(?:, )?)*,?)\), \} *\n"
)
_AT_ONCE = 1 << 20
# Of a zip's parts, in bytes: a member's header with its zip64 field, what follows a member in a file that cannot be sought, and the end's record.
_LOCAL, _DESCRIPTOR, _END = 30 + 20, 24, 22

Sink = Callable[
    [int, NDArray[Any]], None
]  # takes an array's rows as they come: the number of the first, and some of them
Sinks = Callable[[str, np.dtype[Any], tuple[int, ...]], Sink | None]  # by name, dtype and shape; None: it is kept whole


def write_npz(file: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> str:
    """Writes the arrays, in this order, and their checksum, which it returns: the same bytes for the same arrays."""
    digest = _digest()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            _write(archive, name, np.asarray(array, array.dtype.newbyteorder("<"), order="C"), digest)
        checksum = digest.digest()
        _write(archive, CHECKSUM, np.frombuffer(checksum, np.uint8), digest)
    return str(checksum.hex())


def read_npz(
    file: IO[bytes], sinks: Sinks | None = None, checksum: str | None = None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays, one after the other; whether the checksum fits, and is the given one, is known at the end. Raises almost anything for a file that is
    not ours. In place of those that have a sink come zeros of their dtype and shape, which take no memory."""
    digest = _digest()
    start = file.tell()
    if file.read(2) not in (b"PK", b""):
        raise ValueError(
            "it is no archive, as models, indexes and checkpoints are; if it holds data, `fastgcn-rec train` makes a model of them"
        )
    file.seek(start)
    with zipfile.ZipFile(file) as archive:
        members = _members(archive, file.seek(0, io.SEEK_END))
        _check_layout(archive, file)
        for name, info in members.items():
            wanted = digest.digest()
            array = _read(archive, name, info, digest, sinks)
            if name == CHECKSUM:
                if array.tobytes() != wanted:
                    raise ValueError(
                        "its content does not fit its checksum, so it was damaged or changed after it was written; take a copy of it or "
                        "make it anew"
                    )
                if checksum not in (None, wanted.hex()):
                    raise ValueError("it is whole, but not the file that was written with those that name it")
                return
            yield name, array
    raise ValueError("it has no checksum, as all files of this version have; make it anew")


def _digest() -> Any:
    return hashlib.blake2b(digest_size=32)


def _write(archive: zipfile.ZipFile, name: str, array: NDArray[Any], digest: Any) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    if not _HEADER.fullmatch(header.getvalue()[len(_MAGIC) + 2 :]):
        raise TypeError(f"{name} must be of truth values or numbers to be written, got dtype {array.dtype}")
    digest.update(f"{len(name)} {name}".encode())
    with archive.open(name + _SUFFIX, "w", force_zip64=True) as stream:
        for part in (header.getvalue(), _bytes(array)):
            digest.update(part)
            stream.write(part)


def _check_layout(archive: zipfile.ZipFile, file: IO[bytes]) -> None:
    """ValueError unless the archive is the whole file, without a gap: zipfile finds one within other bytes, too."""
    position = 0
    for info in archive.infolist():
        if info.header_offset != position:
            break
        position += (
            _LOCAL + len(info.filename.encode()) + info.compress_size + (_DESCRIPTOR if info.flag_bits & 8 else 0)
        )
    else:
        file.seek(-_END, io.SEEK_END)
        end = file.read(_END)
        if archive.start_dir == position and end.startswith(b"PK\5\6") and end.endswith(b"\0\0"):
            return
    raise ValueError(
        "there are bytes before, within or after it that were not written with it; take a copy of it or make it anew"
    )


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Of a file of ``size`` bytes, by the arrays' names; ValueError for what we do not write."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(_SUFFIX)
        if name == info.filename or name in found:
            raise ValueError(f"its member {info.filename!r} is no array, or there twice")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
            raise ValueError(f"its member {info.filename!r} is compressed or encrypted, and no file of fastgcn_rec is")
        found[name] = info
    if list(found)[-1:] != [CHECKSUM]:
        raise ValueError("its last member is not the checksum, as in all files of this version; make it anew")
    if sum(info.file_size for info in found.values()) > size:
        raise ValueError(f"its members claim more than the {size} bytes that there are")
    return found


def _read(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo, digest: Any, sinks: Sinks | None) -> NDArray[Any]:
    digest.update(f"{len(name)} {name}".encode())
    with archive.open(info) as stream:
        start = stream.read(len(_MAGIC) + 2)
        text = stream.read(int.from_bytes(start[len(_MAGIC) :], "little"))
        found = _HEADER.fullmatch(text) if start.startswith(_MAGIC) else None
        if found is None:
            raise ValueError(f"{name} is not an array of truth values or numbers in NumPy's format 1.0")
        dtype, shape = np.dtype(found[1].decode()), tuple(map(int, re.findall(rb"\d+", found[2])))
        if not dtype.itemsize or math.prod(shape) * dtype.itemsize != info.file_size - len(start) - len(text):
            raise ValueError(f"{name} does not have the bytes that its shape {list(shape)} and dtype {dtype} take")
        digest.update(start + text)

        def fill(array: NDArray[Any]) -> NDArray[Any]:
            data = _bytes(array)
            for begin in range(0, len(data), _AT_ONCE):
                part = data[begin : begin + _AT_ONCE]
                if stream.readinto(part) != len(part):  # type: ignore[attr-defined]
                    raise EOFError(f"{name} is cut short")
                digest.update(part)
            return array

        sink = None if sinks is None else sinks(name, dtype, shape)
        if sink is None:
            return fill(np.empty(shape, dtype))
        at_once = max(1, _AT_ONCE // max(1, math.prod(shape[1:]) * dtype.itemsize))
        for first in range(0, shape[0], at_once):
            sink(first, fill(np.empty((min(at_once, shape[0] - first), *shape[1:]), dtype)))
        return np.broadcast_to(np.zeros((), dtype), shape)


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


# --- texts ------------------------------------------------------------------------------------------------------------


def packed(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays with each array [n] of texts as two: their UTF-8 bytes, and where each ends."""
    members: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.dtype.kind not in "OU":
            members[name] = array
            continue
        encoded = [text.encode("utf-8", "surrogatepass") for text in array.tolist()]
        members[name + _TEXT] = np.frombuffer(b"".join(encoded), np.uint8)
        members[name + _ENDS] = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    return members


def unpacked(members: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The way back; ValueError where the ends do not fit the bytes."""
    arrays = dict(members)
    for name in [name for name in members if name.endswith(_ENDS)]:
        own = name.removesuffix(_ENDS)
        if own + _TEXT in arrays:
            arrays[own] = _texts(own, arrays.pop(own + _TEXT), arrays.pop(name))
    return arrays


def _texts(name: str, data: NDArray[Any], ends: NDArray[Any]) -> NDArray[Any]:
    fits = data.dtype == np.uint8 and ends.dtype == np.int64 and data.ndim == ends.ndim == 1
    bounds = np.concatenate(([0], ends)) if fits else ends
    if not fits or (np.diff(bounds) < 0).any() or bounds[-1] != data.size:
        raise ValueError(f"{name}: the ends of the texts do not fit their {data.size} bytes")
    raw, texts = data.tobytes(), np.empty(ends.size, object)
    texts[:] = [raw[a:b].decode("utf-8", "surrogatepass") for a, b in itertools.pairwise(bounds.tolist())]
    return texts
