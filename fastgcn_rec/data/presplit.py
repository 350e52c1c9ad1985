"""Data sets whose files come with their split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.ids import Ints
from .build import build_dataset
from .dataset import Dataset
from .edges import Edges
from .events import existing
from .files import FilePath
from .lines import malformed_line, read_utf8


def read_lightgcn(train_path: FilePath, test_path: FilePath | None = None, name: str | None = None) -> Dataset:
    """Read the split of the NGCF and LightGCN papers: one line a user, ``uid iid iid ...``.

    Blank lines and users without items are allowed, and a user may have several lines. Repeated pairs are dropped and
    counted; pairs of the training part that stand in the test part too are kept; `Dataset.report` shows both.

    Parameters
    ----------
    train_path, test_path : path
        Files of non-negative integers. Without `test_path` the test part is empty.
    name : str, optional
        Name of the data set. Default: the folder's name.

    Raises
    ------
    FileNotFoundError
        A file does not exist.
    ValueError
        A line holds something else than integers below 10**18; the file, the line number and the line are shown.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastgcn_rec.data import read_lightgcn
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "train.txt").write_text("0 1 2\\n1 2\\n"), (folder / "test.txt").write_text("0 3\\n1\\n")
    >>> data = read_lightgcn(folder / "train.txt", folder / "test.txt")
    >>> data.n_users, data.n_items, len(data.train), len(data.test)
    (2, 3, 3, 1)
    """
    train_path = existing(train_path)
    none = np.zeros(0, np.int64)
    train = _lightgcn_lines(train_path)
    test = (none, none, none) if test_path is None else _lightgcn_lines(existing(test_path))
    user_ids = np.unique(np.concatenate((train[2], test[2])))
    item_ids = np.unique(np.concatenate((train[1], test[1])))

    def edges(part: tuple[Ints, Ints, Ints]) -> Edges:
        users, items = np.searchsorted(user_ids, part[0]), np.searchsorted(item_ids, part[1])
        return Edges(users.astype(np.int32), items.astype(np.int32))

    name = train_path.resolve().parent.name if name is None else name
    return build_dataset(name, edges(train), edges(test), user_ids, item_ids)


def _lightgcn_lines(path: Path) -> tuple[Ints, Ints, Ints]:
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
