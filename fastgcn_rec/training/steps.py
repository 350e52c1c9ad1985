"""How ``fit`` takes one step: in one native call where the model allows it, else by autograd."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Protocol

import torch

from ..core.graph import Graph
from ..losses import item_bias, loss_of
from ..models import Recommender
from ..negatives import Batch, Embeddings, Negatives, parse
from ..ops.adam_step import Adam
from ..ops.l2_loss import l2_loss
from ..ops.pair_loss import masked
from ..ops.sample import sample_batch
from ..ops.train_step import TrainStep
from .config import TrainConfig

Tensor = torch.Tensor
MOMENTS = ("exp_avg", "exp_avg_sq")
TAKEN = "steps"  # of Adam: a parameter without a gradient takes none
STALE = "negatives."


class Step(Protocol):
    """Draws batch t = 0, 1, ... of the config's stream, takes a step on it, and returns the loss before the step."""

    def __call__(self, t: int, lr: float) -> Tensor: ...
    def state(self) -> dict[str, Tensor]:
        """Adam's state by "exp_avg.<parameter>", "exp_avg_sq.<parameter>" and "steps.<parameter>", and the sampler's by "negatives.<name>"."""
        ...

    def resume(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Goes on after ``step`` steps, from such a state; the parameters are the model's."""
        ...


def make_step(model: Recommender, config: TrainConfig) -> Step:
    """The fastest way to train this model that gives the right gradient."""
    table = model.ego_embedding() if model.diffusion() is not None else None
    alone = [p is table for p in model.parameters() if p.requires_grad] == [
        True
    ]  # else some are not to be trained, or more are
    if table is not None and alone and table.is_contiguous():
        captured = table.device.type != "cpu" and can_capture(config)
        return CapturedStep(model, config) if captured else NativeStep(model, config)
    if config.storage != "float32":
        raise ValueError(
            f"fit: storage={config.storage!r} needs a model with constant layer weights of which the embedding table is trained, got "
            f"{type(model).__name__}; leave storage at 'float32'"
        )
    return AutogradStep(model, config)


def check_learnable(graph: Graph, config: TrainConfig, name: str) -> None:
    """Raises where no loss could tell one item from another."""
    degree = graph.user_degree[graph.user_degree > 0]
    if config.loss in ("bpr", "max_margin") and int(degree.min()) == graph.n_items:
        raise ValueError(
            f"fit: loss={config.loss!r} ranks a user's items above others, and every user of {name} has all {graph.n_items} items: nothing can be "
            "learnt from it; take data with items that are not chosen, or loss='binary'"
        )
    if config.loss == "softmax" and int((graph.item_degree > 0).sum()) == 1:
        raise ValueError(
            f"fit: loss='softmax' ranks a pair's item above those of the batch, and all edges of {name} are of one item: nothing can be learnt from it"
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


class Batches:
    """The batches of a training: positives by the config's law, negatives by its sampler."""

    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        self.graph, self.config = model.graph, config
        self.sampler = parse(config.negatives) if config.negatives else None
        self.n_neg = 0 if config.loss == "softmax" or self.sampler is not None else config.n_neg
        self.steps_per_epoch = math.ceil(self.graph.n_edges / config.batch_size)
        self.embeddings = Embeddings(model.get_embedding)

    def __call__(self, t: int, seed: int | Tensor, offset: int | Tensor) -> tuple[Tensor, Tensor, Negatives]:
        """Batch t, which begins at sample ``offset``: users, positives, negatives."""
        size, law = self.config.batch_size, self.config.sampler
        users, pos, neg = sample_batch(self.graph, size, self.n_neg, seed=seed, offset=offset, by=law)
        if self.sampler is None:
            return users, pos, Negatives(neg)
        epoch = t // self.steps_per_epoch + 1
        return users, pos, self.sampler.draw(Batch(self.graph, users, pos, seed, offset, t, epoch, self.embeddings))

    def state(self) -> dict[str, Tensor]:
        return {f"{STALE}{name}": table for name, table in self.embeddings.state().items()}

    def resume(self, step: int, state: Mapping[str, Tensor]) -> None:
        tables = {n.removeprefix(STALE): t.to(self.graph.device) for n, t in state.items() if n.startswith(STALE)}
        self.embeddings.resume(step, tables)


def batch_loss(
    model: Recommender, config: TrainConfig, users: Tensor, pos: Tensor, neg: Tensor, mask: Tensor | None = None
) -> Tensor:
    """The loss of one batch, ridge penalty included; ids are internal."""
    batch = vectors_of(model, users, pos, neg)
    bias = item_bias(config, model.graph)
    loss = loss_of(config, *batch[:4], Negatives(batch[4], mask), None if bias is None else bias[pos])
    if config.reg:
        nodes = [users, pos + model.n_users]
        if config.loss != "softmax":
            neg = masked("fit", neg, mask, len(users))[0]
            nodes.append(torch.where(neg >= 0, neg + model.n_users, neg).flatten())
        loss = loss + config.reg / len(users) * l2_loss(model.ego_embedding(), torch.cat(nodes))
    return loss


def vectors_of(
    model: Recommender, users: Tensor, pos: Tensor, neg: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(user table, item table, users, pos, neg): vectors, and where the batch finds its own in them. -1 stays -1."""
    items = torch.cat([pos, neg.flatten()])
    z = model.get_embedding_at(torch.cat([users, items.clamp(min=0) + model.n_users]))
    if z is None:
        return *model.get_embedding().split([model.n_users, model.n_items]), users, pos, neg
    at = torch.arange(len(items), device=items.device)
    own, others = at[: len(pos)], at[len(pos) :].view_as(neg)
    return *z.split([len(users), len(items)]), own, own, torch.where(neg >= 0, others, neg)


class NativeStep:
    """One native call a step."""

    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        table, alphas = model.ego_embedding(), model.diffusion()
        assert alphas is not None
        self.config, self.batches = config, Batches(model, config)
        (self.name,) = (name for name, p in model.named_parameters() if p is table)
        self.step = TrainStep(
            model.graph, table, alphas, norm=model.norm, loss=config.loss, temperature=config.temperature,
            negative_weight=config.negative_weight, item_bias=item_bias(config, model.graph), margin=config.margin, reg=config.reg, storage=torch.bfloat16 if config.storage == "bfloat16" else None,
        )  # fmt: skip

    def __call__(self, t: int, lr: float) -> Tensor:
        self.step.lr = lr
        return self._take(t, self.config.seed, t * self.config.batch_size)

    def _take(self, t: int, seed: int | Tensor, offset: int | Tensor) -> Tensor:
        users, pos, (neg, mask) = self.batches(t, seed, offset)
        return self.step(users, pos, neg if neg.shape[1] else None, mask)

    def state(self) -> dict[str, Tensor]:
        adam = {f"{m}.{self.name}": getattr(self.step, m) for m in MOMENTS}
        return adam | {f"{TAKEN}.{self.name}": torch.tensor(self.step.step)} | self.batches.state()

    def resume(self, step: int, state: Mapping[str, Tensor]) -> None:
        self.step.step = int(state[f"{TAKEN}.{self.name}"])
        for m in MOMENTS:
            getattr(self.step, m).copy_(state[f"{m}.{self.name}"])
        self.step.refresh()
        self.batches.resume(step, state)


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
        loss = self._take(t, self._seed, self._offset)
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
        except RuntimeError as error:
            if before is not None:
                with torch.cuda.device(device):
                    torch.cuda.set_stream(before)  # a capture that fails while it ends leaves its own
                    torch.cuda.synchronize()
            self._loss = None
            warnings.warn(
                f"fit: the training step could not be captured as a CUDA graph, it goes on without, slower: {error}",
                stacklevel=2,
            )


class AutogradStep:
    def __init__(self, model: Recommender, config: TrainConfig) -> None:
        self.model, self.config, self.batches = model, config, Batches(model, config)
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = Adam(self.parameters.values())

    def __call__(self, t: int, lr: float) -> Tensor:
        self.optimizer.param_groups[0]["lr"] = lr
        users, pos, negatives = self.batches(t, self.config.seed, t * self.config.batch_size)
        with self.model.at_step(self.config.seed, t):
            loss = self.model.batch_loss(self.config, t, users, pos, negatives)
            if loss is None:
                loss = batch_loss(self.model, self.config, users, pos, *negatives)
            auxiliary = self.model.auxiliary_loss(users, pos)
        if auxiliary is not None:
            loss = loss + auxiliary
        if not loss.requires_grad:
            raise ValueError(
                f"fit: the loss does not depend on {', '.join(self.parameters)}, and no other parameter is to be trained; call requires_grad_() on those "
                "that it depends on"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for name, p in self.parameters.items():
            adam = self.optimizer.state.get(p, {})
            state[f"{TAKEN}.{name}"] = torch.tensor(adam.get("step", 0))
            state |= {f"{m}.{name}": adam[m] if m in adam else torch.zeros_like(p) for m in MOMENTS}
        return state | self.batches.state()

    def resume(self, step: int, state: Mapping[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            taken = int(state[f"{TAKEN}.{name}"])
            if taken:
                own = {m: state[f"{m}.{name}"].to(p.device) for m in MOMENTS}
                self.optimizer.state[p] = {"step": taken, **own}
        self.batches.resume(step, state)
