import dataclasses
import json

import numpy as np
import pytest
import torch

from fastgcn_rec import MF, TrainConfig, fit
from fastgcn_rec.data import synthetic_interactions

FIELDS = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
OTHER_KINDS = {
    int: (2.5, 2.0, True, "2", None, [2]),
    float: ("1", None, True, 1j, [0.1]),
    bool: (1, 0.0, "yes", None),
    str: (3, None, b"bpr"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_refuses_another_kind_before_training(name):
    for value in OTHER_KINDS[type(FIELDS[name])]:
        with pytest.raises(TypeError, match=f"TrainConfig: {name} must be "):
            TrainConfig(**{name: value})


@pytest.mark.parametrize("name", FIELDS)
def test_scalars_of_numpy_and_torch_become_pythons(name):
    value = FIELDS[name]
    scalars = [np.array(value)[()], np.array(value)]
    if not isinstance(value, str):
        scalars.append(torch.tensor(value))
    if isinstance(value, float):
        scalars.append(np.float64(value))
    for scalar in scalars:
        config = TrainConfig(**{name: scalar})
        assert type(getattr(config, name)) is type(value)
        assert getattr(config, name) == pytest.approx(value)
        assert TrainConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_ints_stand_for_floats():
    config = TrainConfig(lr=1, reg=np.int32(2))
    assert (repr(config.lr), repr(config.reg)) == ("1.0", "2.0")


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "lr": (0.0, -1.0, float("nan"), float("inf")),
        "reg": (-1.0, float("nan"), float("inf")),
        "temperature": (0.0, float("nan"), float("inf")),
        "margin": (-0.1, float("nan")),
        "warmup": (1.0, -0.1, float("nan")),
        "valid_fraction": (0.0, 1.0, float("nan")),
        "metric": ("ndcg", "NDCG@20", "recal@20", "recall@", "recall@k", "recall@0", "recall@020", "recall@-1", "recall@20 "),
        "epochs": (-1,),
        "batch_size": (0,),
        "eval_every": (0,),
        "patience": (-1,),
        "seed": (-1, 1 << 63),
        "storage": ("float16",),
        "protocol": ("test",),
    }.items(),
)  # fmt: skip
def test_values_that_cannot_work_are_refused_before_training(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"TrainConfig: {name} must "):
            TrainConfig(**{name: value})


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError, match="5 settings cannot work") as caught:
        TrainConfig(lr=-1.0, metric="auc", loss="hinge", negatives="nearest(1)", refit=True, protocol="none")
    for part in (
        "lr must be > 0",
        "metric must be NAME@K",
        "loss must be one of",
        "refit needs",
        "no sampler is called",
    ):
        assert part in str(caught.value)
    with pytest.raises(TypeError, match=r"epochs must be an int, got 2\.5\n  refit must be True or False, got 1"):
        TrainConfig(epochs=2.5, refit=1, lr=-1.0)


@pytest.mark.parametrize(
    ("options", "message"), [({"epoch": 5}, "is epochs meant"), ({"zzz": 1}, "there are loss, temperature")]
)
def test_options_that_are_no_fields_are_named(options, message):
    data = synthetic_interactions(30, 20, 100)
    with pytest.raises(TypeError, match=message):
        fit(MF(data, 4), data, **options)
