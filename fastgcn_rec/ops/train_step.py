"""A whole training step in one native call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from ..core import native
from ..core.graph import Graph, Norm
from ..core.tensors import check_ids
from .pair_loss import check_margin, masked
from .propagate import checked_alphas
from .registration import check_float, check_graph, check_graph_device, check_matrix, number_of
from .softmax_loss import check_bias, check_negative_weight, check_temperature

Tensor = torch.Tensor
_LOSSES = {"bpr": 0, "binary": 1, "max_margin": 2, "softmax": 3}
_PARTS = ("forward", "loss", "seed", "backward", "update")


class TrainStep:
    """One step of Adam on L(z; batch) + reg * ridge with z = sum_k alphas[k] A~^k E, in one native call.

    The mathematics of ``propagate``, one of ``bpr_loss``, ``binary_loss``, ``max_margin_loss`` and ``softmax_loss``, ``l2_loss`` and
    ``Adam`` together, where
    ridge = 1/2 * sum over the batch's nodes (users, positives, negatives; repeats counted) of |E_n|^2 / B. It is cheaper
    than those one by one, because the loss reads z at the batch's nodes only: the last hop forwards and the first hop backwards
    leave out everything else, gradients go to Adam from registers, and nothing is allocated.

    Parameters
    ----------
    graph : Graph
    embedding : float32 or float64 [n_nodes, dim], contiguous, on the graph's device
        E, users first; updated in place by every call.
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

    Attributes
    ----------
    exp_avg, exp_avg_sq : like embedding; step : int
        The state of Adam; reading step waits for a GPU.
    seconds : dict
        Time spent in each part since the beginning: forward, loss, seed (the gradient of the batch's rows), backward, update (the
        last hop backwards with Adam). Zeros on a GPU.

    Raises
    ------
    TypeError, ValueError : wrong dtype, shape, device or option. IndexError : an id out of range.
    KeyboardInterrupt : or what else a signal's handler raises, during a step: it is half taken. Some rows of embedding, exp_avg and
        exp_avg_sq may have their new values, others the old ones, and ``step`` is as before; the next call is possible, but for exact results
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
        if loss not in _LOSSES:
            raise ValueError(f"TrainStep: loss must be one of {tuple(_LOSSES)}, got {loss!r}")
        temperature, margin = check_temperature("TrainStep", temperature), check_margin("TrainStep", margin)
        negative_weight = check_negative_weight("TrainStep", negative_weight)
        if item_bias is not None:
            item_bias = check_bias("TrainStep", "item_bias", item_bias, graph.n_items, "n_items", embedding)
            item_bias = item_bias.detach().to(embedding.dtype).contiguous().resolve_neg()
        options = {"reg": reg, "lr": lr, "eps": eps, "weight_decay": weight_decay}
        reg, lr, eps, weight_decay = (number_of("TrainStep", name, value) for name, value in options.items())
        betas = tuple(number_of("TrainStep", "betas", beta) for beta in betas)  # type: ignore[assignment]
        if storage not in (None, embedding.dtype) and (storage, embedding.dtype) != (torch.bfloat16, torch.float32):
            raise TypeError(
                f"TrainStep: storage must be bfloat16 with a float32 embedding, got {storage} with {embedding.dtype}"
            )
        self.graph, self.embedding = graph, embedding.detach()
        self.alphas = checked_alphas("TrainStep", alphas, embedding.dtype, embedding.device).detach().clone()
        self.loss, self.temperature, self.reg = loss, temperature, reg
        self.negative_weight, self.item_bias = negative_weight, item_bias
        self.margin = margin if loss == "max_margin" else 0.0
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(self.embedding), torch.zeros_like(self.embedding)
        self._lr = torch.full((), lr, dtype=torch.float64, device=embedding.device)
        self._next_step = torch.ones((), dtype=torch.int64, device=embedding.device)
        self._last_lr = lr
        self._scales = graph.scales(norm, embedding.dtype)
        self._code = native.DTYPE_CODE[storage or embedding.dtype]
        self._shadow = None
        if storage == torch.bfloat16 and len(self.alphas) > 1:
            self._shadow = torch.empty_like(self.embedding, dtype=storage)
            self.refresh()
        self._workspace = native.workspace(0, embedding.device)
        self._outgrown: list[Tensor] = []
        self._times = torch.zeros(len(_PARTS), dtype=torch.float64, device="cpu")

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
        users = check_ids("TrainStep", "users", users, (None,), self.embedding).contiguous()
        batch, dim = len(users), self.embedding.shape[1]
        pos = check_ids("TrainStep", "pos", pos, (batch,), self.embedding).contiguous()
        if batch == 0:
            raise ValueError("TrainStep: the batch is empty")
        if self.loss == "softmax":
            neg = users.new_empty((batch, 0))
        elif neg is None:
            raise ValueError(f"TrainStep: the {self.loss} loss needs neg, [B, M] or [1, M]")
        neg = check_ids("TrainStep", "neg", neg, ("batch or 1", "n_neg"), self.embedding).contiguous()
        if neg.shape[0] not in (1, batch) or (neg.shape[1] == 0) != (self.loss == "softmax"):
            raise ValueError(
                f"TrainStep: neg must have shape [{batch}, M] or [1, M] with M >= 1, got {list(neg.shape)}"
            )
        neg, mask = masked("TrainStep", neg, mask, batch)
        mask = None if mask is None else mask.contiguous()
        n_neg, shared = neg.shape[1], neg.shape[0] != batch
        native_graph = self.graph.links().native()
        n_bytes = native.size(
            "train_step", self.embedding.device, self._code, native_graph, dim, len(self.alphas), batch, n_neg, shared
        )
        if n_bytes > len(self._workspace):
            if self.embedding.device.type == "cuda":
                self._outgrown.append(self._workspace)  # a captured graph may still write to it
            self._workspace = native.workspace(n_bytes, self.embedding.device)
        loss = self.embedding.new_empty(())
        try:
            native.call(
                "train_step", self.embedding.device, self._code, native_graph, dim, self.alphas, len(self.alphas), *self._scales,
                self.embedding, self.exp_avg, self.exp_avg_sq, self.item_bias, self._shadow, users, pos, neg, batch, n_neg, shared, mask,
                _LOSSES[self.loss], self.temperature, self.negative_weight, self.margin, self.reg, *self.betas, self.eps,
                self.weight_decay, self._lr, self._next_step, loss, self._times, self._workspace,
            )  # fmt: skip
        finally:  # an interrupt leaves some rows updated
            torch.autograd.graph.increment_version(self.embedding)
        self._next_step.add_(1)
        return loss
