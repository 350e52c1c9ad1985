"""One side's sums over its neighbours: the sparse product with R or its transpose."""

from __future__ import annotations

from typing import Any

import torch

from ..core import native
from ..core.graph import Graph, Side
from ..core.links import Links
from .registration import LINKS, accepts_arrays, check_float, check_graph_device, check_matrix, register

Tensor = torch.Tensor
SIDES = ("users", "items")  # their places are the codes of csrc/include/fgr/types.h


def _half_hop(
    x: Tensor, to: int, links: Links, left: Tensor | None, right: Tensor | None, base: Tensor | None
) -> Tensor:
    x, base = x.contiguous(), None if base is None else base.contiguous()
    y = _output(x, to, links)
    graph, code, dim = links.native(), native.DTYPE_CODE[x.dtype], x.shape[1]
    space = native.workspace(native.size("half_hop", x.device, code, graph, dim), x.device)
    native.call("half_hop", x.device, code, graph, to, x, dim, left, right, base, y, space)
    return y


def _output(x: Tensor, to: int, links: Links, *unused: Any) -> Tensor:
    indptr, _, _, indptr_t, *_ = links.tensors
    return x.new_empty(((indptr_t if to else indptr).shape[0] - 1, x.shape[1]))


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    left, right = ctx.saved_tensors
    dx = _op(grad, 1 - ctx.to, ctx.links, right, left, None) if ctx.needs_input_grad[0] else None
    return dx, None, None, None, None, grad if ctx.needs_input_grad[-1] else None


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, ctx.to, ctx.links, left, right, _ = inputs
    ctx.save_for_backward(left, right)


_op = register(
    f"half_hop(Tensor x, int to, {LINKS}, Tensor? left, Tensor? right, Tensor? base) -> Tensor",
    _half_hop,
    _output,
    _backward,
    _save,
)


@accepts_arrays
def half_hop(graph: Graph, x: Any, to: Side, left: Any = None, right: Any = None, base: Any = None) -> Any:
    """y = diag(left) R diag(right) x + base for to="users", diag(left) R^T diag(right) x + base for to="items".

    Half of one hop of :func:`fastgcn_rec.propagate`: what a node of one side gathers from its neighbours on the other. Two of them
    are a product with R^T R, which is never formed.

    Parameters
    ----------
    graph : Graph
    x : float32, float64 or bfloat16 [nodes of the other side, dim]
    to : "users" or "items", the side that y is of
    left, right : [nodes of the side ``to``], [nodes of the other side], or None (= 1)
        Taken as constants, in the dtype of the sums: float64 for float64 x, else float32.
    base : [nodes of the side ``to``, dim], like x, or None (= 0)
        Added before the sum is rounded to the dtype of y, in the same pass: the step of a recurrence such as Chebyshev's.

    Returns
    -------
    y : [nodes of the side ``to``, dim], like x. Differentiable in x and base, any number of times.

    Raises
    ------
    TypeError, ValueError : for a wrong dtype, shape, device or side.

    Notes
    -----
    The same bits for any number of threads. A node without edges gets 0, or its row of ``base``.

    Examples
    --------
    >>> import torch
    >>> graph = Graph.from_edges([0, 1, 1], [0, 0, 1])
    >>> half_hop(graph, torch.tensor([[1.0], [10.0]]), to="users").flatten().tolist()
    [1.0, 11.0]
    """
    if to not in SIDES:
        raise ValueError(f"half_hop: to must be one of {SIDES}, got {to!r}")
    n_to, n_from = (graph.n_users, graph.n_items) if to == "users" else (graph.n_items, graph.n_users)
    x = check_float("half_hop", "x", x)
    check_matrix("half_hop", "x", x, n_from, "n_items" if to == "users" else "n_users")
    check_graph_device("half_hop", "x", x, graph)
    left, right = _scale("left", left, n_to, x), _scale("right", right, n_from, x)
    if base is not None:
        base = check_float("half_hop", "base", base, (x.dtype,))
        if base.shape != (n_to, x.shape[1]) or base.device != x.device:
            raise ValueError(
                f"half_hop: base must have shape [{n_to}, {x.shape[1]}] and lie on {x.device}, got {list(base.shape)} on {base.device}"
            )
    return _op(x, SIDES.index(to), graph.links(), left, right, base)


def _scale(name: str, scale: Any, n: int, x: Tensor) -> Tensor | None:
    if scale is None:
        return None
    dtype = native.accumulator(x.dtype)
    scale = check_float("half_hop", name, scale, (dtype,))
    if scale.shape != (n,) or scale.device != x.device:
        raise ValueError(
            f"half_hop: {name} must have shape [{n}] and lie on {x.device}, got {list(scale.shape)} on {scale.device}"
        )
    return scale.detach().contiguous()
