"""``python -m benchmarks CASE ...``: times the cases, prints tables, writes JSON.

``report`` draws the pictures and writes the documents' figures, ``results`` measures the field, ``sass`` reads the machine code of CUDA kernels.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from .harness import Record, Settings, ceilings, measure, read_results, run_context, table, write_results

CASES = (
    "propagate",
    "step",
    "ngcf",
    "dense",
    "loss",
    "sampler",
    "negatives",
    "adam",
    "graph",
    "topk",
    "topk_scale",
    "ppr",
    "walks",
    "pinsage",
    "train",
    "scale",
    "item_scale",
    "rows",
    "reading",
    "call",
    "ranks",
    "als",
    "item_item",
    "columns",
)


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["report"]:
        return _report(argv[1:])
    if argv[:1] == ["results"]:
        return importlib.import_module(".field", __package__).main(argv[1:])
    if argv[:1] == ["sass"]:
        return int(importlib.import_module(".sass", __package__).main(argv[1:]))
    args = _parser().parse_args(argv)
    settings = Settings(args.data, torch.device(args.device), args.dim, args.quick, rows=int(args.rows))
    context = run_context(argv, settings)
    print(f"{context['machine']} {context['versions']}")
    context["ceilings_gb_per_s"] = ceilings(settings)
    print("ceilings: " + ", ".join(f"{k} {v:.1f} GB/s" for k, v in context["ceilings_gb_per_s"].items()))
    records: list[Record] = []
    failed: list[str] = []
    skipped: list[Record] = []

    def write() -> None:
        if args.json:
            write_results(args.json, context | {"failed": failed, "skipped": skipped}, records)

    write()
    for case in args.cases:  # one that fails costs the others nothing, and what was measured is written at once
        try:
            for new, left_out in _run(case, settings, context["ceilings_gb_per_s"], failed):
                records += new
                skipped += left_out
                write()
        except Exception:
            failed.append(case)
            traceback.print_exc()
            write()
    if args.json:
        print(f"\nwritten: {args.json}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(
    case: str, settings: Settings, ceilings: dict[str, float], failed: list[str]
) -> Iterator[tuple[list[Record], list[Record]]]:
    """The case's records and those whom it skipped, comparison by comparison, printed as they come; one that fails is named in ``failed``."""
    module = importlib.import_module(f".bench_{case}", __package__)
    if hasattr(module, "records"):  # a case that is not a race between contenders
        new = module.records(settings)
        print(f"\n{case}\n" + "\n".join("  " + ", ".join(f"{k} {v}" for k, v in r.items()) for r in new), flush=True)
        yield new, []
        return
    for comparison in module.comparisons(settings):
        try:
            new, skipped = measure(comparison, settings, ceilings)
        except Exception:
            failed.append(comparison.case)
            traceback.print_exc()
            continue
        print(table(new, skipped), flush=True)
        yield new, skipped


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="+", choices=CASES, metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--data", default="gowalla", help="a known data set, or synthetic:EDGES (default: gowalla)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument(
        "--rows", type=float, default=20e6, help="of the files that the case reading makes (default: 20e6)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="a case in under a minute on two cores")
    return parser


def _report(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks report",
        description="A picture of results, README.md's picture, or the documents' figures.",
    )
    parser.add_argument("files", nargs="*", type=Path, help="results to draw")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks.png"), help="the picture")
    parser.add_argument("--picture", action="store_true", help="draw README.md's jobs, from benchmarks/results")
    parser.add_argument(
        "--docs", action="store_true", help="write the figures of README.md and docs from benchmarks/results"
    )
    parser.add_argument("--check", action="store_true", help="with --docs: write nothing, fail where they differ")
    args = parser.parse_args(argv)
    if args.docs + args.picture + bool(args.files) != 1 or (args.check and not args.docs):
        parser.error("give files to draw, or --picture, or --docs [--check]")
    if args.docs:
        return _report_docs(args.check)
    from .documents import all_records
    from .report import JOBS, draw, panels

    draw(panels(all_records(), list(JOBS)) if args.picture else panels(read_results(args.files)), args.out)
    print(f"written: {args.out}")
    return 0


def _report_docs(check: bool) -> int:
    from .documents import write_all

    changed = write_all(check)
    for page in changed:
        print(f"differs from benchmarks/results: {page}" if check else f"written: {page}")
    if check and changed:
        print("write them by: python -m benchmarks report --docs", file=sys.stderr)
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
