"""A folder that holds a run already: which one, and what came of it when it was repeated."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Dataset
from ..system.archives import load_arrays
from ..system.values import same_values
from .project import FILE, HEAD, Project
from .runs import CHECKPOINT, MODEL, WRITTEN

_SHOWN = 6  # keys that differ
_WAY_OUT = "name another folder by --out, or take --overwrite to lose what is there"


def finished(folder: Path) -> bool:
    """Whether the folder holds a whole run."""
    return (folder / MODEL).is_file() and not (folder / CHECKPOINT).exists()


def prepare(project: Project, data: Dataset, folder: Path, overwrite: bool) -> bool:
    """Makes the folder ready for a run, of which it holds the project file from here on; False where it holds this very run, finished.

    Raises
    ------
    FileExistsError : it holds another run, finished, and ``overwrite`` is False.
    """
    if (folder / CHECKPOINT).exists():  # fit says whether it is of this run
        return True
    if finished(folder) and not overwrite:
        refuse_another(project, folder, data)
        try:
            refuse_other_data(folder, data)
        except ValueError as error:
            raise FileExistsError(f"{error}; {_WAY_OUT}") from None
        return False
    if finished(folder):
        for name in WRITTEN:
            (folder / name).unlink(missing_ok=True)
    _refuse_what_no_run_wrote(folder)
    project.write(folder)
    return True


def _refuse_what_no_run_wrote(folder: Path) -> None:
    file, items = folder / FILE, folder / "items.npz"
    ours = file.is_file() and file.read_bytes().startswith(HEAD.encode())
    for name in [FILE] * (file.exists() and not ours) + [items.name] * (items.exists() and not ours):
        raise FileExistsError(f"{folder / name} was not written by a run, and this one would write it; name another folder by --out")  # fmt: skip


def refuse_another(project: Project, folder: Path, data: Dataset | None = None) -> None:
    """A FileExistsError that names what differs, where the folder holds another run, finished. Without the run's ``data`` the defaults of its split
    may not be known yet, so that one which either leaves out is no difference."""
    if not finished(folder):
        return
    if not (folder / FILE).is_file():
        raise FileExistsError(f"{folder} holds a model, and no {FILE} that says how it was made; {_WAY_OUT}")
    there, here = Project.read(folder / FILE), project.fixed()
    if data is not None:
        there, here = there.completed(data), here.completed(data)
    left_out = {f"split.{key}" for key in {*there.data.split} ^ {*here.data.split}} if data is None else set()
    differ = [key for key in there.same_work(here) if key not in left_out]
    if differ:
        shown = [f"{key} is {there.value(key)} there, {here.value(key)} here" for key in differ[:_SHOWN]]
        more = [f"and {len(differ) - _SHOWN} more differ"] if len(differ) > _SHOWN else []
        raise FileExistsError(f"{folder} holds another run: {', '.join([*shown, *more])}; {_WAY_OUT}")


def refuse_other_data(folder: Path, data: Dataset) -> None:
    """A ValueError where the files of the run's data hold something else by now."""
    then, now = _metrics(folder).get("fingerprint"), data.fingerprint()
    if then is not None and then != now:
        raise ValueError(f"the run in {folder} was made on other data of the name {data.name}: {then} then, {now} now")


def again(folder: Path) -> Path:
    """Where the run of a folder is repeated."""
    return folder.with_name(f"{folder.resolve().name.removesuffix('-again')}-again")


def side_by_side(old: Path, new: Path) -> str:
    """The figures that two runs both have as a table, and whether their data are the same, and the bits of their models."""
    then, now = _metrics(old), _metrics(new)
    names = [folder.resolve().name for folder in (old, new)]
    width = max(10, *map(len, names))
    lines = [
        f"{name:18s} {_shown(then[name]):>{width}} {_shown(now[name]):>{width}}"
        for name in then
        if name in now and ("@" in name or name in ("n_users_evaluated", "best_epoch", "seconds_train"))
    ]
    there, here = then.get("fingerprint"), now.get("fingerprint")
    if there == here:
        same = f"{MODEL}: {_bits(old / MODEL, new / MODEL)}"
    else:
        same = f"data: other ones or another split, {there} there, {here} here"
    return "\n".join([f"{'':18s} {names[0]:>{width}} {names[1]:>{width}}", *lines, same])


def _bits(old: Path, new: Path) -> str:
    if filecmp.cmp(old, new, shallow=False):
        return "the same bits"
    (meta, arrays), (own_meta, own) = load_arrays(old, "model"), load_arrays(new, "model")
    differ = [key for key in {**meta, **own_meta} if not same_values(meta.get(key), own_meta.get(key))]
    differ += [name for name in {**arrays, **own} if not (name in arrays and name in own and np.array_equal(arrays[name], own[name]))]  # fmt: skip
    return f"other bits in {', '.join(differ)}"


def _metrics(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
