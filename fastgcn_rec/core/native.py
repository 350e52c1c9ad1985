"""The only door to ``fastgcn_rec._C``, which takes the addresses of the torch tensors that it is given."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch  # before _C, so that both use torch's OpenMP runtime

from .. import _C

Tensor = torch.Tensor


class NoKernel(Exception):
    """No kernel stores its rows in this dtype."""


class _Codes(dict[torch.dtype, int]):
    def __missing__(self, dtype: torch.dtype) -> int:
        raise NoKernel(dtype)


DTYPE_CODE = _Codes({torch.float32: 0, torch.float64: 1, torch.bfloat16: 2})
# A GPU's hop takes rows of more edges than the first by a whole block, and of more than the second in parts of that many.
HEAVY_DEGREE, PART_EDGES = 128, 4096
# Smaller tables lie in the caches, or gain nothing measurable from huge pages.
HUGE_BYTES = 32 << 20
build_info = _C.build_info
__version__: str = build_info()["version"]
# Tests only: _C was replaced by a build of csrc/emu, and its CUDA kernels take the CPU's tensors.
emulates_cuda = False
HAS_CUDA = build_info()["cuda"] is not None

_HERE = nullcontext()
_NOTHING = torch.empty(0, dtype=torch.uint8)
_raw_stream = getattr(
    torch._C, "_cuda_getCurrentRawStream", None
)  # what Triton asks: the handle without an object around it
_level = os.environ.get("FASTGCN_REC_ISA")
if _level:
    try:
        _C.select_isa_level(_level)
    except ValueError as error:
        raise ImportError(f"FASTGCN_REC_ISA={_level}: {error}") from None


_lost_threads = False  # in a forked child that still has to be told so


def _after_fork_in_child() -> None:
    """A child has none of the threads that OpenMP keeps. Our kernels notice (csrc/cpu/parallel.cpp); torch's large ops would wait for
    them for ever."""
    global _lost_threads
    if _C.parallel_regions() > 0 and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        _lost_threads = True


os.register_at_fork(after_in_child=_after_fork_in_child)


def threads() -> int:
    """How many threads a kernel may take."""
    global _lost_threads
    if _lost_threads:
        _lost_threads = False
        warnings.warn(
            "this process was forked after fastgcn_rec had used several threads, which a fork does not copy: torch and fastgcn_rec use one "
            "thread here, because torch's large operations would hang with more. For more start processes by the method 'spawn' or "
            "'forkserver', or fork before the first large operation",
            RuntimeWarning,
            stacklevel=2,
        )
    return torch.get_num_threads()


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which a kernel adds up values stored as ``dtype``."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def addresses(tensors: Sequence[Tensor]) -> list[int]:
    return list(map(Tensor.data_ptr, tensors))


def graph(indptr: Tensor, indices: Tensor, weight: Tensor | None, indptr_t: Tensor, indices_t: Tensor,
          weight_t: Tensor | None, split: Tensor | None = None, heavy: Tensor | None = None) -> Any:  # fmt: skip
    """A native view of a graph's tensors and schedule; they must outlive it, at the addresses of now."""
    return _C.Graph(
        indptr.numel() - 1, indptr_t.numel() - 1, indptr, indices, weight,
        indptr_t, indices_t, weight_t,
        split, 0 if split is None else split.shape[1], heavy, 0 if heavy is None else heavy.numel(),
        HEAVY_DEGREE, PART_EDGES,
    )  # fmt: skip


def rows(indptr: Tensor, indices: Tensor, weight: Tensor | None, n_cols: int, split: Tensor | None = None,
         heavy: Tensor | None = None) -> Any:  # fmt: skip
    """A native view of some rows of one side, as users, with their schedule."""
    return _C.Graph(
        indptr.numel() - 1, n_cols, indptr, indices, weight, None, None, None,
        split, 0 if split is None else split.shape[1], heavy, 0 if heavy is None else heavy.numel(),
        HEAVY_DEGREE, PART_EDGES,
    )  # fmt: skip


def shape(n_users: int, n_items: int) -> Any:
    """A native graph of this size without tensors, to ask what an op needs."""
    return _C.Graph(n_users, n_items, *[0] * 12)


def retrieval(queries: Tensor, items: Tensor, cosine: bool, subset: Tensor | None, indptr: Tensor | None,
              indices: Tensor | None, rows: Tensor | None, k: int, queries_at_once: int, items_at_once: int) -> Any:  # fmt: skip
    """What csrc/include/fgr/retrieve.h asks; the tensors must outlive it."""
    n_candidates = len(items) if subset is None else len(subset)
    return _C.Retrieval(
        queries, items, len(queries), len(items), items.shape[1], cosine, subset, n_candidates,
        indptr, indices, 0 if indptr is None else len(indptr) - 1, rows, k, queries_at_once,
        items_at_once,
    )  # fmt: skip


def step_share(parts: int, **given: Any) -> Any:
    """What csrc/include/fgr/train_step.h asks of a step in parts; the tensors must outlive it."""
    return _C.StepShare(parts, **given)


def ppr_push(native_graph: Any, inv_degree: Tensor | None, nodes: Tensor, restart: float, epsilon: float) -> Any:
    """The rows of csrc/include/fgr/ppr_push.h, which know their size and copy themselves out; on the CPU."""
    return _C.PprPush(native_graph, inv_degree, nodes, len(nodes), restart, epsilon, threads())


def nearest_rows(rows: tuple[Any, Any, Any, int], columns: tuple[Any, Any, Any, int], n_b: int, law: int, of_a: Tensor, of_b: Tensor,
                 shrinkage: float, first: int, k: int, ids: Tensor, likeness: Tensor, total: Tensor | None) -> None:  # fmt: skip
    """What csrc/include/fgr/nearest_rows.h asks, on the CPU; ``rows`` and ``columns`` are (indptr, indices, values, their number)."""
    _C.nearest_rows(
        *rows, *columns, n_b, law, of_a, of_b, shrinkage, first, k, ids, likeness, total, threads()
    )  # fmt: skip


def slim(native_graph: Any, l1: float, l2: float, tolerance: float, neighbours: int, most_sweeps: int) -> Any:
    """The columns of csrc/include/fgr/slim.h, which know their size and copy themselves out; on the CPU."""
    return _C.Slim(native_graph, l1, l2, tolerance, neighbours, most_sweeps, threads())


def ridge_rows(
    native_rows: Any, target: Tensor | None, v: Tensor, base: Tensor, ridge: Tensor, block: int, x: Tensor
) -> int:
    """csrc/include/fgr/ridge_rows.h; on the CPU."""
    return _C.ridge_rows(native_rows, target, v, v.shape[1], base, ridge, block, x, threads())


def gram_sizes(native_graph: Any, most: int, sizes: Tensor) -> None:
    """This and the next three: csrc/include/fgr/sparse_inverse.h; on the CPU."""
    _C.gram_sizes(native_graph, most, sizes, threads())


def gram_rows(native_graph: Any, diagonal: Tensor, indptr: Tensor, indices: Tensor, values: Tensor) -> None:
    _C.gram_rows(native_graph, diagonal, indptr, indices, values, threads())


def inverse_factor(lower: tuple[Tensor, Tensor, Tensor], diagonal: Tensor, least: float, most: int, indptr: Tensor, indices: Tensor,
                   values: Tensor) -> None:  # fmt: skip
    _C.inverse_factor(*lower, diagonal, len(diagonal), least, most, indptr, indices, values, threads())


def factor_scores(native_rows: Any, factor: Any, before: Tensor, after: Tensor, own: Tensor, scores: Tensor) -> None:
    _C.factor_scores(native_rows, factor, before, after, own, scores, threads())


def runs_cuda(device: torch.device) -> bool:
    """Whether the CUDA kernels take this device's tensors."""
    return device.type == "cuda" or emulates_cuda


def is_captured(device: torch.device) -> bool:
    """Whether what runs on this device now goes into a CUDA graph: the host cannot wait for it, and it has values when that is replayed."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def in_huge_pages(table: Tensor, filled: bool = False) -> Tensor:
    """``table``, whose memory is one piece, from now on in huge pages where it is large and the system has them; ``filled``: what it holds is moved
    there, which takes about as long as copying it. For what is read many times: the system clears a huge page in memory, and a small one in the
    cache, just before it is first written."""
    n_bytes = table.numel() * table.element_size()
    if table.device.type == "cpu" and n_bytes >= HUGE_BYTES:
        _C.advise_huge_pages(table, n_bytes, filled)
    return table


def workspace(n_bytes: int, device: torch.device) -> Tensor:
    return torch.empty(n_bytes, dtype=torch.uint8, device=device) if n_bytes else _NOTHING


def call(name: str, device: torch.device, *args: Any) -> Any:
    """Runs ``name`` on the device's backend; the last argument (threads, or the stream) is added here."""
    kind = device.type
    if kind == "cpu":
        return _function(name, kind)(*args, 0 if emulates_cuda else threads())
    with _on(device):
        return _function(name, kind)(*args, current_stream(device))


def size(name: str, device: torch.device, *args: Any) -> int:
    """Bytes of workspace that ``name`` needs on a device's backend."""
    kind = device.type
    function = _function(name, kind, "_workspace_bytes")
    if kind == "cpu":
        return function(*args)
    with _on(device):  # CUB's answer depends on it
        return function(*args)


def current_stream(device: torch.device) -> int:
    """The handle of the stream on which torch runs what comes next there; 0 on the CPU."""
    if device.type != "cuda":
        return 0
    return torch.cuda.current_stream(device).cuda_stream if _raw_stream is None else _raw_stream(device.index)


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """The device made the current one; that takes microseconds, and it mostly is."""
    return _HERE if torch.cuda.current_device() == device.index else torch.cuda.device(device)


@functools.cache
def _function(name: str, kind: str, question: str = "") -> Any:
    if kind == "cpu" and not emulates_cuda:
        return getattr(_C, f"{name}{question}_cpu")
    if not (HAS_CUDA or emulates_cuda):
        raise RuntimeError(
            f"{name}: the tensors are on {kind}, but fastgcn_rec was built without CUDA; "
            "install it where nvcc is on PATH (FGR_CUDA=ON), or move the tensors to the CPU"
        )
    return getattr(_C, f"{name}{question}_cuda")
