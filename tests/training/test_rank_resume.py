"""A training goes on with another number of ranks, or in one process, to the bits of one that was never interrupted."""

import pytest
import ranks
import torch

import fastgcn_rec as fgr
from fastgcn_rec.core.world import World
from fastgcn_rec.data import synthetic_interactions

OPTIONS = {"eval_every": 2, "batch_size": 256, "lr": 0.05, "progress": False}
KINDS = {
    "bpr": (lambda data: fgr.LightGCN(data, 64, 2), {}),
    "softmax in bfloat16": (lambda data: fgr.LightGCN(data, 64, 1), {"loss": "softmax", "storage": "bfloat16"}),
    "stale vectors": (
        lambda data: fgr.MF(data, 64),
        {"protocol": "none", "negatives": "dynamic(1, candidates=4, refresh=5)"},
    ),
    "learned weights": (lambda data: fgr.LightGCN(data, 64, 1, learn_alpha=True), {}),
    "refit": (lambda data: fgr.LightGCN(data, 64, 1), {"refit": True}),
}


def train(world, kind, path, epochs):
    """(losses, parameters)."""
    data = synthetic_interactions(100, 80, 900, seed=1)
    make, own = KINDS[kind]
    model = make(data)
    history = fgr.fit(model, data, **OPTIONS | own, epochs=epochs, checkpoint=path)
    records = [record["loss"] for record in history.epochs + (history.refit or [])]
    return records, history.best_metric, {name: t.detach().clone() for name, t in model.state_dict().items()}


def on(size, *args):
    return [train(World(), *args)] if size == 1 else ranks.on_ranks(size, train, *args)


@pytest.mark.parametrize(
    "kind", ["bpr", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "bpr")]
)
def test_two_ranks_then_one_then_four_reach_the_bits_of_one(kind, tmp_path):
    straight, metric, whole = train(World(), kind, None, 6)
    path = tmp_path / "c.npz"
    for size, epochs in ((2, 2), (1, 4), (4, 6)):
        found = on(size, kind, path, epochs)
    for losses, reached, state in found:
        assert (losses, reached) == (straight, metric)
        assert state.keys() == whole.keys()
        for name, t in state.items():
            assert torch.equal(t, whole[name]), name
    names = [p.name for p in tmp_path.iterdir()]
    assert len(names) == 5 * (1 + ("refit" in KINDS[kind][1]))


def test_what_ranks_have_finished_is_not_done_again(tmp_path, monkeypatch):
    found = on(2, "bpr", tmp_path / "c.npz", 2)
    files = {p: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr("fastgcn_rec.training.state.State.advance", None)
    (again,) = on(1, "bpr", tmp_path / "c.npz", 2)
    for losses, metric, state in found:
        assert (losses, metric) == again[:2]
        assert all(torch.equal(t, state[name]) for name, t in again[2].items())
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == files
