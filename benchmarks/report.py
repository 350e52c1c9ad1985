"""The picture of a set of results: one row of bars per case, contender's time over ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .harness import Record


def draw(records: Sequence[Record], path: Path) -> None:
    """Bars of contender's time / ours, from 1 upwards, on a log axis; the last result of a case and device counts."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    latest: dict[tuple[str, ...], Record] = {}
    for r in sorted((r for r in records if "ratio" in r and "median_ms" in r), key=lambda r: r["date"]):
        latest[r["case"], r["data"], r["device"], r["contender"], r["dtype"]] = r
    cases: dict[tuple[str, ...], list[Record]] = {}
    for r in latest.values():
        cases.setdefault((r["case"], r["data"], r["device"]), []).append(r)
    heights = [len(group) for group in cases.values()]
    figure, axes = plt.subplots(
        len(cases),
        1,
        figsize=(8, 0.28 * sum(heights) + 0.75 * len(cases)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, ((case, data, device), group) in zip(axes[:, 0], cases.items(), strict=True):
        names = [r["contender"] + ("" if r["dtype"] in ("float32", "int64") else f", {r['dtype']}") for r in group]
        ratios = [r["ratio"] for r in group]
        colors = ["#1b7f5c" if r["contender"].startswith("ours") else "#9aa5b1" for r in group]
        bars = axis.barh(range(len(group)), ratios, color=colors, height=0.7)
        axis.bar_label(bars, [f" {r['ratio']:.2g}x  ({_short(r['median_ms'])} ms)" for r in group], fontsize=7)
        axis.set_yticks(range(len(group)), names, fontsize=7)
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.set_xlim(min(0.3, *ratios) * 0.8, max(ratios) * 8)
        axis.tick_params(axis="x", labelsize=6)
        axis.set_title(f"{case}, {data}, {device}: time / ours", fontsize=8, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    machine = next(iter(latest.values()))["machine"]
    figure.suptitle(f"{machine.get('gpu', machine['processor'])}, {machine['threads']} threads", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _short(ms: float) -> str:
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.3g}"
