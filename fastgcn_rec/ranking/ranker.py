"""What everything that ranks gives its users: recommendations, neighbours, and the same for users and items that it was not made for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.arguments import as_python, check_count, check_flag
from ..core.columns import Columns
from ..core.frames import FrameKind, check_frame_kind, to_frame
from ..core.graph import Graph, Side
from ..core.ids import IdIndex, as_ids, ids_at
from ..data import Dataset
from ..ops.dense import dense
from ..ops.retrieve import unit
from .asked import Asked
from .filters import Filter
from .folded import Folded
from .lists import SCORED_AT_ONCE, best_of, by_scores, by_vectors, columns_of, joined, padded, widened
from .protocols import Fold, Ids, Lists, RowScorer, Scored, Scorer
from .scoring import ByVectors

Tensor = torch.Tensor
Best = tuple[NDArray[Any], NDArray[np.float32]]


class Ranker(ByVectors):
    """Recommends by what a subclass gives, one of :meth:`node_vectors`, :meth:`scorer` or :meth:`ranked`; to be mixed into any class that sets the
    attributes. It has every protocol of this room.

    Attributes
    ----------
    graph : Graph, or None where it knows no edges
    user_ids, item_ids : raw ids [n_users], [n_items]; has_raw_ids : whether they are more than 0, 1, ...
    similarity : "dot" or "cosine", how vectors make a score
    columns : Columns, those of its vectors that this rank holds, where ranks share them out; None: all of them
    """

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    has_raw_ids: bool
    columns: Columns | None = None
    _indices: dict[Side, IdIndex] | None = None

    def _know(self, data: Graph | Dataset) -> None:
        """Takes the edges, and the raw ids of a Dataset."""
        self.has_raw_ids = isinstance(data, Dataset)
        if isinstance(data, Dataset):
            self.graph, self.user_ids, self.item_ids = data.graph(), data.user_ids, data.item_ids
        else:
            self.graph, self.user_ids, self.item_ids = data, np.arange(data.n_users), np.arange(data.n_items)

    @property
    def n_users(self) -> int:
        return len(self.user_ids) if self.graph is None else self.graph.n_users

    @property
    def n_items(self) -> int:
        return len(self.item_ids) if self.graph is None else self.graph.n_items

    @property
    def ids(self) -> Ids | None:
        """The raw ids (of users, of items) behind the internal ones; None where it was made of a Graph, which says nothing of them."""
        return (self.user_ids, self.item_ids) if self.has_raw_ids else None

    def graph_for(self, who: str) -> Graph:
        """The graph, for what leaves out what users have; ``who`` is named where there is none."""
        if self.graph is None:
            raise ValueError(
                f"{who}: exclude_seen=True leaves out the items that a user has, and this {type(self).__name__} knows no edges; make it with "
                "a graph, or pass exclude_seen=False"
            )
        return self.graph

    # --- vectors and scores -----------------------------------------------------------------------------------------

    def own_vectors(self) -> tuple[Tensor, Tensor]:
        """:meth:`node_vectors` in the ``columns`` that this rank holds."""
        return self.node_vectors()

    def vectors(self) -> Scored | None:
        """(users [n_users, dim], items [n_items, dim], similarity) that rank the items: :meth:`node_vectors`, :meth:`scored`; None where there are
        none, or another :meth:`scorer` ranks them."""
        return self.scored(*self.node_vectors(), self.guessed) if self._has_vectors() else None

    def _has_vectors(self) -> bool:
        return type(self).scorer is Ranker.scorer and type(self).node_vectors is not ByVectors.node_vectors

    @property
    def ranks_by_vectors(self) -> bool:
        """Whether :meth:`vectors` make the lists: then a user's is the same bits whoever is ranked beside him."""
        return type(self).ranked is Ranker.ranked and self._has_vectors()

    def scorer(self) -> Scorer:
        """A function from internal user ids int64 [b] to scores [b, n_items]; the vectors are computed once, now."""
        users, items = self.scoring_vectors()
        return lambda ids: dense(users[ids], items)

    def row_scorer(self) -> RowScorer | None:
        """For what scores a user by his items alone: from edges, a Graph [b, n_items], to scores [b, n_items]. None for any other."""
        return None

    # --- recommending -----------------------------------------------------------------------------------------------

    def ranked(self, seen: Graph | None, users: Tensor, k: int, batch_users: int = SCORED_AT_ONCE) -> Lists:
        """Block by block (users [b], internal item ids [b, k], scores [b, k]) of internal user ids int64 [n]; items in ``seen`` are left out.
        ``batch_users`` rows of scores are held at a time where there are no :meth:`vectors`."""
        return self._by_own(seen, users, k, None, batch_users)

    def filtered(self, seen: Graph | None, users: Tensor, k: int, wanted: Filter) -> Lists:
        """:meth:`ranked` where the n lists hold what is ``wanted`` alone. A class that ranks by itself is asked for longer lists, until k items are left."""
        if not wanted:
            return self.ranked(seen, users, k)
        if type(self).ranked is not Ranker.ranked:
            return widened(lambda some, length: self.ranked(seen, some, length), users, k, wanted)
        return self._by_own(seen, users, k, wanted)

    def _by_own(
        self, seen: Graph | None, users: Tensor, k: int, wanted: Filter | None, batch_users: int = SCORED_AT_ONCE
    ) -> Lists:
        """By the vectors or the scores."""
        vectors = self.vectors()
        if vectors is not None:
            return by_vectors(vectors, seen, users, k, wanted)
        graph = self.graph if seen is None else seen
        if graph is None:
            raise ValueError(f"{type(self).__name__} ranks by scores and has no graph to say of what; make it with one")
        return by_scores(self.scorer(), graph, users, k, seen is not None, batch_users, wanted)

    @overload
    def recommend(
        self,
        users: Any,
        k: int = ...,
        exclude_seen: bool = ...,
        items: Any = ...,
        exclude: Any = ...,
        as_frame: Literal[False] = ...,
    ) -> Best: ...

    @overload
    def recommend(
        self,
        users: Any,
        k: int = ...,
        exclude_seen: bool = ...,
        items: Any = ...,
        exclude: Any = ...,
        *,
        as_frame: FrameKind | Literal[False],
    ) -> Any: ...

    def recommend(
        self,
        users: Any,
        k: int = 20,
        exclude_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        as_frame: FrameKind | Literal[False] = False,
    ) -> Any:
        """The k best items of each user: (raw item ids [n, k], scores [n, k]).

        Ties go as in :func:`fastgcn_rec.topk`. Where fewer than k items remain, ids are padded with the item id's "none" (-1, or the
        empty string) and scores with -inf.

        Parameters
        ----------
        users : raw user ids [n], or one
        k : int >= 1
        exclude_seen : whether the items that a user has in the graph are left out
        items, exclude : the only items that are ranked; items that are left out
            Raw ids, for all users; n lists of raw ids, one for each, or an array [n, m] such as the ids of an earlier call, whose padding is
            skipped; a SciPy sparse matrix [n, n_items], columns by internal ids; or :class:`~fastgcn_rec.data.Edges`, such as
            ``data.disliked``. Scores and ties are those without them.
        as_frame : True or "pandas", "polars", "arrow", "dict"
            A table instead, without padding: the columns user, rank (from 1), item, score.

        Raises
        ------
        ValueError : naming users or items that the model does not know; another number of lists. TypeError : ids of another kind, or in a dict, a
        table or a mask. ImportError : the table's library is missing.

        Examples
        --------
        >>> from fastgcn_rec import Popularity
        >>> model = Popularity(Graph.from_edges([0, 0, 1, 1, 2], [0, 1, 0, 3, 0], n_items=4))
        >>> model.recommend([0, 2], k=1, items=[2, 3])[0].tolist()
        [[3], [3]]
        >>> model.recommend([0, 2], k=1, exclude=[[3], []])[0].tolist()
        [[2], [3]]
        """
        who = "recommend"
        if as_frame is not False:
            check_frame_kind(as_frame, f"{who}: as_frame")
        rows = self.on_device(self.user_rows(users))
        ids, scores = self.places(rows, k, exclude_seen, self.wanted(who, rows, items, exclude), who)
        if as_frame is False:
            ids, scores = padded(ids, scores, check_count(k, f"{who}: k"))
            return self.raw_items(ids), scores
        return to_frame(columns_of(self.user_ids[rows.cpu().numpy()], self.item_ids, ids, scores), as_frame)

    @torch.no_grad()
    def places(
        self, users: Tensor, k: int, exclude_seen: bool, wanted: Filter, who: str
    ) -> tuple[Tensor, NDArray[np.float32]]:
        """:meth:`recommend` by internal ids, of users int64 [n] and of items, no more places than items, -1 for none; ``who`` is named in errors."""
        k = max(1, min(check_count(k, f"{who}: k", 1), self.n_items))
        seen = self.graph_for(who) if check_flag(exclude_seen, f"{who}: exclude_seen") else None
        ids, scores = joined(self.filtered(seen, users, k, wanted))
        return ids, scores.cpu().numpy()

    def wanted(self, who: str, users: Tensor, items: Any, exclude: Any, *, stream: bool = False) -> Filter:
        """What the arguments of :meth:`recommend` say of the lists of internal user ids int64 [n], or of a stream of them."""
        if items is None and exclude is None:
            return Filter(self.n_items)
        n = None if stream else len(users)
        return Asked(who, n, self.item_ids, partial(self.rows_of, "items"), self, users).filter(items, exclude)

    def on_device(self, rows: NDArray[np.int64]) -> Tensor:
        """Internal ids where the graph is."""
        ids = torch.from_numpy(rows)
        return ids if self.graph is None else ids.to(self.graph.device)

    def similar_items(self, items: Any, k: int = 20, among: Any = None, exclude: Any = None) -> Best:
        """The k items nearest to each item by cosine, itself left out: (raw ids [n, k], cosines [n, k]); padded as :meth:`recommend`
        does. ``among`` and ``exclude``, as ``items`` and ``exclude`` there: the only items that may be found; items that are left out."""
        return self._similar(self.node_vectors()[1], self.item_ids, items, "items", k, among, exclude)

    def similar_users(self, users: Any, k: int = 20, among: Any = None, exclude: Any = None) -> Best:
        """The k users nearest to each user by cosine, as :meth:`similar_items`."""
        return self._similar(self.node_vectors()[0], self.user_ids, users, "users", k, among, exclude)

    @torch.no_grad()
    def _similar(
        self, z: Tensor, space: NDArray[Any], raw_ids: Any, side: Side, k: int, among: Any, exclude: Any
    ) -> Best:
        k = check_count(k, f"similar_{side}: k", 1)
        rows = torch.from_numpy(self.rows_of(side, _listed(raw_ids, side), side)).to(z.device)
        z, wanted = unit(z), self.neighbour_filter(side, rows, among, exclude)
        ids, cosines = best_of(z[rows], z, max(1, min(k, len(space))), wanted, slice(0, len(rows)))
        ids, best = padded(ids, cosines.cpu().numpy(), k)
        return ids_at(space, ids.cpu().numpy()), best

    def neighbour_filter(self, side: Side, rows: Tensor, among: Any, exclude: Any) -> Filter:
        """What may stand among the neighbours of internal ids int64 [n]: not the node itself."""
        n, space = len(rows), self.user_ids if side == "users" else self.item_ids
        asked = Asked(f"similar_{side}", n, space, partial(self.rows_of, side))
        itself = Graph.from_edges(torch.arange(n, device=rows.device), rows, n, len(space))
        return asked.filter(among, exclude, ("among", "exclude")).leaving_out(itself)

    # --- ids --------------------------------------------------------------------------------------------------------

    def user_rows(self, users: Any) -> NDArray[np.int64]:
        """The internal ids of raw user ids; a ValueError names those that the model does not know."""
        return self.rows_of("users", _listed(users, "users"), "users")

    def item_rows(self, items: Any) -> NDArray[np.int64]:
        """The internal ids of raw item ids; a ValueError names those that the model does not know."""
        return self.rows_of("items", _listed(items, "items"), "items")

    def rows_of(self, side: Side, raw_ids: NDArray[Any], name: str) -> NDArray[np.int64]:
        """The internal ids of one side's raw ids [n], whose sorted order is kept from call to call; ``name`` is the argument named in errors."""
        space = self.user_ids if side == "users" else self.item_ids
        if self._indices is None:
            self._indices = {}
        if side not in self._indices or self._indices[side].ids is not space:
            self._indices[side] = IdIndex.of(space)
        return self._indices[side].rows(raw_ids, name, f"{side} of the model")

    def raw_items(self, ids: Tensor) -> NDArray[Any]:
        """The raw ids of internal item ids, the item id's "none" for -1."""
        return ids_at(self.item_ids, ids.cpu().numpy())

    # --- new users and items ----------------------------------------------------------------------------------------

    def fold_in_users(self, user_items: Any, **options: Any) -> Tensor:
        """Vectors [n, dim] of users whom the model was not trained on, from their items; nothing is trained or changed.

        They stand to the item vectors as those of users do; users without items get the mean of the vectors of users with an edge
        (docs/serve.md). For one call after the other make a :class:`fastgcn_rec.FoldIn` once: it keeps what all calls share.

        Parameters
        ----------
        user_items : SciPy sparse matrix [n, n_items], columns in the order of ``item_ids``; or n lists of raw item ids
            Repeated items count once. Values are weights for a model of a weighted graph and only mark edges for any other.
        options : of :class:`fastgcn_rec.FoldIn` and of the model's ``folding``, which gives the formula

        Raises
        ------
        ValueError : naming unknown ids; a wrong shape. TypeError : ids of another kind; a list of ids in place of a list of lists.

        Examples
        --------
        >>> from fastgcn_rec import LightGCN
        >>> LightGCN(Graph.from_edges([0, 1], [1, 0]), 8).fold_in_users([[0], [0, 1]]).shape
        torch.Size([2, 8])
        """
        return Folded(self, **options).users(user_items)

    def fold_in_items(self, item_users: Any, **options: Any) -> Tensor:
        """Vectors [n, dim] of new items from their users: :meth:`fold_in_users` with the sides exchanged.

        To rank new items among the trained ones pass ``calibrate=True`` (:class:`fastgcn_rec.FoldIn`), which puts them on one scale.
        """
        return Folded(self, **options).items(item_users)

    @overload
    def recommend_new(
        self,
        user_items: Any,
        k: int = ...,
        exclude_seen: bool = ...,
        items: Any = ...,
        exclude: Any = ...,
        as_frame: Literal[False] = ...,
        **options: Any,
    ) -> Best: ...

    @overload
    def recommend_new(
        self,
        user_items: Any,
        k: int = ...,
        exclude_seen: bool = ...,
        items: Any = ...,
        exclude: Any = ...,
        *,
        as_frame: FrameKind | Literal[False],
        **options: Any,
    ) -> Any: ...

    def recommend_new(
        self,
        user_items: Any,
        k: int = 20,
        exclude_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        as_frame: FrameKind | Literal[False] = False,
        **options: Any,
    ) -> Any:
        """The k best items of each new user, own items left out: (raw item ids [n, k], scores [n, k]), as :meth:`recommend`.

        ``user_items``, options and errors as for :meth:`fold_in_users`; ``items``, ``exclude`` and ``as_frame`` as for :meth:`recommend`, the
        column user being the row of ``user_items``.

        >>> from fastgcn_rec import Popularity
        >>> Popularity(Graph.from_edges([0, 0, 1], [0, 1, 1])).recommend_new([[1]], k=1)[0].tolist()
        [[0]]
        """
        return Folded(self, **options).recommend(user_items, k, exclude_seen, items, exclude, as_frame=as_frame)

    def folding(self) -> Fold:
        """How new nodes' vectors come from their edges; what that needs beside them is computed now."""
        raise NotImplementedError(
            f"{type(self).__name__} has no rule for new users and items; give it a method folding()"
        )


def _listed(raw_ids: Any, what: str) -> NDArray[Any]:
    """Raw ids as an array [n], of a single one too."""
    single = isinstance(raw_ids, str) or getattr(raw_ids, "ndim", int(isinstance(raw_ids, Iterable))) == 0
    return as_ids([as_python(raw_ids)] if single else raw_ids, what)
