"""A training on several ranks that is stopped, by a signal, a rank's death or what ranks have differently: all end alike, and it goes on to the same bits."""

import os
import random
import signal
import threading
import time

import pytest
import ranks
import torch
from torch._C._distributed_c10d import TCPStore

import fastgcn_rec as fgr
from fastgcn_rec.core import group, heartbeat
from fastgcn_rec.data import synthetic_interactions
from fastgcn_rec.training.interruption import Interrupted

SETTINGS = {"epochs": 40, "batch_size": 64, "lr": 0.02, "progress": False, "eval_every": 10, "patience": 0, "seed": 3}


def made():
    data = synthetic_interactions(100, 80, 900, seed=1)
    return fgr.LightGCN(data, 48, 1, learn_alpha=True), data


def train(world, path, victim=None, number=None, after=0.0, changed=None):
    model, data = made()
    if world is not None and world.rank == victim and number is not None:
        threading.Timer(after, os.kill, (os.getpid(), number)).start()
    fgr.fit(
        model, data, **SETTINGS | (changed or {} if world is not None and world.rank == victim else {}), checkpoint=path
    )
    return model.embedding.weight.detach()


def stopped(world, path, *how):
    start = time.monotonic()
    try:
        train(world, path, *how)
    except BaseException as error:
        return type(error), str(error), getattr(error, "signal", None), time.monotonic() - start
    return None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_rank_stops_all_at_one_step_and_all_is_saved(number, tmp_path):
    path = tmp_path / "checkpoint.npz"
    first, second = (one[:3] for one in ranks.on_ranks(2, stopped, path, 1, number, 0.1))
    assert first == second
    kind, text, found = first
    assert kind is Interrupted
    assert found == number
    assert f"everything is saved in {path}" in text
    model, data = made()
    fgr.fit(model, data, **SETTINGS)
    assert all(torch.equal(table, model.embedding.weight) for table in ranks.on_ranks(2, train, path))


def joined(rank, port, path, victim, epoch, after):
    """As ranks of a launcher, which keeps the place where they meet. The victim is killed ``after`` seconds after the end of an epoch."""

    def on_epoch(record):
        if rank == victim and record["epoch"] == epoch:
            threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()

    start = time.monotonic()
    try:
        with group.joined(rank, 3, "127.0.0.1", port, agent=True):
            model, data = made()
            fgr.fit(model, data, **SETTINGS, checkpoint=path, on_epoch=on_epoch)
            return model.embedding.weight.detach()
    except BaseException as error:
        return type(error), str(error), time.monotonic() - start


@pytest.mark.slow
def test_a_rank_that_is_killed_is_named_and_restarts_go_on_to_the_same_bits(tmp_path):
    path, draw = tmp_path / "checkpoint.npz", random.Random(0)
    place = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    model, data = made()
    fgr.fit(model, data, **SETTINGS)
    for epoch in (4, 10, 17, 30):
        victim = draw.randrange(3)
        found = ranks.outcomes(3, joined, place.port, path, victim, epoch, draw.uniform(0, 0.01), group=False)
        assert found[victim].code == -signal.SIGKILL
        for kind, text, _ in found[:victim] + found[victim + 1 :]:
            assert kind is heartbeat.RankLost
            assert text.startswith(f"rank {victim} (process ")
    for table in ranks.outcomes(3, joined, place.port, path, None, 0, 0.0, group=False):
        assert torch.equal(table, model.embedding.weight)


@pytest.mark.parametrize("changed", [{"lr": 0.03}, {"seed": 4}, {"loss": "softmax"}])
def test_ranks_that_were_told_different_things_are_refused_at_once(changed, tmp_path):
    name, value = next(iter(changed.items()))
    for kind, text, _, seconds in ranks.on_ranks(3, stopped, tmp_path / "c.npz", 2, None, 0.0, changed):
        assert kind is ValueError
        assert f"fit: all ranks must have the same config.{name}, and rank 2 has {value!r}, rank 0 " in text
        assert seconds < 10
