"""Native steps on a GPU, replayed as one CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from ...models import Recommender
from ...negatives import parse
from ..config import TrainConfig
from .native import NativeStep

Tensor = torch.Tensor


class CapturedStep(NativeStep):
    """The same on a GPU: sampler and step are captured once as a CUDA graph, which every further step replays. The host
    neither waits nor launches single kernels; where capture fails, it says so and goes on without."""

    eager_steps = 2  # before the capture: they make what is made on first use

    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        super().__init__(model, config)
        device = self.step.embedding.device
        self._seed = torch.tensor(config.seed, dtype=torch.int64, device=device)
        self._offset = torch.zeros((), dtype=torch.int64, device=device)
        self._next, self._taken = 0, 0
        self._replay: Callable[[], None] | None = None
        self._loss: Tensor | None = None

    def __call__(self, t: int, lr: float) -> Tensor:
        self.step.lr = lr
        if t != self._next:
            self._offset.fill_(t * self.config.batch_size)
        self._next = t + 1
        if self._taken == self.eager_steps:
            self._capture(t)
        self._taken += 1
        if self._replay is None or self._loss is None:
            return self._both(t)
        self._replay()
        return self._loss.clone()

    def _both(self, t: int) -> Tensor:
        loss = self.take(t, self._seed, self._offset)
        self._offset.add_(self.config.batch_size)
        return loss

    def _capture(self, t: int) -> None:
        device, before = self._offset.device, None
        try:
            if device.type != "cuda":
                raise RuntimeError(f"{device} has no CUDA graphs")
            before = torch.cuda.current_stream(device)
            graph = torch.cuda.CUDAGraph()
            # by default torch captures a stream of the current device, which need not be the model's
            with torch.cuda.device(device), torch.cuda.graph(graph, stream=torch.cuda.Stream(device)):
                self._loss = self._both(t)  # is recorded, does not run
            self._replay = graph.replay
        except BaseException as error:
            self._loss = None
            if before is not None:
                with torch.cuda.device(device):
                    torch.cuda.set_stream(
                        before
                    )  # a capture that fails while it ends, or is interrupted, leaves its own
                    torch.cuda.synchronize()
            if isinstance(error.__context__, KeyboardInterrupt):  # then the end of the capture fails, too
                raise error.__context__ from None
            if not isinstance(error, RuntimeError):
                raise
            warnings.warn(
                f"fit: the training step could not be captured as a CUDA graph, it goes on without, slower: {error}",
                stacklevel=2,
            )


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
