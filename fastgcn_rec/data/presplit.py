"""Data sets whose files come with their split."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..core.ids import Array, Ints, as_texts, factorize, is_text, pair_keys
from .build import build_dataset, check_positive
from .dataset import Dataset
from .edges import Edges
from .interactions import Interactions
from .reading.compressed import is_hidden
from .reading.events import existing
from .reading.files import FilePath
from .reading.frames import is_frame, read_frame
from .reading.lists import read_lists
from .reading.sources import events_from, format_for, resolved

_STEMS = {"train": ("train",), "valid": ("valid", "validation", "val", "dev"), "test": ("test",)}
_NUMBERED = re.compile(r"(.+)\.part([123])\.inter(?:\..+)?")


def read_split(
    train: Any,
    valid: Any = None,
    test: Any = None,
    *,
    name: str | None = None,
    user: str | int | None = None,
    item: str | int | None = None,
    rating: str | int | None = None,
    weight: str | int | None = None,
    time: str | int | None = None,
    min_rating: float | None = None,
    **reading: Any,
) -> Dataset:
    """Make a `Dataset` of parts that are split already, each a file of any kind, a table in memory, or `Interactions`.

    Users and items are those of all parts. Repeated pairs within a part are dropped and counted. Of pairs that stand in several parts a warning
    says how many there are: those of `train` are left out of `valid`, those of the test part are kept, though no ranking that leaves out seen
    items finds them.

    Parameters
    ----------
    train, valid, test : path, table as `read_frame` takes, or Interactions
        Of paths the format is known by the content: CSV and other delimited text, Parquet, npz, RecBole's .inter, LightGCN's lines. A folder
        alone stands for the files train, valid and test in it, or for RecBole's NAME.part1.inter, NAME.part2.inter, NAME.part3.inter.
        Without `valid` or `test` that part is empty.
    name : str, optional
        Name of the data set. Default: the folder's or the file's.
    user, item, rating, time : str or int, optional
        Columns by name or position, the same in all parts. Default: guessed from `train`.
    weight : str or int, optional
        The column that weighs the edges; "rating": the ratings do.
    min_rating : float, optional
        Keep events rated so or higher. Required where a rating is 0 or below: all events that are kept become positive edges.
    **reading
        `format`, and what its reader takes, such as `sep`; `time_unit` and `time_format` of tables.

    Raises
    ------
    FileNotFoundError
        A file is not there.
    TypeError, ValueError
        What readers raise; ids that are texts in one part and integers in another; ratings that weigh and are not there.

    Examples
    --------
    >>> from fastgcn_rec.data import read_split
    >>> train = {"listener": ["ann", "bob", "bob"], "song": [7, 7, 8]}
    >>> read_split(train, valid={"listener": ["ann"], "song": [8]}, test={"listener": ["cid"], "song": [9]}, name="plays")
    Dataset('plays', 3 users, 3 items, 3 train + 1 valid + 1 test edges)
    """
    given = {"train": train, "valid": valid, "test": test}
    if valid is None and test is None and isinstance(train, (str, PathLike)) and Path(train).is_dir():
        given |= part_files(Path(train)) or {}
    columns = {"user": user, "item": item, "rating": rating, "time": time}
    if weight not in (None, "", "rating", rating):
        if rating not in (None, ""):
            raise ValueError(
                f"rating={rating!r} and weight={weight!r} must be one column, whose values then are the weights; leave one out"
            )
        columns["weight"] = weight
    read = _reader({role: column for role, column in columns.items() if column is not None}, reading)
    parts = {part: read(part, source) for part, source in given.items() if source is not None}
    weighted = weight not in (None, "")
    for part, events in parts.items():
        if weighted and events.rating is None:
            raise ValueError(f"weight={weight!r} needs ratings, but {part} has none; leave weight out")
        check_positive(part, events, min_rating)
    if min_rating is not None:
        parts = {part: events.filter_rating(min_rating) for part, events in parts.items()}
    data = _joined(name or _name_of(given["train"]), parts, weighted)
    _warn_of_overlap(data, parts)
    return data


def read_lightgcn(
    train_path: FilePath,
    test_path: FilePath | None = None,
    name: str | None = None,
    valid_path: FilePath | None = None,
) -> Dataset:
    """Read the split of the NGCF and LightGCN papers: one line a user, ``uid iid iid ...``.

    Blank lines and users without items are allowed, and a user may have several lines. Repeated pairs are dropped and
    counted; pairs of the training part that stand in the test part too are kept; `Dataset.report` shows both.

    Parameters
    ----------
    train_path, test_path, valid_path : path
        Files of non-negative integers. Without `test_path` or `valid_path` that part is empty; pairs of the validation part that are training
        pairs too are dropped and counted.
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
    paths = {"train": train_path, "valid": valid_path, "test": test_path}
    parts = {part: read_lists(path) for part, path in paths.items() if path is not None}
    return _joined(train_path.resolve().parent.name if name is None else name, parts, weighted=False)


def parts_of(source: Sequence[str], files: Mapping[str, Any]) -> dict[str, Any] | None:
    """The files of a source that comes with its split, by part: with those that stand among ``files``, or of its folder; None: it does not."""
    given = {part: files[part] for part in ("valid", "test") if isinstance(files.get(part), str)}
    one = len(source) == 1 and source[0] != "-"
    if given and not one:
        named = ", ".join(f"{part}={file}" for part, file in given.items())
        raise ValueError(f"{named} must be beside one file of train, got {', '.join(source[:5])}")
    if given:
        return {"train": Path(source[0]).expanduser(), **given}
    folder = Path(source[0]).expanduser() if one else None
    return part_files(folder) if folder is not None and folder.is_dir() else None


def part_files(folder: Path) -> dict[str, Path] | None:
    """The files of the parts in a folder, by "train", "valid" and "test": those of these names, or RecBole's NAME.part1.inter, ...; None: it holds no
    split. ValueError: several files for one part."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not is_hidden(path.name)]
    found: dict[str, list[Path]] = {
        part: [path for path in files if path.name.split(".")[0].lower() in stems] for part, stems in _STEMS.items()
    }
    if not (found["train"] and (found["valid"] or found["test"])):
        numbered = [(match, path) for path in files if (match := _NUMBERED.fullmatch(path.name))]
        roles = ("train", "valid", "test") if any(match[2] == "3" for match, _ in numbered) else ("train", "test")
        found = {part: [path for match, path in numbered if match[2] == str(n + 1)] for n, part in enumerate(roles)}
        if not all(found.values()):
            return None
    for part, paths in found.items():
        if len(paths) > 1:
            raise ValueError(
                f"{folder} holds several files for {part}: {', '.join(path.name for path in paths)}; name the files of all parts"
            )
    return {part: paths[0] for part, paths in found.items() if paths}


def _reader(columns: dict[str, Any], reading: Mapping[str, Any]) -> Callable[[str, Any], Interactions]:
    """A function of a part's name and source: its events, read as those of the first file are."""
    known: dict[Any, tuple[Any, Any]] = {}

    def of_file(path: Path) -> Interactions:
        source = (str(path),)
        form = format_for(source, reading)
        if form not in known:
            known[form] = resolved(source, columns, reading)
        return events_from(source, *known[form])

    def read(part: str, source: Any) -> Interactions:
        if isinstance(source, Interactions):
            return source
        if is_frame(source):
            at = {"rating" if role == "weight" else role: column for role, column in columns.items()}
            return read_frame(source, **at, **reading)
        if not isinstance(source, (str, PathLike)):
            raise TypeError(f"{part} must be a path, a table or Interactions, got {type(source).__name__}")
        return of_file(existing(Path(source).expanduser()))

    return read


def _name_of(train: Any) -> str:
    """Of the folder of train.csv and its like, or of the file."""
    if not isinstance(train, (str, PathLike)):
        return "data"
    path = Path(train).expanduser().resolve()
    stem = path.name.split(".")[0]
    return path.parent.name if stem == "train" else stem


def _joined(name: str, parts: Mapping[str, Interactions], weighted: bool) -> Dataset:
    """The data set of parts, by the ids of all of them."""
    events = list(parts.values())
    users = _space("user", parts, [part.user_ids for part in events])
    items = _space("item", parts, [part.item_ids for part in events])
    edges = {
        name: Edges(
            u[part.users].astype(np.int32), i[part.items].astype(np.int32), part.time, part.rating if weighted else None
        )
        for (name, part), u, i in zip(parts.items(), users[1], items[1], strict=True)
    }
    none = Edges(np.zeros(0, np.int32), np.zeros(0, np.int32))
    return build_dataset(
        name, edges["train"], edges.get("test", none), users[0], items[0],
        _columns(items[0].size, items[1], [part.item_info for part in events]),
        user_info=_columns(users[0].size, users[1], [part.user_info for part in events]),
        valid=edges.get("valid"),
    )  # fmt: skip


def _space(side: str, names: Mapping[str, Any], spaces: Sequence[Array]) -> tuple[Array, list[Ints]]:
    """(all ids, sorted; for each part the places of its own there)."""
    kinds = {name: "texts" if is_text(ids) else "integers" for name, ids in zip(names, spaces, strict=True) if ids.size}
    if len(set(kinds.values())) > 1:
        shown = ", ".join(f"{kind} in {name}" for name, kind in kinds.items())
        raise ValueError(f"the {side} ids are {shown}; ids='text' reads those of delimited text alike")
    spaces = [ids for ids in spaces if ids.size] or list(spaces[:1])
    found, codes = factorize(np.concatenate(spaces))
    ends = np.cumsum([ids.size for ids in spaces])[:-1]
    places = iter(np.split(codes, ends))
    return found, [next(places) if name in kinds else np.zeros(0, np.int64) for name in names]


def _columns(n: int, places: Sequence[Ints], infos: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The columns of all parts; an id has the first part's value, and "" or 0 where it has none."""
    columns: dict[str, Array] = {}
    for name in dict.fromkeys(name for info in infos for name in info):
        given = [(at, info[name]) for at, info in zip(places, infos, strict=True) if name in info]
        if any(is_text(column) for _, column in given):
            columns[name] = as_texts([""] * n)
            given = [(at, column if is_text(column) else as_texts(map(str, column.tolist()))) for at, column in given]
        else:
            columns[name] = np.zeros(n, np.result_type(*(column.dtype for _, column in given)))
        for at, column in reversed(given):
            columns[name][at] = column
    return columns


def _warn_of_overlap(data: Dataset, parts: Mapping[str, Interactions]) -> None:
    said = []
    if "valid" in parts:
        distinct = len(parts["valid"].first_events())
        if lost := distinct - len(data.valid):
            said.append(f"{lost} of {distinct} pairs of valid are pairs of train too and left out of it")
    known = np.concatenate(
        [pair_keys(part.users, part.items, data.n_users, data.n_items) for part in (data.train, data.valid)]
    )
    tested = pair_keys(data.test.users, data.test.items, data.n_users, data.n_items)
    if both := int(np.isin(tested, known).sum()):
        said.append(
            f"{both} of {tested.size} pairs of test are pairs of train or valid too, which no ranking that leaves out seen items finds"
        )
    if said:
        warnings.warn(f"{data.name}: {'; '.join(said)}", stacklevel=3)
