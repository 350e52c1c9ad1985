"""The metrics of single rankings where the rankings are, so that a GPU need not wait for the host between one block of users and the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Tensor = torch.Tensor


class HitMetrics:
    """:func:`fastgcn_rec.ranking.metrics.ranking_metrics` at several cut-offs, of tensors on ``device``; sums may differ from NumPy's in their last bits.

    ks : cut-offs; depth : the length of the lists, which is the largest of these or the number of items; names : of the metrics

    >>> metrics = HitMetrics([1, 3], 3, ["recall", "mrr"], torch.device("cpu"))
    >>> metrics(torch.tensor([[False, True, False]]), torch.tensor([2])).tolist()
    [[0.0, 0.0, 0.5, 0.5]]
    """

    def __init__(self, ks: Sequence[int], depth: int, names: Sequence[str], device: torch.device) -> None:
        self.ks, self.names = list(ks), list(names)
        self._rank = torch.arange(1, depth + 1, dtype=torch.float64, device=device)
        self._discount = 1 / torch.log2(self._rank + 1)
        self._ideal = torch.nn.functional.pad(self._discount.cumsum(0), (1, 0))

    def __call__(self, hits: Tensor, n_relevant: Tensor) -> Tensor:
        """float64 [n, ks * names], of hits bool [n, depth] and n_relevant int64 [n]: all metrics at the first cut-off, then at the next."""
        columns = [column for k in self.ks for column in self._at(hits[:, :k], n_relevant, k)]
        return torch.stack(columns, 1) if columns else hits.new_zeros((len(hits), 0), dtype=torch.float64)

    def _at(self, hits: Tensor, n_relevant: Tensor, k: int) -> list[Tensor]:
        rel, rank = hits.double(), self._rank[: hits.shape[1]]
        found, best = rel.sum(1), n_relevant.clamp(max=k)
        formulas: dict[str, Callable[[], Tensor]] = {
            "recall": lambda: found / n_relevant,
            "ndcg": lambda: _sums(rel * self._discount[: hits.shape[1]]) / self._ideal[best],
            "precision": lambda: found / k,
            "hit": lambda: (found > 0).double(),
            "mrr": lambda: (rel / rank).amax(1),
            "map": lambda: _sums(rel * rel.cumsum(1) / rank) / best,
        }
        return [formulas[name]() for name in self.names]


def _sums(x: Tensor) -> Tensor:
    """Of rows, in an order that is the row's alone: torch shares out long rows on a GPU by how many there are."""
    while x.shape[1] > 1:
        width = min(x.shape[1], 32)
        x = torch.nn.functional.pad(x, (0, -x.shape[1] % width)).unflatten(1, (-1, width)).sum(2)
    return x.sum(1)
