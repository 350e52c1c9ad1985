"""What all tests share: graphs drawn by hypothesis, tolerances, several orders of threads. To be imported before the package."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import another_build
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch

from fastgcn_rec import _C, Graph
from fastgcn_rec.core import native
from fastgcn_rec.core.ties import tie_key
from fastgcn_rec.training import loop

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
    native._C = another_build.native_module("emulated._C", EMULATED)
    native.emulates_cuda = True

FEW = (
    bool(EMULATED) or os.environ.get("HYPOTHESIS_PROFILE") == "few"
)  # tens of times slower: fewer draws, smaller graphs

# A gradient is checked element by element, but by random projections where every call takes a thousand times as long.
gradcheck = functools.partial(torch.autograd.gradcheck, fast_mode=bool(EMULATED))
gradgradcheck = functools.partial(torch.autograd.gradgradcheck, fast_mode=bool(EMULATED))

on_the_cpu = pytest.mark.skipif(bool(EMULATED), reason="about the CPU's kernels")


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


def weighted_graph() -> Graph:
    graph = random_graph()
    rows = torch.repeat_interleave(torch.arange(40), graph.user_degree)
    return Graph.from_edges(rows, graph.indices, 40, 30, torch.linspace(0.5, 2.0, graph.n_edges))


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
        runs = [lambda order=order: native._C.set_thread_order(order) for order in (0, 1, 2, 3)]
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
            native._C.set_thread_order(0)


def watch_steps(monkeypatch: pytest.MonkeyPatch, hook) -> None:
    """``fit`` calls hook(step, t, lr) in place of its steps; the hook returns the loss, step(t, lr)'s."""
    make_step = loop.make_step

    def watched(model, config):
        step = make_step(model, config)

        def take(t, lr):
            return hook(step, t, lr)

        take.state, take.resume = step.state, step.resume
        return take

    monkeypatch.setattr(loop, "make_step", watched)


def as_a_program(
    file: str, *arguments: str, timeout: float | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """What a file of tests prints when it is run by a new process, which finds what all tests share."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, **variables}
    return subprocess.run(
        [sys.executable, file, *arguments], env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
