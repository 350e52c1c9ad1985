"""Fixtures of all tests."""

import numpy as np
import pytest
import support  # first, since it may put another build in place of the module  # noqa: F401
import torch

from fastgcn_rec.core import native
from fastgcn_rec.data import download

gpu = pytest.param(
    "cuda",
    marks=pytest.mark.skipif(
        not (native.HAS_CUDA and torch.cuda.is_available()), reason="needs a GPU and a build with CUDA: not here"
    ),
)


@pytest.fixture(scope="session", params=["cpu", gpu])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def ml_100k(tmp_path, monkeypatch):
    """ml-100k's place under ``tmp_path``, filled with few made-up ratings; nothing else can be fetched."""
    rng = np.random.default_rng(0)
    (tmp_path / "data/ml-100k").mkdir(parents=True)
    pairs = sorted({(u, (u % 3 * 10 + int(i)) % 40) for u in range(60) for i in rng.integers(0, 14, 12)})
    lines = [f"{u + 1}\t{i + 1}\t4\t{880000000 + n}" for n, (u, i) in enumerate(pairs)]
    (tmp_path / "data/ml-100k/u.data").write_text("\n".join(lines) + "\n")
    titles = "\n".join(f"{i + 1}|film {i} (1990)|01-Jan-1990||x|" + "|".join("0" * 19) for i in range(40))
    (tmp_path / "data/ml-100k/u.item").write_text(titles + "\n", encoding="latin-1")
    monkeypatch.setenv("FASTGCN_REC_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FASTGCN_REC_CACHE", str(tmp_path / "cache"))

    def offline(*arguments):
        raise download.DownloadError("no network in tests")

    monkeypatch.setattr(download, "open_url", offline)
    monkeypatch.setattr(download, "run_pip", offline)
    return tmp_path


@pytest.fixture
def small_gowalla(tmp_path, monkeypatch):
    """A data set of 60 users and 40 items under gowalla's name."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "gowalla"
    folder.mkdir(parents=True)
    for part, count in (("train", 8), ("test", 2)):
        lines = [" ".join(map(str, [u, *rng.choice(40, count, replace=False)])) for u in range(60)]
        (folder / f"{part}.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("FASTGCN_REC_DATA", str(tmp_path / "data"))
