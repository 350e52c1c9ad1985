"""Multi-scale diffusion on the normalised adjacency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from ..core import native
from ..core.columns import PANEL, Columns
from ..core.graph import Graph, Norm
from ..core.links import Links
from .half_hop import half_hop
from .registration import (
    LINKS,
    accepts_arrays,
    check_columns,
    check_float,
    check_graph_device,
    check_matrix,
    numbers,
    register,
)

Tensor = torch.Tensor


def _propagate(x: Tensor, alphas: Tensor, links: Links, left: Tensor | None, right: Tensor | None) -> Tensor:
    x, alphas = x.contiguous(), alphas.contiguous()
    y = torch.empty_like(x)
    graph, code, dim, n_alphas = links.native(), native.DTYPE_CODE[x.dtype], x.shape[1], alphas.numel()
    space = native.workspace(native.size("propagate", x.device, code, graph, dim, n_alphas), x.device)
    native.call("propagate", x.device, code, graph, x, dim, alphas, n_alphas, left, right, y, space)
    return y


def _dots(
    x: Tensor, g: Tensor, n_alphas: int, links: Links, left: Tensor | None, right: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The dots, and these of each panel of columns: float64 [n_alphas, panels]."""
    x, g = x.contiguous(), g.contiguous()
    graph, code, dim = links.native(), native.DTYPE_CODE[x.dtype], x.shape[1]
    dots = torch.empty(n_alphas, dtype=native.accumulator(x.dtype), device=x.device)
    panels = torch.empty(n_alphas, -(-dim // PANEL), dtype=torch.float64, device=x.device)
    space = native.workspace(native.size("propagate_dots", x.device, code, graph, dim), x.device)
    native.call("propagate_dots", x.device, code, graph, x, g, dim, n_alphas, left, right, panels, dots, space)
    return dots, panels


def _propagate_dots(
    x: Tensor, g: Tensor, n_alphas: int, links: Links, left: Tensor | None, right: Tensor | None
) -> Tensor:
    return _dots(x, g, n_alphas, links, left, right)[0]


def _dots_panels(
    x: Tensor, g: Tensor, n_alphas: int, links: Links, left: Tensor | None, right: Tensor | None
) -> Tensor:
    return _dots(x, g, n_alphas, links, left, right)[1]


# The two ops' gradients are made of the two: with B^T for B when left and right are swapped,
#   y = sum_k a_k B^k x:      dx = sum_k a_k (B^T)^k g,   da_k = <g, B^k x>
#   d_k = <g, B^k x>, up c:   dx = sum_k c_k (B^T)^k g,   dg = sum_k c_k B^k x
def _propagate_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, alphas = ctx.saved_tensors
    dx = _propagate_op(grad, alphas, ctx.links, ctx.right, ctx.left) if ctx.needs_input_grad[0] else None
    da = None if x is None else _dots_op(x, grad, alphas.numel(), ctx.links, ctx.left, ctx.right)
    return dx, da, None, None, None


def _dots_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, g = ctx.saved_tensors
    dx = None if g is None else _propagate_op(g, grad, ctx.links, ctx.right, ctx.left)
    dg = None if x is None else _propagate_op(x, grad, ctx.links, ctx.left, ctx.right)
    return dx, dg, None, None, None, None


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, alphas, ctx.links, ctx.left, ctx.right = inputs
    ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, alphas)


def _save_dots(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, g, _, ctx.links, ctx.left, ctx.right = inputs
    ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, g if ctx.needs_input_grad[0] else None)


_propagate_op = register(
    f"propagate(Tensor x, Tensor alphas, {LINKS}, Tensor? left, Tensor? right) -> Tensor",
    _propagate,
    lambda x, alphas, *rest: torch.empty_like(x, memory_format=torch.contiguous_format),
    _propagate_backward,
    _save,
)
_dots_op = register(
    f"propagate_dots(Tensor x, Tensor g, int n_alphas, {LINKS}, Tensor? left, Tensor? right) -> Tensor",
    _propagate_dots,
    lambda x, g, n_alphas, *rest: x.new_empty(n_alphas, dtype=native.accumulator(x.dtype)),
    _dots_backward,
    _save_dots,
)


_panels_op = register(
    f"propagate_panels(Tensor x, Tensor g, int n_alphas, {LINKS}, Tensor? left, Tensor? right) -> Tensor",
    _dots_panels,
    lambda x, g, n_alphas, *rest: x.new_empty((n_alphas, -(-x.shape[1] // PANEL)), dtype=torch.float64),
)


class _Shared(torch.autograd.Function):
    """Of columns that several ranks share out: each has its own, and the whole gradient of alphas."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alphas: Tensor, links: Links, left: Any, right: Any, columns: Columns) -> Any:
        ctx.columns = columns
        _save(ctx, (x, alphas, links, left, right), None)
        return _propagate_op(x, alphas, links, left, right)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, alphas = ctx.saved_tensors
        dx = _propagate_op(grad, alphas, ctx.links, ctx.right, ctx.left) if ctx.needs_input_grad[0] else None
        da = None
        if x is not None:
            panels = _panels_op(x, grad, alphas.numel(), ctx.links, ctx.left, ctx.right)
            da = ctx.columns.sum(panels).to(alphas.dtype)
        return dx, da, None, None, None, None


@accepts_arrays
def propagate(
    graph: Graph, x: Any, alphas: Any, norm: Norm | Literal["gcn"] = "sym", columns: Columns | None = None
) -> Any:
    """Multi-scale diffusion: y = sum_k alphas[k] A~^k x.

    A~ is the normalised adjacency of the bipartite graph (LightGCN: He et al. 2020, "LightGCN", eqs. 4, 7 and 8, with
    norm="sym" and alphas = 1 / (K + 1)).

    Parameters
    ----------
    graph : Graph
    x : float32, float64 or bfloat16 [n_nodes, dim], users first, then items
        bfloat16 is storage: sums are taken in float32, layers in between are rounded to bfloat16.
    alphas : [K + 1] floats or a tensor (float64 for float64 x, else float32)
        One-hot at K it is SGC (Wu et al. 2019, "Simplifying graph convolutional networks"): the last layer alone.
    norm : "sym" D^-1/2 A D^-1/2, "left" D^-1 A, "right" A D^-1, "none" A, exponents (p, q) D^-p A D^-q, or
        "gcn" (D + I)^-1/2 (A + I) (D + I)^-1/2 (Kipf and Welling 2017, "Semi-supervised classification with graph convolutional networks", eq. 2)
    columns : Columns, optional
        ``x`` is [n_nodes, columns.width], this rank's columns of rows that several ranks share out. Nothing is sent for y, nor for the gradient of
        x; that of alphas, which sums across columns, is collective, the whole one and the same bits as in one process. Differentiable once then.

    Returns
    -------
    y : like x. Differentiable in x and in alphas, any number of times.

    Raises
    ------
    TypeError, ValueError : for a wrong dtype, shape, device or norm.

    Notes
    -----
    The same bits for any number of threads. The gradient of alphas is added up in float64 by panels of 16 columns, and panels in order. Nodes without edges keep alphas[0] * x; with "gcn" their loop keeps sum(alphas) * x.

    Examples
    --------
    >>> import torch
    >>> graph = Graph.from_edges([0, 1], [0, 0])
    >>> propagate(graph, torch.eye(3), [0.0, 1.0])[2]
    tensor([0.7071, 0.7071, 0.0000])
    """
    x = check_float("propagate", "x", x)
    check_matrix("propagate", "x", x, graph.n_nodes, "n_nodes")
    check_graph_device("propagate", "x", x, graph)
    dtype = native.accumulator(x.dtype)
    alphas = checked_alphas("propagate", alphas, dtype, x.device)
    shared = check_columns("propagate", "x", x, columns)
    if norm == "gcn":
        if shared is not None and alphas.requires_grad:
            raise ValueError(
                f'propagate: with norm="gcn" the gradient of alphas is not shared out, and {shared.world.size} ranks share the columns; '
                'take norm="sym", or alphas that are not learned'
            )
        wide = (
            x.float() if x.dtype is torch.float16 else x
        )  # which kernels do not store, so that hops are not rounded to it
        return _with_loops(graph, wide, alphas).to(x.dtype)
    left, right = graph.scales(norm, dtype)
    if shared is None or not alphas.requires_grad:
        return _propagate_op(x, alphas, graph.links(), left, right)
    return _Shared.apply(x, alphas, graph.links(), left, right, shared)


def _with_loops(graph: Graph, x: Tensor, alphas: Tensor) -> Tensor:
    """Horner's scheme in B = S A S + S^2, S = (D + I)^-1/2: a loop is a node's own row, beside the two half-hops of A.

    With loops both sides feed both, so the two chains of ``propagate`` are one, and gradients are those of its parts.
    """
    of_users, of_items = ((d + 1).rsqrt().to(alphas.dtype) for d in graph.degrees())
    loops = torch.cat([of_users, of_items]).square()[:, None]
    weight = alphas.unbind()
    y = (weight[-1] * x).to(x.dtype)
    for a in weight[-2::-1]:
        users, items = y.split([graph.n_users, graph.n_items])
        sums = (
            half_hop(graph, items, "users", of_users, of_items),
            half_hop(graph, users, "items", of_items, of_users),
        )
        y = (torch.cat(sums) + loops * y + a * x).to(x.dtype)
    return y


def checked_alphas(op: str, alphas: Tensor | Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    if not isinstance(alphas, Tensor):
        try:
            alphas = numbers(alphas, dtype, device)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise TypeError(f"{op}: alphas must be [K + 1] numbers, got {alphas!r:.80}") from None
    elif alphas.layout is not torch.strided or alphas.is_complex():
        raise TypeError(f"{op}: alphas must be a dense tensor of real numbers, got {alphas.dtype} {alphas.layout}")
    if alphas.dim() != 1 or alphas.numel() == 0:
        raise ValueError(f"{op}: alphas must have shape [K + 1] with K >= 0, got {list(alphas.shape)}")
    if alphas.device != device:
        raise ValueError(f"{op}: alphas is on {alphas.device}, expected {device}; move it with .to(...)")
    return alphas if alphas.dtype is dtype else alphas.to(dtype)
