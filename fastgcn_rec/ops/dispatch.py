"""How an op is called: straight where nothing but autograd looks on, since torch's dispatcher takes longer than a small op does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd import forward_ad

from ..core.links import Links
from ..core.watch import is_plain, is_watched

Tensor = torch.Tensor
Function = Callable[..., Any]

_TENSORS = {Tensor, torch.nn.Parameter}
_OTHERS = {Links, int, float, bool, type(None), torch.dtype}


def straight(
    name: str, registered: Function, kernel: Function, flat: Function, differentiable: Function | None
) -> Function:
    """The op as Python calls it, ``flat`` making the dispatcher's arguments of its own.

    With plain tensors on a CPU or a GPU, and unless something watches, it is the kernel itself, or ``differentiable`` where a gradient is wanted.
    """

    def call(*args: Any) -> Any:
        if is_watched():
            refuse_tangents(name, args)
            return registered(*flat(args))
        wanted = False
        for a in args:
            kind = type(a)
            if kind in _TENSORS:
                if not ((a.is_cpu or a.is_cuda) and is_plain(a)):
                    return registered(*flat(args))
                wanted = wanted or a.requires_grad
            elif kind not in _OTHERS:
                return registered(*flat(args))
        if not (wanted and torch.is_grad_enabled()):
            return kernel(*args)
        return registered(*flat(args)) if differentiable is None else differentiable(*args)

    return call


IN_TORCH = "the op in plain torch, of fastgcn_rec.ops.reference"


def refuse_tangents(name: str, args: Sequence[Any]) -> None:
    """torch would drop the tangents of forward-mode AD without a word."""
    if forward_ad._current_level < 0 or torch.compiler.is_compiling():
        return
    if any(isinstance(a, Tensor) and a.is_floating_point() and _has_tangent(a) for a in args):
        raise NotImplementedError(
            f"{name}: has no forward-mode derivative; take reverse mode, backward() or torch.autograd.grad, or {IN_TORCH}"
        )


def _has_tangent(t: Tensor) -> bool:
    try:
        return forward_ad.unpack_dual(t).tangent is not None
    except RuntimeError:  # of a vmap within, which has no rule to look
        return True


class _Once(torch.autograd.Function):
    """A gradient that has none itself, of the tensors that it depends on."""

    @staticmethod
    def forward(ctx: Any, name: str, value: Tensor, *of: Tensor) -> Tensor:
        ctx.op = name
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(
            f"{ctx.op}: is differentiable once, and this asks for the gradient of its gradient; for that take {IN_TORCH}"
        )


class _Read:
    """A context of autograd whose saved tensors have been unpacked; once, since hooks count how often."""

    def __init__(self, ctx: Any) -> None:
        self._ctx, self.saved_tensors = ctx, ctx.saved_tensors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)


def once(name: str, backward: Function) -> Function:
    """A backward that says so where its result is differentiated, which torch would take for a constant."""

    def checked(ctx: Any, *grads: Any) -> Any:
        if not torch.is_grad_enabled():
            return backward(ctx, *grads)
        read = _Read(ctx)
        with torch.no_grad():
            found = backward(read, *grads)
        of = [t for t in (*read.saved_tensors, *grads) if isinstance(t, Tensor) and t.requires_grad]
        return tuple(_Once.apply(name, value, *of) if of and isinstance(value, Tensor) else value for value in found)

    return checked


def with_gradient(name: str, kernel: Function, setup: Function, backward: Function) -> Function:
    """The kernel with its backward as autograd has them."""

    def forward(ctx: Any, *args: Any) -> Any:
        output = kernel(*args)
        setup(ctx, args, output)
        return output

    parts = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    above: Any = super(torch.autograd.Function, type(name, (torch.autograd.Function,), parts))
    apply: Function = above.apply  # what Function.apply ends in without torch.func
    return apply


def in_float32(kernel: Function, fake: Function, args: Sequence[Any]) -> Any:
    """What the kernel makes of float16, each of which is a float32: sums of these, rounded once where the fake gives float16."""
    outputs = fake(*args)
    results = kernel(*map(_widened, args))
    if isinstance(outputs, Tensor):
        return _rounded(outputs, results)
    return tuple(map(_rounded, outputs, results))


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(torch.float32) if value.dtype is torch.float16 else value
    return torch.float32 if value is torch.float16 else value


def _rounded(output: Tensor, result: Tensor) -> Tensor:
    return result if result.dtype is output.dtype else output.copy_(result)
