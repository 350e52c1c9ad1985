"""What all tests share: devices, graphs drawn by hypothesis, tolerances."""

import os

import another_build
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch

from fastgcn_rec import _C, Graph, _native, train
from fastgcn_rec._ties import tie_key
from fastgcn_rec.data import download

hypothesis.settings.register_profile("default", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.register_profile("few", deadline=None, derandomize=True, max_examples=3)  # under a memory checker
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=500)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# One table for every comparison with a float64 reference: relative to the largest magnitude of the reference.
#   float64: a few hundred additions of rounding 1e-16; float32: likewise of 6e-8;
#   bfloat16: 8 bits of mantissa, rounded once per stored layer and once at the end.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-2}

DIMS = [1, 3, 31, 32, 33, 64, 100, 128]

# With FASTGCN_REC_EMULATED=<a _C module built with FGR_EMULATE=ON> the CUDA kernels run in place of the CPU's.
EMULATED = os.environ.get("FASTGCN_REC_EMULATED")
if EMULATED:
    _native._C = another_build.native_module("emulated._C", EMULATED)
    _native.emulates_cuda = True

FEW = (
    bool(EMULATED) or os.environ.get("HYPOTHESIS_PROFILE") == "few"
)  # tens of times slower: fewer draws, smaller graphs

on_the_cpu = pytest.mark.skipif(bool(EMULATED), reason="about the CPU's kernels")
gpu = pytest.param(
    "cuda",
    marks=pytest.mark.skipif(
        not (_native.HAS_CUDA and torch.cuda.is_available()), reason="needs a GPU and a build with CUDA: not here"
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


def assert_close(
    actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype | None = None, terms: float = 0.0
) -> None:
    """|actual - expected| <= tolerance(dtype of actual) * max(max|expected|, terms).

    terms: the magnitude of what is subtracted inside, where the result may cancel to nothing.
    """
    tolerance = TOLERANCE[dtype or actual.dtype]
    actual, expected = actual.detach().cpu().double(), expected.detach().cpu().double()
    assert actual.shape == expected.shape
    scale = max(float(expected.abs().max()) if expected.numel() else 0.0, terms)
    error = float((actual - expected).abs().max()) if expected.numel() else 0.0
    assert error <= tolerance * max(scale, 1e-30), f"error {error:.3g} at scale {scale:.3g}, tolerance {tolerance}"


@st.composite
def graphs(draw: st.DrawFn, min_edges: int = 0) -> Graph:
    """Small graphs with empty rows, duplicate edges, sometimes a giant row, sometimes weights."""
    n_users, n_items = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    edge = st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1))
    edges = draw(st.lists(edge, min_size=min_edges, max_size=80))
    if draw(st.booleans()):
        edges += [(0, i) for i in range(n_items)]
    users = np.array([e[0] for e in edges], np.int64)
    items = np.array([e[1] for e in edges], np.int64)
    weight = np.linspace(0.5, 2.0, len(edges), dtype=np.float32) if draw(st.booleans()) else None
    return Graph.from_edges(users, items, n_users, n_items, weight)


def random_graph(n_users: int = 40, n_items: int = 30, n_edges: int = 200, seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    return Graph.from_edges(rng.integers(0, n_users, n_edges), rng.integers(0, n_items, n_edges), n_users, n_items)


def ranking(ids, score):
    """The ids, best first: score(id) descending, ties by tie_key."""
    tie = dict(zip(ids, tie_key(np.array(ids, np.int64)).tolist(), strict=True))
    return sorted(ids, key=lambda i: (-score(i), tie[i]))


def same_bits_in_any_order(fn, device: torch.device, counts=(2, 3)) -> None:
    """fn() -> tensors. On the CPU with one and with more threads, these with so small a grain that tiny inputs are cut and shared out; emulated under several orders of a grid's threads; on a
    GPU twice."""
    if device.type == "cuda":
        runs = [(lambda: None)] * 2
    elif EMULATED:
        runs = [lambda order=order: _native._C.set_thread_order(order) for order in (0, 1, 2, 3)]
    else:
        runs = [lambda n=n: (torch.set_num_threads(n), _C.set_grain(grain if n == 1 else 16)) for n in (1, *counts)]
    before, grain = torch.get_num_threads(), _C.grain()
    try:
        results = []
        for prepare in runs:
            prepare()
            results.append(fn())
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                assert torch.equal(a, b)
    finally:
        torch.set_num_threads(before)
        _C.set_grain(grain)
        if EMULATED:
            _native._C.set_thread_order(0)


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


def watch_steps(monkeypatch: pytest.MonkeyPatch, hook) -> None:
    """``fit`` calls hook(step, t, lr) in place of its steps; the hook returns the loss, step(t, lr)'s."""
    make_step = train.make_step

    def watched(model, config):
        step = make_step(model, config)

        def take(t, lr):
            return hook(step, t, lr)

        take.state, take.resume = step.state, step.resume
        return take

    monkeypatch.setattr(train, "make_step", watched)
