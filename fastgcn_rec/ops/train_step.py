"""A whole training step in one native call, or in two where ranks share the columns out."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch

from ..core import native
from ..core.columns import Columns
from ..core.graph import Graph, Norm
from ..core.tensors import check_ids
from .optimizers import OPTIMIZERS, Optimizer, OptimizerState, check_optimizer
from .pair_loss import check_margin, masked
from .propagate import checked_alphas
from .registration import check_columns, check_float, check_graph, check_graph_device, check_matrix, number_of
from .shared_softmax import shared_softmax
from .softmax_loss import check_bias, check_negative_weight, check_temperature

Tensor = torch.Tensor
STEP_LOSSES = {"bpr": 0, "binary": 1, "max_margin": 2, "softmax": 3}
_PARTS = ("forward", "loss", "seed", "backward", "update")
# StepPart of csrc/include/fgr/train_step.h, where the parts that follow each other are one: number, forward; loss; seed, update.
_ROWS, _LOSS, _SEED, _UPDATE, _SOFTMAX_USERS, _SOFTMAX_ITEMS = 1 + 2, 4, 8, 16, 32, 64
_NUMBER, _INNER, _LAST, _RIDGE = 1, 128, 256, 512
_SECOND_BYTES = 2**28  # of a workspace, for there to be a second one


class StepBatch(NamedTuple):
    """As the native step takes it."""

    users: Tensor
    pos: Tensor
    neg: Tensor
    size: int
    n_neg: int
    shared: bool
    mask: Tensor | None


class StepPlace(NamedTuple):
    """Where a step reads lr, float64 [], and its number, int64 [], and where it keeps what one part hands to the next."""

    lr: Tensor
    step: Tensor
    workspace: Tensor


def check_step(who: str, loss: str, storage: torch.dtype | None, embedding: Tensor) -> None:
    """Raises unless a step has this loss, and keeps layers of this embedding in this dtype."""
    if loss not in STEP_LOSSES:
        raise ValueError(f"{who}: loss must be one of {tuple(STEP_LOSSES)}, got {loss!r}")
    if storage not in (None, embedding.dtype) and (storage, embedding.dtype) != (torch.bfloat16, torch.float32):
        raise TypeError(
            f"{who}: storage must be bfloat16 with a float32 embedding, got {storage} with {embedding.dtype}"
        )


class TrainStep:
    """One step of Adam, or of another optimizer, on L(z; batch) + reg * ridge with z = sum_k alphas[k] A~^k E, in one native call.

    The mathematics of ``propagate``, one of ``bpr_loss``, ``binary_loss``, ``max_margin_loss`` and ``softmax_loss``, ``l2_loss`` and
    ``Adam`` together, where
    ridge = 1/2 * sum over the batch's nodes (users, positives, negatives; repeats counted) of |E_n|^2 / B. It is cheaper
    than those one by one, because the loss reads z at the batch's nodes only: the last hop forwards and the first hop backwards
    leave out everything else, gradients go to Adam from registers, and nothing is allocated.

    Parameters
    ----------
    graph : Graph
    embedding : float32 or float64 [n_nodes, dim], contiguous, on the graph's device
        E, users first; updated in place by every call. With ``columns``, this rank's: [n_nodes, columns.width].
    alphas : K + 1 floats
        (1.0,) is matrix factorization.
    norm : as for ``propagate``
    loss : "bpr", "binary", "max_margin" or "softmax" (in-batch, on cosines)
    temperature, negative_weight : of the softmax, as for :func:`fastgcn_rec.softmax_loss`
    item_bias : float [n_items], optional
        Of the softmax: its bias of a positive is the item's.
    margin : float >= 0, of max_margin
    reg, lr, betas, eps, weight_decay : floats; lr may be changed between calls
    storage : torch.bfloat16, optional
        Keep the layers between hops in bfloat16 (sums, parameters and Adam stay float32). With it, call ``refresh`` after changing
        the embedding from outside.
    optimizer : "adam", "lazy_adam", "adagrad" or "sgd"
        adam moves every row in every step. The others, without layers alone (one alpha), move and read the rows of the batch's nodes, its users,
        positives and negatives, so that a step's time does not grow with the graph. With g the gradient of such a row in step t, the ridge in it,
        lazy_adam: m = beta1^(t - s) m + (1 - beta1) g and v = beta2^(t - s) v + (1 - beta2) g^2, s the step that the row was in before (0: none), then as
        Adam with the bias corrections of t. Its moments are those of Adam after steps without a gradient; the moves that Adam would make in these are
        left out.
        adagrad, by rows: a += mean of g^2 over the row, then the row moves by -lr / (sqrt(a) + eps) * g.
        sgd: by -lr * g.
        ``weight_decay`` decays what is moved.
    columns : Columns, optional
        Several ranks share the columns out (docs/ranks.md). Calls are collective: all ranks give the same batch, and each updates its own
        columns. They send each other the rows of z of the batch's nodes, and of adagrad a row's squares by panels of 16 columns; loss and parameters are the same bits as of one process.

    Attributes
    ----------
    state : dict of tensors
        The optimizer's, by name: of adam exp_avg and exp_avg_sq, like embedding, attributes too; of lazy_adam these and last_step int64 [n_nodes];
        of adagrad row_sum [n_nodes]; of sgd none.
    step : int
        How many were taken; reading it waits for a GPU.
    seconds : dict
        Time spent in each part since the beginning: forward, loss, seed (the gradient of the batch's rows), backward, update (the
        last hop backwards with Adam). Zeros on a GPU.

    Raises
    ------
    TypeError, ValueError : wrong dtype, shape, device or option. IndexError : an id out of range.
    KeyboardInterrupt : or what else a signal's handler raises, during a step: it is half taken. Some rows of embedding and
        state may have their new values, others the old ones, and ``step`` is as before; the next call is possible, but for exact results
        go back to a copy. A handler that raises nothing leaves the step whole (:func:`fastgcn_rec.fit` has one).

    Notes
    -----
    The same bits for any number of threads. On a GPU a call neither waits nor allocates beside the loss (once the first one has made
    the workspace), and reads lr and step from the device, so that it can be captured in a CUDA graph.

    Examples
    --------
    >>> from fastgcn_rec import sample_batch
    >>> graph = Graph.from_edges([0, 0, 1, 2], [0, 1, 1, 2])
    >>> step = TrainStep(graph, torch.randn(6, 8), [0.5, 0.5], loss="bpr", lr=0.05)
    >>> losses = [float(step(*sample_batch(graph, 16, seed=0, offset=16 * t))) for t in range(50)]
    >>> losses[-1] < losses[0]
    True
    """

    def __init__(
        self,
        graph: Graph,
        embedding: Tensor,
        alphas: Sequence[float] | Tensor = (1.0,),
        *,
        norm: Norm = "sym",
        loss: Literal["bpr", "binary", "max_margin", "softmax"] = "bpr",
        temperature: float = 0.1,
        negative_weight: float = 1.0,
        item_bias: Tensor | None = None,
        margin: float = 1.0,
        reg: float = 0.0,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        storage: torch.dtype | None = None,
        columns: Columns | None = None,
        optimizer: Optimizer = "adam",
    ) -> None:
        check_graph("TrainStep", graph)
        if not isinstance(embedding, Tensor):
            raise TypeError(
                f"TrainStep: embedding is updated in place and must be a tensor, got {type(embedding).__name__}"
            )
        check_float("TrainStep", "embedding", embedding, (torch.float32, torch.float64), in_place=True)
        check_matrix("TrainStep", "embedding", embedding, graph.n_nodes, "n_nodes")
        check_graph_device("TrainStep", "embedding", embedding, graph)
        if not embedding.is_contiguous() or embedding.is_neg():
            raise ValueError("TrainStep: embedding is updated in place and must be contiguous")
        self.columns = check_columns("TrainStep", "embedding", embedding, columns)
        check_step("TrainStep", loss, storage, embedding)
        temperature, margin = check_temperature("TrainStep", temperature), check_margin("TrainStep", margin)
        negative_weight = check_negative_weight("TrainStep", negative_weight)
        if item_bias is not None:
            item_bias = check_bias("TrainStep", "item_bias", item_bias, graph.n_items, "n_items", embedding)
            item_bias = item_bias.detach().to(embedding.dtype).contiguous().resolve_neg()
        options = {"reg": reg, "lr": lr, "eps": eps, "weight_decay": weight_decay}
        reg, lr, eps, weight_decay = (number_of("TrainStep", name, value) for name, value in options.items())
        betas = check_betas("TrainStep", betas)
        self.graph, self.embedding = graph, embedding.detach()
        self.alphas = checked_alphas("TrainStep", alphas, embedding.dtype, embedding.device).detach().clone()
        self.loss, self.temperature, self.reg = loss, temperature, reg
        self.negative_weight, self.item_bias = negative_weight, item_bias
        self.margin = margin if loss == "max_margin" else 0.0
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        check_optimizer("TrainStep", optimizer, len(self.alphas) - 1)
        self.optimizer = optimizer
        native.in_huge_pages(self.embedding, filled=True)
        self.state, self._native_state = OptimizerState.of(optimizer, self.embedding)
        self._lr = torch.full((), lr, dtype=torch.float64, device=embedding.device)
        self._next_step = torch.ones((), dtype=torch.int64, device=embedding.device)
        self._last_lr = lr
        self._scales = graph.scales(norm, embedding.dtype)
        self._storage = storage or embedding.dtype
        self._code = native.DTYPE_CODE[self._storage]
        self._shadow = None
        if storage == torch.bfloat16 and len(self.alphas) > 1:
            self._shadow = native.in_huge_pages(torch.empty_like(self.embedding, dtype=storage))
            self.refresh()
        self._workspace = native.workspace(0, embedding.device)
        self._outgrown: list[Tensor] = []
        self._times = torch.zeros(len(_PARTS), dtype=torch.float64, device="cpu")

    @property
    def exp_avg(self) -> Tensor:
        return self._moment("exp_avg")

    @property
    def exp_avg_sq(self) -> Tensor:
        return self._moment("exp_avg_sq")

    def _moment(self, name: str) -> Tensor:
        if name not in self.state:
            raise AttributeError(f"TrainStep: {self.optimizer} has no {name}, its state is {list(self.state)}")
        return self.state[name]

    @property
    def lr(self) -> float:
        return self._last_lr

    @lr.setter
    def lr(self, lr: float) -> None:
        if lr != self._last_lr:
            self._lr.fill_(lr)
            self._last_lr = lr

    @property
    def step(self) -> int:
        return int(self._next_step) - 1

    @step.setter
    def step(self, step: int) -> None:
        self._next_step.fill_(step + 1)

    @property
    def seconds(self) -> dict[str, float]:
        return dict(zip(_PARTS, self._times.tolist(), strict=True))

    def refresh(self) -> None:
        """Takes over an embedding that was changed from outside; needed with ``storage`` only."""
        if self._shadow is not None:
            right = self._scales[1]
            self._shadow.copy_(self.embedding if right is None else self.embedding * right[:, None])

    def __call__(self, users: Any, pos: Any, neg: Any = None, mask: Any = None) -> Tensor:
        """Takes the step for a batch: users [B], pos [B], neg [B, M] or [1, M] (shared; -1: none), mask bool [B, M] (False:
        none for this row); the softmax takes no neg. The ridge counts a shared negative once.

        Returns the loss before the step, penalty included: one element.
        """
        job = step_batch("TrainStep", self.loss, self.embedding, users, pos, neg, mask)
        self._make_workspace(job)
        loss = self.embedding.new_empty(())
        try:
            if self.columns is None:
                self._run(_alone(), job, loss)
            else:
                self._run_shared(self.columns, job, loss)
        finally:  # an interrupt leaves some rows updated
            torch.autograd.graph.increment_version(self.embedding)
        self._next_step.add_(1)
        return loss

    def _workspace_bytes(self, job: StepBatch) -> int:
        width = self.embedding.shape[1]
        whole = width if self.columns is None else self.columns.dim
        return native.size(
            "train_step", self.embedding.device, self._code, self.graph.links().native(), width, whole, len(self.alphas),
            job.size, job.n_neg, job.shared,
        )  # fmt: skip

    def _make_workspace(self, job: StepBatch) -> None:
        n_bytes = self._workspace_bytes(job)
        if n_bytes > len(self._workspace):
            if self.embedding.device.type == "cuda":
                self._outgrown.append(self._workspace)  # a captured graph may still write to it
            self._workspace = native.in_huge_pages(native.workspace(n_bytes, self.embedding.device))

    def _run(self, share: Any, job: StepBatch, loss: Tensor, place: StepPlace | None = None) -> int:
        """The parts that ``share`` names; returns how many rows of z there are."""
        lr, step, workspace = place or (self._lr, self._next_step, self._workspace)
        first, second, last_step = self._native_state
        return native.call(
            "train_step", self.embedding.device, self._code, self.graph.links().native(), share, self.embedding.shape[1], self.alphas,
            len(self.alphas), *self._scales, self.embedding, first, second, self.item_bias, self._shadow, *job,
            STEP_LOSSES[self.loss], self.temperature, self.negative_weight, self.margin, self.reg, *self.betas, self.eps,
            self.weight_decay, lr, step, loss, self._times, OPTIMIZERS[self.optimizer], last_step, workspace,
        )  # fmt: skip

    def _run_shared(self, columns: Columns, job: StepBatch, loss: Tensor) -> None:
        z, ridge = self._whole_rows(columns, job, loss)
        at = {"whole_dim": columns.dim, "first_column": columns.first, "z": z, "ridge": ridge}
        if self.loss != "softmax" or native.runs_cuda(z.device):
            self._run(native.step_share(_LOSS, **at), job, loss)
            given = {}
        else:

            def run(part: int, **given: Any) -> None:
                self._run(native.step_share(part, **at, **given), job, loss)

            of_users, of_items = functools.partial(run, _SOFTMAX_USERS), functools.partial(run, _SOFTMAX_ITEMS)
            user_rows, item_rows = shared_softmax(columns, job.size, loss.dtype, of_users, of_items)
            given = {"user_rows": user_rows, "item_rows": item_rows}
        if self.optimizer != "adagrad":
            self._run(native.step_share(_SEED + _UPDATE, **at, **given), job, loss)
            return
        squares = z.new_empty((len(z), columns.panels()[columns.world.rank]), dtype=torch.float64)
        self._run(native.step_share(_SEED, **at, **given, own_squares=squares), job, loss)
        squares = columns.all_panels(squares)
        self._run(native.step_share(_UPDATE, **at, squares=squares), job, loss)

    def _whole_rows(self, columns: Columns, job: StepBatch, loss: Tensor) -> tuple[Tensor, Tensor | None]:
        """All columns of z at the batch's nodes, and all panels of the ridge, if there is one."""
        most = min(2 * job.size + job.neg.numel(), self.graph.n_nodes)
        z = self.embedding.new_empty((most, columns.width), dtype=self._storage)
        ridge = self.embedding.new_empty((1, columns.panels()[columns.world.rank]), dtype=torch.float64)
        share = native.step_share(_ROWS, whole_dim=columns.dim, first_column=columns.first, own_z=z, own_ridge=ridge)
        z = z[: self._run(share, job, loss)]
        return (columns.whole(z), None) if self.reg == 0 else columns.whole_and_panels(z, ridge)


class StepParts:
    """The next ``n`` steps of one process in parts, on a GPU, for a caller that gives parts to several streams: ``number`` of a step, ``inner`` beside
    it, then ``rest``; at the end ``count``. Batches are of the size of the last one that ``step`` took.

    Attributes
    ----------
    has_inner : bool
        Whether there are hops forwards that do not read the batch.
    ahead : bool
        Whether a step may be numbered in the time of the one before: without inner hops these have a workspace each, if it is not large.
    """

    def __init__(self, step: TrainStep, n: int, lr: Tensor) -> None:
        """lr : float64 [>= n], the steps'."""
        self._step, self._n = step, n
        self.has_inner = len(step.alphas) > 2
        self.ahead = not self.has_inner and n > 1 and len(step._workspace) <= _SECOND_BYTES
        numbers = step._next_step + torch.arange(n, device=step.embedding.device)
        second = torch.empty_like(step._workspace) if self.ahead else step._workspace
        self._places = [StepPlace(lr[i], numbers[i], second if i % 2 else step._workspace) for i in range(n)]
        self._losses = step.embedding.new_empty(n)

    def number(self, i: int, users: Tensor, pos: Tensor, neg: Tensor | None, mask: Tensor | None) -> StepBatch:
        """Of step i; with inner hops also what else hangs on the embedding before it alone."""
        step = self._step
        batch = step_batch("TrainStep", step.loss, step.embedding, users, pos, neg, mask)
        if step._workspace_bytes(batch) > len(self._places[i].workspace):
            raise RuntimeError("TrainStep: the batch is larger than the one before")
        self._run(_NUMBER + (_RIDGE if self.has_inner else 0), i, batch)
        return batch

    def inner(self, i: int, batch: StepBatch) -> None:
        """The hops forwards but the last."""
        self._run(_INNER, i, batch)

    def rest(self, i: int, batch: StepBatch) -> Tensor:
        """Returns the loss."""
        self._run(_LAST + (0 if self.has_inner else _RIDGE) + _LOSS + _SEED + _UPDATE, i, batch)
        return self._losses[i]

    def count(self) -> None:
        self._step._next_step.add_(self._n)

    def _run(self, parts: int, i: int, batch: StepBatch) -> None:
        self._step._run(native.step_share(parts), batch, self._losses[i], self._places[i])


@functools.cache
def _alone() -> Any:
    """One process, whose columns are all: every part in one call."""
    return native.step_share(_ROWS + _LOSS + _SEED + _UPDATE)


def check_betas(op: str, betas: Any) -> tuple[float, float]:
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise TypeError(f"{op}: betas must be two floats, got {betas!r:.80}")
    return number_of(op, "betas", betas[0]), number_of(op, "betas", betas[1])


def step_batch(op: str, loss: str, like: Tensor, users: Any, pos: Any, neg: Any, mask: Any) -> StepBatch:
    """A batch of this loss, checked, on the device of ``like``."""
    users = check_ids(op, "users", users, (None,), like).contiguous()
    batch = len(users)
    pos = check_ids(op, "pos", pos, (batch,), like).contiguous()
    if batch == 0:
        raise ValueError(f"{op}: the batch is empty")
    if loss == "softmax":
        neg = users.new_empty((batch, 0))
    elif neg is None:
        raise ValueError(f"{op}: the {loss} loss needs neg, [B, M] or [1, M]")
    neg = check_ids(op, "neg", neg, ("batch or 1", "n_neg"), like).contiguous()
    if neg.shape[0] not in (1, batch) or (neg.shape[1] == 0) != (loss == "softmax"):
        raise ValueError(f"{op}: neg must have shape [{batch}, M] or [1, M] with M >= 1, got {list(neg.shape)}")
    neg, mask = masked(op, neg, mask, batch)
    mask = None if mask is None else mask.contiguous()
    return StepBatch(users, pos, neg, batch, neg.shape[1], neg.shape[0] != batch, mask)
