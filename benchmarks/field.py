"""``python -m benchmarks results``: the table of all models on all data, cell by cell.

A cell is a recipe on a data set: what ``compare`` measures, with intervals over users. The file of results says of each by which settings, on which data
(fingerprint), machine and day; a cell that is there and of the same settings and data is not measured again, so that the command goes on where it was
stopped, and on other machines: what they wrote is taken over by ``--merge``. At the end the documents' tables are made anew.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from fastgcn_rec.data.spec import DataSpec
from fastgcn_rec.experiments.contenders import NAMES, contender
from fastgcn_rec.experiments.measured import measured, merged
from fastgcn_rec.experiments.recipes import RECIPES
from fastgcn_rec.system.files import check_target
from fastgcn_rec.system.values import json_value, same_values

from .documents import RESULTS, write_all
from .harness import Record, Settings, run_context, write_results

CASE = "field"
DATA = ("gowalla", "yelp2018", "ml-1m", "online-retail")
LEFT_OUT = ("default", "paper")  # of the recipes: hours each, and older than the others of their model
MODELS = tuple(name for name in RECIPES if name not in LEFT_OUT)
OWN = {"gowalla": ("gowalla",), "yelp2018": ("yelp2018", "best512")}  # recipes that are of one data set
NOTE = "Recall@20 and NDCG@20 of recipes on the test parts, by python -m benchmarks results; low and high are ends of bootstrap intervals over users."


def main(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    check_target(args.json)
    torch.set_num_threads(args.threads or torch.get_num_threads())
    context = _context(args.device)
    cells = read_cells(args.json)
    for file in args.merge:
        if not file.exists():
            raise FileNotFoundError(f"--merge {file}: there is no such file")
        cells = joined(cells, read_cells(file))
    if args.merge:
        _write(args.json, context, cells)
    failed = 0
    for data in args.data:
        spec = DataSpec.of(data)
        loaded = spec.load()
        spec = spec.completed(loaded)
        about = {"case": CASE, "data": data, "split": spec.split.get("split", "published"), "fingerprint": loaded.fingerprint()}  # fmt: skip
        for name in args.models or _models(data):
            wanted = {**about, "name": name, "settings": settings_of(name)}
            seeds = args.seeds if contender(name).seeded else 1
            if not args.again and any(is_done(cell, wanted, not args.no_times, seeds) for cell in cells):
                continue
            print(f"{data}, {name}: ", end="", flush=True)
            cell = measured_cell(wanted, spec, args.seeds, args.device, times=not args.no_times) | context
            print(said(cell), flush=True)
            failed += "error" in cell
            cells = joined(cells, [cell])
            _write(args.json, context, cells)
    if args.json.resolve().parent == RESULTS:
        for page in write_all():
            print(f"written: {page}")
    return 1 if failed else 0


def measured_cell(wanted: Record, spec: DataSpec, seeds: int, device: str, times: bool) -> Record:
    """The record of a cell: what it reached, or why it did not."""
    one, runs = contender(wanted["name"]), []
    for seed in range(seeds if one.seeded else 1):
        task: dict[str, Any] = {"data": spec.to_dict(), "model": wanted["name"], "seed": seed, "device": device}
        runs.append(measured(one.name, task))
    row = merged(runs)
    if row.error is not None:
        return {**wanted, "error": row.error}
    cell = {**wanted, "recall@20": row.recall, "ndcg@20": row.ndcg, "seeds": row.seeds, "n_users": len(runs[0].users)}
    for metric, (low, high) in (("recall@20", row.recall_interval), ("ndcg@20", row.ndcg_interval)):
        cell |= {f"{metric}.low": low, f"{metric}.high": high}
    if row.seeds > 1:
        cell |= {"recall@20.sd": row.recall_sd, "ndcg@20.sd": row.ndcg_sd}
    if row.peak_bytes is not None:
        cell["peak_mib"] = round(row.peak_bytes / 2**20)
    return cell | ({"seconds_train": row.seconds_train, "seconds_rank": row.seconds_rank} if times else {})


def settings_of(name: str) -> Record:
    """The options that the cell is of: another recipe of the name is another cell."""
    values = dict(RECIPES[name].to_dict()) if name in RECIPES else {}
    values.pop("expected", None)
    found: Record = json_value(values)
    return found


def is_done(cell: Record, wanted: Record, times: bool, seeds: int = 1) -> bool:
    """Whether a cell is the one that is wanted, without an error, of so many seeds or more and, where they are wanted, with times."""
    if "error" in cell or (times and "seconds_train" not in cell) or cell["seeds"] < seeds:
        return False
    return all(same_values(cell.get(key), value) for key, value in wanted.items())


def joined(cells: Sequence[Record], more: Sequence[Record]) -> list[Record]:
    """Both; of two of the same data and name the one of the settings that the recipe has now, the later one of two such, and an error never in the place of
    a result: what another version measured takes the place of nothing that holds."""
    found = {(cell["data"], cell["name"]): cell for cell in cells}
    for cell in more:
        key = cell["data"], cell["name"]
        old = found.get(key)
        if old is None or _worth(cell) >= _worth(old):
            found[key] = cell
    return sorted(found.values(), key=_place)


def _worth(cell: Record) -> tuple[bool, bool, str]:
    """What stands of two cells is the one that has more of it."""
    return "error" not in cell, same_values(cell.get("settings"), settings_of(cell["name"])), cell["date"]


def read_cells(path: Path) -> list[Record]:
    """The cells of a file; none where there is no file. ValueError: it holds something else."""
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shared = {key: content[key] for key in ("date", "machine", "versions", "command")}
        cells = [{**shared, **record} for record in content["records"]]
        for cell in cells:
            if cell["case"] != CASE or not all(
                isinstance(cell[key], str) for key in ("data", "name", "fingerprint", "date")
            ):
                raise ValueError(
                    f"a record is not of the case {CASE!r}, or its data, name, fingerprint or date are no texts"
                )
            if "error" not in cell and not all(
                isinstance(cell[key], (int, float)) for key in ("recall@20", "ndcg@20", "seeds")
            ):
                raise ValueError(f"the record of {cell['name']} on {cell['data']} has no recall@20, ndcg@20 and seeds")
        return cells
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no results of `python -m benchmarks results`: {error}") from None


def said(cell: Record) -> str:
    if "error" in cell:
        return str(cell["error"])
    return f"Recall@20 {cell['recall@20']:.4f}, NDCG@20 {cell['ndcg@20']:.4f}, {cell['n_users']:,} users"


def _models(data: str) -> Iterator[str]:
    """All but those of another data set."""
    of_others = {name for other, names in OWN.items() if other != data for name in names}
    return (name for name in MODELS if name not in of_others)


def _place(cell: Record) -> tuple[int, str, int, str]:
    order = (*DATA, cell["data"]), (*MODELS, cell["name"])
    return order[0].index(cell["data"]), cell["data"], order[1].index(cell["name"]), cell["name"]


def _context(device: str) -> Record:
    context = run_context([], Settings("none", torch.device(device)))
    context["machine"].pop("load_before")
    context["versions"] = {name: context["versions"][name] for name in ("fastgcn_rec", "torch", "numpy")}
    return {**context, "date": datetime.date.today().isoformat(), "command": "python -m benchmarks results"}


def _write(path: Path, context: Record, cells: Sequence[Record]) -> None:
    write_results(path, {"note": NOTE, **context}, cells)


def _seeds(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number >= 1, got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks results", description=__doc__)
    parser.add_argument(
        "--data", nargs="*", default=list(DATA), metavar="DATA", help=f"default: {' '.join(DATA)}; none: --merge alone"
    )
    parser.add_argument(
        "--models", nargs="+", choices=NAMES, metavar="NAME", help="default: all recipes but those of other data"
    )
    parser.add_argument("--json", type=Path, default=RESULTS / "field.json", metavar="FILE")
    parser.add_argument(
        "--merge", nargs="+", type=Path, default=[], metavar="FILE", help="cells that other machines have measured"
    )
    parser.add_argument("--seeds", type=_seeds, default=1, help="trainings of each, whose mean counts; default: 1")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, help="default: torch's")
    parser.add_argument(
        "--no-times", action="store_true", help="leave seconds out: for a machine that does other work beside"
    )
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    return parser
