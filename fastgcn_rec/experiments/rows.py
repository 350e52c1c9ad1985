"""What a comparison gives: a row a model, tests between them, and tables of both."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..ranking.significance import PairedTest

METRICS = ("recall@20", "ndcg@20")
HEADS = {"recall@20": "Recall@20", "ndcg@20": "NDCG@20"}
NAN = float("nan")


@dataclasses.dataclass(frozen=True)
class Row:
    """What a model of a comparison reached.

    Attributes
    ----------
    model : its name there
    recall, ndcg : at 20, on the test part; means over the seeds
    seconds_train, seconds_rank : of making it, and of :func:`fastgcn_rec.evaluate_users`; means over the seeds
    peak_bytes : int, beside what the data and the library had taken, the largest of the seeds; None where it is not known
    error : what went wrong instead, or None
    seeds : how many trainings by different seeds
    recall_sd, ndcg_sd : sample standard deviations over the seeds; NaN for one
    recall_interval, ndcg_interval : (low, high) of :func:`fastgcn_rec.ranking.bootstrap` over users, of each user's mean over the seeds
    note : of lists, what they hold and what they should not

    Examples
    --------
    >>> Row("als", error="needs implicit").recall
    nan
    """

    model: str
    recall: float = NAN
    ndcg: float = NAN
    seconds_train: float = NAN
    seconds_rank: float = NAN
    peak_bytes: int | None = None
    error: str | None = None
    seeds: int = 1
    recall_sd: float = NAN
    ndcg_sd: float = NAN
    recall_interval: tuple[float, float] = (NAN, NAN)
    ndcg_interval: tuple[float, float] = (NAN, NAN)
    note: str = ""


class Comparison(list[Row]):
    """The rows of a comparison, and ``tests``: by metric the tests of the models beside the best one, and beside the baseline where one is named.

    Examples
    --------
    >>> found = Comparison([Row("a", 0.1, 0.1)])
    >>> len(found), found.tests, found.baseline
    (1, {}, None)
    """

    def __init__(
        self,
        rows: Iterable[Row] = (),
        tests: Mapping[str, Sequence[PairedTest]] | None = None,
        baseline: str | None = None,
        level: float = 0.05,
    ) -> None:
        super().__init__(rows)
        self.tests = {metric: list(own) for metric, own in (tests or {}).items()}
        self.baseline, self.level = baseline, level

    def beside(self, metric: str) -> list[PairedTest]:
        """The tests beside the baseline, or beside the best where none is named."""
        own = self.tests.get(metric, [])
        return [test for test in own if self.baseline in (None, test.against)]

    def mark(self, metric: str, model: str) -> str:
        """ "*": differs from what it is tested against; "": does not, or is that itself."""
        return "*" if any(test.model == model and test.differs(self.level) for test in self.beside(metric)) else ""


def table(rows: Sequence[Row]) -> str:
    """The rows as text; of a :class:`Comparison` with its marks.

    >>> print(table([Row("filter", 0.1, 0.05, 2.0, 1.0, 2**20), Row("als", error="needs implicit")]))
    model       Recall@20  NDCG@20   train s    rank s  peak MiB
    filter         0.1000   0.0500       2.0       1.0         1
    als         needs implicit
    """
    width = max([12, *(len(row.model) + 1 for row in rows)])
    marks = isinstance(rows, Comparison) and bool(rows.tests)
    metrics = {name: _cells(rows, name, marks) for name in METRICS}
    widths = {name: max(len(HEADS[name]), 8, *map(len, [*cells, ""])) for name, cells in metrics.items()}
    head = " ".join(f"{HEADS[name]:>{widths[name]}s}" for name in METRICS)
    lines = [f"{'model':{width}s}{head} {'train s':>9s} {'rank s':>9s} {'peak MiB':>9s}"]
    for at, row in enumerate(rows):
        if row.error is not None:
            lines.append(f"{row.model:{width}s}{row.error}")
            continue
        own = " ".join(f"{metrics[name][at]:>{widths[name]}s}" for name in METRICS)
        peak = "-" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:,.0f}"
        train = "-" if math.isnan(row.seconds_train) else f"{row.seconds_train:.1f}"
        lines.append(f"{row.model:{width}s}{own} {train:>9s} {row.seconds_rank:9.1f} {peak:>9s}")
    lines += [f"{row.model}: {row.note}" for row in rows if row.note]
    return "\n".join(lines)


def _cells(rows: Sequence[Row], metric: str, marks: bool) -> list[str]:
    """Mean, mark, and spread where there are several seeds, of one width."""
    values = [[getattr(row, metric.removesuffix("@20") + end) for end in ("", "_sd")] for row in rows]
    width = 8 if any(not math.isnan(spread) for _, spread in values) else 0
    cells = []
    for row, (value, spread) in zip(rows, values, strict=True):
        mark = rows.mark(metric, row.model) if isinstance(rows, Comparison) else ""
        around = "" if math.isnan(spread) else f" ±{spread:.4f}"
        cells.append("" if row.error is not None else f"{value:.4f}{mark:{int(marks)}s}{around:{width}s}")
    return cells


def differences_table(comparison: Comparison) -> str:
    """The tests beside the baseline, or else beside the best, as text, a block a metric; empty where there are none.

    >>> test = PairedTest("mf", "filter", 943, -0.01, -0.012, -0.008, -0.2, 0.0001, 0.00002, 0.0001, 0.00002, 0.0001, 0.00002)
    >>> print(differences_table(Comparison([], {"recall@20": [test]})))
    Recall@20 less that of filter, the best; 943 users
    model       difference      95 % interval   effect  p bootstrap  p Wilcoxon
    mf            -0.0100* -0.0120 to -0.0080    -0.20       0.0001     <0.0001
    *: both p < 0.05; paired tests over users, p-values corrected by Holm
    """
    blocks: list[str] = []
    interval = f"{100 * (1 - comparison.level):.3g} % interval"
    for metric in comparison.tests:
        own = comparison.beside(metric)
        if not own:
            continue
        against = own[0].against
        what = "the baseline" if against == comparison.baseline else "the best"
        width = max([12, *(len(test.model) + 1 for test in own)])
        blocks.append(f"{HEADS[metric]} less that of {against}, {what}; {own[0].n_users:,} users")
        blocks.append(
            f"{'model':{width}s}{'difference':>10s} {interval:>18s} {'effect':>8s} {'p bootstrap':>12s} {'p Wilcoxon':>11s}"
        )
        blocks += [f"{test.model:{width}s}{_numbers(test, comparison.level)}" for test in own]
    if blocks:
        blocks.append(f"*: both p < {comparison.level:.3g}; paired tests over users, p-values corrected by Holm")
    return "\n".join(blocks)


def _numbers(test: PairedTest, level: float) -> str:
    mark = "*" if test.differs(level) else " "
    p = (f"{p:.4f}" if p >= 5e-5 else "<0.0001" for p in (test.p_bootstrap_holm, test.p_wilcoxon_holm))
    bootstrap, wilcoxon = p
    return f"{test.difference:9.4f}{mark} {f'{test.low:.4f} to {test.high:.4f}':>18s} {test.effect:8.2f} {bootstrap:>12s} {wilcoxon:>11s}"


def as_values(comparison: Comparison) -> dict[str, Any]:
    """Rows and tests as comparison.json has them."""
    tests = [{"metric": metric, **dataclasses.asdict(test)} for metric, own in comparison.tests.items() for test in own]
    return {"rows": [dataclasses.asdict(row) for row in comparison], "tests": tests}
