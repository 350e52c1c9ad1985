"""Files of `scipy.sparse.save_npz`, whose numbers are checked before SciPy's C++ reads memory by them."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ...core.ids import Array, Ints

_INDICES = {
    "csr": ("indptr", "indices"),
    "csc": ("indptr", "indices"),
    "bsr": ("indptr", "indices"),
    "coo": ("row", "col"),
    "dia": ("offsets",),
}
_DAMAGE = (  # what NumPy, SciPy and zipfile raise; RuntimeError: encrypted
    OSError, ValueError, TypeError, KeyError, IndexError, EOFError, MemoryError, ZeroDivisionError, zipfile.BadZipFile, zlib.error, RuntimeError
)  # fmt: skip
_MOST = 2**31 - 1  # rows or columns: ids are int32
_EMPTY = 10**7  # rows and columns without entries


def stored_entries(path: Path) -> tuple[Ints, Ints, Array, tuple[int, int]]:
    """(rows, columns, values, shape) of the entries that are not 0; a ValueError says why there is no matrix in the file."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it is one array, no archive")
            form = file["format"].item() if "format" in file.files else None
            form = form.decode("latin-1") if isinstance(form, bytes) else form
            if form not in _INDICES:
                raise ValueError(f"its format is {form!r}, none of {', '.join(_INDICES)}")
            members = {name: file[name] for name in (*_INDICES[form], "data", "shape")}
        return _entries(str(form), members)
    except Exception as error:
        if not isinstance(error, _DAMAGE) or (isinstance(error, OSError) and error.filename is not None):
            raise
        reason = str(error) or type(error).__name__
    raise ValueError(f"not a sparse matrix saved by scipy.sparse.save_npz, or damaged ({reason})")


def _entries(form: str, members: dict[str, Array]) -> tuple[Ints, Ints, Array, tuple[int, int]]:
    import scipy.sparse

    data, shape = members["data"], members["shape"]
    if shape.shape != (2,) or shape.dtype.kind not in "iu" or not (shape >= 0).all() or not (shape <= _MOST).all():
        raise ValueError(f"shape must be two numbers from 0 to {_MOST}, got {shape.tolist()}")
    if data.dtype.kind not in "biuf":
        raise ValueError(f"data must be numbers, got dtype {data.dtype}")
    for name in _INDICES[form]:
        if members[name].dtype.kind not in "iu" or members[name].ndim != 1:
            raise ValueError(
                f"{name} must be integers [n], got dtype {members[name].dtype} and shape {list(members[name].shape)}"
            )
    extent = (int(shape[0]), int(shape[1]))
    if sum(extent) > _EMPTY + 100 * data.size:
        raise ValueError(
            f"its shape {list(extent)} has far more rows and columns, each of which would be an id, than its {data.size} values; take the empty "
            f"ones away, or give rows and columns to Interactions.from_raw"
        )
    if form in ("coo", "dia"):  # SciPy checks these when it makes them
        first, *second = (members[name] for name in _INDICES[form])
        arguments = (data, (first, second[0])) if second else (data, first)
        matrix = (scipy.sparse.coo_matrix if form == "coo" else scipy.sparse.dia_matrix)(
            arguments, shape=extent
        ).tocoo()
    else:
        indptr = members["indptr"].astype(np.int64)  # SciPy leaves it unchecked where its last number is 0
        if not indptr.size or indptr[0] != 0 or (np.diff(indptr) < 0).any() or indptr[-1] != members["indices"].size:
            raise ValueError("indptr must rise from 0 to the number of indices")
        kind = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_matrix, "bsr": scipy.sparse.bsr_matrix}[form]
        compressed = kind((data, members["indices"], members["indptr"]), shape=extent)
        compressed.check_format(full_check=True)
        matrix = compressed.tocoo()
    stored = matrix.data != 0
    rows, columns = matrix.row[stored].astype(np.int64), matrix.col[stored].astype(np.int64)
    return rows, columns, matrix.data[stored], extent
