"""What is recorded as a CUDA graph, and whether it can be."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from ...negatives import parse
from ..config import TrainConfig


def graph_of(
    record: Callable[[], None], device: torch.device, stream: torch.cuda.Stream | None
) -> torch.cuda.CUDAGraph | None:
    """A graph of what ``record`` launches, by this stream of the device or one of its own; where that cannot be, says so and returns None."""
    before = None
    try:
        if device.type != "cuda":
            raise RuntimeError(f"{device} has no CUDA graphs")
        before = torch.cuda.current_stream(device)
        graph = torch.cuda.CUDAGraph()
        # by default torch captures a stream of the current device, which need not be the model's
        with torch.cuda.device(device), torch.cuda.graph(graph, stream=stream or torch.cuda.Stream(device)):
            record()
        return graph
    except BaseException as error:
        if before is not None:
            with torch.cuda.device(device):
                torch.cuda.set_stream(before)  # a capture that fails while it ends, or is interrupted, leaves its own
                torch.cuda.synchronize()
        if isinstance(error.__context__, KeyboardInterrupt):  # then the end of the capture fails, too
            raise error.__context__ from None
        if not isinstance(error, RuntimeError):
            raise
        warnings.warn(
            f"fit: the training step could not be captured as a CUDA graph, it goes on without, slower: {error}",
            stacklevel=2,
        )
        return None


def can_capture(config: TrainConfig) -> bool:
    """Whether a CUDA graph can replay a step with these negatives; says so if not."""
    if not config.negatives or parse(config.negatives).capturable:
        return True
    warnings.warn(
        f"fit: negatives={str(config.negatives)!r} are decided on the host (a count by epoch, stale vectors, ranks), so that the "
        "training step is not captured as a CUDA graph, which is slower",
        stacklevel=2,
    )
    return False
