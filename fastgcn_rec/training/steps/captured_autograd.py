"""Steps by autograd on a GPU, replayed as one CUDA graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import torch

from ..config import TrainConfig
from .autograd import AutogradStep
from .graphs import graph_of

Tensor = torch.Tensor


class CapturedAutograd:
    """An :class:`AutogradStep` on a GPU: it is captured once as a CUDA graph, sampler included, which every further step replays. The host neither waits nor
    launches single kernels; where capture fails, it says so and goes on without."""

    eager_steps = 2  # before the capture: they make what is made on first use

    def __init__(self, step: AutogradStep, config: TrainConfig) -> None:
        self.step, self.batch_size, self.device = step, config.batch_size, step.batches.graph.device
        self._seed = torch.tensor(config.seed, dtype=torch.int64, device=self.device)
        self._place = torch.zeros(2, dtype=torch.int64, device=self.device)  # of the next step: t, its first sample
        self._advance = torch.tensor([1, config.batch_size], dtype=torch.int64, device=self.device)
        # What autograd makes of parameters belongs to the stream where it was first made: what runs before the capture runs there, too.
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._next, self._taken = 0, 0
        self._replay: Callable[[], None] | None = None
        self._loss: Tensor | None = None

    def __call__(self, t: int, lr: float) -> Tensor:
        self.step.set_lr(lr)
        if t != self._next:
            for place, value in zip(self._place.unbind(), (t, t * self.batch_size), strict=True):
                place.fill_(value)
        self._next = t + 1
        if self._taken == self.eager_steps:
            self._capture(t)
        self._taken += 1
        if self._replay is None or self._loss is None:
            with self._aside():
                return self._both(t)
        self._replay()
        return self._loss.clone()

    def _both(self, t: int) -> Tensor:
        step, offset = self._place.unbind()
        loss = self.step.take(t, self._seed, step, offset)
        self._place.add_(self._advance)
        return loss

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """On the stream of the capture, as long as that is still to come; in turn with the current one."""
        if self._stream is None or self._taken > self.eager_steps:
            yield
            return
        current = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            current.wait_stream(self._stream)

    def _capture(self, t: int) -> None:
        def record() -> None:
            self._loss = self._both(t)  # does not run

        try:
            graph = graph_of(record, self.device, self._stream)
            self._replay = None if graph is None else graph.replay
        finally:
            self.step.batches.embeddings.forget(t)  # vectors that were recorded, and not computed

    def state(self) -> dict[str, Tensor]:
        return self.step.state()

    def resume(self, step: int, state: Mapping[str, Tensor]) -> None:
        """A graph captured before reads tensors that are no longer the state's: another is captured."""
        if self._stream is not None:
            torch.cuda.synchronize(self.device)  # its memory is given back
        self._taken, self._replay, self._loss = 0, None, None
        self.step.resume(step, state)
