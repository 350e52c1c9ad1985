"""What all models share: ids, scoring, recommending, saving."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import embedding

from ..core.arguments import check_count
from ..core.elementwise import mean
from ..core.graph import Graph, Norm
from ..core.ids import as_ids, codes_of, ids_at, sorted_index
from ..core.tensors import check_ids, check_range
from ..data import Dataset
from ..losses import Objective
from ..negatives import Negatives
from ..ops.dense import dense
from ..ops.l2_loss import l2_loss
from ..ops.pair_loss import bpr_loss
from ..ops.retrieve import METRICS as SIMILARITIES
from ..ops.retrieve import retrieve, unit
from ..ranking.fold_in import Fold, FoldIn
from ..ranking.rank import Scorer, ranked
from ..system.storage import (
    check_arrays,
    check_keys,
    like,
    load_arrays,
    name_of,
    plain,
    refusing,
    same_values,
    save_arrays,
)
from .chance import Chance
from .saved import configured, graph_and_ids

Tensor = torch.Tensor


class Recommender(torch.nn.Module):
    """A model that gives every user and item a vector; a score is the inner product, or the cosine.

    Parameters
    ----------
    data : Dataset or Graph
        The training edges. A Dataset also brings the raw ids; for a Graph they are 0, 1, ... A model is made on the graph's device: a subclass's
        ``__init__`` ends with ``self.to(self.graph.device)``.
    similarity : "dot" or "cosine"
        How vectors are scored when ranking.
    """

    registry: ClassVar[dict[str, type[Recommender]]] = {}
    norm: Norm = "sym"  # of the adjacency A~ in diffusion()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Recommender.registry[cls.__name__] = cls

    def __init__(self, data: Dataset | Graph, similarity: str = "dot") -> None:
        super().__init__()
        if similarity not in SIMILARITIES:
            raise ValueError(f"{type(self).__name__}: similarity must be one of {SIMILARITIES}, got {similarity!r}")
        self.similarity = similarity
        self.chance: Chance | None = None
        self._sorted: dict[
            str, tuple[NDArray[Any], NDArray[np.int64], NDArray[Any]]
        ] = {}  # by side: ids, their order, sorted
        if isinstance(data, Graph):
            self.graph = data
            self.user_ids: NDArray[Any] = np.arange(data.n_users)
            self.item_ids: NDArray[Any] = np.arange(data.n_items)
            self.has_raw_ids = False
        elif isinstance(data, Dataset):
            self.graph = data.graph()
            self.user_ids, self.item_ids = data.user_ids, data.item_ids
            self.has_raw_ids = True
        else:
            raise TypeError(
                f"{type(self).__name__}: data must be a Dataset or a Graph, got {type(data).__name__}; make_dataset makes a Dataset of "
                "events, Graph(matrix) and Graph.from_edges(users, items) make a Graph"
            )

    @property
    def n_users(self) -> int:
        return self.graph.n_users

    @property
    def n_items(self) -> int:
        return self.graph.n_items

    @property
    def ids(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """The raw ids (of users, of items) behind the internal ones; None for a model of a Graph, which says nothing of them."""
        return (self.user_ids, self.item_ids) if self.has_raw_ids else None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Recommender:
        super()._apply(fn, recurse)
        self.graph = self.graph.to(fn(torch.empty(0, device=self.graph.device)).device)
        return self

    def config(self) -> dict[str, Any]:
        """The arguments beside ``data`` that make an equal model; JSON values."""
        return {"similarity": self.similarity}

    # --- vectors and scores -----------------------------------------------------------------------------------------

    def get_embedding(self) -> Tensor:
        """The final vectors [n_users + n_items, dim], users first, differentiable."""
        raise NotImplementedError

    def get_embedding_at(self, nodes: Tensor) -> Tensor | None:
        """Rows ``nodes`` int64 [n] of :meth:`get_embedding`, differentiable; None where these cost no less than all."""
        return None

    @contextlib.contextmanager
    def at_step(self, seed: int, step: int) -> Iterator[None]:
        """Within it the model draws the random masks of step ``step`` of the training that ``seed`` names, if it has any and is not in
        eval mode; they depend on nothing else. Outside of it nothing is random: :meth:`get_embedding` is what ranks.

        >>> from fastgcn_rec import NGCF
        >>> model = NGCF(Graph.from_edges([0, 1], [1, 0]), 8, 1, message_dropout=0.5)
        >>> with model.at_step(seed=0, step=3):
        ...     noisy = model.get_embedding()
        """
        self.chance = Chance(seed, step)
        try:
            yield
        finally:
            self.chance = None

    def vectors(self) -> tuple[Tensor, Tensor, str] | None:
        """(users [n_users, dim], items [n_items, dim], similarity) that rank the items, float32 and computed now; None for a model with
        another :meth:`scorer`, which then ranks them.

        They are the rows of :meth:`get_embedding`, but for nodes without an edge, whose rows only ever were initial noise: such an item has the
        vector 0, such a user the mean of the vectors of users with an edge, as these enter a score (:meth:`as_scored`). A user's score of an
        item then is the mean of theirs: the best guess where nothing is known, near popularity (docs/retrieval.md)."""
        if type(self).scorer is not Recommender.scorer:
            return None
        return *self._vectors(), self.similarity

    def scorer(self) -> Scorer:
        """A function from internal user ids int64 [b] to scores [b, n_items]; the vectors are computed once, now."""
        users, items = self.scoring_vectors()
        return lambda ids: dense(users[ids], items)

    @torch.no_grad()
    def _vectors(self) -> tuple[Tensor, Tensor]:
        both = self.get_embedding().detach().float().split([self.n_users, self.n_items])
        bare = self.graph.bare("users")
        users, items = map(self._without_noise, both, (bare, self.graph.bare("items")))
        return (users if bare is None else self.with_guesses(users, bare, self.typical_user(users))), items

    def _without_noise(self, vectors: Tensor, bare: Tensor | None) -> Tensor:
        """0 in place of what says nothing. A model that knows nodes by more than their edges keeps it."""
        return vectors if bare is None else vectors.masked_fill(bare[:, None], 0)

    def typical_user(self, users: Tensor) -> Tensor:
        """[dim]: the mean of ``users`` [n_users, dim] over those with an edge, as they enter a score; summed in float64 in their order."""
        known = self.as_scored(users[self.graph.user_degree > 0])
        if not len(known):
            return users.new_zeros(users.shape[1])
        return torch.from_numpy(known.cpu().numpy().mean(0, dtype=np.float64)).to(users)

    @staticmethod
    def with_guesses(users: Tensor, bare: Tensor, typical: Tensor) -> Tensor:
        """``users`` [n, dim] with ``typical`` in place of the zeros of those without an edge, ``bare`` bool [n]."""
        blank = bare & ~users.any(1)
        return torch.where(blank[:, None], typical, users) if bool(blank.any()) else users

    def row_scorer(self) -> Callable[[Graph], Tensor] | None:
        """For a model that scores a user by his items alone: from edges, a Graph [b, n_items], to scores [b, n_items]. None for any other."""
        return None

    def scoring_vectors(self) -> tuple[Tensor, Tensor]:
        """(users [n_users, dim], items [n_items, dim]), float32, whose inner products are the scores: :meth:`vectors`, :meth:`as_scored`."""
        users, items = self._vectors()
        return self.as_scored(users), self.as_scored(items)

    def as_scored(self, vectors: Tensor) -> Tensor:
        """Vectors as they enter a score: of length 1 where ``similarity`` is "cosine"."""
        return unit(vectors) if self.similarity == "cosine" else vectors

    def forward(self, edge_label_index: Tensor) -> Tensor:
        """Scores of pairs of nodes int64 [2, n] (users first, items from n_users on), differentiable: the inner product, or the cosine where
        ``similarity`` says so, of their rows of :meth:`get_embedding`. It is the score that :meth:`recommend` ranks by, but for nodes without an
        edge, of which :meth:`vectors` makes a guess. Its gradient adds in order, whatever the threads."""
        z = self.get_embedding()
        users, items = (self.as_scored(embedding(nodes, z)) for nodes in self._pairs(edge_label_index))
        return (users * items).sum(-1)

    def _pairs(self, edge_label_index: Any) -> Tensor:
        """The pairs, checked as far as that costs no waiting for a GPU."""
        op = f"{type(self).__name__}.forward"
        pairs = check_ids(op, "edge_label_index", edge_label_index, (2, None), self.graph.indptr)
        if pairs.device.type == "cpu" and not torch.compiler.is_compiling():
            for row in pairs:
                check_range(op, "edge_label_index", row, self.graph.n_nodes)
        return pairs

    def predict_link(self, edge_label_index: Tensor, prob: bool = False) -> Tensor:
        """sigmoid of the scores, or whether it exceeds 1/2."""
        p = self(edge_label_index).sigmoid()
        return p if prob else p.round()

    def link_pred_loss(self, pred: Tensor, edge_label: Tensor) -> Tensor:
        """Binary cross-entropy of scores with labels, one mean over all."""
        return mean(_cross_entropy, pred, edge_label.to(pred.dtype))

    def recommendation_loss(
        self, pos_edge_rank: Tensor, neg_edge_rank: Tensor, node_id: Tensor | None = None, lambda_reg: float = 1e-4
    ) -> Tensor:
        """torch_geometric's: mean over the pairs of -log sigmoid(pos - neg), plus lambda_reg * sum_n |x_n|^2 / (number of pairs) over the ego
        embeddings x of the nodes ``node_id`` (repeated ones as often as they occur; default: all). Twice the ridge of ``TrainConfig.reg``."""
        loss = -mean(torch.nn.functional.logsigmoid, pos_edge_rank - neg_edge_rank)
        if lambda_reg == 0:
            return loss
        table = self.ego_embedding()
        nodes = torch.arange(table.shape[0], device=table.device) if node_id is None else node_id
        return loss + 2 * lambda_reg * l2_loss(table, nodes) / max(pos_edge_rank.numel(), 1)

    def bpr_loss(self, users: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
        """The fused BPR loss of a batch by internal ids, of inner products whatever ``similarity`` is; see :func:`fastgcn_rec.bpr_loss`."""
        user_emb, item_emb = self.get_embedding().split([self.n_users, self.n_items])
        return bpr_loss(user_emb, item_emb, users, pos, neg)

    def ego_embedding(self) -> Tensor:
        """The trained table [n_users + n_items, dim] that a ridge penalty applies to."""
        raise NotImplementedError

    def diffusion(self) -> Tensor | None:
        """alphas, where ``get_embedding()`` is sum_k alphas[k] A~^k ``ego_embedding()`` with constant alphas and no other parameter is
        trained: such a model trains by :class:`fastgcn_rec.TrainStep`. None for any other."""
        return None

    def batch_loss(
        self, objective: Objective, t: int, users: Tensor, pos: Tensor, negatives: Negatives
    ) -> Tensor | None:
        """The loss of batch t of a training, ridge included, for a model that does not compute all vectors in every step: a function of its
        arguments, parameters and graph alone, so that training can be resumed. None: ``fit`` takes it from :meth:`get_embedding`."""
        return None

    def auxiliary_loss(self, users: Tensor, pos: Tensor) -> Tensor | None:
        """What ``fit`` adds to the loss of a batch with these users and positives, within :meth:`at_step`; None: nothing."""
        return None

    def check_learnable(self) -> None:
        """Raises ValueError where this model can learn nothing from the edges of its graph, such as one that predicts a user's items from his
        others; ``fit`` asks before it trains."""

    def trained_by(self) -> str:
        """What else a training depends on, beside settings, parameters and graph: a digest, that no checkpoint is taken up with other such data.
        Empty: nothing."""
        return ""

    # --- recommending -----------------------------------------------------------------------------------------------

    def recommend(self, users: Any, k: int = 20, exclude_seen: bool = True) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The k best items of each user: (raw item ids [n, k], scores [n, k]).

        Ties go as in :func:`fastgcn_rec.topk`. Where fewer than k items remain, ids are padded with the item id's "none" (-1, or the
        empty string) and scores with -inf.

        Raises ValueError naming the users that the model does not know.
        """
        k = check_count(k, "recommend: k", 1)
        rows = torch.from_numpy(self.user_rows(users)).to(self.graph.device)
        blocks = list(ranked(self, self.graph, rows, k, exclude_seen))
        ids = torch.cat([b[1] for b in blocks])
        return self.raw_items(ids), torch.cat([b[2] for b in blocks]).cpu().numpy()

    def similar_items(self, items: Any, k: int = 20) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The k items nearest to each item by cosine, itself left out: (raw ids [n, k], cosines [n, k]); padded as :meth:`recommend`
        does."""
        return self._similar(self._vectors()[1], self.item_ids, items, "items", k)

    def similar_users(self, users: Any, k: int = 20) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The k users nearest to each user by cosine, as :meth:`similar_items`."""
        return self._similar(self._vectors()[0], self.user_ids, users, "users", k)

    def _similar(
        self, z: Tensor, space: NDArray[Any], raw_ids: Any, what: str, k: int
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        k = check_count(k, f"similar_{what}: k", 1)
        rows = torch.from_numpy(self._rows(what, raw_ids)).to(self.graph.device)
        itself = torch.arange(len(rows) + 1, device=rows.device), rows
        z = unit(z)
        ids, cosines = retrieve(z[rows], z, k, itself)
        return ids_at(space, ids.cpu().numpy()), cosines.cpu().numpy()

    def user_rows(self, users: Any) -> NDArray[np.int64]:
        """The internal ids of raw user ids; a ValueError names those that the model does not know."""
        return self._rows("users", users)

    def _rows(self, side: str, raw_ids: Any) -> NDArray[np.int64]:
        """The internal ids of one side's raw ids, whose sorted order is kept from call to call."""
        space = self.user_ids if side == "users" else self.item_ids
        if side not in self._sorted or self._sorted[side][0] is not space:
            self._sorted[side] = space, *sorted_index(space)
        _, order, ordered = self._sorted[side]
        return order[codes_of(_listed(raw_ids, side), ordered, side, f"{side} of the model")]

    def raw_items(self, ids: Tensor) -> NDArray[Any]:
        """The raw ids of internal item ids, the item id's "none" for -1."""
        return ids_at(self.item_ids, ids.cpu().numpy())

    # --- new users and items ----------------------------------------------------------------------------------------

    def fold_in_users(self, user_items: Any, **options: Any) -> Tensor:
        """Vectors [n, dim] of users whom the model was not trained on, from their items; nothing is trained or changed.

        They stand to the item vectors as those of :meth:`get_embedding` do; users without items get :meth:`typical_user`. For one call after the other make a :class:`FoldIn` once:
        it keeps what all calls share.

        Parameters
        ----------
        user_items : SciPy sparse matrix [n, n_items], columns in the order of ``item_ids``; or n lists of raw item ids
            Repeated items count once. Values are weights for a model of a weighted graph and only mark edges for any other.
        options : of :class:`FoldIn` and of the model's ``folding``, which gives the formula

        Raises
        ------
        ValueError : naming unknown ids; a wrong shape. TypeError : ids of another kind; a list of ids in place of a list of lists.

        Examples
        --------
        >>> from fastgcn_rec import LightGCN
        >>> LightGCN(Graph.from_edges([0, 1], [1, 0]), 8).fold_in_users([[0], [0, 1]]).shape
        torch.Size([2, 8])
        """
        return FoldIn(self, **options).users(user_items)

    def fold_in_items(self, item_users: Any, **options: Any) -> Tensor:
        """Vectors [n, dim] of new items from their users: :meth:`fold_in_users` with the sides exchanged.

        To rank new items among the trained ones pass ``calibrate=True`` (:class:`FoldIn`), which puts them on one scale.
        """
        return FoldIn(self, **options).items(item_users)

    def recommend_new(
        self, user_items: Any, k: int = 20, exclude_seen: bool = True, **options: Any
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """The k best items of each new user, own items left out: (raw item ids [n, k], scores [n, k]), as :meth:`recommend`.

        Arguments and errors as for :meth:`fold_in_users`.

        >>> from fastgcn_rec import Popularity
        >>> Popularity(Graph.from_edges([0, 0, 1], [0, 1, 1])).recommend_new([[1]], k=1)[0].tolist()
        [[0]]
        """
        return FoldIn(self, **options).recommend(user_items, k, exclude_seen)

    def folding(self) -> Fold:
        """How new nodes' vectors come from their edges; what that needs of the model is computed now."""
        raise NotImplementedError(
            f"{type(self).__name__} has no rule for new users and items; give it a method folding()"
        )

    # --- files ------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str] | IO[bytes]) -> None:
        """Writes parameters, configuration, training graph and raw ids to an .npz (no pickle), whole or not at all; or to a binary file that is
        open for writing."""
        meta = {"kind": "model", "format": 1, "class": type(self).__name__, "config": self.config(),
                "raw_ids": self.has_raw_ids, "weighted": self.graph.weight is not None}  # fmt: skip
        arrays = {f"state.{name}": t.numpy() for name, t in self._stored().items()}
        graph = self.graph.to("cpu")
        arrays |= {"graph.indptr": graph.indptr.numpy(), "graph.indices": graph.indices.numpy()}
        if graph.weight is not None:
            arrays["graph.weight"] = graph.weight.numpy()
        save_arrays(path, meta, {**arrays, "user_ids": self.user_ids, "item_ids": self.item_ids})

    @staticmethod
    def load(path: str | os.PathLike[str] | IO[bytes]) -> Recommender:
        """The model that :meth:`save` wrote, of whatever class.

        Raises
        ------
        ValueError : naming the file; it is damaged or changed, not a model's, or of a class or an option that is not known here.
        OSError : it is missing or cannot be read.
        """
        meta, arrays = load_arrays(path, "model")
        with refusing(path):
            check_keys(meta, **{"class": str, "config": dict, "raw_ids": bool, "weighted": bool})
        kind = Recommender.registry.get(meta["class"])
        if kind is None:
            raise ValueError(
                f"{name_of(path)} holds a {meta['class']}, which is not known here; import the module that defines it first"
            )
        with refusing(path):
            state = {n.removeprefix("state."): arrays.pop(n) for n in list(arrays) if n.startswith("state.")}
            graph, users, items = graph_and_ids(arrays, meta["weighted"])
            model = kind._restored(graph, meta["config"], {name: torch.from_numpy(a) for name, a in state.items()})
            if not same_values(plain(model.config()), meta["config"]):
                raise ValueError(
                    f"its {meta['class']} has other options than it says: {model.config()}, not {meta['config']}"
                )
            model.user_ids, model.item_ids, model.has_raw_ids = users, items, meta["raw_ids"]
        return model

    @classmethod
    def _restored(cls, graph: Graph, config: dict[str, Any], state: dict[str, Tensor]) -> Recommender:
        """A model of this ``config()`` that holds ``state``, which comes from a file; ValueError if that does not fit it."""
        model = configured(cls, graph, config)
        check_arrays(state, like(model._stored()))
        model.load_state_dict(state)
        for part in model.modules():
            check = getattr(part, "check_state", None)  # what its numbers must be, beside their shapes
            if callable(check):
                check()
        return model

    def _stored(self) -> dict[str, Tensor]:
        """``state_dict`` as files hold it: on the CPU, its floating-point numbers as float32."""
        state = {name: t.detach().cpu() for name, t in self.state_dict().items()}
        return {name: t.float() if t.is_floating_point() else t for name, t in state.items()}


def _cross_entropy(pred: Tensor, label: Tensor) -> Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(pred, label, reduction="none")


def _listed(raw_ids: Any, what: str) -> NDArray[Any]:
    """Raw ids as an array [n], of a single one too."""
    if isinstance(raw_ids, (set, frozenset)):
        raise TypeError(f"{what} must be a list or an array, whose order the result has, got a set; pass sorted(...)")
    single = isinstance(raw_ids, str) or getattr(raw_ids, "ndim", int(isinstance(raw_ids, Iterable))) == 0
    return as_ids([raw_ids] if single else raw_ids, what)
