"""Several models as one: a weighted sum of what they score."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.arguments import check_each
from ..core.graph import Graph, Side
from ..data import Dataset
from ..ranking.blending import NORMALIZE, choose_weights, normalized
from ..ranking.folded import Folded
from ..ranking.guesses import typical_user, with_guesses
from ..ranking.protocols import Fold, RowScorer, Scored, Scorer
from ..ranking.same_data import check_same_ids
from .base import Recommender
from .item_item import neighbours_by_rows, pair_scores

Tensor = torch.Tensor
_MOST = 1e38  # a weight


class Blend(Recommender):
    """s_ui = sum_m w_m f(s_ui^m): what models that are ready score, added up; nothing is trained.

    Where all parts score by vectors and nothing is normalised, its vectors are theirs side by side, times sqrt(w_m): lists are exact, and it is folded
    into, indexed and exported as any model with vectors. Else users are scored a block at a time.

    Parameters
    ----------
    data : Dataset or Graph
        The edges that the parts were made of.
    parts : one or more models of these edges
        They stay as they are, and go where the first one lies.
    weights : floats >= 0, one a part, not all 0; default: 1 each
        :meth:`choose` finds them.
    normalize : "none", "z" or "rank"
        f, user by user over all items, which makes scores comparable: as they are; less their mean, in their standard deviations; by reciprocal ranks
        (:func:`fastgcn_rec.ranking.blending.normalized`).

    A new user is scored by each part as that scores new users: by the row of his items, or by the vector that these fold to.

    Raises
    ------
    ValueError : parts of other edges or ids, weights that are too many, too few, negative or all 0. TypeError : parts that are no models.

    Examples
    --------
    >>> from fastgcn_rec import GraphFilter, Popularity
    >>> graph = Graph.from_edges([0, 0, 1, 1, 2], [0, 1, 1, 2, 2])
    >>> blend = Blend(graph, [GraphFilter(graph, rank=2), Popularity(graph)], [1.0, 0.1], normalize="z")
    >>> blend.recommend([0], k=1)[0].tolist(), blend.recommend_new([[0]], k=1)[0].tolist()
    ([[2]], [[1]])
    """

    def __init__(
        self,
        data: Dataset | Graph,
        parts: Sequence[Recommender],
        weights: Sequence[float] | None = None,
        normalize: str = "none",
    ) -> None:
        super().__init__(data)
        if not isinstance(parts, (list, tuple, torch.nn.ModuleList)) or not parts:
            raise TypeError(f"Blend: parts must be a list of models, at least one, got {parts!r:.80}")
        for n, part in enumerate(parts):
            self._check_part(n, part)
        if normalize not in NORMALIZE:
            raise ValueError(f"Blend: normalize must be one of {NORMALIZE}, got {normalize!r}")
        given = [1.0] * len(parts) if weights is None else check_each(weights, "Blend: weights")
        if len(given) != len(parts) or not any(given) or not all(0 <= w < math.inf for w in given):
            raise ValueError(
                f"Blend: weights must be a finite number >= 0 for each of the {len(parts)} parts, not all of them 0, got {given}"
            )
        if max(given) > _MOST:
            raise ValueError(f"Blend: weights must be {_MOST:g} or less, since scores are float32, got {given}; divide all by one number, which changes no list")  # fmt: skip
        self.weights, self.normalize = given, normalize
        self.parts = torch.nn.ModuleList(parts)
        self.to(parts[0].graph.device)

    @classmethod
    def choose(
        cls, data: Dataset, parts: Sequence[Recommender], metric: str = "ndcg@20", normalize: str = "none"
    ) -> Blend:
        """The blend whose weights find the validation part of ``data`` best, which no part may have seen:
        :func:`fastgcn_rec.ranking.blending.choose_weights`.

        >>> from fastgcn_rec import ItemKNN, Popularity
        >>> from fastgcn_rec.data import synthetic_interactions
        >>> data = synthetic_interactions(60, 50, 600)
        >>> data = data.with_valid(data.split_valid(0.2)[1])
        >>> len(Blend.choose(data, [ItemKNN(data), Popularity(data)]).weights)
        2
        """
        if not isinstance(data, Dataset) or not len(data.valid):
            raise ValueError(
                "Blend.choose: data must be a Dataset with a validation part, which the weights are chosen on; data.with_valid(data.split_valid(0.1)[1]) makes one"
            )
        blend = cls(data, parts, normalize=normalize)
        found = choose_weights(list(blend.models), data.valid, blend.graph, metric, normalize)
        blend.weights = found.weights
        return blend

    @property
    def models(self) -> Iterator[Recommender]:
        """The parts."""
        for part in self.parts:
            assert isinstance(part, Recommender)
            yield part

    def config(self) -> dict[str, Any]:
        parts = [{"class": type(part).__name__, "config": part.config()} for part in self.models]
        return {"parts": parts, "weights": self.weights, "normalize": self.normalize}

    @classmethod
    def restored(cls, graph: Graph, config: dict[str, Any], state: dict[str, Tensor]) -> Recommender:
        made = [_restored(n, part, graph, state) for n, part in enumerate(_described(config))]
        own = tuple(f"parts.{n}." for n in range(len(made)))
        others = [name for name in state if not name.startswith(own)]
        if others:
            raise ValueError(f"its Blend has {len(made)} parts, and arrays that are of none: {', '.join(others[:3])}")
        weights = config["weights"]
        if not isinstance(weights, list):
            raise ValueError(f"its Blend has weights that are no list: {weights!r:.80}")
        return cls(graph, made, weights, config["normalize"])

    def know_ids(self, user_ids: NDArray[Any], item_ids: NDArray[Any], raw: bool) -> None:
        super().know_ids(user_ids, item_ids, raw)
        for part in self.models:
            part.know_ids(user_ids, item_ids, raw)

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """None: the parts' are trained before, one part by itself."""
        return iter(())

    def whole_state(self) -> dict[str, Tensor]:
        """The parts' own, which may be computed for it."""
        return {f"parts.{n}.{name}": t for n, part in enumerate(self.models) for name, t in part.whole_state().items()}

    @classmethod
    def refuse_ranks(cls, size: int) -> None:
        if size > 1:
            raise ValueError(f"Blend: its parts are trained one after the other in one process, and {size} ranks cannot share them out")  # fmt: skip

    # --- vectors and scores -----------------------------------------------------------------------------------------

    @property
    def ranks_by_vectors(self) -> bool:
        return self.normalize == "none" and all(part.ranks_by_vectors for part in self.models)

    def vectors(self) -> Scored | None:
        return self.scored(*self.node_vectors(), self.guessed) if self.ranks_by_vectors else None

    @torch.no_grad()
    def node_vectors(self) -> tuple[Tensor, Tensor]:
        """Those of the parts as they enter a score, side by side, times the roots of the weights; of a user without an edge the mean of the others'."""
        if not self.ranks_by_vectors:
            raise NotImplementedError("Blend scores by its parts' scores and has no vectors; use scorer()")
        tables = [[root * part.as_scored(t) for t in part.node_vectors()] for root, part in self._weighed(math.sqrt)]
        users, items = (torch.cat(side, 1) for side in zip(*tables, strict=True))
        bare = self.graph.bare("users")
        if bare is None:
            return users, items
        typical = typical_user(users, self.graph, self.as_scored)
        return with_guesses(users.masked_fill(bare[:, None], 0), bare, typical), items

    own_vectors = node_vectors

    @torch.no_grad()
    def item_bias(self) -> Tensor | None:
        """Those of the parts, weighed."""
        if not self.ranks_by_vectors:
            return None
        own = [weight * bias for weight, part in self._weighed() if (bias := part.item_bias()) is not None]
        return sum(own[1:], own[0]) if own else None

    def get_embedding(self) -> Tensor:
        return torch.cat(self.node_vectors())

    def scorer(self) -> Scorer:
        if self.ranks_by_vectors:
            return super().scorer()
        scorers = [(weight, part.scorer()) for weight, part in self._weighed()]
        return lambda ids: self._mixed((weight, score(ids)) for weight, score in scorers)

    def row_scorer(self) -> RowScorer | None:
        if self.ranks_by_vectors:
            return None
        return _ByRows(self._mixed, [(weight, Folded(part)) for weight, part in self._weighed()])

    def folding(self) -> Fold:
        """The parts' vectors of a new node side by side, as :meth:`node_vectors`."""
        return _SideBySide([(root, part.as_scored, part.folding()) for root, part in self._weighed(math.sqrt)])

    @torch.no_grad()
    def forward(self, edge_label_index: Tensor) -> Tensor:
        """Scores of pairs of nodes int64 [2, n], users first, items from n_users on."""
        return pair_scores(self, self._pairs(edge_label_index))

    def similar_items(
        self, items: Any, k: int = 20, among: Any = None, exclude: Any = None
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """By the cosine of its vectors; where it has none, the items that score highest for a new user who has this item alone."""
        score = self.row_scorer()
        if score is None:
            return super().similar_items(items, k, among, exclude)
        return neighbours_by_rows(self, score, items, k, among, exclude)

    def similar_users(
        self, users: Any, k: int = 20, among: Any = None, exclude: Any = None
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        if not self.ranks_by_vectors:
            raise NotImplementedError("Blend scores by its parts' scores and has no vectors of users to compare")
        return super().similar_users(users, k, among, exclude)

    def _weighed(self, of: Callable[[float], float] = float) -> Iterator[tuple[float, Recommender]]:
        """The parts that count, with a function of their weights."""
        return ((of(weight), part) for weight, part in zip(self.weights, self.models, strict=True) if weight)

    def _mixed(self, scored: Iterator[tuple[float, Tensor]]) -> Tensor:
        total: Tensor | None = None
        for weight, scores in scored:
            term = weight * normalized(scores.float(), self.normalize)
            total = term if total is None else total.add_(term)
        assert total is not None
        return total

    # --- parts ------------------------------------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Recommender:
        super()._apply(fn, recurse)
        self._share_graph()
        return self

    def _share_graph(self) -> None:
        for part in self.models:
            part.graph = self.graph

    def _check_part(self, n: int, part: Any) -> None:
        if not isinstance(part, Recommender):
            raise TypeError(f"Blend: parts[{n}] must be a model, such as LightGCN(data), got {type(part).__name__}")
        what = f"parts[{n}], a {type(part).__name__},"
        check_same_ids("Blend", part, self.ids, "data", what.rstrip(","))
        own, theirs = self.graph, part.graph
        if own is not theirs and own.fingerprint() != theirs.fingerprint():
            raise ValueError(
                f"Blend: {what} must be of the edges of data, {own.n_edges} of {own.n_users} users and {own.n_items} items, got {theirs.n_edges} of "
                f"{theirs.n_users} and {theirs.n_items}; make all parts of one data set, or train them anew with refit=False"
            )
        if part.columns is not None:
            raise ValueError(f"Blend: {what} is shared out among ranks; gather() makes it whole")


@dataclasses.dataclass(frozen=True)
class _ByRows:
    """New users' scores by each part's rule for them."""

    mixed: Callable[[Iterator[tuple[float, Tensor]]], Tensor]
    parts: list[tuple[float, Folded]]

    def __call__(self, edges: Graph) -> Tensor:
        return self.mixed((weight, part.scores(edges)) for weight, part in self.parts)


@dataclasses.dataclass(frozen=True)
class _SideBySide:
    parts: list[tuple[float, Callable[[Tensor], Tensor], Fold]]

    def __call__(self, edges: Graph, new: Side) -> Tensor:
        return torch.cat([root * as_scored(fold(edges, new).float()) for root, as_scored, fold in self.parts], 1)


def _restored(n: int, part: dict[str, Any], graph: Graph, state: dict[str, Tensor]) -> Recommender:
    kind, head = Recommender.registry.get(part["class"]), f"parts.{n}."
    if kind is None:
        raise ValueError(f"its Blend has a {part['class']}, which is not known here; import the module that defines it first")  # fmt: skip
    own = {name.removeprefix(head): t for name, t in state.items() if name.startswith(head)}
    return kind.restored(graph, part["config"], own)


def _described(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a file's configuration; ValueError unless it is one."""
    parts = config.get("parts")
    if sorted(config) != ["normalize", "parts", "weights"] or not isinstance(parts, list):
        raise ValueError(f"its Blend has options that are not known here: {sorted(config)}")
    for part in parts:
        if not (isinstance(part, dict) and isinstance(part.get("class"), str) and isinstance(part.get("config"), dict)):
            raise ValueError(f"its Blend has a part that is no class and configuration: {part!r:.80}")
    return parts
