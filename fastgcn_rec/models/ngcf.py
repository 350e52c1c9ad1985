"""NGCF: graph convolutions with trained weights."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from torch.nn.functional import leaky_relu, normalize, relu

from ..core.arguments import check_count, check_numbers
from ..core.graph import Graph, Side
from ..core.native import accumulator
from ..data import Dataset
from ..ops.dense import dense
from ..ops.gather_rows import gather_rows
from ..ops.half_hop import half_hop
from ..ops.propagate import propagate
from ..ops.registration import numbers
from ..ranking.protocols import Fold
from .base import Recommender
from .space import TRAINING, Tunable
from .step_noise import check_dropout

Tensor = torch.Tensor
FORMS = ("paper", "lecture")
INITS = ("xavier", "identity")
_NODE = 1 << 16  # places of uniform_rows: layer k's messages take k, its nodes _NODE + k


class NGCF(Recommender):
    """Neural graph collaborative filtering, in two forms; E^(0) = E, K layers.

    form="paper" (Wang et al. 2019, eq. 7 and 9), with L = D^-1/2 A D^-1/2 and * by elements:
        E^(k+1) = LeakyReLU((L + I) E^(k) W1 + (L E^(k) * E^(k)) W2 + b), slope 0.2;   z = [E^(0), E^(1), ..., E^(K)], each of E^(k > 0)
        divided by its length.
    form="lecture" (Stanford's CS224W: AGGR is the mean, COMBINE concatenates):
        E^(k+1) = ReLU([E^(k), D^-1 A E^(k)] W + b);   z = E^(K).

    Parameters
    ----------
    data : Dataset or Graph
    embedding_dim, num_layers : int
        Every layer has embedding_dim columns.
    form : "paper" or "lecture"
    message_dropout : float in [0, 1)
        In training, each element of a new layer is 0 with this probability, else divided by its complement.
    node_dropout : float in [0, 1)
        In training and anew in every layer, all that a node sends to its neighbours is 0 with this probability, likewise (section 3.4.2;
        what it keeps for itself stays).
    init : "xavier" or "identity"
        "identity": W1 (of the lecture's form: the part of W for the node itself) begins as the identity instead of Xavier's law, so that training
        begins as a diffusion, which learns faster: docs/choices.md.
    seed : int
        Of the initial values (Xavier, the users' table and the items' apart as published).
    similarity : "dot" or "cosine"
    popularity : float
        What log d_i adds to a score (:class:`Recommender`).

    Dropout takes place within :meth:`at_step` only, which ``fit`` sets; nowhere else is anything random.

    Notes
    -----
    The authors' code (github.com/xiangwang1223/neural_graph_collaborative_filtering) is not their paper. Its default adjacency is
    D^-1 (A + I) of the graph with self-loops, which also enters the second product; LeakyReLU is taken of the two products one by one; "node
    dropout" drops single entries of the adjacency; and the penalty is of the vectors z, where ``TrainConfig.reg`` is of the rows of E.
    The paper has no bias, the code one for each product; their sum is this b.

    Raises
    ------
    TypeError : an option of another kind. ValueError : one that cannot work, with what is allowed.

    Examples
    --------
    >>> model = NGCF(Graph.from_edges([0, 1], [1, 0]), embedding_dim=8, num_layers=2)
    >>> model.get_embedding().shape, NGCF(model.graph, 8, 2, form="lecture").get_embedding().shape
    (torch.Size([4, 24]), torch.Size([4, 8]))
    """

    tuning_space = (
        *TRAINING,
        Tunable("num_layers", 1, 3),
        Tunable("message_dropout", 0.0, 0.3),
        Tunable("popularity", 0.0, 0.2),
    )

    def __init__(
        self,
        data: Dataset | Graph,
        embedding_dim: int = 64,
        num_layers: int = 3,
        form: Literal["paper", "lecture"] = "paper",
        *,
        message_dropout: float = 0.1,
        node_dropout: float = 0.0,
        init: Literal["xavier", "identity"] = "xavier",
        seed: int = 0,
        similarity: str = "dot",
        popularity: float = 0.0,
    ) -> None:
        super().__init__(data, similarity, popularity)
        if form not in FORMS:
            raise ValueError(f"NGCF: form must be one of {FORMS}, got {form!r}")
        if init not in INITS:
            raise ValueError(f"NGCF: init must be one of {INITS}, got {init!r}")
        embedding_dim = check_count(embedding_dim, "NGCF: embedding_dim", 1, 2**31 - 1)
        num_layers, seed = check_count(num_layers, "NGCF: num_layers", 1), check_count(seed, "NGCF: seed")
        message_dropout, node_dropout = check_numbers(
            "NGCF", message_dropout=message_dropout, node_dropout=node_dropout
        )
        check_dropout("NGCF", message_dropout=message_dropout, node_dropout=node_dropout)
        self.embedding_dim, self.num_layers, self.form, self.seed = embedding_dim, num_layers, form, seed
        self.message_dropout, self.node_dropout, self.init = message_dropout, node_dropout, init
        self.embedding = torch.nn.Embedding(self.graph.n_nodes, embedding_dim)
        # Of layer k: what multiplies (L + I) E or E, what multiplies L E * E or the mean, and the bias.
        square = num_layers, embedding_dim, embedding_dim
        self.own, self.neighbors = (torch.nn.Parameter(torch.empty(square)) for _ in range(2))
        self.bias = torch.nn.Parameter(torch.empty(num_layers, embedding_dim))
        self.reset_parameters()
        self.to(self.graph.device)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Xavier's uniform law, +- sqrt(6 / (rows + columns)) of each matrix: of [W1; W2] as one in the lecture's form. The biases are 0. Then ``init``."""
        generator, dim = torch.Generator().manual_seed(int(self.seed)), self.embedding_dim
        rows = dim if self.form == "paper" else 2 * dim
        tables = [*self.embedding.weight.split([self.n_users, self.n_items]), self.own, self.neighbors]
        for table, n in zip(tables, (self.n_users, self.n_items, rows, rows), strict=True):
            limit = (6 / (n + dim)) ** 0.5
            table.copy_((2 * torch.rand(table.shape, generator=generator, device="cpu") - 1) * limit)
        if self.init == "identity":
            self.own.copy_(torch.eye(dim).expand_as(self.own))
        self.bias.zero_()

    def config(self) -> dict[str, Any]:
        names = ("embedding_dim", "num_layers", "form", "message_dropout", "node_dropout", "init", "seed")
        return super().config() | {name: getattr(self, name) for name in names}

    @property
    def capturable(self) -> bool:
        return True

    def ego_embedding(self) -> Tensor:
        return self.embedding.weight

    def get_embedding(self) -> Tensor:
        return self._embedding(None)

    def get_embedding_at(self, nodes: Tensor) -> Tensor:
        return self._embedding(nodes)

    def _embedding(self, nodes: Tensor | None) -> Tensor:
        """Of all nodes, or of some: then the last layer's products and all that follows them are theirs alone."""
        every = torch.arange(self.graph.n_nodes, device=self.graph.device)
        ids, x, layers = every, self.embedding.weight, []
        for k in range(self.num_layers):
            layers.append(x)
            received = self._received(k, x, every)
            if k == self.num_layers - 1 and nodes is not None:
                ids, x, received = nodes, gather_rows(x, nodes), gather_rows(received, nodes)
            x = self._dropped(self.message_dropout, k, self._combined(k, x, received), ids)
        if self.form == "lecture":
            return x
        first, *between = layers if nodes is None else (gather_rows(layer, nodes) for layer in layers)
        return torch.cat([first, *(normalize(layer, dim=1) for layer in (*between, x))], 1)

    def _received(self, k: int, x: Tensor, every: Tensor) -> Tensor:
        """What the neighbours send, as the form adds it up."""
        graph, dtype = self.graph, accumulator(x.dtype)
        hop = graph.cached(("one hop", dtype), lambda: numbers([0.0, 1.0], dtype, graph.device))
        result: Tensor = propagate(graph, self._dropped(self.node_dropout, _NODE + k, x, every), hop, self._norm)
        return result

    @property
    def _norm(self) -> Literal["sym", "left"]:
        return "sym" if self.form == "paper" else "left"

    def _combined(self, k: int, x: Tensor, received: Tensor) -> Tensor:
        """The next layer's rows, from rows of this one and what they received."""
        paper = self.form == "paper"
        a, b = (x + received, x * received) if paper else (x, received)
        total = dense(a, self.own[k], self.bias[k]) + dense(b, self.neighbors[k])
        return leaky_relu(total, 0.2) if paper else relu(total)

    def _dropped(self, rate: float, place: int, x: Tensor, ids: Tensor) -> Tensor:
        """x with elements, or for a node's messages whole rows, dropped at random."""
        if rate == 0 or self.step_noise is None or not self.training:
            return x
        return x * self.step_noise.dropout_mask(ids, 1 if place >= _NODE else x.shape[1], rate, place, x.dtype)

    @torch.no_grad()
    def folding(self) -> Fold:
        """A new node's vector is one forward pass over its row: its ego vector is 0, and all other nodes' layers stand as trained.

        received = d_new^-1/2 sum_{i in N} w_i d_i^-1/2 e_i^(k) (paper) or the weighted mean of the e_i^(k) (lecture) takes the place of
        (L E^(k))_new or (D^-1 A E^(k))_new in the class's formulas, layer by layer. For the edges of a node of the graph whose row of E is
        0 this is its z exactly. A node without edges gets 0.
        """
        x, sent = self.embedding.weight, []
        every = torch.arange(self.graph.n_nodes, device=self.graph.device)
        right = self.graph.scales(self._norm, x.dtype)[1]
        for k in range(self.num_layers):
            sent.append((x if right is None else x * right[:, None]).split([self.n_users, self.n_items]))
            if k < self.num_layers - 1:
                x = self._combined(k, x, self._received(k, x, every))
        return _Forward(self, sent)


@dataclasses.dataclass(frozen=True)
class _Forward:
    """One pass over new nodes' rows; ``sent``: by layer what trained users and items send."""

    model: NGCF
    sent: list[tuple[Tensor, ...]]

    @torch.no_grad()
    def __call__(self, edges: Graph, new: Side) -> Tensor:
        model, like = self.model, self.sent[0][0]
        left = edges.scales(model._norm, accumulator(like.dtype))[0]
        assert left is not None
        scale = left[: edges.n_users]
        rows = [like.new_zeros(edges.n_users, model.embedding_dim)]
        for k, (by_users, by_items) in enumerate(self.sent):
            received = half_hop(edges, by_items if new == "users" else by_users, "users", scale)
            rows.append(model._combined(k, rows[-1], received))
        if model.form == "lecture":
            vectors = rows[-1]
        else:
            vectors = torch.cat([rows[0], *(normalize(r, dim=1) for r in rows[1:])], 1)
        return vectors * (scale > 0)[:, None]
