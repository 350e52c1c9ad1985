"""From what a user names to files: a path, several, a glob, a folder, a zip archive, standard input."""

from __future__ import annotations

import atexit
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from fnmatch import fnmatch
from functools import cache
from os import PathLike
from pathlib import Path

from .compressed import archive_of, is_hidden, kind_of, members

FilePath = str | PathLike[str]
Source = FilePath | Sequence[FilePath]
_PACKED = (".gz", ".bz2", ".xz", ".zst")


def files_of(source: Source) -> list[Path]:
    """Return the files that a source names, sorted within each glob, folder and archive; none of them twice.

    Parameters
    ----------
    source : path or list of paths
        A file; a glob (``plays-*.csv.gz``, with ``**`` for folders); a folder, of which all files of data are taken, at any depth, but none that
        is hidden, a mark (``_SUCCESS``) or a checksum; a zip archive, as a folder, or a file or glob in one (``plays.zip/*.csv``); ``-``, which is
        standard input, kept in a temporary file.

    Raises
    ------
    FileNotFoundError
        There is no such file, none that a glob matches, or none in a folder.
    ValueError
        A folder or an archive holds files of several kinds; a file that is named twice.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("b.csv", "a.csv", "_SUCCESS"):
    ...     _ = (folder / name).write_text("user,item\\n")
    >>> [path.name for path in files_of(folder)], [path.name for path in files_of(f"{folder}/b*")]
    (['a.csv', 'b.csv'], ['b.csv'])
    """
    found = [file for place in places_of(source) for file in _inside(place)]
    if not found:
        raise ValueError("a source must name files, got an empty list")
    known: dict[object, Path] = {}
    for path in found:
        other = known.setdefault(_identity(path), path)
        if other is not path:
            raise ValueError(
                f"{path} is {'named more than once' if other == path else f'the same file as {other}'}; its events would count twice"
            )
    return found


def _identity(path: Path) -> object:
    """What a file has alone, under all its names."""
    try:
        status = path.stat()
    except OSError:  # one in an archive
        return path
    return status.st_dev, status.st_ino


def places_of(source: Source) -> list[Path]:
    """As `files_of`, but folders and archives as they stand, and whatever is named twice."""
    if isinstance(source, (str, PathLike)):
        return _places(source)
    if isinstance(source, Sequence):
        return [path for one in source for path in _places(one)]
    raise TypeError(f"a source must be a path or a list of paths, got {type(source).__name__}")


def _places(source: FilePath) -> list[Path]:
    if not isinstance(source, (str, PathLike)):
        raise TypeError(f"a source must be a path or a list of paths, got one of {type(source).__name__}")
    if is_pipe(source):
        return [spooled(os.fspath(source))]
    path = Path(source).expanduser()
    if path.exists():
        return [path]
    archive = archive_of(path)
    if archive is not None:
        inner = [member for member in members(archive) if fnmatch(str(member), str(path)) or path in member.parents]
        if not inner:
            shown = ", ".join(str(member.relative_to(archive)) for member in members(archive)[:10])
            raise FileNotFoundError(f"{archive} holds no {path.relative_to(archive)}; its files are {shown}")
        return inner
    if not glob.has_magic(str(path)):
        raise FileNotFoundError(f"{path} does not exist")
    matched = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
    inside = [one for one in matched if one.is_file() or not any(one in other.parents for other in matched)]
    found = [one for one in inside if path.name.startswith("_") or not is_hidden(one.name)]
    if not found:
        raise FileNotFoundError(f"no file matches {path}")
    return found


def _inside(place: Path) -> list[Path]:
    if place.is_dir():
        return _of_folder(place)
    inner = _of_archive(place) if place.exists() else None  # a file in an archive is none of the system's
    return [place] if inner is None else inner


def _of_folder(folder: Path) -> list[Path]:
    found = sorted(_walked(folder, {os.path.realpath(folder)}))
    if not found:
        raise FileNotFoundError(f"{folder} holds no files of data")
    return _of_one_kind(folder, found)


def _walked(folder: Path, above: set[str]) -> Iterator[Path]:
    """The files of a folder and of those in it, symbolic links to folders too, but for those that lead back."""
    for path in folder.iterdir():
        if is_hidden(path.name):
            continue
        if path.is_dir() and (real := os.path.realpath(path)) not in above:
            yield from _walked(path, {*above, real})
        elif path.is_file():
            yield path
        elif path.is_symlink() and not path.exists():
            raise FileNotFoundError(f"{path} is a symbolic link to {os.readlink(path)}, which does not exist")


def _of_archive(path: Path) -> list[Path] | None:
    """The files of a zip archive of tables, None for any other file."""
    if path.suffix.lower() in (".npz", ".xlsx") or kind_of(path) != "zip":
        return None
    found = members(path)
    if not found:
        raise FileNotFoundError(f"{path} holds no files of data")
    return _of_one_kind(path, found)


def _of_one_kind(place: Path, found: list[Path]) -> list[Path]:
    kinds: dict[str, list[str]] = {}
    for path in found:
        kinds.setdefault(suffix_of(path), []).append(str(path.relative_to(place)))
    if len(kinds) > 1:
        shown = "; ".join(
            f"{len(names)} {kind or 'without a suffix'} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for kind, names in kinds.items()
        )
        kind = max(kinds, key=lambda kind: len(kinds[kind]))
        raise ValueError(
            f"{place} holds files of several kinds: {shown}; name those that are meant, such as {place / kinds[kind][0]}"
            + (f" or {place}/*{kind}" if kind else "")
        )
    return found


def suffix_of(path: Path) -> str:
    """The suffix that says what a file holds, in lower case: that before .gz and its like.

    >>> suffix_of(Path("plays.CSV.gz")), suffix_of(Path("part-0000"))
    ('.csv', '')
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and (suffixes[-1] in _PACKED or suffixes[-1][1:].isdecimal()):  # plays.2011 is of no kind of its own
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def standard_input() -> Path:
    """The file that holds what standard input gave."""
    return spooled("-")


def is_pipe(source: FilePath) -> bool:
    """Whether a source can be read but once: "-", standard input, or a named pipe."""
    return source == "-" or Path(source).expanduser().is_fifo()


@cache
def spooled(source: str) -> Path:
    """The file that holds what a pipe gave; it is read once in a process, which removes the file when it ends."""
    if source == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise ValueError(
            "'-' is standard input, which is a terminal; pipe a file into the command: zcat plays.gz | ..."
        )
    folder = Path(tempfile.mkdtemp(prefix="fastgcn_rec-"))
    atexit.register(_in_this_process(lambda: shutil.rmtree(folder, ignore_errors=True)))
    path = folder / ("standard-input" if source == "-" else Path(source).name)
    with nullcontext(sys.stdin.buffer) if source == "-" else open(source, "rb") as pipe:
        try:
            with open(path, "wb") as file:
                shutil.copyfileobj(pipe, file, 1 << 20)
        except OSError as error:
            what = f"{path}, which keeps what {source} gives; TMPDIR names another folder"
            raise OSError(error.errno, error.strerror, what) from None
    return path


def _in_this_process(action: Callable[[], None]) -> Callable[[], None]:
    """`action`, which a forked child leaves out."""
    own = os.getpid()
    return lambda: action() if os.getpid() == own else None
