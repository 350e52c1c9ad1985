"""What most trainings of the tests are on."""

import pytest

from fastgcn_rec.data import synthetic_interactions


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(100, 80, 900, seed=1)
