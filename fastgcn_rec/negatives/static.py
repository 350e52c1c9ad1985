"""Samplers that need the graph alone."""

from __future__ import annotations

import dataclasses

import torch

from ..ops.sample import unseen_mask
from .base import DRAWS, Batch, Negatives, Sampler, check_field

Tensor = torch.Tensor
_LAW_DRAWS = 16  # that one draw by weight may take: weighted_tries + 1 in csrc/common/sampling.h
_MOST = DRAWS // _LAW_DRAWS - 1


@dataclasses.dataclass(frozen=True, repr=False)
class Uniform(Sampler, name="uniform"):
    """n items, independent and uniform over those that the user has no edge to; -1 if there is none.

    Alone or first in a sum it gives the bits of :func:`fastgcn_rec.sample_batch`.

    >>> from fastgcn_rec import Graph
    >>> graph = Graph.from_edges([0, 0], [0, 2], n_items=4)
    >>> Uniform(4)(graph, torch.tensor([0]), torch.tensor([2]), seed=1).ids
    tensor([[3, 3, 1, 3]])
    """

    n: int

    def __post_init__(self) -> None:
        check_field(self, "n", 1, _MOST)

    def draw(self, batch: Batch) -> Negatives:
        return Negatives(batch.draw(self.n))


@dataclasses.dataclass(frozen=True, repr=False)
class Popularity(Sampler, name="popularity"):
    """n items, independent, each with probability ~ degree^power among those that the user has no edge to; -1 if all of these
    have degree 0.

    Mikolov et al. 2013 draw words with power 3/4. The law is exact: see ``weighted_negative`` in csrc/common/sampling.h, and
    :meth:`Graph.item_law` for the rounding of weights.

    Examples
    --------
    >>> from fastgcn_rec import Graph
    >>> graph, users, pos = Graph.from_edges([0, 0, 1], [0, 1, 1], n_items=4), torch.tensor([0, 1]), torch.tensor([0, 1])
    >>> Popularity(2, power=0.0)(graph, users, pos, seed=0).ids
    tensor([[3, 2],
            [3, 0]])
    """

    n: int
    power: float = 0.75

    def __post_init__(self) -> None:
        check_field(self, "n", 1, _MOST)
        if not 0 <= self.power < float("inf"):
            raise ValueError(f"popularity: power must be >= 0 and finite, got {self.power}")

    def draw(self, batch: Batch) -> Negatives:
        return Negatives(batch.draw(self.n, batch.graph.item_law(self.power)))


@dataclasses.dataclass(frozen=True, repr=False)
class Shared(Sampler, name="shared"):
    """One set of n items [1, n] for the whole batch, with the mask of those that a user has an edge to (PinSAGE's).

    Parameters
    ----------
    n : int
    base : Uniform(1) or Popularity(1, power)
        The law of the items: independent, over all items. A row has fewer than n negatives by as many as are masked.

    Examples
    --------
    >>> from fastgcn_rec import Graph
    >>> graph, users, pos = Graph.from_edges([0, 0, 1], [0, 1, 1], n_items=4), torch.tensor([0, 1]), torch.tensor([0, 1])
    >>> Shared(3)(graph, users, pos, seed=0)
    Negatives(ids=tensor([[3, 2, 1]]), mask=tensor([[ True,  True, False],
            [ True,  True, False]]))
    """

    n: int
    base: Sampler = Uniform(1)

    def __post_init__(self) -> None:
        if not isinstance(self.base, (Uniform, Popularity)) or self.base.n != 1:
            raise ValueError(
                f"shared: base names the law of one item, uniform(1) or popularity(1, power=...), got {self.base}"
            )
        check_field(self, "n", 1, _MOST)

    def most(self, batch: int) -> tuple[int, bool]:
        return self.n, True

    def draw(self, batch: Batch) -> Negatives:
        law = batch.graph.item_law(self.base.power) if isinstance(self.base, Popularity) else None
        return _masked(batch, batch.draw(self.n, law, anybody=True))


@dataclasses.dataclass(frozen=True, repr=False)
class InBatch(Sampler, name="in_batch"):
    """The positives of the whole batch [1, B], those masked that the user has an edge to, its own among them.

    Items come up as often as they are positives: by popularity, if edges are drawn.

    Examples
    --------
    >>> from fastgcn_rec import Graph
    >>> graph, users, pos = Graph.from_edges([0, 0, 1], [0, 1, 1], n_items=4), torch.tensor([0, 1]), torch.tensor([0, 1])
    >>> InBatch()(graph, users, pos, seed=0)
    Negatives(ids=tensor([[0, 1]]), mask=tensor([[False, False],
            [ True, False]]))
    """

    def most(self, batch: int) -> tuple[int, bool]:
        return batch, True

    def draw(self, batch: Batch) -> Negatives:
        return _masked(batch, batch.pos[None])


def _masked(batch: Batch, shared: Tensor) -> Negatives:
    return Negatives(shared, unseen_mask(batch.graph, batch.users, shared))
