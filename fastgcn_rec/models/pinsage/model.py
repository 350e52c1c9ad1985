"""PinSAGE: items by their features and their importance neighbourhoods, users by their items; works for items never seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import normalize

from ...core.graph import Graph
from ...data import Dataset
from ...features import Features
from ...losses import Objective
from ...negatives import Negatives
from ...ops.half_hop import half_hop
from ...ranking.protocols import Fold
from ...ranking.same_data import check_same_data
from ..base import Recommender
from ..space import TRAINING, Tunable
from .batch import loss_of_batch
from .inputs import encode, guessed, stacked
from .layers import Neighborhoods
from .network import Network
from .new_items import graph_with, ids_with
from .options import checked
from .rounds import Rounds
from .trend import trend_of
from .users import Summed, make_user_side
from .walks import Walks
from .window import OFF

Tensor = torch.Tensor


class PinSAGE(Network, Recommender):
    """PinSAGE (Ying et al. 2018) on a graph of users and items, with users read off their items.

    h_i^0 = dense_i D + sum_t weights[i, t] table[tokens[i, t]] from the item's features; K layers h^k of importance pooling over the
    ``top`` items that random walks from i visit most (:func:`fastgcn_rec.random_walk_neighbors`); z_i = normalize(G2 ReLU(G1 h_i^K + g)).
    A user's vector is normalize(sum of z over the user's items + f_u), f_u a linear function of the user's features, if there are any
    (``user_features``), that is 0 before training. There is no parameter of an item or a user (unless a feature is one, such as
    ``Categorical()`` of the ids), so new items get vectors from the same parameters: :meth:`with_items`, :meth:`embed_items`.

    Parameters
    ----------
    data : Dataset or Graph
    features : Features, optional
        Fitted here, on the items that have a user, unless it is fitted already. Default: every column of ``item_info``, read as it is guessed
        to be meant, and the items' ids as one more, "id" or "id_", ...
    item_info : mapping of column names to values [n_items], in the order of the internal ids
        Default: the Dataset's.
    user_features : Features, optional
        Of the users, fitted as those of items are. f_u weighs as |f_u| items do: the more items a user has, the more they decide; a user
        without any has normalize(f_u). New users bring theirs to ``fold_in_users`` and ``recommend_new``, see :meth:`folding`.
    user_info : mapping of column names to values [n_users], in the order of the internal ids
        Default: the Dataset's.
    embedding_dim, hidden_dim : int
        Of z and of h.
    num_layers : int >= 0
        K. 0: features alone, no graph.
    linear : bool
        Layers without ReLU that begin as the plain diffusion normalize(h + pooled h) (Q = I, W = [I I]). A mean of what ReLU lets through
        is much the same for all items at first: docs/choices.md has what it costs. False: the paper's.
    top, n_walks, walk_length, restart
        Of the neighbourhoods. Walks of one graph and ``walk_seed`` are the same numbers everywhere.
    degree_power : float >= 0
        Neighbours are ranked and weighted by visits / degree^degree_power, among the 10 ``top`` items visited most. 0: the paper's visits,
        of which popular items get most from wherever a walk begins; 1/2: as the cosine of two items' users does.
    history : int >= 1
        Items drawn (with replacement) of a user's others to predict an item from in training; 1 trains on pairs of items of one user, as
        the paper.
    window : float >= 0, optional
        Draw them only from the user's items whose event lies at most this long before or after the predicted one's, in the units of the
        Dataset's times: with ``history=1`` the paper's pairs of items of one session. Repeated pairs have the time of their first event. A pair
        without such items is left out: its query is empty, so that its loss is a constant (its item stays a negative of the others); with
        ``user_features`` its query is f_u alone.
        Models of files and of :meth:`with_items` have no times; :meth:`use_times` gives them some.
    trend : float in [0, 1)
        Not 0: what is popular now counts. A score is cos(u, i) + trend_weight * log((r_i + 1) / (s d_i + 1)), d_i the item's edges, r_i those among the
        latest ``trend`` of all edges, by the Dataset's times, and s what part of all they are. The softmax at temperature T learns T log p(i | u) of
        the time of training; at ``trend_weight`` = T this puts today's share of the item in place of that of then (the change of priors of Saerens
        et al. 2002). An item without an edge, and those of :meth:`with_items`, have the mean of this logarithm over the latest edges. It is for lists of what comes next: where the test part is any edges, it misleads.
        Files keep it.
    trend_weight : float >= 0
    round_share : float in (0, 1)
        Training goes in rounds of steps whose pairs are this share of the edges, at least one step; see :meth:`batch_loss`.
    cold_share : float in [0, 1)
        The probability that an item that a step is to predict, or to rank below, is computed as a new one would be: without neighbours, and
        with unknown in place of the values that only it has (DropoutNet, Volkovs et al. 2017). So new items are ranked among known ones by
        what training saw of their like, and a column of ids does no harm to them. See :meth:`embed_as_new`.
    cold_user_share : float in [0, 1)
        With ``user_features``, the probability that a training query is computed as a new user's without items is: f_u alone, with unknown
        in place of the values that only this user has.
    walk_seed : int
    init_std, seed : of the normal initial values of D and table; those of the layers have 1 / sqrt(inputs)
    similarity : as for :class:`MF`; the vectors have length 1
    n_tokens, n_user_tokens : int
        Only for reading files: the widths of the features' tokens in place of ``item_info`` and ``user_info``.

    Raises
    ------
    TypeError : an option of another kind. ValueError : one that cannot work, with what is allowed; columns that are missing or of another length; a
        window without times.

    Examples
    --------
    >>> from fastgcn_rec.features import Categorical, Features
    >>> graph = Graph.from_edges([0, 0, 1, 1], [0, 1, 1, 2])
    >>> model = PinSAGE(graph, Features({"kind": Categorical()}), {"kind": ["tea", "tea", "cake"]}, embedding_dim=8)
    >>> model.get_embedding().shape
    torch.Size([5, 8])
    >>> model.embed_items({"kind": ["tea"]}, [[0]]).shape  # a new item that user 0 has
    torch.Size([1, 8])
    """

    described = True
    trend: Tensor
    tuning_space = (
        *(one for one in TRAINING if one.name != "train.reg"),
        Tunable("num_layers", 0, 2),
        Tunable("top", choices=(10, 20, 50)),
        Tunable("degree_power", 0.0, 1.0),
        Tunable("history", 5, 60, log=True),
        Tunable("cold_share", 0.0, 0.6),
    )

    def __init__(
        self,
        data: Dataset | Graph,
        features: Features | Mapping[str, Any] | None = None,
        item_info: Mapping[str, Any] | None = None,
        *,
        user_features: Features | Mapping[str, Any] | None = None,
        user_info: Mapping[str, Any] | None = None,
        embedding_dim: int = 64,
        hidden_dim: int = 64,
        num_layers: int = 2,
        linear: bool = True,
        top: int = 20,
        n_walks: int = 1000,
        walk_length: int = 1,
        restart: float = 0.5,
        degree_power: float = 0.5,
        history: int = 30,
        window: float | None = None,
        trend: float = 0.0,
        trend_weight: float = 0.1,
        round_share: float = 0.1,
        cold_share: float = 0.3,
        cold_user_share: float = 0.1,
        walk_seed: int = 0,
        init_std: float = 0.1,
        seed: int = 0,
        similarity: str = "dot",
        n_tokens: int | None = None,
        n_user_tokens: int | None = None,
    ) -> None:
        super().__init__(data, similarity)
        options = checked(
            embedding_dim=embedding_dim, hidden_dim=hidden_dim, top=top, n_walks=n_walks, walk_length=walk_length, history=history,
            num_layers=num_layers, linear=linear, restart=restart, degree_power=degree_power, round_share=round_share,
            cold_share=cold_share, cold_user_share=cold_user_share, window=window, trend=trend, trend_weight=trend_weight, walk_seed=walk_seed, init_std=init_std, seed=seed,
        )  # fmt: skip
        if isinstance(data, Dataset):
            item_info = data.item_info if item_info is None else item_info
            user_info = data.user_info if user_info is None and user_features is not None else user_info
        if features is None:
            features, item_info = guessed(item_info or {}, self.item_ids)
        elif not isinstance(features, Features):
            features = Features.from_json(features)
        known_users, known_items = self.graph.user_degree > 0, self.graph.item_degree > 0
        encoded = encode(features, item_info, known_items, "item", n_tokens)
        of_users = make_user_side(user_features, user_info, known_users, n_user_tokens, options["embedding_dim"])
        self.make_network(options, features, encoded, of_users)
        self.to(self.graph.device)
        self.walks = Walks(**{field.name: options[field.name] for field in dataclasses.fields(Walks)})
        self.rounds = Rounds(options["round_share"], options["window"], self.walks)
        self._trend_of: Graph | None = None
        if options["trend"]:
            if similarity == "cosine":
                raise ValueError(
                    "PinSAGE: vectors have length 1 beside trend; leave similarity at 'dot', or trend at 0"
                )
            self.register_buffer("trend", torch.zeros(self.n_items + 1, device=self.graph.device))
        self._near: tuple[Graph, Neighborhoods] | None = None
        asks = self._asks_for_times()
        if asks and isinstance(data, Dataset):
            self.use_times(data)
        elif asks and n_tokens is None:
            raise ValueError(
                f"PinSAGE: {asks} needs times, and a Graph has none; pass a Dataset or leave {asks} at {OFF[asks]}"
            )

    def _asks_for_times(self) -> str:
        """The first option that needs times; empty: none does."""
        return next((name for name, off in OFF.items() if self.options[name] != off), "")

    def config(self) -> dict[str, Any]:
        own = {"features": self.features.to_json(), "n_tokens": self.feature_tokens.shape[1], **self.options}
        if not self.options["trend"]:  # as in files from before there was one
            del own["trend"], own["trend_weight"]
        if self.user_side is not None:
            own["user_features"] = self.user_side.features.to_json()
            own["n_user_tokens"] = self.user_side.feature_tokens.shape[1]
        return super().config() | own

    # --- vectors ----------------------------------------------------------------------------------------------------

    def neighborhoods(self, graph: Graph | None = None, seed: int | None = None) -> Neighborhoods:
        """Of all items, by walks in ``graph`` (default: the model's own, kept until it changes)."""
        if graph is not None:
            return self.walks.neighborhoods(graph, self.options["walk_seed"] if seed is None else seed)
        if self._near is None or self._near[0] is not self.graph:
            self._near = self.graph, self.walks.neighborhoods(self.graph, self.options["walk_seed"])
        return self._near[1]

    def get_embedding(self) -> Tensor:
        items = self.embed(torch.arange(self.n_items, device=self.graph.device), self.neighborhoods())
        users = half_hop(self.graph, items, "users")
        if self.user_side is not None:
            users = users + self.user_side(torch.arange(self.n_users, device=self.graph.device))
        return torch.cat([normalize(users, dim=1), items])

    def item_bias(self) -> Tensor | None:
        """How much more popular an item is now, with ``trend``."""
        return self._current_trend()[: self.n_items] if self.options["trend"] else super().item_bias()

    def _current_trend(self) -> Tensor:
        """The column of the items, of the graph as it is where there are times, else as it was saved."""
        times, weight = self.rounds.times, self.options["trend_weight"]
        if times is not None and self._trend_of is not self.graph:
            self.trend.copy_(weight * trend_of(self.graph, times, self.options["trend"]))
            self._trend_of = self.graph
        return self.trend

    def whole_state(self) -> dict[str, Tensor]:
        if self.options["trend"]:
            self._current_trend()
        return super().whole_state()

    def folding(self, user_info: Mapping[str, Any] | None = None) -> Fold:
        """A new user's vector is normalize(sum of the items' vectors + f), as a trained one's; new items need their features.

        user_info: columns of ``user_features`` with a value for each new user, so that f is computed (default: f = 0). Users need no items
        then: ``model.recommend_new([[], []], user_info={"age": [31, 64]})``.
        """
        items, f = self.node_vectors()[1], None
        if user_info is not None:
            if self.user_side is None:
                raise ValueError("PinSAGE: user_info is for a model with user_features, which this one has not")
            f = self.user_side.of_new(user_info)
        return Summed(items, f)

    # --- training ---------------------------------------------------------------------------------------------------

    def batch_loss(self, objective: Objective, t: int, users: Tensor, pos: Tensor, negatives: Negatives) -> Tensor:
        """The loss of pairs (query, item): the query is normalize(mean of z) over ``history`` items drawn of the user's others, within the
        ``window`` if there is one. With ``user_features`` it is normalize(m * mean of z + f_u), m the number of items that are drawn from
        (or their weight), as the user's vector would be, had the user these m.

        No pair is seen by what predicts it: steps go in rounds, and all pairs of a round are taken out of the graph from which
        histories are drawn and in which its walks go. An item is computed once a batch, however often it occurs; of the items to be
        predicted and their negatives, ``cold_share`` as new ones, drawn anew for every (seed, step, item). The ridge is
        reg / B * 1/2 |h^0|^2 over what is computed, f_u included.

        Vectors of length 1 have no place for popularity but their direction: train the softmax with ``logq=1``, so that cosines learn
        log p(item | query) and not log p(item | query) / p(item).
        """
        return loss_of_batch(self, self.rounds.at(self.graph, objective, t), objective, t, users, pos, negatives)

    def query_items(self, objective: Objective, t: int, users: Tensor, pos: Tensor) -> Tensor:
        """The first of the ``history`` items that each pair is predicted from: with ``history=1`` the query item of the paper."""
        width = self.options["history"]
        return self.rounds.at(self.graph, objective, t).history(users, pos, width, objective.seed, t)[::width]

    def check_learnable(self) -> None:
        if self.user_side is not None:
            return
        window, events = self.rounds.window, self.rounds.events(self.graph)
        sizes = self.graph.user_degree if events is None else events.near(*self.graph.edges())[1]
        if not bool((sizes > 1).any()):
            within = "" if window is None else f" within window={window}"
            raise ValueError(
                f"PinSAGE: a user's items are predicted from his others, and of the edges trained on no user has two{within}: nothing can be learnt; "
                "give user_features, or a larger window or part to train on"
            )

    def trained_by(self) -> str:
        return self.rounds.digest()

    def use_times(self, data: Dataset) -> PinSAGE:
        """Takes the times of training pairs, which ``window`` and ``trend`` need, from the Dataset that the model is trained on; returns itself."""
        check_same_data("PinSAGE", self, data, part=True)
        self.rounds.use_times(data, self._asks_for_times() or "window")
        self._trend_of = None
        return self

    # --- new items --------------------------------------------------------------------------------------------------

    def with_items(self, item_info: Mapping[str, Any], item_users: Any = None, item_ids: Any = None) -> PinSAGE:
        """This model with n more items, which stand behind its own: the same parameters, nothing is trained.

        What a model made for all items would compute with these parameters, so the new ones are recommended, found and evaluated as the
        others are. Their edges become edges of the graph: they are walked over, and the users' vectors take them in.

        Parameters
        ----------
        item_info : mapping of the features' columns to values [n]
        item_users : n lists of raw user ids, or a SciPy sparse matrix [n, n_users] in the order of ``user_ids``; None: no edges
        item_ids : n raw ids, none of them known; default, for integer ids: max + 1, ...

        Raises
        ------
        ValueError : naming unknown users, known items, or the column that does not fit.
        """
        encoded = self.features.transform(item_info)
        both, n = stacked(self.encoded(), encoded), len(encoded.dense)
        graph = graph_with(self, n, item_users)
        model = type(self)(graph, **{**self.config(), "n_tokens": both.tokens.shape[1]})
        model.set_features(both)
        if self.user_side is not None and model.user_side is not None:
            model.user_side.set_features(self.user_side.encoded())
        model.load_state_dict({name: p.detach() for name, p in self.named_parameters()}, strict=False)
        if self.options["trend"]:
            known, typical = self._current_trend().split([self.n_items, 1])
            model.trend.copy_(torch.cat([known, typical.expand(n + 1)]))
        model.user_ids, model.item_ids = self.user_ids, ids_with(self.item_ids, n, item_ids)
        model.has_raw_ids = self.has_raw_ids
        return model.to(device=self.table.device, dtype=self.table.dtype)

    def embed_items(self, item_info: Mapping[str, Any], item_users: Any = None) -> Tensor:
        """z [n, embedding_dim] of new items: the rows that :meth:`with_items` puts behind the others; arguments as there."""
        ids = (
            None if self.item_ids.dtype.kind in "iu" else [f"\0{n}" for n in range(len(next(iter(item_info.values()))))]
        )
        with torch.no_grad():
            model = self.with_items(item_info, item_users, ids)
            items = torch.arange(self.n_items, model.n_items, device=model.graph.device)
            return model.embed(items, model.neighborhoods())
