"""Files for other programs: recommendations for many users, block by block, and vectors with their ids."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.arguments import check_count
from ..core.ids import is_text
from ..system.files import check_target, write_atomically
from ..system.progress import progress_bar
from .rank import as_ranker

Columns = dict[str, Any]  # NumPy arrays, or pyarrow's
_SUFFIXES = (".csv", ".parquet")
_VECTOR_SUFFIXES = (".npz", ".parquet")
_MOST_UNICODE = 1 << 30  # bytes of ids in an .npz


def write_recommendations(
    model: Any,
    path: str | os.PathLike[str],
    users: Any = None,
    k: int = 20,
    *,
    exclude_seen: bool = True,
    block_users: int = 4096,
    progress: bool = True,
) -> int:
    """Writes the k best items of each user to a .csv or .parquet file and returns the number of rows.

    A row a recommendation, users in the given order, ranks from 1: the columns user, rank, item (raw ids) and score (float32). Users
    are taken in blocks, each written before the next is made, so that the memory does not grow with their number; the file is
    there whole or not at all.

    Parameters
    ----------
    model : Recommender, or anything that :func:`fastgcn_rec.ranking.as_ranker` takes
    path : path
        Its suffix decides the format; .parquet needs pyarrow.
    users : raw user ids, or None for all
    k, exclude_seen : as for :meth:`Recommender.recommend`
    block_users : int >= 1
    progress : a bar

    Raises
    ------
    ValueError : another suffix; unknown users; an id with half of a surrogate pair, which UTF-8 does not have. OSError : ``path`` is a folder or cannot be written. ImportError : pyarrow is missing. All of these
        before anything is ranked.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastgcn_rec import Graph, Popularity
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "recs.csv"
    >>> write_recommendations(Popularity(Graph.from_edges([0, 1], [0, 1])), path, k=1, progress=False)
    2
    >>> path.read_text().splitlines()
    ['user,rank,item,score', '0,1,1,1.0', '1,1,0,1.0']
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"{path}: the suffix must be one of {', '.join(_SUFFIXES)}, got {path.suffix!r}")
    block_users = check_count(block_users, "write_recommendations: block_users", 1)
    k = check_count(k, "write_recommendations: k", 1)
    model = as_ranker(model, who="write_recommendations")
    if exclude_seen:
        model.graph_for("write_recommendations")
    users = model.user_ids if users is None else model.user_ids[model.user_rows(users)]
    for name, ids in (("user", users), ("item", model.item_ids)):
        _check_utf8(ids, name, path)
    writer = _parquet_writer() if path.suffix == ".parquet" else _write_csv
    count = 0

    def blocks() -> Iterator[Columns]:
        nonlocal count
        with progress_bar(len(users), "user", path.name, shown=progress) as bar:
            for begin in range(
                0, max(len(users), 1), block_users
            ):  # no users: one empty block, which names the columns
                block = users[begin : begin + block_users]
                ids, scores = model.recommend(block, k, exclude_seen)
                row, rank = np.nonzero(scores > -np.inf)
                count += len(row)
                yield {"user": block[row], "rank": rank + 1, "item": ids[row, rank], "score": scores[row, rank]}
                bar.update(len(block))

    write_atomically(path, lambda file: writer(file, blocks()))
    return count


def write_vectors(model: Any, path: str | os.PathLike[str], side: Literal["items", "users"] = "items") -> int:
    """Writes the vectors of one side, whose inner products are the scores, with their raw ids, and returns their number.

    What an index of any library takes: hnswlib's ``add_items(vectors)`` labels by position, and ``ids`` is the map from there. The
    file is there whole or not at all.

    Parameters
    ----------
    model : Recommender with vectors, such as MF, LightGCN, or anything with vectors that :func:`fastgcn_rec.ranking.as_ranker` takes
    path : path
        .npz: the arrays "vectors" float32 [n, dim] and "ids" int64 or unicode [n], read by ``numpy.load``; .parquet (needs pyarrow): a row a
        vector, the columns id and vector (a fixed-size list of float32).
    side : "items" or "users"

    Raises
    ------
    ValueError : another suffix or side; texts as ids that an .npz cannot hold. TypeError : a model that does not score by vectors.
        OSError : ``path`` is a folder or cannot be written. ImportError : pyarrow is missing.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastgcn_rec import MF, Graph
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "items.npz"
    >>> write_vectors(MF(Graph.from_edges([0, 1], [0, 2]), 8), path)
    3
    >>> np.load(path)["vectors"].shape
    (3, 8)
    """
    path = Path(path)
    if path.suffix not in _VECTOR_SUFFIXES:
        raise ValueError(f"{path}: the suffix must be one of {', '.join(_VECTOR_SUFFIXES)}, got {path.suffix!r}")
    if side not in ("items", "users"):
        raise ValueError(f"write_vectors: side must be 'items' or 'users', got {side!r}")
    check_target(path)
    model = as_ranker(model, who="write_vectors")
    if model.vectors() is None:
        raise TypeError(f"write_vectors: {type(model).__name__} does not score by vectors")
    users, items = model.scoring_vectors()
    vectors, ids = (items, model.item_ids) if side == "items" else (users, model.user_ids)
    table = np.ascontiguousarray(vectors.cpu().numpy())
    if path.suffix == ".npz":
        ids = _unicode(ids, path) if is_text(ids) else ids
        write_atomically(path, lambda file: np.savez(file, allow_pickle=False, ids=ids, vectors=table))
        return len(table)
    _check_utf8(ids, side.removesuffix("s"), path)
    pyarrow, writer = _pyarrow(), _parquet_writer()
    lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(table.ravel()), table.shape[1])
    write_atomically(path, lambda file: writer(file, iter([{"id": ids, "vector": lists}])))
    return len(table)


def _check_utf8(ids: NDArray[Any], name: str, path: Path) -> None:
    if not is_text(ids):
        return
    for text in ids.tolist():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{path}: the {name} id {text!a} holds half of a surrogate pair, which a {path.suffix} file, of UTF-8, cannot; name it otherwise"
            ) from None


def _unicode(ids: NDArray[Any], path: Path) -> NDArray[Any]:
    """Texts as NumPy reads them without pickle: each as wide as the longest."""
    texts = ids.tolist()
    if any(text.endswith("\0") for text in texts):
        raise ValueError(f"{path}: an .npz drops the NUL at the end of an id; take a .parquet file")
    size = 4 * max(map(len, texts), default=0) * len(texts)
    if size > _MOST_UNICODE:
        raise ValueError(f"{path}: ids as wide as the longest take {size >> 20} MiB in an .npz; take a .parquet file")
    return np.array(texts, np.str_)


def _write_csv(file: IO[bytes], blocks: Iterator[Columns]) -> None:
    import csv
    import io

    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)

    class Lines:
        @staticmethod
        def write(row: str) -> None:
            text.write(row.removesuffix("\r\n") + "\n")

    rows = csv.writer(Lines, lineterminator="\r\n")  # before Python 3.13 it quotes a CR only if lines end so
    for number, columns in enumerate(blocks):
        if number == 0:
            rows.writerow(columns)
        scores = [f"{score}" for score in columns.pop("score")]  # float32's shortest text, not float64's
        rows.writerows(zip(*(column.tolist() for column in columns.values()), scores, strict=True))
    text.detach()


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            "a .parquet file needs pyarrow: pip install 'fastgcn_rec[parquet]', or write a .csv or .npz"
        ) from None
    return pyarrow


def _parquet_writer() -> Callable[[IO[bytes], Iterator[Columns]], None]:
    pyarrow = _pyarrow()

    def write(file: IO[bytes], blocks: Iterator[Columns]) -> None:
        first = table(next(blocks))
        with pyarrow.parquet.ParquetWriter(file, first.schema) as writer:
            writer.write_table(first)
            for columns in blocks:
                writer.write_table(table(columns))

    def table(columns: Columns) -> Any:
        return pyarrow.table({name: typed(column) for name, column in columns.items()})

    def typed(column: Any) -> Any:  # no texts would be of no type
        texts = isinstance(column, np.ndarray) and is_text(column)
        return pyarrow.array(column.tolist(), pyarrow.string()) if texts else column

    return write
