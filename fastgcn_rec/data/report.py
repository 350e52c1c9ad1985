"""What to know about a data set before training on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.ids import Array


@dataclass(frozen=True)
class DatasetReport:
    """Figures of a data set, made by `Dataset.report`; ``str`` shows them as a table.

    Attributes
    ----------
    users, items, train, test, valid : int
        Sizes of the id spaces and of the parts, in distinct pairs.
    density : float
        Distinct pairs of all parts over users * items.
    duplicates : int
        Rows that were dropped as repeats of a pair within a part, or of a training pair in the validation part.
    overlap : int
        Pairs of the training or the validation part that stand in the test part too: no full ranking that leaves out seen items finds them.
    cold_users, cold_items : int
        Those without a training edge.
    users_without_test : int
        Users that no metric averages over.
    user_degree, item_degree : tuple of (int, float, int)
        Least, median and largest number of training edges.
    fingerprint : str
        See `Dataset.fingerprint`.
    published : bool or None
        Whether the fingerprint is the published split's; None where none is known for the name.

    Examples
    --------
    >>> from fastgcn_rec.data import synthetic_interactions
    >>> report = synthetic_interactions(100, 80, 1000).report()
    >>> report.train, report.test, report.cold_users
    (804, 196, 0)
    """

    name: str
    users: int
    items: int
    train: int
    test: int
    density: float
    duplicates: int
    overlap: int
    cold_users: int
    cold_items: int
    users_without_test: int
    user_degree: tuple[int, float, int]
    item_degree: tuple[int, float, int]
    fingerprint: str
    published: bool | None = None
    valid: int = 0

    def __str__(self) -> str:
        known = {True: "matches the published split", False: "differs from the published split", None: "not on record"}
        valid = f"{self.valid:,} valid + " if self.valid else ""
        rows = [
            ("users", f"{self.users:,}  ({self.cold_users:,} without a training edge)"),
            ("items", f"{self.items:,}  ({self.cold_items:,} without a training edge)"),
            (
                "interactions",
                f"{self.train + self.valid + self.test:,}  ({self.train:,} train + {valid}{self.test:,} test)",
            ),
            ("density", f"{self.density:.4%}"),
            ("user degree", _degrees(self.user_degree)),
            ("item degree", _degrees(self.item_degree)),
            ("users without test", f"{self.users_without_test:,}"),
            ("duplicates dropped", f"{self.duplicates:,}"),
            ("train/test overlap", f"{self.overlap:,}"),
            ("fingerprint", self.fingerprint),
            ("identity", known[self.published]),
        ]
        return "\n".join([self.name, *(f"  {label:<19} {value}" for label, value in rows)])


def degree_summary(degrees: Array) -> tuple[int, float, int]:
    """Return (least, median, largest), zeros for an empty side."""
    if not degrees.size:
        return 0, 0.0, 0
    return int(degrees.min()), float(np.median(degrees)), int(degrees.max())


def _degrees(summary: tuple[int, float, int]) -> str:
    least, median, largest = summary
    return f"least {least:,}, median {median:,g}, largest {largest:,}"
