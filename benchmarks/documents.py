"""Measured figures in the documents: what stands between markers is made from ``benchmarks/results``, so that no figure is typed twice.

``<!-- table: NAME -->`` ... ``<!-- end -->`` holds a table of :data:`TABLES` and where it was measured; in a sentence,
``<!-- figure: FIELD of KEY=VALUE ... -->`` ... ``<!-- end -->`` holds that field of the record which has these values, measured last, or the mean over its seeds.
"""

from __future__ import annotations

import re
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path

from .harness import Record, read_results
from .tables import TABLES as CPU_TABLES
from .tables import Table, value_text
from .tables_choices import TABLES as CHOICES_TABLES
from .tables_field import TABLES as FIELD_TABLES
from .tables_gpu import TABLES as GPU_TABLES
from .tables_scale import TABLES as SCALE_TABLES

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TABLES = {**CPU_TABLES, **CHOICES_TABLES, **FIELD_TABLES, **GPU_TABLES, **SCALE_TABLES}
LEVELS = {"v3": "AVX2", "v4": "AVX-512"}
_MARKED = re.compile(
    r"(?P<open><!-- (?P<kind>table|figure): (?P<what>[^\n]*?) -->)(?P<content>.*?)(?P<close><!-- end -->)", re.DOTALL
)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def all_records() -> list[Record]:
    """Every record of ``benchmarks/results``, with the name of its file."""
    return [{"file": path.name, **record} for path in sorted(RESULTS.glob("*.json")) for record in read_results([path])]


def written(text: str, records: Sequence[Record], to_root: str = "") -> str:
    """A page with what stands between its markers made anew; ``to_root`` leads from the page's folder to the project's."""

    def content(match: re.Match[str]) -> str:
        what = match["what"]
        made = f"\n{table(what, records, to_root)}\n" if match["kind"] == "table" else figure(what, records)
        return match["open"] + made + match["close"]

    result = _MARKED.sub(content, text)
    if left := re.search(r"<!--(?! not run: ).*", _MARKED.sub("", result)):
        raise ValueError(f"no marker, or one without its end: {left[0]!r}")
    return result


def write_all(check: bool = False) -> list[Path]:
    """Writes the pages whose figures differ from the results, or, with ``check``, only names them."""
    records, changed = all_records(), []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = written(text, records, "" if page.parent == ROOT else "../")
        if new != text:
            changed.append(page)
            if not check:
                page.write_text(new, encoding="utf-8")
    return changed


def figure(what: str, records: Sequence[Record]) -> str:
    field, _, conditions = what.partition(" of ")
    field = field.strip('"')
    wanted = dict(pair.split("=", 1) for pair in shlex.split(conditions))
    found = [r for r in records if field in r and all(str(r.get(key)) == value for key, value in wanted.items())]
    if not found:
        raise ValueError(f"figure: {what}: no result has it")
    last = max((when(r), r["file"]) for r in found)
    found = [r for r in found if (when(r), r["file"]) == last]
    if len(found) > 1 and len({r.get("seed") for r in found}) < len(found):
        raise ValueError(f"figure: {what}: {len(found)} results have it; name more of file, case, data, contender, ...")
    if len(found) == 1:
        return value_text(field, found[0])
    return value_text(field, found[0] | {field: statistics.mean(r[field] for r in found)})


def table(name: str, records: Sequence[Record], to_root: str = "") -> str:
    if name not in TABLES:
        raise ValueError(f"table: {name}: no such table in benchmarks/tables*.py; there are {', '.join(TABLES)}")
    spec = TABLES[name]
    chosen = rows_of(spec, records)
    if not chosen:
        raise ValueError(f"table: {name}: no result has what it shows")
    lines = [f"| {' | '.join(spec.columns)} |", "|" + "---|" * len(spec.columns)]
    lines += [f"| {' | '.join(cell(row) for cell in spec.columns.values())} |" for row in chosen]
    below = ["", _sources([r for row in chosen for r in row], to_root)] if spec.sources else []
    return "\n".join([*lines, *below])


def rows_of(spec: Table, records: Sequence[Record]) -> list[list[Record]]:
    """The table's records by rows: of what was measured several times the last, and, in a table of times, of the machine that measured last alone."""
    found = sorted((r for r in records if spec.where(r)), key=when)
    latest = {spec.same(r): r for r in found}
    kept = list(latest.values())
    if spec.one_machine and kept:
        last = machine_of(max(kept, key=when))
        kept = [r for r in kept if machine_of(r) == last]
    order = {id(r): place for place, r in enumerate(records)}
    rows: dict[object, list[Record]] = {}
    for r in sorted(kept, key=lambda r: (spec.order(r), order[id(r)])):
        rows.setdefault(spec.row(r), []).append(r)
    return [row for row in rows.values() if spec.shown(row)]


def when(record: Record) -> tuple[bool, str]:
    """What comes later is larger; an unknown day comes first."""
    return record["date"] != "unknown", record["date"]


def machine_of(record: Record) -> str:
    """The machine that measured it, as the documents name it."""
    machine = record["machine"]
    if "gpu" in machine:
        return str(machine["gpu"])
    name = machine["processor"]
    parts = [f"machine {name}" if name == "unknown" else name]
    if machine["threads"] != "unknown":
        parts.append(f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}")
    if machine["isa_level"] != "unknown":
        parts.append(LEVELS.get(machine["isa_level"], machine["isa_level"]))
    return ", ".join(parts)


def _sources(records: Sequence[Record], to_root: str) -> str:
    """Where and when a table's figures were measured, file by file; figures that others published have no date."""
    files: dict[str, list[Record]] = {}
    for r in records:
        files.setdefault(r["file"], []).append(r)
    parts = []
    for file, members in sorted(files.items()):
        dates = sorted({r["date"] for r in members} - {"unknown"})
        machines = sorted({machine_of(r) for r in members})
        detail = [*machines, " to ".join(sorted({dates[0], dates[-1]}))] if dates else []
        parts.append(f"[{file}]({to_root}benchmarks/results/{file})" + (f" ({'; '.join(detail)})" if detail else ""))
    return f"From {', '.join(parts)}."
