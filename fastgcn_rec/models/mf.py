"""Shallow matrix factorization."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch

from ..core.arguments import check_count, check_number
from ..core.columns import Columns
from ..core.graph import Graph
from ..core.normal import normal_rows
from ..core.world import World
from ..data import Dataset
from ..ranking.protocols import Fold
from ..ranking.ridge import ridge
from .base import Recommender
from .space import TRAINING, Tunable


class MF(Recommender):
    """Matrix factorization: a free vector per user and item.

    Weights of edges play no part in its training (positives are drawn by edge) but in :meth:`folding`.

    Parameters
    ----------
    data : Dataset or Graph
    embedding_dim : int
    init_std : float
        Standard deviation of the normal initial values.
    seed : int
        Of the initial values.
    similarity : "dot" or "cosine"
    popularity : float
        What log d_i adds to a score (:class:`Recommender`).
    world : World, optional
        The ranks that share the table out by columns from the beginning, where no one of them could hold it: the parameter is [n_nodes, w] then, with
        this rank's columns of the same numbers. A model made without it is shared out by :func:`fastgcn_rec.fit`, and whole again afterwards
        (docs/ranks.md).

    Attributes
    ----------
    columns : Columns, or None where the table is whole
        What looks across columns (:meth:`forward`, :meth:`save`, ranking, training) is collective then: all ranks call it.

    Raises
    ------
    TypeError : an option of another kind. ValueError : one that cannot work, with what is allowed.

    Examples
    --------
    >>> model = MF(Graph.from_edges([0, 1], [1, 0]), embedding_dim=8)
    >>> model.get_embedding().shape
    torch.Size([4, 8])
    """

    tuning_space: ClassVar[tuple[Tunable, ...]] = (
        *TRAINING,
        Tunable("init_std", 1e-3, 0.3, log=True),
        Tunable("popularity", 0.0, 0.2),
    )

    def __init__(
        self,
        data: Dataset | Graph,
        embedding_dim: int = 64,
        *,
        init_std: float = 0.1,
        seed: int = 0,
        similarity: str = "dot",
        popularity: float = 0.0,
        world: World | None = None,
    ) -> None:
        super().__init__(data, similarity, popularity)
        name = type(self).__name__
        self.embedding_dim = check_count(embedding_dim, f"{name}: embedding_dim", 1, 2**31 - 1)
        self.init_std, self.seed = check_number(init_std, f"{name}: init_std"), check_count(seed, f"{name}: seed")
        if not math.isfinite(self.init_std):
            raise ValueError(f"{name}: init_std must be finite, got {self.init_std}")
        if world is not None and world.size > 1:
            self.columns = Columns(world, self.embedding_dim)
        width = self.embedding_dim if self.columns is None else self.columns.width
        self.embedding = torch.nn.Embedding(self.graph.n_nodes, width)
        self.reset_parameters()
        self.to(self.graph.device)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        weight = self.embedding.weight
        for at, rows in normal_rows(len(weight), self.embedding_dim, int(self.seed)):
            own = rows if self.columns is None else self.columns.own(rows)
            weight[at : at + len(rows)] = own * self.init_std

    @torch.no_grad()
    def share_out(self, world: World) -> None:
        columns = Columns(world, self.embedding_dim)
        self._hold(columns.own(self.embedding.weight))
        self.columns = columns

    @torch.no_grad()
    def gather(self) -> None:
        if self.columns is not None:
            self._hold(self.columns.table(self.embedding.weight))
            self.columns = None

    def _hold(self, table: torch.Tensor) -> None:
        self.embedding.weight.data, self.embedding.weight.grad = table, None

    @torch.no_grad()
    def whole_state(self) -> dict[str, torch.Tensor]:
        state = dict(super().whole_state())
        if self.columns is not None:
            state["embedding.weight"] = self.columns.table(self.embedding.weight, to=0)
        return state

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Of a whole table own columns are taken, where the ranks share it out."""
        name = f"{prefix}embedding.weight"
        if (
            self.columns is not None
            and (table := state_dict.get(name)) is not None
            and table.shape[1:] == (self.embedding_dim,)
        ):
            state_dict[name] = self.columns.own(table)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def config(self) -> dict[str, Any]:
        own = {"embedding_dim": self.embedding_dim, "init_std": self.init_std, "seed": self.seed}
        return super().config() | own

    def get_embedding(self) -> torch.Tensor:
        return self.embedding.weight

    def ego_embedding(self) -> torch.Tensor:
        return self.embedding.weight

    def diffusion(self) -> torch.Tensor | None:
        return torch.ones(1, device=self.embedding.weight.device)

    @torch.no_grad()
    def folding(self, reg: float = 0.3, unobserved: float = 0.02) -> Fold:
        """A new user's vector by ridge least squares against the frozen item vectors y, in closed form; items likewise against users.

        x = argmin sum_{i in N} w_i (1 - x . y_i)^2 + unobserved * sum_i (x . y_i)^2 + lambda |x|^2
          = (sum_{i in N} w_i y_i y_i^T + unobserved * G + lambda I)^-1 sum_{i in N} w_i y_i,   G = sum_i y_i y_i^T

        (one half-step of implicit ALS: Hu et al. 2008, eq. 4, weighted as in Rendle et al. 2022, "Revisiting the performance of iALS",
        eq. 2), with lambda = reg * tr(G) / dim, so that ``reg`` does not depend on the scale of the vectors. Solved in float64 by LAPACK on one thread. The defaults were chosen on held-out training data
        (docs/choices.md).

        Parameters
        ----------
        reg : float > 0
        unobserved : float >= 0
            The weight of an item that the user does not have, against 1 for one that it has.
        """
        users, items = map(self.as_scored, self.node_vectors())
        return ridge(type(self).__name__, users, items, self.embedding.weight.dtype, reg, unobserved)
