"""A linear autoencoder whose inverse is sparse, for catalogues of any size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..algorithms.sparse_inverse import Factor, factor_scores, inverse_factor, turned
from ..core.arguments import check_count, check_number, check_numbers
from ..core.csr import Csr
from ..core.elementwise import power
from ..core.graph import Graph, row_of_each_edge
from ..data import Dataset
from ..ops.topk import topk
from ..system.contents import Spec, check_arrays, check_csr
from .item_item import ItemItem, State, check_finite
from .space import Tunable

Tensor = torch.Tensor
_OPTIONS = ("reg", "neighbours", "density", "candidates", "feedback", "feedback_weight")
_FACTOR, _SCALES = ("indptr", "indices", "values"), ("before", "after", "own")


class SparseEASE(ItemItem):
    """EASE by a sparse factor of the inverse (after SANSA: Spišák et al. 2023, "Scalable approximate nonsymmetric autoencoder for collaborative filtering").

    s_u = r_u D_i^-(b + c) B D_i^b,   B_ij = -C_ij / C_jj, i != j, and 0 for i = j,   C = F^T F ~ (R~^T R~ + reg I)^-1,   R~ = D_u^-a R D_i^-b

    with r_u the user's row of R, D_u and D_i the degrees, and F the sparse factor of :func:`fastgcn_rec.algorithms.sparse_inverse.inverse_factor`:
    of each item its regression on ``neighbours`` more popular ones. With all of them, and a = b = c = 0, it is :class:`EASE`. B, which has many more
    entries than F, is never formed: a user's row goes through F twice. With ``feedback`` a user is scored once more, by his row and his best guesses:

    s_u = (r_u + feedback_weight [s'_u]_feedback) W,   s'_u = r_u W,   [s]_n: the n highest of s that are above 0 and not among the user's items

    with W what r_u meets above: items reach him that his own are two steps from.

    Parameters
    ----------
    data : Dataset or Graph
    reg : float > 0
        lambda; for R~, so that it is smaller where a and b are greater.
    neighbours : int >= 0
        Entries of a row of F beside the diagonal.
    density : float in (0, 1] or None
        In place of ``neighbours``: that many entries of each n_items.
    candidates : int >= 1 or None
        At most so many entries of R~^T R~ are kept of an item while F is made; None for all. For large catalogues some hundreds.
    user_power, item_power, row_power : a, b, c
        What a user has much of, an item that many have, an item in the row that is scored: each counts for less.
    feedback : int >= 0
        So many guesses; 0: none, and scores are linear in r_u. ``similar_items`` has them too.
    feedback_weight : float >= 0
    state : what a file holds of an equal model
        Given by :meth:`Recommender.load`, to spare the making.

    It is made and scores on the CPU, wherever the graph is. Time O(sum of the squares of the users' degrees + n_items neighbours^3 / 6), memory 8 bytes a
    pair of items that users have both of, or 8 n_items ``candidates``, and 24 n_items ``neighbours``; the same bits for any number of threads. A user
    with very many items makes as many pairs as the square of their number: leave such out where they are no persons.

    Raises
    ------
    MemoryError : R~^T R~ does not fit into the memory that is free; names a number of candidates that does. TypeError : an option of
    another kind. ValueError : one that cannot work, with what is allowed.

    Examples
    --------
    >>> model = SparseEASE(Graph.from_edges([0, 0, 1], [0, 1, 1]), reg=1.0, user_power=0.0)
    >>> model.recommend_new([[0]], k=1)[1].round(4).tolist()  # as EASE
    [[0.5]]
    """

    tuning_space = (
        Tunable("reg", 1.0, 500.0, log=True),
        Tunable("user_power", 0.0, 0.5),
        Tunable("item_power", 0.0, 0.3),
        Tunable("row_power", 0.0, 0.3),
        Tunable("feedback", choices=(0, 20, 50, 100)),
        Tunable("feedback_weight", 0.5, 4.0, log=True, when=("feedback", (20, 50, 100))),
    )

    def __init__(
        self,
        data: Dataset | Graph,
        reg: float = 15.0,
        neighbours: int = 32,
        density: float | None = None,
        candidates: int | None = None,
        *,
        user_power: float = 0.15,
        item_power: float = 0.0,
        row_power: float = 0.0,
        feedback: int = 0,
        feedback_weight: float = 1.0,
        state: State | None = None,
    ) -> None:
        super().__init__(data)
        self.reg = check_number(reg, "SparseEASE: reg")
        if not 0 < self.reg < math.inf:
            raise ValueError(f"SparseEASE: reg must be > 0 and finite, got {reg}")
        self.neighbours = check_count(neighbours, "SparseEASE: neighbours", 0)
        self.density = None if density is None else check_number(density, "SparseEASE: density")
        if self.density is not None and not 0 < self.density <= 1:
            raise ValueError(f"SparseEASE: density must lie in (0, 1], got {density}; None leaves it to neighbours")
        self.candidates = None if candidates is None else check_count(candidates, "SparseEASE: candidates", 1)
        powers = {"user_power": user_power, "item_power": item_power, "row_power": row_power}
        self.powers = dict(zip(powers, check_numbers("SparseEASE", **powers), strict=True))
        for name, exponent in self.powers.items():
            if not math.isfinite(exponent):
                raise ValueError(f"SparseEASE: {name} must be finite, got {exponent}")
        self.feedback = check_count(feedback, "SparseEASE: feedback", 0)
        self.feedback_weight = check_number(feedback_weight, "SparseEASE: feedback_weight")
        if not 0 <= self.feedback_weight < math.inf:
            raise ValueError(f"SparseEASE: feedback_weight must be >= 0 and finite, got {feedback_weight}")
        self._keep(state)
        for name, tensor in zip(_FACTOR, turned(self._factor(), self.n_items), strict=True):
            self.register_buffer(f"{name}_t", tensor.to(self.graph.device), persistent=False)

    def config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in _OPTIONS}
        return own | self.powers

    def _make(self) -> State:
        """indptr, indices, values: F; before, after: D_i^-(b + c), and D_i^b by -1 / C_jj; own: D_i^-c, in place of what C_jj gives."""
        graph, n = self.graph.to("cpu"), self.n_items
        users, items = (degree.double() for degree in graph.degrees())
        of_user, of_item, of_row = self.powers.values()
        weight = graph.weight
        if of_user or of_item:
            of_edge = row_of_each_edge(graph.user_degree), graph.indices.long()
            scale = power(users, -of_user)[of_edge[0]] * power(items, -of_item)[of_edge[1]]
            weight = (scale if weight is None else scale * weight).float()
        neighbours = self.neighbours if self.density is None else math.ceil(self.density * n) - 1
        factor = inverse_factor((graph.indptr, graph.indices, weight), n, self.reg, neighbours, self.candidates)
        diagonal = np.bincount(factor[1].numpy(), factor[2].double().square_().numpy(), n)
        state = dict(zip(_FACTOR, factor, strict=True))
        state["before"] = power(items, -of_item - of_row).float()
        state["after"] = (power(items, of_item) / -torch.from_numpy(diagonal)).float()
        state["own"] = power(items, -of_row).float()
        check_finite("SparseEASE", state, {"reg": self.reg, **self.powers})
        return {name: t.to(self.graph.device) for name, t in state.items()}

    def _check(self, state: State) -> None:
        n = self.n_items
        rows: dict[str, Spec] = {
            "indptr": ("int64", (n + 1,)),
            "indices": ("int32", ("e",)),
            "values": ("float32", ("e",)),
        }
        check_arrays(state, rows | {name: ("float32", (n,)) for name in _SCALES})
        check_csr("factor's", state["indptr"].numpy(), state["indices"].numpy(), n)

    def _factor(self, suffix: str = "") -> Factor:
        indptr, indices, values = (self.get_buffer(name + suffix).cpu() for name in _FACTOR)
        return indptr, indices, values

    @torch.no_grad()
    def score_rows(self, edges: Graph) -> Tensor:
        rows = edges.to("cpu")
        scores = self._through((rows.indptr, rows.indices, rows.weight))
        if self.feedback and self.feedback_weight:
            scores = self._through(self._with_guesses(rows, scores))
        return scores.to(edges.device)

    def _through(self, asked: Csr) -> Tensor:
        scales = [self.get_buffer(name).cpu() for name in _SCALES]
        return factor_scores(asked, self._factor(), self._factor("_t"), *scales)

    def _with_guesses(self, rows: Graph, scores: Tensor) -> Csr:
        """The rows, and behind what each has the best that it has not, weighed by their scores."""
        most = max(1, min(self.feedback, self.n_items))
        ids, values = topk(rows, scores, most, users=torch.arange(rows.n_users, device="cpu"))
        guessed = values > 0
        added = torch.nn.functional.pad(guessed.sum(1).cumsum(0), (1, 0))
        indptr = rows.indptr + added
        own = torch.arange(len(rows.indices), device="cpu") + added[row_of_each_edge(rows.user_degree)]
        new = torch.ones(int(indptr[-1]), dtype=torch.bool, device="cpu").index_fill_(0, own, False)
        indices, weight = torch.empty(len(new), dtype=torch.int32, device="cpu"), torch.ones(len(new), device="cpu")
        indices[own], indices[new] = rows.indices, ids[guessed].int()
        weight[new] = self.feedback_weight * values[guessed]
        if rows.weight is not None:
            weight[own] = rows.weight.float()
        return indptr, indices, weight
