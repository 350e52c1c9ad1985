"""Models of items alone, made as a user makes them, beside the library implicit and the forms that RecBole and published reproductions have."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastgcn_rec import EASE, Graph, ItemKNN

from .harness import Comparison, Contender, Settings, on_first_call

NEIGHBOURS, REG = 100, 200.0
MOST_ITEMS = 12_000  # of a dense inverse that is compared
_AT_ONCE = 100  # columns, as RecBole has them
Matrix = NDArray[np.float32]


def _recbole_knn(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """RecBole's ComputeSimilarity: cosines by blocks of dense columns, the best of each by a partition."""
    n = matrix.shape[1]
    lengths = np.sqrt(np.asarray(matrix.power(2).sum(0)).ravel())
    rows: list[Matrix] = []
    values: list[Matrix] = []
    for start in range(0, n, _AT_ONCE):
        block = matrix.T.dot(matrix[:, start : start + _AT_ONCE].toarray())
        for at in range(block.shape[1]):
            column = block[:, at]
            column[start + at] = 0
            column = column / (lengths[start + at] * lengths + 1e-6)
            best = (-column).argpartition(min(NEIGHBOURS, n - 1) - 1)[:NEIGHBOURS]
            best = best[np.argsort(-column[best])]
            rows.append(best)
            values.append(column[best])
    pointer = np.arange(n + 1) * len(rows[0])
    return sp.csr_matrix((np.concatenate(values), np.concatenate(rows), pointer), shape=(n, n))


def _recbole_ease(matrix: sp.csr_matrix) -> Matrix:
    gram = (matrix.T @ matrix).toarray()
    gram[np.diag_indices(len(gram))] += REG
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices(len(gram))] = 0
    return weights


def _implicit(matrix: sp.csr_matrix, similarity: str) -> Callable[[], object]:
    from implicit import nearest_neighbours

    kind = {"cosine": "CosineRecommender", "tfidf": "TFIDFRecommender", "bm25": "BM25Recommender"}[similarity]

    def run() -> None:
        model = getattr(nearest_neighbours, kind)(K=NEIGHBOURS, num_threads=torch.get_num_threads())
        model.fit(matrix, show_progress=False)

    return run


def _own_threads(run: Callable[[], object]) -> Callable[[], object]:
    """NumPy's BLAS by as many threads as ours."""

    def limited() -> object:
        with threadpool_limits(torch.get_num_threads(), "blas"):
            return run()

    return limited


def _knn_gate(graph: Graph, matrix: sp.csr_matrix) -> None:
    """Each item's best similarities are those of the plain form, some of whose ties have others' places. The tests hold the other similarities to implicit's."""
    own, plain = ItemKNN(graph, NEIGHBOURS).matrix().T.tocsr(), _recbole_knn(matrix)
    for item in np.flatnonzero(np.diff(own.indptr) == NEIGHBOURS)[:200]:
        found, expected = (np.sort(m.data[m.indptr[item] : m.indptr[item + 1]]) for m in (own, plain))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def _ease_gate(graph: Graph, matrix: sp.csr_matrix) -> None:
    torch.testing.assert_close(EASE(graph, REG).weights, torch.from_numpy(_recbole_ease(matrix)), rtol=1e-2, atol=1e-4)


def comparisons(settings: Settings) -> Iterator[Comparison]:
    if settings.device.type != "cpu":
        return
    graph = settings.dataset.graph()
    matrix = sp.csr_matrix(graph.to_scipy()).astype(np.float32)
    for similarity in ("cosine", "tfidf", "bm25"):
        contenders = [
            Contender("ours", lambda kind=similarity: ItemKNN(graph, NEIGHBOURS, kind)),
            Contender("implicit", on_first_call(lambda kind=similarity: _implicit(matrix, kind))),
        ]
        if similarity == "cosine":
            contenders.append(Contender("RecBole's form", lambda: _recbole_knn(matrix)))
        yield Comparison(
            f"item_item/{similarity}, {NEIGHBOURS} neighbours", contenders, lambda: _knn_gate(graph, matrix)
        )
    if graph.n_items <= MOST_ITEMS:
        contenders = [
            Contender("ours", lambda: EASE(graph, REG)),
            Contender("ours, float32", lambda: EASE(graph, REG, precision="float32")),
            Contender("RecBole's form", _own_threads(lambda: _recbole_ease(matrix))),
        ]
        yield Comparison(f"item_item/EASE, {graph.n_items} items", contenders, lambda: _ease_gate(graph, matrix))
