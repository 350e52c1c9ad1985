"""Data that several files of this room rank."""

import pytest

from fastgcn_rec.data import synthetic_interactions


@pytest.fixture(scope="module")
def data():
    return synthetic_interactions(60, 50, 700, dim=4, seed=3)
