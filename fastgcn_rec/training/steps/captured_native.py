"""Native steps on a GPU, replayed as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ...models import Recommender
from ...ops.train_step import StepBatch, StepParts
from ..config import TrainConfig
from .graphs import graph_of
from .native import NativeStep

Tensor = torch.Tensor


class CapturedNative(NativeStep):
    """The same on a GPU: sampler and step are captured as a CUDA graph of one step, and another one of several, which are replayed. The host
    neither waits nor launches single kernels; where capture fails, it says so and goes on without.

    Within a graph batches are drawn and numbered on a stream of their own: beside the inner hops forwards of their step, or, where there are none,
    beside the step before, if the sampler does not read what that changes.
    """

    eager_steps = 2  # before the capture: they make what is made on first use
    most = 10  # steps of a graph

    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        super().__init__(model, config)
        device = self.step.embedding.device
        self._seed = torch.tensor(config.seed, dtype=torch.int64, device=device)
        self._offset = torch.zeros((), dtype=torch.int64, device=device)
        self._next, self._taken, self._failed = 0, 0, False
        self._rates = torch.zeros(self.most, dtype=torch.float64, device=device)
        self._known_rates = [0.0] * self.most
        # by the number of steps and the sum that losses are added to, which lives as long
        self._replays: dict[tuple[int, int], tuple[Callable[[], None], Tensor]] = {}
        self._one_loss = torch.zeros((), dtype=torch.float64, device=device)

    def __call__(self, t: int, lr: float) -> Tensor:
        self._one_loss.zero_()
        self.many(t, (lr,), self._one_loss)
        return self._one_loss.to(self.step.embedding.dtype, copy=True)

    @property
    def at_once(self) -> int:
        return 1 if self._failed or self._taken < self.eager_steps else self.most

    def many(self, t: int, rates: Sequence[float], loss_sum: Tensor) -> None:
        size = self.config.batch_size
        if t != self._next:
            self._offset.fill_(t * size)
        self._next = t + len(rates)
        replay = None if self._taken < self.eager_steps else self._replay(t, len(rates), loss_sum)
        self._taken += len(rates)
        if replay is not None:
            self._set_rates(rates)
            replay()
            return
        for i, lr in enumerate(rates):
            self.step.lr = lr
            loss_sum += self.take(t + i, self._seed, self._offset)
            self._offset.add_(size)

    def _set_rates(self, rates: Sequence[float]) -> None:
        n = len(rates)
        if self._known_rates[:n] != list(rates):
            values = torch.tensor(rates, dtype=torch.float64, device="cpu").pin_memory()
            self._rates[:n].copy_(values, non_blocking=True)
            self._known_rates[:n] = rates

    def _replay(self, t: int, n: int, loss_sum: Tensor) -> Callable[[], None] | None:
        key = n, loss_sum.data_ptr()
        if key not in self._replays and not self._failed:
            graph = self._capture(t, n, loss_sum)
            self._failed = graph is None
            if graph is not None:
                self._replays[key] = graph.replay, loss_sum
        return self._replays[key][0] if key in self._replays else None

    def _record(self, t: int, n: int, loss_sum: Tensor, side: torch.cuda.Stream) -> None:
        """n steps as from t on. What one stream makes and another reads is held until the end: until then its memory is not given out again."""
        size, device = self.config.batch_size, self._offset.device
        main = torch.cuda.current_stream(device)
        steps = StepParts(self.step, n, self._rates)
        ahead = steps.ahead and self.batches.sampler is None
        offsets = self._offset + size * torch.arange(n, device=device)
        batches: list[StepBatch] = []
        losses: list[Tensor] = []  # that are not in the sum yet

        def draw() -> None:
            """The next batch, once all is done that was launched before; numbered."""
            i = len(batches)
            side.wait_stream(main)
            with torch.cuda.stream(side):
                add_losses()
                batches.append(steps.number(i, *self.draw(t + i, self._seed, offsets[i])))

        def add_losses() -> None:
            for loss in losses:
                loss_sum.add_(loss)
            losses.clear()

        draw()
        for i in range(n):
            if steps.has_inner:
                steps.inner(i, batches[i])
            main.wait_stream(side)
            if ahead and i + 1 < n:
                draw()
            losses.append(steps.rest(i, batches[i]))
            if not ahead and i + 1 < n:
                draw()
        add_losses()
        steps.count()
        self._offset.add_(n * size)

    def _capture(self, t: int, n: int, loss_sum: Tensor) -> torch.cuda.CUDAGraph | None:
        device = self._offset.device

        def record() -> None:
            side = torch.cuda.Stream(device, priority=-1)  # whose small kernels go first
            self._record(t, n, loss_sum, side)

        try:
            return graph_of(record, device, None)
        finally:
            for step in range(t, t + n):
                self.batches.embeddings.forget(step)  # vectors that were recorded, and not computed
