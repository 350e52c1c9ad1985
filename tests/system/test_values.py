"""Settings of any numeric kind, as files hold them."""

import json

import numpy as np
import pytest
import torch
from support import random_graph

from fastgcn_rec.models import LightGCN, Recommender
from fastgcn_rec.system.archives import save_arrays
from fastgcn_rec.system.values import json_value, write_json

VALUES = {
    "int64": (np.int64(3), 3),
    "uint8": (np.uint8(200), 200),
    "float32": (np.float32(0.5), 0.5),
    "float64": (np.float64(0.1), 0.1),
    "bool": (np.bool_(True), True),
    "str": (np.str_("a"), "a"),
    "array": (np.arange(3), [0, 1, 2]),
    "tensor": (torch.tensor([[1.5]]), [[1.5]]),
    "scalar tensor": (torch.tensor(2), 2),
    "nested": ({"a": (np.int32(1), [torch.tensor(True)])}, {"a": [1, [True]]}),
    "none": (None, None),
}


@pytest.mark.parametrize("name", VALUES)
def test_settings_of_numpy_and_torch_are_plain_numbers_in_files(tmp_path, name):
    value, want = VALUES[name]
    assert json_value(value) == want
    write_json(tmp_path / "a.json", {"x": value})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": want}
    save_arrays(tmp_path / "a.npz", {"kind": "test", "x": value}, {})


def test_what_json_cannot_hold_is_named():
    with pytest.raises(TypeError, match=r"value\['a'\]\[1\] must be of numbers, texts.* got object"):
        json_value({"a": [1, object()]})
    with pytest.raises(TypeError, match="got complex"):
        json_value(np.complex128(1))


def test_files_for_other_programs_hold_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"x": [float("nan"), np.float32("inf"), 1.5], "y": -np.inf})

    def refuse(name):
        raise AssertionError(name)

    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse) == {"x": [None, None, 1.5], "y": None}


def test_a_model_of_numpy_settings_is_saved(tmp_path):
    model = LightGCN(random_graph(), np.int64(4), np.int64(1), init_std=np.float32(0.1), seed=np.int64(1))
    model.save(tmp_path / "m.npz")
    again = Recommender.load(tmp_path / "m.npz")
    assert torch.equal(again.embedding.weight, model.embedding.weight)
    assert again.config() == json_value(model.config())
