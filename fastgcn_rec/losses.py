"""What a training minimises: an objective, and its loss of one batch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch

from .core.elementwise import in_pieces, power
from .core.fields import Checked, Rule
from .core.graph import Graph, row_of_each_edge
from .negatives import Negatives
from .ops.dense import outer_sum
from .ops.pair_loss import binary_loss, bpr_loss, masked, max_margin_loss
from .ops.scatter_rows import scatter_rows_op
from .ops.softmax_loss import softmax_loss

Tensor = torch.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective(Checked):
    """What a step of training minimises, and on which stream of pairs: all that a model may know of a training.

    The fields are those of :class:`fastgcn_rec.TrainConfig`, which is an Objective and explains them. Errors as there, all wrong fields at once.

    Examples
    --------
    >>> Objective(loss="softmax", temperature=0.2).negative_weight
    1.0
    >>> Objective(loss="bpr", logq=1)
    Traceback (most recent call last):
    ValueError: Objective: logq, logq_density and negative_weight are the softmax's, got 1.0, 0.0 and 1.0 with loss='bpr'; leave them at 0, 0 and 1
    """

    rules: ClassVar[tuple[Rule, ...]] = (
        (("batch_size",), "be >= 1", lambda value: value >= 1),
        (("temperature",), "be > 0 and finite", lambda value: 0 < value < math.inf),
        (
            ("reg", "margin", "negative_weight", "logq_density"),
            "be >= 0 and finite",
            lambda value: 0 <= value < math.inf,
        ),
        (("logq",), "be finite", math.isfinite),
        (("seed",), "lie in [0, 2^63)", lambda value: 0 <= value < 1 << 63),
    )

    loss: Literal["bpr", "binary", "max_margin", "softmax"] = "bpr"
    temperature: float = 0.1
    negative_weight: float = 1.0
    logq: float = 0.0
    logq_density: float = 0.0
    margin: float = 1.0
    reg: float = 1e-4
    sampler: Literal["user", "edge"] = "edge"
    batch_size: int = 2048
    seed: int = 0

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.loss != "softmax" and (self.logq, self.logq_density, self.negative_weight) != (0, 0, 1):
            yield (
                f"logq, logq_density and negative_weight are the softmax's, got {self.logq}, {self.logq_density} and {self.negative_weight} "
                f"with loss={self.loss!r}; leave them at 0, 0 and 1"
            )
        if self.loss == "softmax" and self.batch_size < 2:
            yield f"the softmax ranks an item above the batch's others, so batch_size must be >= 2, got {self.batch_size}"

    def logq_on(self, graph: Graph) -> float:
        """max(logq, min(1, logq_density * density)), density the part of all pairs that are edges, of the users and items that have any."""
        return (
            max(self.logq, min(1.0, self.logq_density * graph.n_edges / graph.n_pairs))
            if self.logq_density
            else self.logq
        )


def loss_of(
    objective: Objective,
    user_emb: Tensor,
    item_emb: Tensor,
    users: Tensor,
    pos: Tensor,
    negatives: Negatives,
    bias: Tensor | None = None,
) -> Tensor:
    """A scalar, without the ridge; ids are rows of the two tables. The softmax takes no negatives, but the positives' ``item_bias``."""
    if objective.loss == "softmax":
        options = objective.temperature, objective.negative_weight, bias
        result: Tensor = softmax_loss(user_emb, item_emb, users, pos, *options)
        return result
    neg, mask = masked("fit", *negatives, len(users))
    if objective.loss == "max_margin":
        result = max_margin_loss(user_emb, item_emb, users, pos, neg, objective.margin, mask)
    else:
        result = (bpr_loss if objective.loss == "bpr" else binary_loss)(user_emb, item_emb, users, pos, neg, mask)
    return result


def item_bias(objective: Objective, graph: Graph) -> Tensor | None:
    """-logq * log q of every item, float64 [n_items], logq that on ``graph``, q the probability that ``objective.sampler`` draws it as a positive;
    None for logq = 0."""
    if (logq := objective.logq_on(graph)) == 0:
        return None

    def made() -> Tensor:
        degree = graph.item_degree.double()
        if objective.sampler == "user":  # q_i = 1 / (users with edges) * sum over i's users of 1 / their degree
            share = power(graph.user_degree.double(), -1.0)[:, None]
            of_edge = row_of_each_edge(graph.user_degree)
            degree = scatter_rows_op(
                graph.indices.long(), None, share, of_edge, None, graph.n_items, torch.float64
            ).flatten()
        law = degree.clamp(min=degree[degree > 0].min()) / outer_sum(degree[:, None], degree[:, None])[1]
        return -in_pieces(torch.log, law)

    return logq * graph.cached(("item_bias", objective.sampler), made)
