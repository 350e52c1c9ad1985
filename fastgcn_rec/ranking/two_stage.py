"""Two stages: a model picks candidates from the whole catalogue, a ranker of any kind orders them by more than their score."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.arguments import as_floats, check_count, check_flag
from ..core.elementwise import in_pieces
from ..core.graph import Graph
from ..core.grown import with_edges
from ..core.ids import among, pair_keys
from ..data import Dataset, Edges
from ..ops.ppr import ppr
from .evaluate import evaluate
from .filters import Filter
from .protocols import Lists
from .rank import as_ranker
from .ranker import Ranker
from .same_data import check_same_data, edge_keys

Tensor = torch.Tensor
_AT_ONCE = 256  # users


class Training(NamedTuple):
    """What the ranker was trained on: rows (candidates of users with a label), how many are labels, and what share of the labels are candidates."""

    n_rows: int
    n_positives: int
    label_recall: float


class TwoStage(Ranker):
    """Candidates by one model, their order by a ranker trained on edges that this model has not seen.

    Parameters
    ----------
    candidates : Recommender, or Indexed for one that is searched through an :class:`Index`
        Or anything else that :func:`fastgcn_rec.ranking.as_ranker` takes, with the graph that it was trained on, such as :class:`fastgcn_rec.Vectors`.
        Trained on a part of train: the edges of ``dataset.train`` that are not in ``candidates.graph`` are the ranker's labels, so that no
        feature of the ranker's training has seen them.
    ranker : any object with ``fit(X, y)`` and ``predict_proba(X)`` or ``predict(X)``
        X float32 [rows, n_features], y int64 [rows] of 0 and 1. ``predict`` returns a score a row, [rows]; of ``predict_proba`` the last
        column is the score. Scores may be infinite, and no NaN.
    serving : Recommender or Indexed, optional
        What gives candidates and features once the ranker is trained, such as the same model trained on all of train. Default: ``candidates``.
    n_candidates : int >= 1
    item_features : array [n_items, F], optional
        By internal item ids, as ``dataset.item_info`` is; numbers, NaN allowed if the ranker takes it.
    use_ppr : bool
        Whether the personalized PageRank of the item from the user is a feature (:func:`ppr`, tolerance 1e-4).
    group : str or None
        The argument of ``ranker.fit`` for the number of rows of every user, which are adjacent (what LightGBM's and XGBoost's rankers call
        ``group``); None: there is none. "auto": ``group`` where ``fit`` has it or takes any keyword (``**options``), "<step>__group" for a
        scikit-learn pipeline whose last step's ``fit`` does, else none.

    Attributes
    ----------
    feature_names : the columns of X
        "score", "rank" (from 1) and "gap" (the user's best score minus this one) of the candidate; "popularity" and "user_degree", log(1 + degree);
        "ppr", log(1e-9 + pi); "item_0", ...
    training : Training, after :meth:`fit`

    Raises
    ------
    TypeError : a ranker without these methods; ``item_features`` that are no numbers. ValueError : models of different sizes or without a graph; a
        shape or a number that cannot be.

    Examples
    --------
    >>> from fastgcn_rec import MF, evaluate, fit
    >>> from fastgcn_rec.data import synthetic_interactions
    >>> class ByPopularity:
    ...     def fit(self, x, y): ...
    ...     def predict(self, x): return x[:, 3]
    >>> data = synthetic_interactions(50, 40, 400)
    >>> part, _ = data.split_valid(0.2)
    >>> model = MF(part, 8)
    >>> _ = fit(model, part, epochs=2, progress=False)
    >>> two = TwoStage(model, ByPopularity(), n_candidates=10).fit(data)
    >>> two.recommend(data.user_ids[:2], k=3)[0].shape
    (2, 3)
    >>> evaluate(two, data.test)["recall@20"] <= two.ceiling(data.test)["recall@10"]
    True
    """

    def __init__(
        self,
        candidates: Any,
        ranker: Any,
        *,
        serving: Any | None = None,
        n_candidates: int = 100,
        item_features: Any = None,
        use_ppr: bool = True,
        group: str | None = "auto",
    ) -> None:
        if not hasattr(ranker, "fit") or not (hasattr(ranker, "predict") or hasattr(ranker, "predict_proba")):
            raise TypeError(
                f"TwoStage: ranker must have fit(X, y) and predict_proba(X) or predict(X), got {type(ranker).__name__}"
            )
        self.candidates, self.ranker = as_ranker(candidates, who="TwoStage"), ranker
        self.n_candidates = check_count(n_candidates, "TwoStage: n_candidates", 1)
        self.serving = self.candidates if serving is None else as_ranker(serving, who="TwoStage")
        candidates = self.candidates
        if (self.serving.n_users, self.serving.n_items) != (candidates.n_users, candidates.n_items):
            raise ValueError(
                f"TwoStage: serving is for {self.serving.n_users} users and {self.serving.n_items} items, candidates for "
                f"{candidates.n_users} and {candidates.n_items}; make both from one data set"
            )
        self.item_features = _item_features(item_features, candidates.n_items)
        self.use_ppr, self.group_argument = check_flag(use_ppr, "TwoStage: use_ppr"), group
        _edges(candidates, "candidates")
        self.graph: Graph = _edges(self.serving, "serving")
        own = self.serving
        self.user_ids, self.item_ids, self.has_raw_ids = own.user_ids, own.item_ids, own.has_raw_ids
        self.training: Training | None = None

    @property
    def feature_names(self) -> list[str]:
        own = ["score", "rank", "gap", "popularity", "user_degree"] + ["ppr"] * self.use_ppr
        return own + [f"item_{n}" for n in range(self.item_features.shape[1])]

    def fit(self, dataset: Dataset) -> TwoStage:
        """Trains the ranker on the candidates of every user with a label; afterwards :attr:`graph` holds all of ``dataset.train``, and what
        ``serving`` was trained on beside.

        The data set's validation part is no label: it stays unseen, so that both stages can be chosen on it (``evaluate(two, data, part="valid")``),
        unless ``serving`` was trained on it by a refit.

        Raises ValueError where the data set is another one than that of ``candidates`` and ``serving`` (other ids, or training edges that it
        lacks), or no label is left.
        """
        model = self.candidates
        for name in ("candidates", "serving"):
            check_same_data("TwoStage", getattr(self, name), dataset, name, part=True)
        graph = _edges(model, "candidates")
        labels = _labels(graph, dataset)
        if not len(labels):
            raise ValueError(
                f"TwoStage: candidates has seen every training edge of {dataset.name}, none is left to train the ranker on; train it on "
                "a part: part, _ = dataset.split_valid(0.1)"
            )
        keys = np.sort(pair_keys(labels.users, labels.items, dataset.n_users, dataset.n_items))
        users = torch.from_numpy(np.unique(labels.users).astype(np.int64)).to(graph.device)
        features, targets, groups = [], [], []
        for block, ids, x in self._blocks(model, graph, users, Filter(graph.n_items)):
            real = ids >= 0
            wanted = block[:, None] * dataset.n_items + ids
            targets.append(among(keys, wanted)[real].astype(np.int64))
            features.append(x[real])
            groups.append(real.sum(1))
        x, y, group = (np.concatenate(parts) for parts in (features, targets, groups))
        argument = _group_argument(self.ranker) if self.group_argument == "auto" else self.group_argument
        self.ranker.fit(x, y, **({} if argument is None else {argument: group[group > 0]}))
        self.training = Training(len(y), int(y.sum()), float(y.sum() / len(keys)))
        serving = _edges(self.serving, "serving").to(graph.device)
        self.graph = with_edges(dataset.graph(graph.device), *serving.edges())
        return self

    def places(
        self, users: Tensor, k: int, exclude_seen: bool, wanted: Filter, who: str
    ) -> tuple[Tensor, NDArray[np.float32]]:
        """The k best of each user's candidates, which are those of the items that may be recommended; equal scores keep the candidates' order. k <=
        n_candidates."""
        k = check_count(k, "TwoStage: k")
        if not 1 <= k <= self.n_candidates:
            raise ValueError(f"TwoStage: k must lie in [1, n_candidates] = [1, {self.n_candidates}], got {k}")
        return super().places(users, k, exclude_seen, wanted, who)

    def ranked(self, seen: Graph | None, users: Tensor, k: int, batch_users: int = _AT_ONCE) -> Lists:
        """(users [b], internal item ids [b, k], the ranker's scores [b, k]) block by block, -1 and -inf beyond the candidates; for
        :func:`fastgcn_rec.evaluate`. Items in ``seen`` are no candidates."""
        return self.filtered(seen, users, k, Filter(self.n_items))

    def filtered(self, seen: Graph | None, users: Tensor, k: int, wanted: Filter) -> Lists:
        """:meth:`ranked`, with candidates among what is ``wanted`` alone."""
        if self.training is None:
            raise RuntimeError("TwoStage: the ranker is not trained; call fit(dataset) first")
        for block, ids, x in self._blocks(self.serving, seen, users, wanted):
            best, values = np.full((len(block), k), -1), np.full((len(block), k), -np.inf, np.float32)
            scores = np.full(ids.shape, -np.inf, np.float32)
            real = ids >= 0
            if real.any():
                scores[real] = self._predicted(x[real])
            order = np.lexsort((-scores, ~real), axis=1)[:, :k]  # stable; padding behind any score
            best[:, : order.shape[1]] = np.take_along_axis(ids, order, 1)
            values[:, : order.shape[1]] = np.take_along_axis(scores, order, 1)
            at = users.device
            yield torch.from_numpy(block).to(at), torch.from_numpy(best).to(at), torch.from_numpy(values)

    def _predicted(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The ranker's scores [rows]."""
        of_classes = hasattr(self.ranker, "predict_proba")
        scores = np.asarray(self.ranker.predict_proba(x) if of_classes else self.ranker.predict(x))
        who = f"TwoStage: {type(self.ranker).__name__}.{'predict_proba' if of_classes else 'predict'}"
        wanted = f"[{len(x)}, classes]" if of_classes else f"[{len(x)}]"
        if (
            scores.ndim != 1 + of_classes
            or len(scores) != len(x)
            or 0 in scores.shape
            or scores.dtype.kind not in "biuf"
        ):
            raise ValueError(
                f"{who} must return numbers {wanted} for {len(x)} rows, got dtype {scores.dtype} and shape {list(scores.shape)}"
            )
        scores = scores[:, -1] if of_classes else scores
        missing = np.isnan(scores)
        if missing.any():
            raise ValueError(
                f"{who} must return no NaN, which has no rank, got {int(missing.sum())} in {len(x)} rows; train the ranker on more rows, or "
                "let it give another number"
            )
        with np.errstate(over="ignore"):  # beyond float32's range lies infinity, which ranks as well
            return scores.astype(np.float32)

    def ceiling(self, test: Edges) -> dict[str, float]:
        """:func:`evaluate` of the candidates at K = n_candidates: "recall@<n_candidates>" is what no order of them can exceed at any K."""
        return evaluate(self.serving, test, self.graph, ks=[self.n_candidates], metrics=("recall",))

    def _blocks(
        self, model: Ranker, seen: Graph | None, users: Tensor, wanted: Filter
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
        """(users [b], candidates [b, m], -1 where there are fewer, features [b, m, F]), m = min(n_candidates, n_items); items in ``seen`` are left out."""
        graph = _edges(model, "serving")
        width = min(self.n_candidates, graph.n_items)
        popularity, degree = (in_pieces(torch.log1p, d.float()) for d in (graph.item_degree, graph.user_degree))
        found = model.filtered(seen, users, width, wanted)
        for block, ids, scores in (
            part for wide in found for part in zip(*(t.split(_AT_ONCE) for t in wide), strict=True)
        ):
            items = ids.clamp_min(0)
            columns = [scores, torch.arange(1.0, width + 1, device=ids.device).expand_as(scores)]
            columns += [scores[:, :1] - scores, popularity[items], degree[block, None].expand_as(scores)]
            if self.use_ppr:
                pi = ppr(graph, block, tol=1e-4).scores[:, graph.n_users :].gather(1, items)
                columns.append(in_pieces(torch.log, 1e-9 + pi))
            own = torch.stack(columns, 2).cpu().numpy()
            internal = ids.cpu().numpy()
            yield block.cpu().numpy(), internal, np.concatenate([own, self.item_features[np.maximum(internal, 0)]], 2)


def _edges(model: Ranker, name: str) -> Graph:
    if model.graph is None:
        raise ValueError(
            f"TwoStage: {name} must know the edges that it was trained on, and this {type(model).__name__} has no graph; pass "
            "fastgcn_rec.ranking.as_ranker(model, graph)"
        )
    return model.graph


def _group_argument(ranker: Any) -> str | None:
    """Which argument of ``ranker.fit`` takes the sizes of the groups, as far as its signature says."""
    steps = getattr(ranker, "steps", None)
    if steps:
        inner = _group_argument(steps[-1][1])
        return None if inner is None else f"{steps[-1][0]}__{inner}"
    parameters = inspect.signature(ranker.fit).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return "group" if takes_any or "group" in parameters else None


def _item_features(given: Any, n_items: int) -> NDArray[np.float32]:
    if given is None:
        return np.zeros((n_items, 0), np.float32)
    features = as_floats(given, "TwoStage: item_features")
    if features.ndim != 2 or len(features) != n_items:
        raise ValueError(
            f"TwoStage: item_features must have shape [n_items, F] = [{n_items}, F], got {list(features.shape)}"
        )
    return features


def _labels(seen: Graph, dataset: Dataset) -> Edges:
    """The training edges that are not in ``seen``."""
    train = dataset.train
    return train.select(~among(edge_keys(seen), pair_keys(train.users, train.items, seen.n_users, seen.n_items)))
