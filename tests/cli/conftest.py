"""Models in files, for the commands that take one."""

import numpy as np
import pytest

from fastgcn_rec import LightGCN
from fastgcn_rec.data import Interactions, make_dataset

INTEGERS = np.arange(1, 5)
TEXTS = np.array(["-Ab3", "ann", "Jos\u00e9", "line\u2028sep", " blank "])


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """MODEL files with integer and with text ids of users."""
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(0)
    for name, ids in (("integers", INTEGERS), ("texts", TEXTS)):
        pairs = rng.integers(0, len(ids), 60), rng.integers(0, 20, 60)
        events = Interactions.from_raw(ids[pairs[0]], pairs[1], user_ids=ids)
        LightGCN(make_dataset(name, events, split="none"), 8, 1).save(folder / f"{name}.npz")
    return folder
