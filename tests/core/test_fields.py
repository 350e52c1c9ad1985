"""Dataclasses that check their fields, and the one that a model may know of a training."""

import copy
import dataclasses
import pickle
import typing
from typing import Literal

import numpy as np
import pytest

from fastgcn_rec import TrainConfig
from fastgcn_rec.core.fields import Checked
from fastgcn_rec.losses import Objective


class Ink:
    pass


@dataclasses.dataclass(frozen=True)
class Line(Checked):
    rules = ((("width", "gap"), "be > 0", lambda value: value > 0),)
    width: float = 1.0
    gap: float = 1.0
    dashes: int = 0
    shown: bool = True
    ends: Literal["round", "flat"] = "flat"
    ink: str | Ink = "black"


@dataclasses.dataclass(frozen=True)
class Arrow(Line):
    rules = (*Line.rules, (("heads",), "be 1 or 2", lambda value: value in (1, 2)))
    heads: int = 1

    def problems(self):
        yield from super().problems()
        if self.heads == 2 and self.ends == "round":
            yield "two heads have flat ends"


def test_values_become_pythons_and_keep_their_kinds():
    line = Arrow(width=np.int32(2), dashes=np.int64(3), shown=np.bool_(False), ink=Ink(), heads=np.array(2))
    assert [type(v) for v in dataclasses.asdict(line).values()] == [float, float, int, bool, str, Ink, int]
    assert (line.width, line.dashes, line.heads) == (2, 3, 2)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"width": "1"}, TypeError, "Line: width must be a number, got '1'"),
        ({"dashes": 2.0}, TypeError, "Line: dashes must be an int, got 2.0"),
        ({"shown": 1}, TypeError, "Line: shown must be True or False, got 1"),
        ({"ends": None}, TypeError, "Line: ends must be a str, got None"),
        ({"ink": 3}, TypeError, "Line: ink must be a str or a Ink, got 3"),
        ({"width": 10**400}, TypeError, "Line: width must be a number"),
        ({"gap": -1}, ValueError, "Line: gap must be > 0, got -1.0"),
        ({"ends": "square"}, ValueError, r"Line: ends must be one of \('round', 'flat'\), got 'square'"),
        (
            {"dashes": "2", "shown": "no", "gap": -1},
            TypeError,
            "Line: 2 settings cannot work:\n  dashes must be an int, got '2'\n  shown must be True or False, got 'no'$",
        ),
        ({"gap": 0, "width": 0}, ValueError, "Line: 2 settings cannot work:\n  width must be > 0, got 0.0\n  gap must"),
    ],
)
def test_all_wrong_fields_are_named_with_the_rule_and_the_value(given, error, message):
    with pytest.raises(error, match=f"^{message}"):
        Line(**given)


def test_a_subclass_adds_its_own_rules_and_names_itself():
    with pytest.raises(
        ValueError,
        match=r"^Arrow: 2 settings cannot work:\n  gap must be > 0, got 0\.0\n  heads must be 1 or 2, got 3$",
    ):
        Arrow(gap=0, heads=3)
    with pytest.raises(ValueError, match=r"^Arrow: two heads have flat ends$"):
        Arrow(heads=2, ends="round")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"batch_size": 2.5}, TypeError, r"batch_size must be an int, got 2\.5"),
        ({"loss": "hinge"}, ValueError, "loss must be one of .*, got 'hinge'"),
        ({"temperature": 0}, ValueError, r"temperature must be > 0 and finite, got 0\.0"),
        ({"reg": float("nan")}, ValueError, "reg must be >= 0 and finite, got nan"),
        ({"logq": float("inf"), "loss": "softmax"}, ValueError, "logq must be finite, got inf"),
        (
            {"negative_weight": 0.5},
            ValueError,
            r"logq, logq_density and negative_weight are the softmax's, got 0\.0, 0\.0 and 0\.5",
        ),
        (
            {"loss": "softmax", "batch_size": 1},
            ValueError,
            "the softmax ranks an item .* so batch_size must be >= 2, got 1",
        ),
        ({"seed": -1}, ValueError, r"seed must lie in \[0, 2\^63\), got -1"),
        ({"sampler": "item", "batch_size": 0}, ValueError, "2 settings cannot work:"),
    ],
)
def test_an_objective_checks_its_fields_alone_and_within_a_config(given, error, message):
    for cls in (Objective, TrainConfig):
        with pytest.raises(error, match=f"^{cls.__name__}: {message}"):
            cls(**given)


def test_every_field_of_an_objective_is_one_of_a_config_that_explains_it():
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    explained = [line.partition(" : ")[0].strip() for line in TrainConfig.__doc__.splitlines() if " : " in line]
    assert [name for name in explained if name in names] == names
    assert names[: len(dataclasses.fields(Objective))] == [field.name for field in dataclasses.fields(Objective)]
    assert isinstance(TrainConfig(), Objective)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own(TrainConfig):
    """Settings of somebody's own."""

    names: tuple[str, ...] = ()
    limit: int | None = None
    share: typing.Optional[float] = None  # noqa: UP045
    anything: typing.Any = None


def test_a_subclass_has_fields_of_any_class():
    own = Own(names=("a",), limit=3, share=0.5, anything=[1], lr=0.1)
    assert dataclasses.replace(own, limit=None) == Own(names=("a",), share=0.5, anything=[1], lr=0.1)
    assert pickle.loads(pickle.dumps(own)) == copy.deepcopy(own) == own == Own(**dataclasses.asdict(own))
    with pytest.raises(
        TypeError,
        match=r"^Own: 3 settings cannot work:\n  names must be a tuple, got 'a'\n  limit must be an int or None, got 2\.5\n  share must be a number or None, got 'x'$",
    ):
        Own(names="a", limit=2.5, share="x")
