"""Whether a model is better than another, or only luckier with these users: paired tests of the metrics of each user."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.arguments import check_count, check_fraction


@dataclasses.dataclass(frozen=True)
class PairedTest:
    """One model beside another on the same users; d_u is a user's value of ``model`` less that of ``against``.

    Attributes
    ----------
    model, against : their names
    n_users : int
    difference, low, high : the mean of d_u, and a bootstrap interval of it
    effect : ``difference`` over the standard deviation of d_u (Cohen's d for pairs); 0 where all d_u are 0, infinite where all are the same else
    p_bootstrap, p_wilcoxon : of "the mean of d_u is 0" and of "d_u is distributed evenly around 0", two-sided, each by itself
    p_bootstrap_holm, p_wilcoxon_holm : corrected for all tests against the same model, by Holm: the chance that any of them is a false alarm
    p_bootstrap_fdr, p_wilcoxon_fdr : corrected by Benjamini and Hochberg: the share of false alarms among those that are called different

    Examples
    --------
    >>> test = PairedTest("a", "b", 100, 0.01, 0.002, 0.018, 0.3, 0.01, 0.02, 0.01, 0.02, 0.01, 0.02)
    >>> test.difference > 0, test.differs()
    (True, True)
    """

    model: str
    against: str
    n_users: int
    difference: float
    low: float
    high: float
    effect: float
    p_bootstrap: float
    p_wilcoxon: float
    p_bootstrap_holm: float
    p_wilcoxon_holm: float
    p_bootstrap_fdr: float
    p_wilcoxon_fdr: float

    def differs(self, level: float = 0.05) -> bool:
        """Whether both tests, corrected by Holm, say so at ``level``."""
        return max(self.p_bootstrap_holm, self.p_wilcoxon_holm) < level


def paired_tests(
    per_user: Mapping[str, ArrayLike],
    against: str | None = None,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[PairedTest]:
    """Each model beside one of them, on the same users: paired bootstrap and Wilcoxon's signed-rank test.

    Parameters
    ----------
    per_user : a metric of each user by model, [n_users], or [n_seeds, n_users] of several trainings, of which the mean of each user counts
        Such as ``{"a": evaluate_users(a, data).values["recall@20"], ...}``; the same users in the same order.
    against : a name out of it. Default: the best one by its mean, the first of several
        The best is chosen by the values that it is tested with, which favours it a little; what is to be shown of one model is better tested
        against a name.
    resamples : int >= 1, of the bootstrap, all users drawn with replacement; p_bootstrap is never below 1 / (resamples + 1)
    confidence, seed : float in (0, 1), int: of the interval, and of what is drawn

    Returns
    -------
    list of :class:`PairedTest`, of all models but ``against``, in their order

    Notes
    -----
    With d the mean difference and d* that of a resample, the same one for all models, p_bootstrap = (1 + #{|d* - d| >= |d|}) / (resamples + 1) (Efron and Tibshirani
    1993, 16.4; in retrieval: Sakai 2006, Smucker et al. 2007), and the interval holds the middle ``confidence`` of d* (as :func:`fastgcn_rec.ranking.bootstrap`).
    Wilcoxon's test (Wilcoxon 1945) is SciPy's, of the users with d_u != 0. Corrections: Holm 1979, Benjamini and Hochberg 1995, over the tests of one call.
    A test over users says how far others of their kind would agree; how far trainings by other seeds would, several seeds say.

    Raises
    ------
    TypeError, ValueError : no numbers, fewer than two models or no users, other numbers of users, values that are not finite, a name that is not there.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> worse, luck = rng.random(500), rng.normal(0, 0.1, 500)
    >>> [test] = paired_tests({"worse": worse, "better": worse + 0.05 + luck}, resamples=999)
    >>> test.model, test.against, round(test.difference, 3), test.p_bootstrap_holm, test.high < 0
    ('worse', 'better', -0.043, 0.001, True)
    """
    resamples, seed = check_count(resamples, "paired_tests: resamples", 1), check_count(seed, "paired_tests: seed", 0)
    confidence = check_fraction(confidence, "paired_tests: confidence")
    values = _of_users(per_user)
    if against is None:
        against = max(values, key=lambda name: values[name].mean())
    if against not in values:
        raise ValueError(f"paired_tests: against must be one of {', '.join(map(str, values))}, got {against!r}")
    others = [name for name in values if name != against]
    # what is equal but for rounding, as means over seeds are, counts as equal: Wilcoxon's test knows ties and zeros
    differences = np.stack([np.round(values[name] - values[against], 12) for name in others])
    found, drawn = differences.mean(1), _resampled(differences, resamples, seed)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    by_bootstrap = (1 + (np.abs(drawn - found) >= np.abs(found)).sum(0)) / (resamples + 1)
    by_wilcoxon = np.array([_wilcoxon(d) for d in differences])
    columns = (
        found,
        low,
        high,
        [_effect(d) for d in differences],
        by_bootstrap,
        by_wilcoxon,
        holm(by_bootstrap),
        holm(by_wilcoxon),
        benjamini_hochberg(by_bootstrap),
        benjamini_hochberg(by_wilcoxon),
    )
    return [
        PairedTest(name, against, differences.shape[1], *(float(column[at]) for column in columns))
        for at, name in enumerate(others)
    ]


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """p-values corrected for being several (Holm 1979): of m ascending ones max over j <= i of (m + 1 - j) p_j, 1 at most.

    p : float [m] in [0, 1]

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values, order = _ascending(p)
    stepped = np.maximum.accumulate(values * np.arange(len(values), 0, -1))
    return _in_order(np.minimum(stepped, 1), order)


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """p-values corrected by the false discovery rate (Benjamini and Hochberg 1995): of m ascending ones min over j >= i of m p_j / j, 1 at most.

    p : float [m] in [0, 1]

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(12).tolist()
    [0.03, 0.04, 0.04]
    """
    values, order = _ascending(p)
    stepped = np.minimum.accumulate((values * len(values) / np.arange(1, len(values) + 1))[::-1])[::-1]
    return _in_order(np.minimum(stepped, 1), order)


def _ascending(p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values = np.asarray(p, np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p must be p-values [m] between 0 and 1, got {values.tolist()}")
    order = np.argsort(values, kind="stable")
    return values[order], order


def _in_order(values: NDArray[np.float64], order: NDArray[np.int64]) -> NDArray[np.float64]:
    result = np.empty_like(values)
    result[order] = values
    return result


def _of_users(per_user: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
    """A value of each user by model."""
    if not isinstance(per_user, Mapping):
        raise TypeError(f"paired_tests: per_user must map names to values of each user, got {type(per_user).__name__}")
    values = {name: _numbers(name, given) for name, given in per_user.items()}
    if len(values) < 2:
        raise ValueError(
            f"paired_tests: per_user must have two models or more, got {', '.join(map(str, values)) or 'none'}"
        )
    sizes = {name: len(value) for name, value in values.items()}
    first = next(iter(sizes))
    for name, size in sizes.items():
        if size != sizes[first]:
            raise ValueError(
                f"paired_tests: per_user must have the same users for all models, got {sizes[first]} for {first!r} and {size} for {name!r}"
            )
    if not sizes[first]:
        raise ValueError("paired_tests: per_user must have users, got none")
    return values


def _numbers(name: str, given: Any) -> NDArray[np.float64]:
    value = np.asarray(given)
    if value.dtype.kind not in "fiub":
        raise TypeError(f"paired_tests: per_user[{name!r}] must be numbers, got {value.dtype}")
    if value.ndim not in (1, 2) or 0 in value.shape[:-1]:
        raise ValueError(f"paired_tests: per_user[{name!r}] must be [n_users] or [n_seeds, n_users], got {value.shape}")
    value = value.astype(np.float64)
    if not np.isfinite(value).all():
        raise ValueError(f"paired_tests: per_user[{name!r}] must be finite, got {value[~np.isfinite(value)][0]}")
    return value if value.ndim == 1 else value.mean(0)


def _resampled(values: NDArray[np.float64], n: int, seed: int) -> NDArray[np.float64]:
    """Means [n, M] of ``values`` [M, U] over users drawn with replacement, the same ones for all rows."""
    rng, n_users = np.random.default_rng(seed), values.shape[1]
    means = np.empty((n, len(values)))
    for mean in means:
        times = np.bincount(rng.integers(n_users, size=n_users, dtype=np.uint32), minlength=n_users)
        mean[:] = np.einsum("mu,u->m", values, times.astype(np.float64)) / n_users
    return means


def _wilcoxon(differences: NDArray[np.float64]) -> float:
    from scipy.stats import wilcoxon  # here, since it takes long to import and ranking alone does without

    other = differences[differences != 0]
    return float(wilcoxon(other).pvalue) if len(other) else 1.0


def _effect(differences: NDArray[np.float64]) -> float:
    mean = float(differences.mean())
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if spread < 1e-12:
        return 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
    return mean / spread
