"""Ranks that meet: all of them, or an error that says who is not there, on each."""

import socket
import time

import pytest
import ranks
import torch
from torch._C._distributed_c10d import TCPStore

from fastgcn_rec.core import group, heartbeat, native
from fastgcn_rec.core.world import World


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def joining(rank, size, port, agent=False, version=None):
    if version is not None and rank == 1:
        native.__version__ = version
    with group.joined(rank, size, "127.0.0.1", port, agent=agent) as world:
        assert World.current().size == size
        return world.gather(torch.tensor([rank])).view(-1).tolist()


def test_they_meet_and_part():
    assert ranks.outcomes(3, joining, 3, free_port(), group=False) == [[0, 1, 2]] * 3


def test_a_place_that_stays_open_holds_many_meetings():
    place = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    place.set("hello.1", "of a rank that was killed")
    for _ in range(2):
        assert ranks.outcomes(2, joining, 2, place.port, True, group=False) == [[0, 1]] * 2


def test_a_rank_that_does_not_come_is_named_by_all_in_time():
    start = time.monotonic()
    found = ranks.outcomes(2, joining, 4, free_port(), group=False, env={heartbeat.WAIT: "1.5"})
    assert time.monotonic() - start < 20
    for error in found:
        assert isinstance(error, RuntimeError)
        assert "ranks 2, 3 of 4 did not come within 1.5 s" in str(error)


def late(rank, port):
    if rank:
        return joining(rank, 3, port, agent=True)
    return None


def test_nor_does_rank_0():
    place = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    _, *found = ranks.outcomes(3, late, place.port, group=False, env={heartbeat.WAIT: "1.5"})
    for error in found:
        assert "rank 0 of 3 did not come within 1.5 s" in str(error)


def test_a_place_that_nobody_opens_is_named():
    _, error, _ = ranks.outcomes(3, late, (port := free_port()), group=False, env={heartbeat.WAIT: "1.5"})
    assert f"ranks meet at 127.0.0.1:{port}, and its launcher, or rank 0, has not opened it within 1.5 s" in str(error)


def test_other_versions_are_refused():
    for error in ranks.outcomes(2, joining, 2, free_port(), False, "0.0.9", group=False):
        assert "ranks have different versions of fastgcn_rec: rank 1 (on " in str(error)
        assert f" has 0.0.9, rank 0 (on {socket.gethostname()}) {native.__version__}" in str(error)


@pytest.mark.parametrize("text", ["0", "soon", "nan"])
def test_the_seconds_are_a_number(text, monkeypatch):
    monkeypatch.setenv(heartbeat.WAIT, text)
    with pytest.raises(
        ValueError, match=f"{heartbeat.WAIT} in the environment must be a number of seconds > 0, got '{text}'"
    ):
        heartbeat.wait_seconds()
