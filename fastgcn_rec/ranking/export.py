"""Files for other programs: recommendations for many users, block by block, and vectors with their ids."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.arguments import check_count, check_flag
from ..core.ids import is_text
from ..core.world import World
from ..system.files import check_target, write_atomically
from ..system.progress import progress_bar
from .filters import Filter
from .rank import as_ranker
from .ranker import Ranker
from .rounds import Rounds
from .shared import world_of
from .user_blocks import user_blocks
from .writers import FORMATS, SUFFIXES, Columns, Lists, Whole, check_utf8, pyarrow, suffix_of, write_tables, writer_of

Tensor = torch.Tensor
_VECTOR_SUFFIXES = (".npz", ".parquet")
_MOST_UNICODE = 1 << 30  # bytes of ids in an .npz


def write_recommendations(
    model: Any,
    path: str | os.PathLike[str] | IO[bytes],
    users: Any = None,
    k: int = 20,
    *,
    exclude_seen: bool = True,
    items: Any = None,
    exclude: Any = None,
    columns: Mapping[str, Any] | None = None,
    format: Literal["csv", "jsonl", "parquet"] | None = None,
    block_users: int = 4096,
    progress: bool = True,
    world: World | None = None,
) -> int:
    """Writes the k best items of each user to a file, or into an open one, and returns the number of recommendations.

    Users are taken in blocks in the given order, each written before the next is made, so that the memory does not grow with their number. A file is
    there whole or not at all; an open one gets block after block, flushed.

    - CSV and Parquet: a row a recommendation, with the columns user, rank (from 1), item (raw ids) and score (float32)
    - JSON lines: a line a user, ``{"user": ..., "items": [...], "scores": [...]}``; null for an infinite score, which JSON has no number for

    Parameters
    ----------
    model : Recommender, or anything that :func:`fastgcn_rec.ranking.as_ranker` takes
    path : path, or a file that is open for writing bytes, such as ``sys.stdout.buffer``
        A suffix decides the format: .csv, .jsonl, both with .gz behind them if they are to be compressed, .parquet (needs pyarrow).
    users : raw user ids, or None for all; or a stream of users in any number
        An iterator of ids or of lists of them, or an open text or binary file with an id a line: read block by block, as long as it gives some.
    k, exclude_seen : as for :meth:`Recommender.recommend`
    items, exclude : as there, for all users; of a stream raw ids for all, or Edges
    columns : from names to arrays [n_items] by internal item ids, such as ``{"title": data.item_info["title"]}``: what is said of each item behind its score
    format : "csv", "jsonl" or "parquet", for an open file
    block_users : int >= 1
    progress : a bar
    world : World, optional
        The ranks that share the blocks out, such as ``World.current()``: all call this with the same model and arguments, rank 0 reads the stream of users
        and writes, byte for byte what one process does, and all get the number. Default: those that share the model out by columns, or this process alone.

    Raises
    ------
    ValueError : another suffix; unknown users; an id with half of a surrogate pair, which UTF-8 does not have; columns of another length or name.
        TypeError : a text file. OSError : ``path`` is a folder or cannot be written. ImportError : pyarrow is missing. All of these before anything is
        ranked, but for what a stream gives.

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
    who = "write_recommendations"
    if isinstance(path, str | os.PathLike):
        name, write = Path(path).name, writer_of(suffix_of(Path(path), SUFFIXES))
        if format is not None:
            raise ValueError(f"{who}: format is for open files, that of {name} comes from its suffix; leave it out")
    else:
        name, write = _open_name(path, who, format), writer_of(str(format))
    block_users, k = check_count(block_users, f"{who}: block_users", 1), check_count(k, f"{who}: k", 1)
    model = as_ranker(model, who=who)
    if check_flag(exclude_seen, f"{who}: exclude_seen"):
        model.graph_for(who)
    of_items = {"item": model.item_ids, **_columns(columns, model.n_items, who)}
    for column_name, column in of_items.items():
        check_utf8(column, "item id" if column_name == "item" else column_name, name)
    world = world_of(model, world, who)
    blocks, n_users = user_blocks(model, users, items, exclude, block_users, who, name, world)
    asked = "a stream" if n_users is None else n_users
    world.agree(who, model=type(model).__name__, k=k, exclude_seen=exclude_seen, block_users=block_users, users=asked)

    def places(of: Ranker, rows: Tensor, wanted: Filter) -> tuple[Tensor, NDArray[np.float32]]:
        return of.places(rows, k, exclude_seen, wanted, who)

    rounds = Rounds(world, model, blocks, max(1, min(k, model.n_items)), places)
    count = 0

    def lists() -> Iterator[Lists]:
        nonlocal count
        with progress_bar(n_users, "user", name, shown=progress) as bar:
            for rows, ids, scores in rounds:
                block = Lists(model.user_ids[rows.cpu().numpy()], ids, scores, of_items)
                count += int((block.ids >= 0).sum())
                yield block
                bar.update(len(rows))

    if isinstance(path, str | os.PathLike):
        rounds.written(lambda: write_atomically(path, lambda file: write(file, lists())))
    else:
        file: Any = Whole(path) if isinstance(path, io.RawIOBase) else path
        rounds.written(lambda: write(file, lists()))
    return int(world.of_first(count))


def _open_name(file: Any, who: str, format: str | None) -> str:
    if isinstance(file, io.TextIOBase):
        raise TypeError(
            f"{who}: an open file must take bytes, got a text file; open it in mode 'wb', or pass its .buffer"
        )
    if not hasattr(file, "write"):
        raise TypeError(f"{who}: path must be a path or a file that is open for writing bytes, got {file!r:.80}")
    if format not in FORMATS:
        raise ValueError(f"{who}: format must be one of {tuple(FORMATS)} for an open file, got {format!r}")
    return str(getattr(file, "name", type(file).__name__))


def _columns(given: Mapping[str, Any] | None, n_items: int, who: str) -> Columns:
    if not isinstance(given, Mapping | None) or not all(isinstance(name, str) for name in given or ()):
        raise TypeError(f"{who}: columns must map names to arrays [n_items], got {given!r:.80}")
    columns = {name: np.asarray(column) for name, column in (given or {}).items()}
    for name, column in columns.items():
        if name in ("user", "rank", "item", "score", "items", "scores"):
            raise ValueError(f"{who}: columns has {name!r}, which is a column of the lists; name it otherwise")
        if column.shape != (n_items,):
            raise ValueError(
                f"{who}: columns[{name!r}] must have shape [n_items] = [{n_items}], by internal item ids, got {list(column.shape)}"
            )
        if column.dtype.kind in "cSV":
            raise TypeError(
                f"{who}: columns[{name!r}] must be numbers, texts or dates, got dtype {column.dtype}; convert it with .astype(str)"
            )
    return columns


def write_vectors(model: Any, path: str | os.PathLike[str], side: Literal["items", "users"] = "items") -> int:
    """Writes the vectors of one side, whose inner products are the scores, with their raw ids, and returns their number.

    Where ranks share the model out by columns, all call it, and rank 0 writes.

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
    suffix_of(path, _VECTOR_SUFFIXES)
    if side not in ("items", "users"):
        raise ValueError(f"write_vectors: side must be 'items' or 'users', got {side!r}")
    check_target(path)
    model = as_ranker(model, who="write_vectors")
    if model.vectors() is None:
        raise TypeError(f"write_vectors: {type(model).__name__} does not score by vectors")
    users, items = model.scoring_vectors()
    vectors, ids = (items, model.item_ids) if side == "items" else (users, model.user_ids)
    world = world_of(model, None, "write_vectors")
    with world.together():
        if world.first:
            _write_table(path, np.ascontiguousarray(vectors.cpu().numpy()), ids, f"{side.removesuffix('s')} id")
    return len(vectors)


def _write_table(path: Path, table: NDArray[np.float32], ids: NDArray[Any], name: str) -> None:
    if path.suffix == ".npz":
        ids = _unicode(ids, path) if is_text(ids) else ids
        write_atomically(path, lambda file: np.savez(file, allow_pickle=False, ids=ids, vectors=table))
        return
    check_utf8(ids, name, str(path))
    arrow = pyarrow()
    lists = arrow.FixedSizeListArray.from_arrays(arrow.array(table.ravel()), table.shape[1])
    write_atomically(path, lambda file: write_tables(file, iter([{"id": ids, "vector": lists}])))


def _unicode(ids: NDArray[Any], path: Path) -> NDArray[Any]:
    """Texts as NumPy reads them without pickle: each as wide as the longest."""
    texts = ids.tolist()
    if any(text.endswith("\0") for text in texts):
        raise ValueError(f"{path}: an .npz drops the NUL at the end of an id; take a .parquet file")
    size = 4 * max(map(len, texts), default=0) * len(texts)
    if size > _MOST_UNICODE:
        raise ValueError(f"{path}: ids as wide as the longest take {size >> 20} MiB in an .npz; take a .parquet file")
    return np.array(texts, np.str_)
