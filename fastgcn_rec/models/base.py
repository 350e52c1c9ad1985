"""What a model is: a graph, vectors of its nodes, what training asks of them, and a file. What it gives its users is a Ranker's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import IO, Any, ClassVar

import torch
from torch.nn.functional import embedding

from ..core.elementwise import mean
from ..core.graph import Graph, Norm
from ..core.tensors import check_ids, check_range
from ..data import Dataset
from ..losses import Objective
from ..negatives import Negatives
from ..ops.l2_loss import l2_loss
from ..ops.pair_loss import bpr_loss
from ..ops.retrieve import SIMILARITIES
from ..ranking.guesses import without_noise
from ..ranking.ranker import Ranker
from .saved import configured, load_model, load_state, save_model
from .step_noise import StepNoise

Tensor = torch.Tensor


class Recommender(torch.nn.Module, Ranker):
    """A model that gives every user and item a vector; a score is the inner product, or the cosine.

    Parameters
    ----------
    data : Dataset or Graph
        The training edges. A Dataset also brings the raw ids; for a Graph they are 0, 1, ... A model is made on the graph's device: a subclass's
        ``__init__`` ends with ``self.to(self.graph.device)``.
    similarity : "dot" or "cosine"
        How vectors are scored when ranking.
    """

    graph: Graph
    registry: ClassVar[dict[str, type[Recommender]]] = {}
    described: ClassVar[bool] = False  # whether nodes are known by more than their edges
    norm: Norm = "sym"  # of the adjacency A~ in diffusion()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Recommender.registry[cls.__name__] = cls

    def __init__(self, data: Dataset | Graph, similarity: str = "dot") -> None:
        super().__init__()
        if similarity not in SIMILARITIES:
            raise ValueError(f"{type(self).__name__}: similarity must be one of {SIMILARITIES}, got {similarity!r}")
        self.similarity = similarity
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
        item then is the mean of theirs: the best guess where nothing is known, near popularity (docs/serve.md)."""
        users, items = self.get_embedding().detach().float().split([self.n_users, self.n_items])
        return without_noise(users, items, self.graph, self.as_scored, self.described)

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

    # --- files ------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str] | IO[bytes]) -> None:
        """Writes parameters, configuration, training graph and raw ids to an .npz (no pickle), whole or not at all; or to a binary file that is
        open for writing."""
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
