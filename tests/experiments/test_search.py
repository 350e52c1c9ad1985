"""What a search proposes: values of its space, by what was tried and the seed alone, and better ones as it goes on."""

import math
import warnings

import pytest

from fastgcn_rec.experiments.search import Search
from fastgcn_rec.experiments.study import Trial
from fastgcn_rec.models.space import Tunable

SPACE = (
    Tunable("reg", 1.0, 1e4, log=True),
    Tunable("layers", 1, 9),
    Tunable("kind", choices=("a", "b")),
    Tunable("shape", 0.0, 1.0, when=("kind", ("b",))),
    Tunable("steps", choices=([1.0], [1.0, -0.5])),
)


def trial(search, tried, worth):
    params = search.propose(tried)
    return Trial("short", params, "done", worth(params))


def searched(search, n, worth):
    tried = []
    for _ in range(n):
        tried.append(trial(search, tried, worth))
    return tried


def worth(params):
    return -abs(math.log(params["reg"] / 100)) - (params["kind"] == "a")


def test_proposals_lie_in_the_space_are_new_and_leave_out_what_plays_no_part():
    tried = searched(Search(SPACE, maximize=True), 20, worth)
    for one in tried:
        assert list(one.params) == [own.name for own in SPACE]
        assert all(own.holds(one.params[own.name]) for own in SPACE)
        assert float(f"{one.params['reg']:.3g}") == one.params["reg"]
        assert one.params["kind"] == "b" or one.params["shape"] == 0.0
    assert len({str(one.params) for one in tried}) == 20


def test_they_depend_on_the_seed_and_on_what_was_tried_alone():
    tried = searched(Search(SPACE, maximize=True, seed=3), 12, worth)
    for n in (0, 5, 11):
        assert Search(SPACE, maximize=True, seed=3).propose(tried[:n]) == tried[n].params
    assert Search(SPACE, maximize=True, seed=4).propose([]) != tried[0].params


def test_what_was_reached_decides_and_is_told_by_what():
    tried = searched(Search(SPACE, maximize=True), 24, worth)
    other = [Trial("short", one.params, "done", -one.value) for one in tried]
    assert Search(SPACE, maximize=True).propose(tried[:7]) == Search(SPACE, maximize=True).propose(
        other[:7]
    )  # by chance
    assert Search(SPACE, maximize=True).propose(tried) != Search(SPACE, maximize=True).propose(other)
    shares = Search(SPACE, maximize=True).importances(tried)
    assert set(shares) == {one.name for one in SPACE}
    assert shares["reg"] + shares["kind"] > 0.3
    assert sum(shares.values()) == pytest.approx(1)
    assert Search(SPACE, maximize=True).importances(tried[:12]) == {}


def test_less_of_the_opposite_is_the_same_search():
    most = searched(Search(SPACE, maximize=True), 14, worth)
    least = searched(Search(SPACE, maximize=False), 14, lambda params: -worth(params))
    assert [one.params for one in most] == [one.params for one in least]


def test_what_a_recipe_has_outside_of_the_space_is_not_learnt_from():
    off = Trial("short", {"reg": 0.0}, "done", 1.0)
    space = SPACE[:1]
    assert Search(space, maximize=True).propose([off]) == Search(space, maximize=True).propose([Trial("short", {"reg": -1.0}, "done", 1.0)])  # fmt: skip


def test_of_failed_and_stopped_ones_nothing_is_said(capfd):
    tried = [Trial("short", {"reg": float(n)}, "failed") for n in range(1, 12)]
    tried += [Trial("short", {"reg": 1000.0 + n}, "stopped", values=((0.5, 0.1 * n),)) for n in range(9)]
    tried += [Trial("short", {"reg": 5000.0 + n}, "done", 0.9) for n in range(9)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [Search(SPACE[:1], maximize=True, seed=seed).propose(tried)["reg"] for seed in range(4)]
    assert all(1 <= reg <= 1e4 for reg in found)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("a", 1), TypeError, "low and high of a must be numbers, or give choices, got None"),
        (("a", True, 2), TypeError, "got True"),
        (("a", 2, 1), ValueError, "low must be < high, both finite, got 2 and 1 of a"),
        (("a", 0.0, math.inf), ValueError, "both finite"),
        (("a", 0.0, 1.0, True), ValueError, "low must be > 0 where ratios count, got 0.0 of a"),
        (("a", None, None, False, (1,)), ValueError, r"a needs at least two choices, got \(1,\)"),
        (("a", None, None, False, (1, 2, 1)), ValueError, r"choices of a must differ, got \(1, 2, 1\)"),
        (("a", None, None, False, "xy"), TypeError, "choices a tuple, got 'a' and 'xy'"),
        ((5, 1, 2), TypeError, "name must be a text"),
        (("a", 1, 2, False, (1, 2)), ValueError, "a has choices, and then no low, high or log"),
    ],
)
def test_a_space_that_cannot_be_is_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        Tunable(*arguments)


def test_a_space_takes_in_what_a_recipe_says():
    assert Tunable("a", 1, 5).with_value(9).ends == (1, 9)
    assert Tunable("a", 1.0, 5.0).with_value(0).ends == (0, 5.0)
    assert Tunable("a", 1, 5).with_value(2.5) == Tunable("a", 1, 5)
    assert Tunable("a", 1.0, 5.0, log=True).with_value(0.0).ends == (1.0, 5.0)
    assert Tunable("a", choices=([1], [2])).with_value((3,)).holds([3])
    assert not Tunable("a", 1, 5).holds(True)
