"""What a comparison gives for each model, and a table of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Row:
    """What a model of a comparison reached.

    Attributes
    ----------
    model : its name there
    recall, ndcg : at 20, on the test part
    seconds_train, seconds_rank : of making it, and of :func:`fastgcn_rec.evaluate`
    peak_bytes : int, beside what the data and the library had taken; None where it is not known
    error : what went wrong instead, or None

    Examples
    --------
    >>> Row("als", error="needs implicit").recall
    nan
    """

    model: str
    recall: float = float("nan")
    ndcg: float = float("nan")
    seconds_train: float = float("nan")
    seconds_rank: float = float("nan")
    peak_bytes: int | None = None
    error: str | None = None


def table(rows: Sequence[Row]) -> str:
    """The rows as text.

    >>> print(table([Row("filter", 0.1, 0.05, 2.0, 1.0, 2**20), Row("als", error="needs implicit")]))
    model       Recall@20  NDCG@20   train s    rank s  peak MiB
    filter         0.1000   0.0500       2.0       1.0         1
    als         needs implicit
    """
    lines = [f"{'model':12s}{'Recall@20':>9s} {'NDCG@20':>8s} {'train s':>9s} {'rank s':>9s} {'peak MiB':>9s}"]
    for row in rows:
        if row.error is not None:
            lines.append(f"{row.model:12s}{row.error}")
            continue
        peak = "-" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:,.0f}"
        numbers = f"{row.recall:9.4f} {row.ndcg:8.4f} {row.seconds_train:9.1f} {row.seconds_rank:9.1f} {peak:>9s}"
        lines.append(f"{row.model:12s}{numbers}")
    return "\n".join(lines)
