"""Reader of lists: a line a user, its id and those of its items."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.ids import Ints
from ..interactions import Interactions
from .events import existing
from .files import FilePath
from .lines import malformed_line, read_utf8


def read_lists(path: FilePath) -> Interactions:
    """Return the pairs of a file of the LightGCN form, ``uid iid iid ...``; users without items have an id and no event.

    ValueError: a line holds something else than integers below 10**18; the file, the line number and the line are shown.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "train.txt"
    >>> _ = file.write_text("0 7 8\\n1\\n")
    >>> read_lists(file)
    Interactions(2 events, 2 users, 2 items)
    """
    users, items, every = _numbers(existing(path))
    return Interactions.from_raw(users, items, user_ids=np.unique(every))


def _numbers(path: Path) -> tuple[Ints, Ints, Ints]:
    """Return (user of every pair, item of every pair, every user that has a line), all raw ids."""
    text = np.frombuffer(read_utf8(path), np.uint8)
    digit = (text >= 48) & (text <= 57)
    edge = np.diff(np.concatenate(([0], digit.view(np.int8), [0])))
    starts, ends = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)
    length = ends - starts
    newlines = np.flatnonzero((text == 10) | ((text == 13) & (np.append(text[1:], 0) != 10)))  # LF, CR LF, CR
    bad = np.flatnonzero(~(digit | np.isin(text, (9, 10, 13, 32))))
    if bad.size or (length > 18).any():
        at = bad[0] if bad.size else starts[length > 18][0]
        line = int(np.searchsorted(newlines, at))
        begin, end = (newlines[line - 1] + 1 if line else 0), (newlines[line] if line < newlines.size else text.size)
        shown = text[begin:end].tobytes().decode("utf-8", "replace").rstrip("\r")
        raise malformed_line(path, line + 1, shown, "only integers from 0 to 10**18 - 1 and blanks may occur")
    values = np.zeros(starts.size, np.int64)
    for place in range(int(length.max(initial=0))):  # one decimal place of all numbers at a time
        has = length > place
        values[has] += (text[ends[has] - 1 - place].astype(np.int64) - 48) * 10**place
    line_of = np.searchsorted(newlines, starts)
    heads = np.concatenate(([True], line_of[1:] != line_of[:-1])) if values.size else np.zeros(0, bool)
    users = values[heads]
    per_line = np.diff(np.append(np.flatnonzero(heads), values.size))
    return np.repeat(users, per_line - 1), values[~heads], users
