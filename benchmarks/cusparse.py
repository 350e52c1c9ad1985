"""cuSPARSE's SpMM called as its manual does: with each of its algorithms, prepared once, on row-major tables, which no binding offers."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path

import torch

Tensor = torch.Tensor

ALGORITHMS = {"ALG1": 4, "ALG2": 6, "ALG3": 12}  # CUSPARSE_SPMM_CSR_...
_CUDA_TYPE = {torch.float32: 0, torch.bfloat16: 14}
_INDEX_TYPE = {torch.int32: 2, torch.int64: 3}
_NO_TRANSPOSE, _FROM_ZERO, _ROW_MAJOR = 0, 0, 2


def _in_use() -> str:
    """The library that torch has loaded."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        file = line.split(maxsplit=5)[-1]
        if Path(file).name.startswith("libcusparse.so"):
            return file
    return "libcusparse.so.12"


@functools.cache
def _library(path: str | None = None) -> ctypes.CDLL:
    library = ctypes.CDLL(path or _in_use())
    pointer, whole, kind = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    product = [pointer, kind, kind, pointer, pointer, pointer, pointer, pointer, kind, kind, pointer]
    for name, arguments in {
        "cusparseCreate": [pointer],
        "cusparseSetStream": [pointer, pointer],
        "cusparseCreateCsr": [pointer, whole, whole, whole, pointer, pointer, pointer, kind, kind, kind, kind],
        "cusparseCreateDnMat": [pointer, whole, whole, whole, pointer, kind, kind],
        "cusparseSpMM_bufferSize": product,
        "cusparseSpMM_preprocess": product,
        "cusparseSpMM": product,
    }.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, kind
    return library


def _call(name: str, *arguments: object) -> None:
    status = getattr(_library(), name)(*arguments)
    if status != 0:
        raise RuntimeError(f"{name}: status {status}")


@functools.cache
def _handle() -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    _call("cusparseCreate", ctypes.byref(handle))
    return handle


def product(csr: Tensor, x: Tensor, algorithm: str) -> Callable[[], Tensor]:
    """() -> csr @ x, into the same output each time; float32 or bfloat16, accumulated in float32, on the current stream."""
    out = torch.empty_like(x)
    parts = csr.crow_indices(), csr.col_indices(), csr.values()
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    matrix, dense, result = (ctypes.c_void_p() for _ in range(3))
    kind, index = _CUDA_TYPE[x.dtype], _INDEX_TYPE[parts[0].dtype]
    addresses = [t.data_ptr() for t in parts]
    _call(
        "cusparseCreateCsr", ctypes.byref(matrix), *csr.shape, len(parts[2]), *addresses, index, index, _FROM_ZERO, kind
    )
    for descriptor, table in ((dense, x), (result, out)):
        rows, columns = table.shape
        _call(
            "cusparseCreateDnMat", ctypes.byref(descriptor), rows, columns, columns, table.data_ptr(), kind, _ROW_MAJOR
        )
    arguments = (
        _handle(), _NO_TRANSPOSE, _NO_TRANSPOSE, ctypes.byref(one), matrix, dense, ctypes.byref(zero), result,
        _CUDA_TYPE[torch.float32], ALGORITHMS[algorithm],
    )  # fmt: skip
    n_bytes = ctypes.c_size_t()
    _call("cusparseSpMM_bufferSize", *arguments, ctypes.byref(n_bytes))
    buffer = torch.empty(max(n_bytes.value, 1), dtype=torch.uint8, device=x.device)
    _call("cusparseSetStream", _handle(), torch.cuda.current_stream().cuda_stream)
    _call("cusparseSpMM_preprocess", *arguments, buffer.data_ptr())

    def run(held: object = (parts, x)) -> Tensor:  # what the descriptors point to
        _call("cusparseSetStream", _handle(), torch.cuda.current_stream().cuda_stream)
        _call("cusparseSpMM", *arguments, buffer.data_ptr())
        return out

    return run
