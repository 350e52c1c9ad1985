"""Correct and smooth: what a model got wrong where the truth is known, spread over the graph."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..core.graph import Graph, Norm
from ..core.tensors import check_ids, check_range
from ..ops.dense import outer_sum
from ..ops.propagate import propagate
from ..ops.registration import (
    accepts_arrays,
    check_float,
    check_graph_device,
    check_matrix,
    count_of,
    mask_of,
    number_of,
)

Tensor = torch.Tensor


def spreading(keep: float, hops: int) -> list[float]:
    """alphas of :func:`fastgcn_rec.propagate` that do ``hops`` steps of g <- (1 - keep) g_0 + keep A~ g from g = g_0.

    Label spreading (Zhou et al. 2004): sum_{k < hops} (1 - keep) keep^k A~^k + keep^hops A~^hops.

    >>> spreading(0.5, 2)
    [0.5, 0.25, 0.25]
    """
    return [(1 - keep) * keep**k for k in range(hops)] + [keep**hops]


@accepts_arrays
def correct_and_smooth(
    graph: Graph,
    scores: Tensor,
    labels: Tensor,
    known: Any,
    *,
    correct: float = 0.5,
    smooth: float = 0.8,
    hops: int = 20,
    scale: float | None = None,
    norm: Norm = "sym",
) -> Tensor:
    """Scores of nodes corrected by their neighbours' residuals and smoothed over the graph (Huang et al. 2021, "Combining label propagation and
    simple models out-performs graph neural networks", sections 2.2 and 2.3).

    Correct: E = labels - scores at the known nodes, 0 elsewhere, spread by ``hops`` steps of E^ <- (1 - correct) E + correct A~ E^. Then
    Z = scores + scale E^; with scale None ("autoscale", their eq. 4): Z_i = scores_i + s E^_i / |E^_i|_1, s the mean |E_j|_1 over the known j,
    and scores_i where E^_i = 0. Smooth: G = labels at the known nodes, Z elsewhere, spread likewise with ``smooth``.

    Parameters
    ----------
    graph : Graph
    scores, labels : float32 or float64 [n_nodes, c], users first
        Such as class probabilities and one-hot classes, or a score and its true value. Labels of unknown nodes are not read.
    known : int64 node ids [n], or bool [n_nodes]
    correct, smooth : in [0, 1], the part that comes from the neighbours
    hops : int >= 0
    scale : float, or None
    norm : of :func:`fastgcn_rec.propagate`

    Returns
    -------
    [n_nodes, c], like scores. Differentiable in scores.

    Raises
    ------
    ValueError, IndexError : for shapes, ranges and ids.

    Examples
    --------
    >>> graph = Graph.from_edges([0, 1], [0, 0])  # two users of one item; the first is known
    >>> scores, labels = torch.tensor([[0.2], [0.2], [0.2]]), torch.tensor([[1.0], [0.0], [0.0]])
    >>> correct_and_smooth(graph, scores, labels, [0], scale=1.0, smooth=0.0, hops=2).flatten()
    tensor([1.0000, 0.3000, 0.3414])
    """
    op, floats = "correct_and_smooth", (torch.float32, torch.float64)
    given = getattr(scores, "dtype", None)
    scores, labels = check_float(op, "scores", scores, floats), check_float(op, "labels", labels, floats)
    check_matrix(op, "scores", scores, graph.n_nodes, "n_nodes")
    check_graph_device(op, "scores", scores, graph)
    check_graph_device(op, "labels", labels, graph)
    if scores.shape != labels.shape:
        raise ValueError(
            f"correct_and_smooth: labels must have the shape of scores, {list(scores.shape)}, got {list(labels.shape)}"
        )
    for name, value in (("correct", correct), ("smooth", smooth)):
        if not 0 <= number_of(op, name, value) <= 1:
            raise ValueError(f"correct_and_smooth: {name} must lie in [0, 1], got {value}")
    hops = count_of(op, "hops", hops)
    if scale is not None and not math.isfinite(number_of(op, "scale", scale)):
        raise ValueError(f"correct_and_smooth: scale must be finite or None, got {scale}")
    mask = mask_of(op, "known", known, len(scores), scores.device)
    if mask is None:
        ids = check_ids(op, "known", known, (None,), scores)
        check_range(op, "known", ids, len(scores))
        mask = torch.zeros(len(scores), dtype=torch.bool, device=scores.device).index_fill_(0, ids, True)
    is_known = mask[:, None]
    residual = torch.where(is_known, labels - scores, 0)
    spread: Tensor = propagate(graph, residual, spreading(correct, hops), norm)
    if scale is None:
        size = spread.abs().sum(1, keepdim=True)
        mean = outer_sum(residual.abs(), residual[:, :0])[1].sum() / is_known.sum().clamp_min(1)
        spread = spread * torch.where(size > 0, mean / size.clamp_min(torch.finfo(size.dtype).tiny), 0)
    else:
        spread = scale * spread
    start = torch.where(is_known, labels, scores + spread)
    result: Tensor = propagate(graph, start, spreading(smooth, hops), norm)
    return result.to(given) if given in (torch.float16, torch.bfloat16) else result
