"""How an op is made known to torch, and the checks and conversions that all ops share."""

from __future__ import annotations

import functools
import importlib
import inspect
from array import array
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.utils.dlpack

from ..core.arguments import check_count, check_number
from ..core.columns import Columns
from ..core.graph import Graph
from ..core.links import Links
from ..core.native import DTYPE_CODE, NoKernel, current_stream, is_captured
from ..core.tensors import check_dense, check_device, check_ids, tensor_of
from ..core.watch import is_transformed
from .dispatch import in_float32, once, straight, with_gradient

Tensor = torch.Tensor
F = TypeVar("F", bound=Callable[..., Any])


LIBRARY = torch.library.Library("fastgcn_rec", "DEF")
LINKS = (
    "Tensor indptr, Tensor indices, Tensor? weight, Tensor indptr_t, Tensor indices_t, Tensor? weight_t, Tensor? split, "
    "Tensor? heavy"
)
_N_LINKS = LINKS.count(",") + 1


def register(
    schema: str,
    kernel: Callable[..., Any],
    fake: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
    twice: bool = True,
) -> Any:
    """Defines ``fastgcn_rec::<schema>`` with one kernel for CPU and CUDA; returns the callable op.

    Where the schema has ``LINKS``, the op and the four functions have one argument in their place, a :class:`Links` (and ``backward`` one
    gradient, None). ``twice``: whether ``backward`` is made of what is differentiable itself.
    """
    name, arguments = schema.split("(", 1)
    at = arguments.split(LINKS)[0].count(",") if LINKS in schema else None
    LIBRARY.define(schema)

    def grouped(args: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(args) if at is None else (*args[:at], Links(*args[at : at + _N_LINKS]), *args[at + _N_LINKS :])

    def flat(args: Sequence[Any]) -> Sequence[Any]:
        return args if at is None else (*args[:at], *args[at].tensors, *args[at + 1 :])

    @functools.wraps(kernel)
    def with_name(*args: Any) -> Any:
        try:
            return kernel(*args)
        except NoKernel:  # asked for so, since to look at every argument first would cost every call
            return in_float32(kernel, fake, args)
        except RuntimeError as error:
            if "DefaultCPUAllocator" not in str(error):
                raise
            raise RuntimeError(f"{name}: no memory for the result or the workspace: {error}") from None

    for key in ("CPU", "CUDA"):
        LIBRARY.impl(name, lambda *args: with_name(*grouped(args)), key)
    qualified, differentiable = f"fastgcn_rec::{name}", None
    torch.library.register_fake(qualified, lambda *args: fake(*grouped(args)), lib=LIBRARY)
    if backward is not None and setup_context is not None:
        setup, backward = setup_context, backward if twice else once(name, backward)

        def flat_backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
            result = backward(ctx, *grads)
            return result if at is None else (*result[:at], *[None] * _N_LINKS, *result[at + 1 :])

        def flat_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            setup(ctx, grouped(inputs), output)

        torch.library.register_autograd(qualified, flat_backward, setup_context=flat_setup, lib=LIBRARY)
        differentiable = with_gradient(name, with_name, setup, backward)
    registered = getattr(torch.ops.fastgcn_rec, name).default
    return registered if "!" in schema else straight(name, registered, with_name, flat, differentiable)


# --- arrays of other libraries --------------------------------------------------------------------------------------

_ARRAYS_OF = {"jaxlib": "jax.dlpack"}  # where from_dlpack is, if not in the package that an array's class is of
_PLAIN = {int, float}
_NO_ARRAYS = {Tensor, torch.nn.Parameter, Graph, int, float, bool, str, list, tuple, type(None)}


def accepts_arrays(fn: F) -> F:
    """Lets an op take NumPy and CuPy arrays (or anything with DLPack or ``__cuda_array_interface__``): they are viewed as tensors,
    copied only where torch has no such view, and tensors that come out are handed back as what the first one that went in is, in the order of
    the op's parameters: a tensor or an array of some kind."""
    names = list(inspect.signature(fn).parameters)
    of_graph = names[0] == "graph"

    def place(name: str) -> int:
        return names.index(name) if name in names else len(names)

    def converted(args: Any, kwargs: Any) -> Any:
        back: list[Callable[[Tensor], Any]] = []

        def convert(name: str, value: Any) -> Any:
            if isinstance(value, Tensor):
                back.append(lambda t: t)
                return value
            if not hasattr(value, "shape"):
                return value
            if isinstance(value, np.ndarray):
                back.append(_as_numpy)
                return tensor_of(fn.__name__, name, value)
            if hasattr(value, "__cuda_array_interface__") or hasattr(value, "__dlpack__"):
                own = type(value).__module__.split(".")[0]
                module = importlib.import_module(_ARRAYS_OF.get(own, own))
                tensor = (
                    torch.utils.dlpack.from_dlpack(value) if hasattr(value, "__dlpack__") else torch.as_tensor(value)
                )
                back.append(module.from_dlpack if hasattr(module, "from_dlpack") else lambda t: t)
                return tensor
            return value

        args = tuple(map(convert, names, args)) + args[len(names) :]
        kwargs = {k: convert(k, kwargs[k]) for k in sorted(kwargs, key=place)}
        result = fn(*args, **kwargs)
        if not back:
            return result
        if isinstance(result, tuple):
            values = [back[0](r) if isinstance(r, Tensor) else r for r in result]
            return result._make(values) if hasattr(result, "_make") else tuple(values)
        return back[0](result) if isinstance(result, Tensor) else result

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if of_graph and (args or "graph" in kwargs):
            check_graph(fn.__name__, args[0] if args else kwargs["graph"])
        if torch.compiler.is_compiling() or (
            _NO_ARRAYS.issuperset(map(type, args)) and (not kwargs or _NO_ARRAYS.issuperset(map(type, kwargs.values())))
        ):
            return fn(*args, **kwargs)
        return converted(args, kwargs)

    return wrapper  # type: ignore[return-value]


def _as_numpy(t: Tensor) -> np.ndarray[Any, Any]:
    result: np.ndarray[Any, Any] = (
        (t.float() if t.dtype == torch.bfloat16 else t).detach().cpu().numpy()
    )  # which has none
    return result


# --- checks ---------------------------------------------------------------------------------------------------------


def check_graph(op: str, graph: Any) -> None:
    if not isinstance(graph, Graph):
        raise TypeError(
            f"{op}: graph must be a Graph, got {type(graph).__name__}; make one by Graph(matrix) or Graph.from_edges(users, items)"
        )


_NARROW = torch.float16, torch.bfloat16
_FLOATS = (*DTYPE_CODE, torch.float16)


def check_float(
    op: str, name: str, t: Any, allowed: tuple[torch.dtype, ...] = _FLOATS, in_place: bool = False
) -> Tensor:
    """A tensor of one of these dtypes; lists of numbers become one of the first. Where float32 is allowed, the shorter floats are too, and
    become it; not of a tensor that the op writes to."""
    if isinstance(t, Tensor) and t.dtype in allowed and t.layout is torch.strided:
        return t
    if isinstance(t, (list, tuple)):
        t = _of_numbers(op, name, t, allowed[0])
    if not isinstance(t, Tensor):
        raise TypeError(f"{op}: {name} must be a tensor or an array, got {type(t).__name__}")
    check_dense(op, name, t)
    if torch.float32 in allowed and not in_place:
        if t.dtype in _NARROW and t.dtype not in allowed:
            return t.to(torch.float32)
        allowed = tuple(dict.fromkeys((*allowed, *_NARROW)))
    if t.dtype not in allowed:
        names = ", ".join(str(d).removeprefix("torch.") for d in allowed)
        raise TypeError(
            f"{op}: {name} must be one of {names}, got {str(t.dtype).removeprefix('torch.')}; convert with {name}.to(...)"
        )
    return t


def _of_numbers(op: str, name: str, values: Sequence[Any], dtype: torch.dtype) -> Tensor:
    try:
        return torch.tensor(values, dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise TypeError(f"{op}: {name} must be numbers in rows of one length, got {values!r:.80}") from None


def check_matrix(op: str, name: str, t: Tensor, rows: int | None, rows_name: str, cols: int | None = None) -> None:
    shape = t.shape
    if len(shape) != 2 or (rows is not None and shape[0] != rows) or (cols is not None and shape[1] != cols):
        want = f"[{rows if rows is not None else rows_name}, {cols if cols is not None else 'dim'}]"
        raise ValueError(f"{op}: {name} must have shape [{rows_name}, dim] = {want}, got {list(shape)}")


def check_columns(op: str, name: str, t: Tensor, columns: Columns | None) -> Columns | None:
    """The columns of which ``t`` has this rank's; None where this process has all."""
    if columns is None:
        return None
    if not isinstance(columns, Columns):
        raise TypeError(
            f"{op}: columns must be a Columns, such as Columns(World.current(), dim), got {type(columns).__name__}"
        )
    if t.shape[1] != columns.width:
        raise ValueError(
            f"{op}: {name} must have the {columns.width} columns [{columns.first}, {columns.last}) of {columns.dim} that rank "
            f"{columns.world.rank} of {columns.world.size} holds, got {t.shape[1]}; take columns.own(...)"
        )
    return None if columns.world.size == 1 else columns


def mask_of(op: str, name: str, values: Any, n: int, device: torch.device) -> Tensor | None:
    """bool [n], where ``values`` is a mask (a tensor, an array or a list of bools); None where it is anything else."""
    if isinstance(values, (list, tuple)) and values and all(isinstance(v, (bool, np.bool_)) for v in values):
        values = np.array(values)
    if isinstance(values, np.ndarray):
        values = tensor_of(op, name, values)
    if not isinstance(values, Tensor) or values.dtype != torch.bool:
        return None
    if values.shape != (n,):
        raise ValueError(f"{op}: {name} as a mask must have shape [{n}], got {list(values.shape)}")
    return values.to(device)


def check_graph_device(op: str, name: str, t: Tensor, graph: Any) -> None:
    if t.device != graph.device:
        raise ValueError(
            f"{op}: {name} is on {t.device} but the graph is on {graph.device}; call graph.to({name}.device)"
        )


def count_of(op: str, name: str, value: Any, least: int = 0, most: int = 2**31 - 1) -> Any:
    """An int (or torch's symbol of one) in [least, most]."""
    if isinstance(value, torch.SymInt):
        return value
    count = check_count(value, f"{op}: {name}", least)
    if count > most:
        raise ValueError(f"{op}: {name} must be <= {most}, got {count}")
    return count


def number_of(op: str, name: str, value: Any) -> float:
    return check_number(value, f"{op}: {name}")


def scalar(value: int | float | Tensor, dtype: torch.dtype, device: torch.device, op: str, name: str) -> Tensor:
    """A one-element tensor: ops read scalars from memory, so that a CUDA graph can replay them with new values."""
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.dtype != dtype:
            raise ValueError(
                f"{op}: {name} as a tensor must be one {str(dtype).removeprefix('torch.')}, got {list(value.shape)} "
                f"{str(value.dtype).removeprefix('torch.')}"
            )
        if value.device != device:
            raise ValueError(f"{op}: {name} is on {value.device}, expected {device}; move it with .to(...)")
        return value
    if dtype.is_floating_point:
        return torch.full((), number_of(op, name, value), dtype=dtype, device=device)
    if isinstance(value, torch.SymInt):
        return torch.full((), value, dtype=dtype, device=device)  # not a copy, as in numbers
    number = check_count(value, f"{op}: {name}")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{op}: {name} must lie in [-2^63, 2^63), got {number}")
    return torch.full((), number, dtype=dtype, device=device)


def offset_of(value: int | Tensor, rows: int, device: torch.device, op: str, name: str = "offset") -> Tensor:
    """The number of the first of some consecutive samples, as :func:`scalar`: the last one's must lie below 2^63. Of a GPU's tensor the
    kernel sees to that."""
    t = scalar(value, torch.int64, device, op, name)
    if (isinstance(value, int) or device.type == "cpu") and not torch.compiler.is_compiling():
        number, most = int(value), 2**63 - 1 - rows
        if not 0 <= number <= most:
            rule = ">= 0" if number < 0 else f"<= {most}, so that the samples' numbers stay below 2^63"
            raise ValueError(f"{op}: {name} must be {rule}, got {number}")
    return t


_KEPT: dict[tuple[bytes, torch.dtype, torch.device, int], Tensor] = {}


def numbers(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """[n], which nothing may write to: what was asked for before may be the same tensor."""
    listed = type(values) in (list, tuple) and _PLAIN.issuperset(map(type, values))
    if torch.compiler.is_compiling() or not listed or is_captured(device):
        return _numbers(values, dtype, device)
    # by their bits, 0 and -0 apart; by stream, since its work makes the numbers before it reads them
    key = array("d", values).tobytes(), dtype, device, current_stream(device)
    found = _KEPT.get(key)
    if found is None:
        with torch.inference_mode(False):
            found = _numbers(values, dtype, device)
        if not is_transformed():
            if len(_KEPT) >= 256:
                _KEPT.clear()
            _KEPT[key] = found
    return found


def _numbers(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """On a GPU by kernels, since a copy from the host waits for all that is under way."""
    if device.type == "cpu" or len(values) == 0 or not all(isinstance(value, (int, float)) for value in values):
        return torch.tensor(values, dtype=dtype, device=device)
    return torch.stack([torch.full((), value, dtype=dtype, device=device) for value in values])


def same_float(op: str, a: Tensor, b: Tensor, names: str) -> tuple[Tensor, Tensor]:
    """Two embedding tables in one dtype: under autocast the wider one, else a mismatch is an error."""
    if a.dtype == b.dtype:
        return a, b
    if torch.is_autocast_enabled(a.device.type):
        dtype = torch.promote_types(a.dtype, b.dtype)
        return a.to(dtype), b.to(dtype)
    raise TypeError(f"{op}: {names} must have one dtype, got {a.dtype} and {b.dtype}; convert one with .to(...)")


def check_pairs(op: str, user_emb: Any, item_emb: Any, users: Any, pos: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The tables of users and items, of one dtype, width and device, and the ids [B] of pairs of their rows."""
    user_emb, item_emb = check_float(op, "user_emb", user_emb), check_float(op, "item_emb", item_emb)
    check_matrix(op, "user_emb", user_emb, None, "n_users")
    check_matrix(op, "item_emb", item_emb, None, "n_items", user_emb.shape[1])
    check_device(op, "item_emb", item_emb, user_emb)
    user_emb, item_emb = same_float(op, user_emb, item_emb, "user_emb and item_emb")
    users = check_ids(op, "users", users, (None,), user_emb)
    return user_emb, item_emb, users, check_ids(op, "pos", pos, (users.shape[0],), user_emb)
