"""What a model is: a graph, vectors of its nodes, what training asks of them, and a file. What it gives its users is a Ranker's."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterator
from typing import IO, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.arguments import check_size
from ..core.elementwise import mean
from ..core.graph import Graph, Norm
from ..core.tensors import check_ids, check_range
from ..core.world import World
from ..data import Dataset
from ..losses import Objective
from ..negatives import Negatives
from ..ops.gather_rows import gather_rows
from ..ops.l2_loss import l2_loss
from ..ops.pair_loss import bpr_loss
from ..ops.retrieve import SIMILARITIES
from ..ranking.guesses import without_noise
from ..ranking.ranker import Ranker
from .saved import configured, load_model, load_state, save_model
from .space import Tunable
from .step_noise import StepNoise

Tensor = torch.Tensor


class Recommender(torch.nn.Module, Ranker):
    """A model that gives every user and item a vector; a score is the inner product, or the cosine, and what popularity adds.

    Parameters
    ----------
    data : Dataset or Graph
        The training edges. A Dataset also brings the raw ids; for a Graph they are 0, 1, ... A model is made on the graph's device: a subclass's
        ``__init__`` ends with ``self.to(self.graph.device)``.
    similarity : "dot" or "cosine"
        How vectors are scored when ranking.
    popularity : float
        Adds popularity * log(max(d_i, 1)) to every score of item i, d_i the number of its edges. Training does not see it, so that it may be set on a
        model that is trained: ``model.popularity = 0.1``. A softmax at temperature T
        whose negatives come by popularity, as those of a batch do, learns T (log p(i | u) - (1 - logq) log p(i)) by cosines:
        ``similarity="cosine", popularity=T * (1 - logq)`` ranks by p(i | u) (logit adjustment: Menon et al. 2021; sampling bias: Yi et al. 2019).
    """

    graph: Graph
    registry: ClassVar[dict[str, type[Recommender]]] = {}
    described: ClassVar[bool] = False  # whether nodes are known by more than their edges
    norm: Norm = "sym"  # of the adjacency A~ in diffusion()
    # options, and settings of training, that fastgcn_rec.experiments.tune varies
    tuning_space: ClassVar[tuple[Tunable, ...]] = ()

    @classmethod
    def left_to(cls, graph: Graph) -> dict[str, Any]:
        """What those options come to on this graph that are None where the data shall decide."""
        return {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Recommender.registry[cls.__name__] = cls

    def __init__(self, data: Dataset | Graph, similarity: str = "dot", popularity: float = 0.0) -> None:
        super().__init__()
        if similarity not in SIMILARITIES:
            raise ValueError(f"{type(self).__name__}: similarity must be one of {SIMILARITIES}, got {similarity!r}")
        self.similarity = similarity
        self.popularity = popularity
        self.step_noise: StepNoise | None = None
        if not isinstance(data, (Graph, Dataset)):
            raise TypeError(
                f"{type(self).__name__}: data must be a Dataset or a Graph, got {type(data).__name__}; make_dataset makes a Dataset of "
                "events, Graph(matrix) and Graph.from_edges(users, items) make a Graph"
            )
        self._know(data)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Recommender:
        super()._apply(fn, recurse)
        self.graph = self.graph.to(fn(torch.empty(0, device=self.graph.device)).device)
        return self

    def config(self) -> dict[str, Any]:
        """The arguments beside ``data`` that make an equal model; JSON values."""
        added = {"popularity": self.popularity} if self.popularity else {}  # none in files from before there was one
        return {"similarity": self.similarity, **added}

    def know_ids(self, user_ids: NDArray[Any], item_ids: NDArray[Any], raw: bool) -> None:
        """Takes the raw ids behind the internal ones; ``raw``: whether they are more than 0, 1, ..."""
        self.user_ids, self.item_ids, self.has_raw_ids = user_ids, item_ids, raw

    # --- vectors and scores -----------------------------------------------------------------------------------------

    def get_embedding(self) -> Tensor:
        """The final vectors [n_users + n_items, dim], users first, differentiable; where ranks share the model out, this rank's ``columns`` of them."""
        raise NotImplementedError

    def get_embedding_at(self, nodes: Tensor) -> Tensor | None:
        """Rows ``nodes`` int64 [n] of :meth:`get_embedding`, differentiable; None where these cost no less than all."""
        return None

    @contextlib.contextmanager
    def at_step(self, seed: int | Tensor, step: int | Tensor) -> Iterator[None]:
        """Within it the model draws the random masks of step ``step`` of the training that ``seed`` names, if it has any and is not in
        eval mode; they depend on nothing else. Outside of it nothing is random: :meth:`get_embedding` is what ranks. Both may be one-element int64
        tensors on the model's device, which a CUDA graph reads whenever it is replayed.

        >>> from fastgcn_rec import NGCF
        >>> model = NGCF(Graph.from_edges([0, 1], [1, 0]), 8, 1, message_dropout=0.5)
        >>> with model.at_step(seed=0, step=3):
        ...     noisy = model.get_embedding()
        """
        self.step_noise = StepNoise(seed, step)
        try:
            yield
        finally:
            self.step_noise = None

    @torch.no_grad()
    def node_vectors(self) -> tuple[Tensor, Tensor]:
        """(users [n_users, dim], items [n_items, dim]), float32, computed now: what ranks, and what new nodes are folded in against.

        They are the rows of :meth:`get_embedding`, but for nodes without an edge, whose rows only ever were initial noise: such an item has the
        vector 0, such a user the mean of the vectors of users with an edge, as these enter a score (:meth:`as_scored`). A user's score of an
        item then is the mean of theirs: the best guess where nothing is known, near popularity (docs/serve.md).

        Where ranks share the model out, all call it, and each gets the whole of both."""
        users, items = self.own_vectors()
        return (users, items) if self.columns is None else (self.columns.table(users), self.columns.table(items))

    @torch.no_grad()
    def own_vectors(self) -> tuple[Tensor, Tensor]:
        """:meth:`node_vectors` in the columns that this rank holds; collective."""
        columns, as_scored = self.columns, self.as_scored
        users, items = self.get_embedding().detach().float().split([self.n_users, self.n_items])
        by_columns = as_scored if columns is None else lambda own: columns.by_rows(own, as_scored)
        return without_noise(users, items, self.graph, by_columns, self.described)

    def forward(self, edge_label_index: Tensor) -> Tensor:
        """Scores of pairs of nodes int64 [2, n] (users first, items from n_users on), differentiable: the inner product, or the cosine where
        ``similarity`` says so, of their rows of :meth:`get_embedding`, and the :meth:`item_bias`. It is the score that :meth:`recommend` ranks by, but
        for nodes without an edge, of which :meth:`vectors` makes a guess. Its gradient adds in order, whatever the threads."""
        pairs, z, bias = self._pairs(edge_label_index), self.get_embedding(), self.item_bias()
        items_at = pairs[1] - self.n_users
        if bias is not None:
            self._check_at("edge_label_index[1], less n_users", items_at, self.n_items)
        if self.columns is not None:
            nodes, pairs = pairs.unique(return_inverse=True)
            z = self.columns.at(z, nodes)
        users, items = (self.as_scored(gather_rows(z, nodes)) for nodes in pairs)
        scores = (users * items).sum(-1)
        return scores if bias is None else scores + gather_rows(bias.to(scores)[:, None], items_at)[:, 0]

    @property
    def popularity(self) -> float:
        return self._popularity

    @popularity.setter
    def popularity(self, value: float) -> None:
        name, value = type(self).__name__, check_size(value, f"{type(self).__name__}: popularity")
        if value and "popularity" not in inspect.signature(type(self)).parameters:  # its file would not hold it
            raise ValueError(f"{name}: popularity must stay 0, got {value}; MF, LightGCN and NGCF take it")
        self._popularity = value

    def item_bias(self) -> Tensor | None:
        if not self.popularity:
            return None
        # what a compiler makes of the logarithm is not kept: its bits are its own
        log = (
            self._log_degrees()
            if torch.compiler.is_compiling()
            else self.graph.cached("log item degrees", self._log_degrees)
        )
        return (self.popularity * log).float()

    def _log_degrees(self) -> Tensor:
        """Of items, in float64, for the same float32 on any processor."""
        degree = self.graph.item_degree.cpu().numpy()
        return torch.from_numpy(np.log(np.maximum(degree, 1).astype(np.float64))).to(self.graph.device)

    def _pairs(self, edge_label_index: Any) -> Tensor:
        """The pairs, checked as far as that costs no waiting for a GPU."""
        op = f"{type(self).__name__}.forward"
        pairs = check_ids(op, "edge_label_index", edge_label_index, (2, None), self.graph.indptr)
        for row in pairs:
            self._check_at("edge_label_index", row, self.graph.n_nodes)
        return pairs

    def _check_at(self, name: str, ids: Tensor, n: int) -> None:
        if ids.device.type == "cpu" and not torch.compiler.is_compiling():
            check_range(f"{type(self).__name__}.forward", name, ids, n)

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
        return loss + 2 * lambda_reg * l2_loss(table, nodes, self.columns) / max(pos_edge_rank.numel(), 1)

    def bpr_loss(self, users: Tensor, pos: Tensor, neg: Tensor) -> Tensor:
        """The fused BPR loss of a batch by internal ids, of inner products whatever ``similarity`` is; see :func:`fastgcn_rec.bpr_loss`."""
        if self.columns is not None:
            user_emb, item_emb, users, items = self.pair_vectors(users, torch.cat([pos, neg.flatten()]))
            return bpr_loss(user_emb, item_emb, users, items[: len(pos)], items[len(pos) :].view_as(neg))
        user_emb, item_emb = self.get_embedding().split([self.n_users, self.n_items])
        return bpr_loss(user_emb, item_emb, users, pos, neg)

    def pair_vectors(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(vectors of users, of items, users, items): tables of :meth:`get_embedding`, all columns, in which these internal ids (-1: none) find their rows
        by the last two. The whole tables and the ids as they are, but for those rows alone where ranks share the columns out."""
        z = self.get_embedding()
        if self.columns is None:
            return *z.split([self.n_users, self.n_items]), users, items
        return self.columns.pairs(z, self.n_users, users, items)

    def ego_embedding(self) -> Tensor:
        """The trained table [n_users + n_items, dim] that a ridge penalty applies to."""
        raise NotImplementedError

    def diffusion(self) -> Tensor | None:
        """alphas, where ``get_embedding()`` is sum_k alphas[k] A~^k ``ego_embedding()`` with constant alphas and no other parameter is
        trained: such a model trains by :class:`fastgcn_rec.TrainStep`. None for any other."""
        return None

    @property
    def capturable(self) -> bool:
        """Whether a step of training by autograd is the same operations on the same shapes whatever the batch and its number, so that ``fit`` can capture
        it on a GPU as a CUDA graph and replay that: the host reads no values, nothing looks at t, and all that is random comes from :meth:`at_step`. What is
        set on the model while it is trained changes no replay. A class says so of itself, not for those derived from it."""
        return False

    def batch_loss(
        self, objective: Objective, t: int, users: Tensor, pos: Tensor, negatives: Negatives
    ) -> Tensor | None:
        """The loss of batch t of a training, ridge included, for a model that does not compute all vectors in every step: a function of its
        arguments, parameters and graph alone, so that training can be resumed. None: ``fit`` takes it from :meth:`get_embedding`."""
        return None

    def query_items(self, objective: Objective, t: int, users: Tensor, pos: Tensor) -> Tensor | None:
        """The item that each positive of batch t is predicted from, int64 [B], -1: none, for a model that predicts items from items; hard negatives
        are ranked for it (:class:`fastgcn_rec.negatives.PPRHard`). None: users are predicted from."""
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

    # --- ranks ------------------------------------------------------------------------------------------------------

    def share_out(self, world: World) -> None:
        """Keeps this rank's columns of a whole table, and gives the others back, for :func:`fastgcn_rec.fit` on several ranks."""
        self.refuse_ranks(world.size)

    @classmethod
    def refuse_ranks(cls, size: int) -> None:
        """ValueError where ``size`` ranks cannot share a model of this class out, whatever its settings."""
        if size > 1 and cls.share_out is Recommender.share_out:
            raise ValueError(
                f"fit: {cls.__name__} mixes the columns of its vectors, and cannot be shared out by columns among {size} ranks; train it in one "
                "process, or take MF or LightGCN, which train on several"
            )

    def gather(self) -> None:
        """Makes the table whole again on every rank; collective."""

    def whole_state(self) -> dict[str, Tensor]:
        """``state_dict`` with whole tables; where ranks share them out it is collective, and whole on rank 0 alone."""
        return self.state_dict()

    # --- files ------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str] | IO[bytes]) -> None:
        """Writes parameters, configuration, training graph and raw ids to an .npz (no pickle), whole or not at all; or to a binary file that is
        open for writing. Where ranks share the model out, all call it, and rank 0 writes the whole of it."""
        save_model(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str] | IO[bytes]) -> Recommender:
        """The model that :meth:`save` wrote, of whatever class; ``path`` may also be the folder that ``fastgcn-rec train`` wrote.

        Raises
        ------
        ValueError : naming the file; it is damaged or changed, not a model's, or of a class or an option that is not known here.
        OSError : it is missing or cannot be read.
        """
        return load_model(path, Recommender.registry)

    @classmethod
    def restored(cls, graph: Graph, config: dict[str, Any], state: dict[str, Tensor]) -> Recommender:
        """A model of this ``config()`` that holds ``state``, which comes from a file; ValueError if that does not fit it."""
        model = configured(cls, graph, config)
        load_state(model, state)
        return model


def _cross_entropy(pred: Tensor, label: Tensor) -> Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(pred, label, reduction="none")
