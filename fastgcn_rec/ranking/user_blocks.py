"""Users in any number, some at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.ids import as_ids, is_text
from ..core.world import World
from .asked import is_list
from .filters import Filter
from .ranker import Ranker
from .writers import check_utf8

Blocks = Iterator[tuple[torch.Tensor, Filter]]
"""(Internal user ids [b], what may stand in their lists)."""


def user_blocks(
    model: Ranker, users: Any, items: Any, exclude: Any, size: int, who: str, where: str, world: World
) -> tuple[Blocks, int | None]:
    """(``size`` users at a time, how many there are, None for a stream); where there is nobody, one empty block.

    ``users`` and errors: :func:`fastgcn_rec.write_recommendations`; ``where`` is what ids that UTF-8 does not have are refused for. Of a stream rank 0
    reads, and all ranks get what it has read.
    """

    def internal(rows: NDArray[np.int64]) -> torch.Tensor:
        check_utf8(model.user_ids[rows], "user id", where)
        return model.on_device(rows)

    if hasattr(users, "readline") or isinstance(users, Iterator):
        nobody = model.on_device(np.zeros(0, np.int64))
        wanted = model.wanted(f"{who}, of a stream of users", nobody, items, exclude, stream=True)
        streamed = (
            internal(model.user_rows(ids)) for ids in _of_first(world, _chunks(_ids_of(users, model.user_ids), size))
        )
        return ((rows, wanted.of_users(rows)) for rows in streamed), None
    rows = internal(np.arange(model.n_users) if users is None else model.user_rows(users))
    wanted = model.wanted(who, rows, items, exclude)
    parts = (slice(first, min(first + size, len(rows))) for first in range(0, max(len(rows), 1), size))
    return ((rows[part], wanted.part(part)) for part in parts), len(rows)


def _of_first(world: World, chunks: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """What rank 0's iterator gives."""
    while True:
        with world.together():
            some = next(chunks, None) if world.first else None
        some = world.of_first(some)
        if some is None:
            return
        yield some


def _chunks(ids: Iterator[Any], size: int) -> Iterator[NDArray[Any]]:
    for number in itertools.count():
        some = list(itertools.islice(ids, size))
        if some or not number:
            yield as_ids(some, "users")
        if len(some) < size:
            return


def _ids_of(stream: Any, known: NDArray[Any]) -> Iterator[Any]:
    """One by one: the lines of a file, or what an iterator gives."""
    if not hasattr(stream, "readline"):
        for given in stream:
            yield from as_ids(given, "users") if is_list(given) else (given,)
        return
    for number, line in enumerate(stream, 1):
        text = _decoded(line, number).rstrip("\r\n")
        if not text.strip():
            continue
        if is_text(known):
            yield text
            continue
        try:
            yield int(text)
        except ValueError:
            raise ValueError(
                f"users: line {number} must be a user id, an integer as the model's are, got {text[:40]!r}"
            ) from None


def _decoded(line: str | bytes, number: int) -> str:
    try:
        return line if isinstance(line, str) else line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise ValueError(
            f"users: line {number} must be UTF-8, got {line[:40]!r}; open the file as text in its own encoding"
        ) from None
