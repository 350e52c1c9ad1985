"""What of torch looks on while an op is called, or makes other tensors than it seems."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad

try:
    from torch._C import (
        _are_functorch_transforms_active,
        _get_tracing_state,
        _len_torch_dispatch_stack,
        _len_torch_function_stack,
    )
    from torch._C._autograd import _profiler_enabled
    from torch._C._functorch import is_legacy_batchedtensor

    def is_watched() -> bool:
        """Whether torch.compile, an exporter, torch.func, a mode, forward-mode AD or a profiler must see an op by its name."""
        return (
            torch.compiler.is_compiling()
            or _are_functorch_transforms_active()
            or _len_torch_dispatch_stack() > 0
            or _len_torch_function_stack() > 0
            or forward_ad._current_level >= 0
            or _profiler_enabled()
            or _get_tracing_state() is not None
        )

    def is_plain(t: torch.Tensor) -> bool:
        """Whether a tensor's memory holds its values: no negated view, none of zeros without memory, none of a batch of gradients."""
        return not (t.is_neg() or t._is_zerotensor() or is_legacy_batchedtensor(t))

    def is_transformed() -> bool:
        """Whether a tensor that is made now may belong to a mode, as fake ones do, or to a transform, so that none is to be kept."""
        return _are_functorch_transforms_active() or _len_torch_dispatch_stack() > 0

except ImportError:  # a torch that has other names for them

    def is_watched() -> bool:
        return True

    def is_plain(t: torch.Tensor) -> bool:
        return False

    def is_transformed() -> bool:
        return True
