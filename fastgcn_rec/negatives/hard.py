"""Samplers of hard negatives: by the current vectors, by ranks, and more of them from epoch to epoch."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar, Literal, Protocol

import torch

from ..algorithms.pagerank import PprRanks, Sources, check_band
from ..core.graph import Graph
from ..ops.sample import unseen_mask
from ..ops.select_negatives import Law, select_negatives
from .base import DRAWS, UNSAID, Batch, Embeddings, Negatives, Sampler, check_field

Tensor = torch.Tensor


class Scored(Sampler):
    """What the samplers share that pick n among ``candidates`` uniform unseen items, drawn with replacement, by the current vectors.

    ``refresh``: the vectors are those of the last step that it divides, so that the extra propagation runs once in ``refresh``
    steps; at 1 they are the current step's. Scores are inner products, whatever the model ranks by.
    """

    n: int
    candidates: int
    refresh: int
    law: ClassVar[Law]

    def __post_init__(self) -> None:
        check_field(self, "n", 1, DRAWS // 2)
        check_field(self, "candidates", 1, DRAWS // 2 - 1)
        check_field(self, "refresh", 1)

    @property
    def capturable(self) -> bool:
        return self.refresh == 1

    def options(self) -> dict[str, float]:
        return {}

    def draw(self, batch: Batch) -> Negatives:
        if batch.embeddings is None:
            raise ValueError(f"{self.name}: it picks by the current vectors; pass embeddings=model.get_embedding")
        candidates = batch.draw(self.candidates)
        items = torch.cat([batch.pos, candidates.flatten()])
        of_users, of_items, users, at = batch.embeddings.of(batch.graph, batch.step, self.refresh, batch.users, items)
        pos, rows = at[: len(batch.pos)], at[len(batch.pos) :].view_as(candidates)
        ids = select_negatives(
            of_users, of_items, users, pos, candidates, self.n, self.law, seed=batch.seed, offset=batch.offset,
            first=batch.part * DRAWS, rows=rows, **self.options(),
        )  # fmt: skip
        return Negatives(ids)


@dataclasses.dataclass(frozen=True, repr=False)
class Dynamic(Scored, name="dynamic"):
    """The n items of the highest score (inner product) among ``candidates`` uniform ones, distinct; -1 where there are fewer.

    Zhang et al. 2013, "Optimizing top-n collaborative filtering via dynamic negative item sampling". ``refresh``: the vectors are those of the last step
    that it divides.

    Examples
    --------
    >>> graph, users, pos = Graph.from_edges([0, 0, 1], [0, 1, 1], n_items=4), torch.tensor([0, 1]), torch.tensor([0, 1])
    >>> vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])  # 2 users, then 4 items
    >>> Dynamic(1)(graph, users, pos, seed=0, embeddings=lambda: vectors).ids
    tensor([[2],
            [3]])
    """

    n: int
    candidates: int = 32
    refresh: int = 1

    law = "hardest"


@dataclasses.dataclass(frozen=True, repr=False)
class SemiHard(Scored, name="semi_hard"):
    """n distinct items among ``candidates`` uniform ones that are farther than the positive, but by less than ``margin``:
    d(u, p) < d(u, n) < d(u, p) + margin, with d the distance of vectors scaled to length 1; -1 where there are fewer.

    Schroff et al. 2015, "FaceNet" (there d is squared). The first n in the order drawn, which is uniform over the band.
    ``refresh`` as for :class:`Dynamic`.

    Examples
    --------
    >>> graph, users, pos = Graph.from_edges([0, 0, 1], [0, 1, 1], n_items=4), torch.tensor([0, 1]), torch.tensor([0, 1])
    >>> vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])  # 2 users, then 4 items
    >>> SemiHard(1, margin=2.0)(graph, users, pos, seed=0, embeddings=lambda: vectors).ids
    tensor([[3],
            [0]])
    """

    n: int
    margin: float = 0.2
    candidates: int = 64
    refresh: int = 1

    law = "semi_hard"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.margin > 0:
            raise ValueError(f"semi_hard: margin must be > 0, got {self.margin}")

    def options(self) -> dict[str, float]:
        return {"margin": self.margin}


@dataclasses.dataclass(frozen=True, repr=False)
class DistanceWeighted(Scored, name="distance_weighted"):
    """n draws among ``candidates`` uniform items with probability ~ 1 / q(d), d the distance to the user of vectors scaled to
    length 1 and clipped to [lo, hi]; independent, so that an item may come twice; -1 only if there is no candidate.

    Wu et al. 2017, "Sampling matters in deep embedding learning"; q is given at :func:`fastgcn_rec.select_negatives`.
    ``refresh`` as for :class:`Dynamic`.

    Examples
    --------
    >>> graph, users, pos = Graph.from_edges([0, 0, 1], [0, 1, 1], n_items=4), torch.tensor([0, 1]), torch.tensor([0, 1])
    >>> vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])  # 2 users, then 4 items
    >>> DistanceWeighted(2)(graph, users, pos, seed=0, embeddings=lambda: vectors).ids
    tensor([[3, 2],
            [3, 3]])
    """

    n: int
    lo: float = 0.5
    hi: float = 1.4
    candidates: int = 64
    refresh: int = 1

    law = "distance_weighted"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.lo <= self.hi < 2:
            raise ValueError(
                f"distance_weighted: lo and hi are distances on the unit sphere, 0 < lo <= hi < 2, got {self.lo} and {self.hi}"
            )

    def options(self) -> dict[str, float]:
        return {"lo": self.lo, "hi": self.hi}


SOURCES: dict[str, Sources] = {"user": "users", "item": "items"}


class DrawsRanked(Protocol):
    """What draws a user's items out of a ranking that it holds, such as :class:`fastgcn_rec.PprRanks`; or an item's, for ``of="item"``."""

    def sample(self, users: Tensor, n: int, seed: int | Tensor, offset: int | Tensor) -> Tensor:
        """int64 [B, n] for users int64 [B]; -1: none. Row b is a function of (seed, offset + b) alone."""
        ...


@dataclasses.dataclass(frozen=True, repr=False)
class PPRHard(Sampler, name="ppr"):
    """n items from ranks lo to hi of a personalised PageRank: related, but not what the user wants. -1 where there is none, and for one
    that the user has an edge to.

    Parameters
    ----------
    n : int
    lo, hi : two ints, ranks from 0, or two floats in [0, 1], fractions of the catalogue (for one of fewer than ``hi`` items)
    ranks : optional
        An object with ``sample`` (:class:`fastgcn_rec.negatives.hard.DrawsRanked`), such as :class:`fastgcn_rec.PprRanks`; not part of the text.
        Without one the ranks of a graph are built when first needed and kept as long as the graph: 4 (hi - lo) bytes
        a user, or an item.
    of : "user" or "item"
        Whose PageRank. "item": the query item's, that the positive is predicted from, as in PinSAGE (Ying et al. 2018, section 3.3). A model that
        predicts from single items says which (``query_items``); otherwise it is one of the user's other items, uniform.

    Examples
    --------
    >>> graph, users, pos = Graph.from_edges([0, 0, 1], [0, 1, 1], n_items=4), torch.tensor([0, 1]), torch.tensor([0, 1])
    >>> PPRHard(2, lo=0, hi=1)(graph, users, pos, seed=0).ids
    tensor([[3, 3],
            [0, 0]])
    >>> PPRHard(1, lo=0, hi=2, of="item")
    ppr(1, lo=0, hi=2, of='item')
    """

    n: int
    lo: int | float = 2000
    hi: int | float = 5000
    ranks: DrawsRanked | None = dataclasses.field(default=None, repr=False)
    of: Literal["user", "item"] = dataclasses.field(default="user", metadata=UNSAID)

    def __post_init__(self) -> None:
        check_field(self, "n", 1)
        check_band(self.lo, self.hi)
        if self.of not in SOURCES:
            raise ValueError(f"ppr: of must be {' or '.join(map(repr, SOURCES))}, got {self.of!r:.80}")

    @property
    def capturable(self) -> bool:
        return False  # nothing is known of the object that draws

    def ranks_of(self, graph: Graph, vectors: Embeddings | None = None) -> DrawsRanked:
        """``vectors``: of the training that asks, whose ranks, if there are several, build them together."""
        if self.ranks is not None:
            return self.ranks
        columns = None if vectors is None else vectors.columns
        key = ("ppr", self.lo, self.hi, self.of)
        build = functools.partial(PprRanks.build, graph, lo=self.lo, hi=self.hi, of=SOURCES[self.of])
        if vectors is None or columns is None:
            return graph.cached(key, build)
        if key not in vectors.shared:
            vectors.shared[key] = build(world=columns.world)
        built: DrawsRanked = vectors.shared[key]
        return built

    def prepare(self, graph: Graph) -> None:
        self.ranks_of(graph)

    def draw(self, batch: Batch) -> Negatives:
        # the place in the sum goes into the seed: the object knows of no other way to tell two samplers apart
        seed, ranks = batch.seed ^ (batch.part << 40), self.ranks_of(batch.graph, batch.embeddings)
        sources = batch.users if self.of == "user" else batch.query_items()
        ids = ranks.sample(sources.clamp(min=0), self.n, seed, batch.offset)
        unseen = unseen_mask(batch.graph, batch.users, ids) & (sources >= 0)[:, None]
        return Negatives(torch.where(unseen, ids, -1))


@dataclasses.dataclass(frozen=True, repr=False)
class Curriculum(Sampler, name="curriculum"):
    """``base``, and hard negatives that grow in number: epoch e (from 1) takes min(cap, per_epoch * max(0, e - start)) of ``hard``.

    With the defaults epoch e takes e - 1, at most 6 (Ying et al. 2018, section 3.3). ``hard`` is one sampler with a count n, which is
    replaced.

    Examples
    --------
    >>> from fastgcn_rec.negatives import Uniform
    >>> sampler = Curriculum(Uniform(1), PPRHard(1))
    >>> sampler
    curriculum(uniform(1), ppr(1, lo=2000, hi=5000), start=1, per_epoch=1, cap=6)
    >>> [sampler.n_hard(epoch) for epoch in (1, 2, 9)]
    [0, 1, 6]
    """

    base: Sampler
    hard: Sampler
    start: int = 1
    per_epoch: int = 1
    cap: int = 6

    def __post_init__(self) -> None:
        if not isinstance(self.base, Sampler) or not hasattr(self.hard, "n"):
            raise ValueError(
                f"curriculum: base must be a sampler and hard one with a count, such as ppr(1), got {self.base} and {self.hard}"
            )
        check_field(self, "start", 0)
        check_field(self, "per_epoch", 1)
        check_field(self, "cap", 1)

    def prepare(self, graph: Graph) -> None:
        self.base.prepare(graph)
        self.hard.prepare(graph)

    def n_hard(self, epoch: int) -> int:
        return min(self.cap, self.per_epoch * max(0, epoch - self.start))

    @property
    def parts(self) -> int:  # type: ignore[override]
        return self.base.parts + self.hard.parts

    @property
    def capturable(self) -> bool:
        return False

    def most(self, batch: int) -> tuple[int, bool]:
        return (self.base + self._hard(self.cap)).most(batch)

    def _hard(self, n: int) -> Sampler:
        return dataclasses.replace(self.hard, n=n)  # type: ignore[type-var]

    def draw(self, batch: Batch) -> Negatives:
        n = self.n_hard(batch.epoch)
        return (self.base + self._hard(n) if n else self.base).draw(batch)
