"""Nearest vectors by inner product: exactly, or approximately through FAISS."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from ..core.arguments import check_count
from ..core.graph import Graph
from ..core.ids import IdIndex, among, as_ids, check_kind, ids_at
from ..core.ties import tie_key
from ..ops.retrieve import retrieve
from ..system.archives import load_arrays, refusing, save_arrays
from ..system.contents import Spec, check_arrays, check_distinct, check_keys
from .matrices import as_matrix, distinct_ids

Kind = Literal["exact", "faiss"]
KINDS = ("exact", "faiss")
Floats = NDArray[np.float32]


class Index:
    """Vectors under raw ids, searched for the largest inner product; made by :meth:`build`.

    Attributes
    ----------
    vectors : float32 [n, dim]; ids : int64, or str (dtype object) [n]; kind : "exact" or "faiss"
    factory, effort : of :meth:`build`

    Examples
    --------
    >>> index = Index.build([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], ids=["a", "b", "c"])
    >>> index.search([[2.0, 1.0]], k=2)[0].tolist()
    [['c', 'a']]
    >>> index.search([[2.0, 1.0]], k=2, exclude=[["c"]])[0].tolist()
    [['a', 'b']]
    """

    def __init__(
        self, vectors: Floats, ids: NDArray[Any], kind: Kind, factory: str = "", effort: int = 1, ann: Any = None
    ) -> None:
        self.vectors, self.ids, self.kind, self.factory, self.effort, self._ann = (
            vectors,
            ids,
            kind,
            factory,
            effort,
            ann,
        )
        self._index = IdIndex.of(ids)

    @classmethod
    def build(
        cls, vectors: Any, kind: Kind = "exact", *, ids: Any = None, factory: str = "HNSW32,Flat", effort: int = 128
    ) -> Index:
        """An index of ``vectors`` [n, dim], numbers or a tensor, such as ``model.scoring_vectors()[1]`` with ``ids=model.item_ids``.

        Parameters
        ----------
        kind : "exact", every inner product is computed; "faiss", an approximate index (needs faiss: the extra "ann")
        ids : raw ids [n], distinct; default 0, 1, ...
        factory : FAISS's description of the index (faiss.index_factory), by inner product
        effort : int >= 1
            How much a search looks at: of a graph (HNSW) the candidates held while building and, at least, while searching (efConstruction,
            efSearch); of cells (IVF) how many are searched (nprobe), at most all. So for the parts of a composed index.

        Raises
        ------
        ValueError, TypeError : for shapes, ids, a value that is not finite, the kind, or what FAISS makes no index of, with its reason.
        ImportError : faiss is missing.
        """
        if kind not in KINDS:
            raise ValueError(f"Index: kind must be one of {KINDS}, got {kind!r}")
        effort = check_count(effort, "Index: effort", 1)
        table = _matrix("vectors", vectors)
        names = np.arange(len(table)) if ids is None else distinct_ids(ids, len(table), "Index", "ids", "vector")
        if kind == "exact":
            return cls(table, names, kind)
        return cls(table, names, kind, factory, effort, _made(table, factory, effort))

    def with_vectors(self, vectors: Any, ids: Any) -> Index:
        """This index with more ``vectors`` [m, dim] under ``ids`` [m], none of which it has, behind its own.

        FAISS adds them to a copy of its index, without training it anew: what it learnt of the first vectors (cells, codes) stays.
        """
        table = _matrix("vectors", vectors, self.vectors.shape[1])
        both = np.concatenate([self.vectors, table])
        added = as_ids(ids, "ids")
        check_kind(added, self.ids, "Index: ids", "ids of the index")
        names = distinct_ids(np.concatenate([self.ids, added]), len(both), "Index", "ids", "vector")
        ann = None
        if self._ann is not None:
            ann = _faiss().clone_index(self._ann)
            if ann.is_trained:
                ann.add(table)
            else:  # it was made of no vectors
                ann = _made(both, self.factory, self.effort)
        return Index(both, names, self.kind, self.factory, self.effort, ann)

    def without(self, ids: Any) -> Index:
        """This index without the vectors under ``ids``; FAISS's is made anew of those that are left. A ValueError names ids that it does not have."""
        kept = np.ones(len(self.ids), bool)
        kept[self._index.rows(as_ids(ids, "ids"), "ids", "ids of the index")] = False
        table = self.vectors[kept]
        ann = None if self._ann is None else _made(table, self.factory, self.effort)
        return Index(table, self.ids[kept], self.kind, self.factory, self.effort, ann)

    def search(self, queries: Any, k: int, exclude: Any = None) -> tuple[NDArray[Any], Floats]:
        """The k vectors with the largest inner product with each query: (raw ids [q, k], inner products [q, k]).

        Score descending, ties as in :func:`fastgcn_rec.topk` by positions. Where fewer than k are left, ids are padded
        with -1 or the empty string and scores with -inf.

        Parameters
        ----------
        queries : [q, dim]
        exclude : q lists of raw ids, or a SciPy sparse matrix [q, n] by positions; what each query is not to find
            It does not shorten a result: an approximate search fetches more until k are left, and a query that still has fewer when
            all that FAISS finds is fetched is answered exactly.

        Raises
        ------
        ValueError : shapes; ids in ``exclude`` that the index does not hold, by name.
        """
        positions, scores = self.positions(queries, k, exclude)
        return ids_at(self.ids, positions), scores

    def positions(
        self, queries: Any, k: int, exclude: Any = None, among: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], Floats]:
        """:meth:`search` with positions in ``vectors`` for ids, -1 where there is none; ``among``: the only positions to be found, ascending, distinct."""
        table = _matrix("queries", queries, self.vectors.shape[1])
        k = check_count(k, "Index: k", 1)
        seen = self._excluded(exclude, len(table))
        return (self._exact if self.kind == "exact" else self._approximate)(table, k, seen, among)

    def recall(self, queries: Any, k: int, exclude: Any = None) -> float:
        """The mean share of the exact k best that :meth:`search` finds; 1 for kind "exact"."""
        table = _matrix("queries", queries, self.vectors.shape[1])
        found, _ = self.search(table, k, exclude)
        wanted, scores = Index(self.vectors, self.ids, "exact").search(table, k, exclude)
        shares = [
            np.isin(w[s > -np.inf], f).mean() for w, s, f in zip(wanted, scores, found, strict=True) if s[0] > -np.inf
        ]
        return float(np.mean(shares)) if shares else float("nan")

    def save(self, path: str | os.PathLike[str] | IO[bytes]) -> None:
        """Writes vectors, ids and FAISS's index to an .npz (no pickle), whole or not at all; or to a binary file that is open for writing."""
        arrays: dict[str, NDArray[Any]] = {"vectors": self.vectors, "ids": self.ids}
        if self._ann is not None:
            arrays["ann"] = _faiss().serialize_index(self._ann)
        meta = {"index": self.kind, "factory": self.factory, "effort": self.effort}
        save_arrays(path, {"kind": "index", "format": 1, **meta}, arrays)

    @staticmethod
    def load(path: str | os.PathLike[str] | IO[bytes]) -> Index:
        """The index that :meth:`save` wrote. FAISS reads its part: load files of a source you trust.

        Raises
        ------
        ValueError : naming the file; it is damaged or changed, or not an index's. OSError : it is missing or cannot be read.
        """
        meta, arrays = load_arrays(path, "index")
        with refusing(path):
            check_keys(meta, index=str, factory=str, effort=int)
            if meta["index"] not in KINDS:
                raise ValueError(f"its kind of index must be one of {KINDS}, got {meta['index']!r}")
            expected: dict[str, Spec] = {"vectors": ("float32", ("n", "dim")), "ids": ("ids", ("n",))}
            if meta["index"] == "faiss":
                expected["ann"] = "uint8", ("bytes",)
            check_arrays(arrays, expected)
            check_distinct("ids", arrays["ids"])
            vectors = _matrix("vectors", arrays["vectors"])
            ann = _faiss().deserialize_index(arrays["ann"]) if "ann" in arrays else None
            if ann is not None and (ann.ntotal, ann.d) != vectors.shape:
                raise ValueError(
                    f"its index is of {ann.ntotal} vectors of dimension {ann.d}, not {list(vectors.shape)}"
                )
            return Index(vectors, arrays["ids"], meta["index"], meta["factory"], meta["effort"], ann)

    # --- the searches -------------------------------------------------------------------------------------------------

    def _exact(
        self, table: Floats, k: int, seen: Graph, wanted: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], Floats]:
        found = retrieve(torch.from_numpy(table), torch.from_numpy(self.vectors), k, seen, items_subset=wanted)
        return found.ids.numpy(), found.scores.numpy()

    def _approximate(
        self, table: Floats, k: int, seen: Graph, wanted: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], Floats]:
        positions, scores = np.full((len(table), k), -1), np.full((len(table), k), -np.inf, np.float32)
        n, own = len(self.vectors), seen.user_degree.numpy()
        may, n_wanted = np.ones(n, bool), n
        if wanted is not None:
            may, n_wanted = np.isin(np.arange(n), wanted), len(wanted)
            rows, columns = seen.edges()
            own = np.bincount(rows.numpy()[may[columns.numpy()]], minlength=len(table))
        enough = np.minimum(k, n_wanted - own)
        open_rows = np.flatnonzero(enough > 0)
        fetch = 2 * k
        while len(open_rows):
            fetch = min(fetch, n)
            found_scores, found = self._fetch(table[open_rows], fetch)
            keep = (found >= 0) & may[found] & ~_is_edge(seen, open_rows, found)
            place = keep.cumsum(1) - 1
            row, column = np.nonzero(keep & (place < k))
            at = open_rows[row], place[row, column]
            positions[open_rows], scores[open_rows] = -1, -np.inf
            positions[at], scores[at] = found[row, column], found_scores[row, column]
            open_rows = open_rows[np.minimum(keep.sum(1), k) < enough[open_rows]]
            if fetch == n:
                break
            fetch *= 2
        if len(open_rows):
            part = seen.to_scipy()[open_rows]
            positions[open_rows], scores[open_rows] = self._exact(table[open_rows], k, Graph(part), wanted)
        return positions, scores

    def _fetch(self, table: Floats, fetch: int) -> tuple[Floats, NDArray[np.int64]]:
        few = hasattr(self._ann, "hnsw") and self._ann.hnsw.efSearch < fetch
        params = _faiss().SearchParametersHNSW(efSearch=fetch) if few else None
        scores, found = self._ann.search(table, fetch, params=params)
        order = np.lexsort((tie_key(found), -scores))
        return np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)

    def _excluded(self, exclude: Any, n_queries: int) -> Graph:
        """What each query leaves out, as a graph [queries, vectors]."""
        n = len(self.vectors)
        if exclude is None:
            return Graph.from_edges([], [], n_queries, n)
        if sp.issparse(exclude):
            if exclude.shape != (n_queries, n):
                raise ValueError(f"Index: exclude must have shape [{n_queries}, {n}], got {list(exclude.shape)}")
            return Graph(exclude)
        if not isinstance(exclude, (Sequence, np.ndarray)) or len(exclude) != n_queries:
            size = len(exclude) if hasattr(exclude, "__len__") else type(exclude).__name__
            raise ValueError(f"Index: exclude must be {n_queries} lists of ids, one a query, got {size}")
        flat = as_ids(list(itertools.chain.from_iterable(exclude)), "exclude")
        columns = self._index.rows(flat, "exclude", "ids of the index")
        return Graph.from_edges(np.repeat(np.arange(n_queries), [len(own) for own in exclude]), columns, n_queries, n)


def _is_edge(graph: Graph, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether (rows[b], columns[b, j]) is an edge; bool like columns."""
    indptr, n = graph.indptr.numpy(), graph.n_items
    keys = np.repeat(np.arange(graph.n_users), np.diff(indptr)) * n + graph.indices.numpy()  # sorted
    return among(keys, rows[:, None] * n + columns)


def _matrix(name: str, values: Any, dim: int | None = None) -> Floats:
    table: Floats = as_matrix(values, "Index", name, dim).cpu().contiguous().numpy()
    return table


def _made(table: Floats, factory: str, effort: int) -> Any:
    """FAISS's index of the rows."""
    faiss = _faiss()
    try:
        ann = faiss.index_factory(table.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        for part in _parts(faiss, ann):
            if hasattr(part, "hnsw"):
                part.hnsw.efConstruction = part.hnsw.efSearch = effort
            if hasattr(part, "nprobe"):
                part.nprobe = min(effort, part.nlist)
        if len(table):
            ann.train(table)
            ann.add(table)
    except (RuntimeError, AssertionError) as error:  # FAISS's own, from C++
        reason = re.sub(r"^Error in .* at \S+:\d+: (Error: )?", "", str(error).strip().splitlines()[-1])
        raise ValueError(
            f"Index: FAISS makes no index factory={factory!r} of {len(table)} vectors [{table.shape[1]}]: {reason}; see FAISS's index_factory, or "
            "take kind='exact'"
        ) from error
    return ann


def _parts(faiss: Any, ann: Any) -> Iterator[Any]:
    """An index and those that it is composed of: behind a transform, a map of ids or a refinement, and what finds cells."""
    ann = faiss.downcast_index(ann)
    yield ann
    for name in ("index", "base_index", "quantizer"):
        inner = getattr(ann, name, None)
        if inner is not None:
            yield from _parts(faiss, inner)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise ImportError("kind='faiss' needs faiss: pip install 'fastgcn_rec[ann]', or take kind='exact'") from None
    return faiss
