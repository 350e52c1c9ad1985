"""Paired tests of models on the same users."""

import numpy as np
import pytest
from scipy import stats

from fastgcn_rec.ranking import benjamini_hochberg, holm, paired_tests


def users(n=400, seed=0):
    return np.random.default_rng(seed).random(n)


def test_p_values_are_those_of_scipy_and_of_the_t_test_where_it_holds():
    base = users()
    better = base + np.random.default_rng(1).normal(0.012, 0.1, len(base))
    [test] = paired_tests({"base": base, "better": better}, "base", resamples=4000)
    d = better - base
    by_t = stats.ttest_rel(better, base)
    assert test.p_bootstrap == pytest.approx(by_t.pvalue, abs=0.01)
    assert test.p_wilcoxon == pytest.approx(stats.wilcoxon(better, base).pvalue)
    assert test.difference == pytest.approx(d.mean())
    assert test.effect == pytest.approx(d.mean() / d.std(ddof=1))
    interval = by_t.confidence_interval()
    assert (test.low, test.high) == pytest.approx((interval.low, interval.high), abs=1e-3)
    assert (test.p_bootstrap, test.p_wilcoxon) == (test.p_bootstrap_holm, test.p_wilcoxon_fdr)  # of one test


def test_false_alarms_come_as_often_as_they_may():
    rng = np.random.default_rng(2)
    found = np.zeros(3)
    for _ in range(200):
        base = rng.random(60)
        models = {"base": base} | {str(n): base + rng.normal(0, 0.1, 60) for n in range(5)}
        tests = paired_tests(models, "base", resamples=200)
        found += [
            any(t.p_bootstrap < 0.05 for t in tests),
            any(t.p_bootstrap_holm < 0.05 for t in tests),
            any(t.differs() for t in tests),
        ]
    by_itself, corrected, both = found / 200
    assert by_itself > 0.12  # five tests at .05 each: what the correction is for
    assert corrected <= 0.09
    assert both <= corrected


def test_corrections_by_hand_and_against_scipy():
    p = np.random.default_rng(3).random(40) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    order = np.argsort(p)
    by_hand = [min(1, max((40 - j) * p[order[j]] for j in range(i + 1))) for i in range(40)]
    np.testing.assert_allclose(holm(p)[order], by_hand)
    assert holm([]).tolist() == benjamini_hochberg([]).tolist() == []


def test_the_best_is_what_the_others_are_tested_against_and_seeds_are_averaged_user_by_user():
    base = users()
    seeds = np.stack([base + 0.1, base + 0.2, base + 0.3])
    tests = paired_tests({"a": base, "three": seeds, "b": base + 0.05}, resamples=50)
    assert [(t.model, t.against) for t in tests] == [("a", "three"), ("b", "three")]
    assert [round(t.difference, 9) for t in tests] == [-0.2, -0.15]
    assert [t.effect for t in tests] == [-np.inf, -np.inf]
    named = paired_tests({"a": base, "three": seeds, "b": base + 0.05}, "a", resamples=50)
    assert [(t.model, t.against) for t in named] == [("three", "a"), ("b", "a")]


def test_what_is_equal_but_for_rounding_is_equal():
    base = np.tile([0.1, 0.25, 1 / 3, 0.7], 30)
    [test] = paired_tests({"one": base, "seeds": np.stack([base] * 3)}, "one", resamples=50)
    assert (test.difference, test.effect, test.p_bootstrap, test.p_wilcoxon) == (0, 0, 1, 1)
    assert not test.differs()


def test_the_same_seed_gives_the_same_bits():
    models = {"a": users(), "b": users(seed=1), "c": users(seed=2)}
    assert paired_tests(models, resamples=100) == paired_tests(models, resamples=100)
    assert paired_tests(models, resamples=100, seed=1) != paired_tests(models, resamples=100)


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ([1, 2], {}, TypeError, "per_user must map names to values of each user, got list"),
        ({"a": [1.0]}, {}, ValueError, "two models or more, got a"),
        ({"a": [1.0], "b": [1.0, 2.0]}, {}, ValueError, "got 1 for 'a' and 2 for 'b'"),
        ({"a": [], "b": []}, {}, ValueError, "must have users, got none"),
        ({"a": [1.0], "b": [float("nan")]}, {}, ValueError, r"per_user\['b'\] must be finite, got nan"),
        ({"a": [1.0], "b": ["x"]}, {}, TypeError, r"per_user\['b'\] must be numbers"),
        ({"a": [1.0], "b": [[[1.0]]]}, {}, ValueError, r"\[n_users\] or \[n_seeds, n_users\], got \(1, 1, 1\)"),
        ({"a": [1.0], "b": [1.0]}, {"against": "c"}, ValueError, "against must be one of a, b, got 'c'"),
        ({1: [1.0], 2: [1.0]}, {"against": 3}, ValueError, "against must be one of 1, 2, got 3"),
        ({1: [1.0]}, {}, ValueError, "two models or more, got 1"),
        ({"a": [1.0], "b": [1.0]}, {"seed": -1}, ValueError, "paired_tests: seed must be >= 0, got -1"),
        ({"a": [1.0], "b": [1.0]}, {"resamples": 0}, ValueError, "resamples"),
        ({"a": [1.0], "b": [1.0]}, {"confidence": 1.0}, ValueError, "confidence"),
    ],
)
def test_what_cannot_be_tested_is_named(given, options, error, message):
    with pytest.raises(error, match=message):
        paired_tests(given, **options)


def test_what_is_no_p_value_is_refused():
    for correct in (holm, benjamini_hochberg):
        with pytest.raises(ValueError, match="between 0 and 1"):
            correct([0.5, 1.5])
