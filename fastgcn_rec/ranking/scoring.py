"""How vectors make the scores: by inner product or cosine, and by what each item has beside that."""

from __future__ import annotations

import torch

from ..core.graph import Graph
from ..ops.retrieve import unit
from .protocols import Scored

Tensor = torch.Tensor


class ByVectors:
    """The part of a :class:`Ranker` that scores by :meth:`node_vectors`.

    Attributes
    ----------
    graph : Graph, or None where it knows no edges
    similarity : "dot" or "cosine"
    """

    graph: Graph | None
    similarity: str

    def node_vectors(self) -> tuple[Tensor, Tensor]:
        """(users [n_users, dim], items [n_items, dim]), float32, computed now."""
        raise NotImplementedError(f"{type(self).__name__} has no vectors")

    def scoring_vectors(self) -> tuple[Tensor, Tensor]:
        """(users [n_users, dim], items [n_items, dim]), float32, whose inner products are the scores: :meth:`node_vectors`, as :meth:`as_scored`; where
        there is an :meth:`item_bias`, with one column more, that of the items, and 1 for every user."""
        users, items = self.node_vectors()
        return self.as_queries(users, self.guessed), self.as_answers(items)

    def as_scored(self, vectors: Tensor) -> Tensor:
        """Vectors as they enter a score: of length 1 where ``similarity`` is "cosine"."""
        return unit(vectors) if self.similarity == "cosine" else vectors

    def as_queries(self, users: Tensor, guessed: Tensor | None = None) -> Tensor:
        """Users' vectors [n, dim], such as those of :meth:`fold_in_users`, as :meth:`scoring_vectors` has users': what an index of the items is searched by.
        ``guessed`` bool [n]: which of them are a mean of vectors as these enter a score, so that beside an :meth:`item_bias` its length counts."""
        scored = self.as_scored(users)
        if self.item_bias() is None:
            return scored
        scored = scored if guessed is None else torch.where(guessed[:, None], users, scored)
        return torch.cat([scored, scored.new_ones(len(scored), 1)], 1)

    @property
    def guessed(self) -> Tensor | None:
        """Which users' vectors are a mean of others', bool [n_users]; None: nobody's."""
        return None if self.graph is None else self.graph.bare("users")

    def item_bias(self) -> Tensor | None:
        """[n_items], float32: what every score of an item has beside that of the vectors; None: nothing."""
        return None

    def scored(self, users: Tensor, items: Tensor, guessed: Tensor | None = None) -> Scored:
        """Vectors of some users and of all items, and by which similarity they make the scores; ``guessed`` as for :meth:`as_queries`."""
        if self.item_bias() is None:
            return users, items, self.similarity
        return self.as_queries(users, guessed), self.as_answers(items), "dot"

    def as_answers(self, items: Tensor) -> Tensor:
        """All items' vectors [n_items, dim] as :meth:`scoring_vectors` has them."""
        items, bias = self.as_scored(items), self.item_bias()
        if bias is None:
            return items
        if len(items) != len(bias):
            raise ValueError(
                f"as_answers: items must be all {len(bias)}, for each has a bias of its own, got {len(items)}; behind new items' vectors, as_scored(), put "
                "a column with theirs"
            )
        return torch.cat([items, bias.to(items)[:, None]], 1)
