"""A rank that is lost, by whatever way and whenever, ends the others in time, with an error that names it."""

import os
import signal
import time

import pytest
import ranks
import torch
from torch._C._distributed_c10d import TCPStore

from fastgcn_rec.core import group, heartbeat
from fastgcn_rec.core.world import World


@pytest.fixture
def place():
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def working(rank, port, size, victim, what, at, file=None):
    """Steps of a training: what they send, and work in between; at a moment something becomes of one rank."""
    if file is not None:
        os.dup2(os.open(f"{file}.{rank}", os.O_WRONLY | os.O_CREAT), 2)
    try:
        with group.joined(rank, size, "127.0.0.1", port, agent=True, code_of=lambda error: 7) as world:
            start = time.monotonic()
            while time.monotonic() - start < 30:
                if rank == victim and time.monotonic() - start > at:
                    if what == "fails":
                        raise ValueError("a disk is full")
                    os.kill(os.getpid(), what)
                world.gather(torch.ones(100))
                world.values(rank)
                if what == "in between":
                    time.sleep(0.01)
    except BaseException as error:
        return type(error).__name__, str(error), getattr(error, "exit_code", None), hasattr(error, "said_by_another")
    return "none"


QUICK = {heartbeat.SILENT: "3"}


@pytest.mark.parametrize("victim", [0, 2])
def test_a_rank_that_is_killed_is_named_by_the_others(victim, place):
    start = time.monotonic()
    found = ranks.outcomes(3, working, place.port, 3, victim, signal.SIGKILL, 0.3, group=False, env=QUICK)
    assert time.monotonic() - start < 30
    assert found[victim].code == -signal.SIGKILL
    others = [one for rank, one in enumerate(found) if rank != victim]
    for kind, text, code, _ in others:
        assert (kind, code) == ("RankLost", 1)
        assert text.startswith(f"rank {victim} (process ")
        assert " has ended or stopped: nothing was heard of it for " in text
    assert [silent for *_, silent in others] == [False, True]  # the first of them says it


def test_a_rank_that_fails_is_quoted_and_its_code_is_that_of_all(place):
    found = ranks.outcomes(3, working, place.port, 3, 1, "fails", 0.3, group=False)
    assert found[1] == ("ValueError", "a disk is full", None, True)
    for rank in (0, 2):
        kind, text, code, said_by_another = found[rank]
        assert (kind, code, said_by_another) == ("RankLost", 7, rank == 2)
        assert text.endswith("has ended: a disk is full")


def test_a_rank_that_stands_still_ends_those_that_wait_for_it(place, tmp_path):
    found = ranks.outcomes(
        3, working, place.port, 3, 1, signal.SIGSTOP, 0.3, tmp_path / "said", group=False, env=QUICK, seconds=12
    )
    assert [one.code for one in found] == [1, None, 1]
    said = (tmp_path / "said.0").read_text()
    assert said.startswith("fastgcn_rec: rank 1 (process ")
    assert " has ended or stopped: nothing was heard of it for " in said
    assert said.count("\n") == 1
    assert not (tmp_path / "said.2").read_text()


def silent_while_it_works(rank, port):
    """A rank that sends nothing for longer than it may be silent, and one that ends early."""
    with group.joined(rank, 3, "127.0.0.1", port, agent=True) as world:
        world.values(rank)
        time.sleep([0.0, 5.0, 1.0][rank])
        return [world.values(rank), World.current().size]


def test_whoever_works_is_not_lost(place):
    assert ranks.outcomes(3, silent_while_it_works, place.port, group=False, env={heartbeat.SILENT: "4"}) == [[[0, 1, 2], 3]] * 3  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_random_rank_at_a_random_moment(seed, place):
    draw = torch.Generator().manual_seed(seed)
    size = 2 + int(torch.randint(3, (), generator=draw))
    victim = int(torch.randint(size, (), generator=draw))
    at = float(torch.rand((), generator=draw))
    start = time.monotonic()
    found = ranks.outcomes(size, working, place.port, size, victim, signal.SIGKILL, at, group=False)
    assert time.monotonic() - start < 30
    for rank, one in enumerate(found):
        assert rank == victim or one[1].startswith(f"rank {victim} (process "), one


@pytest.mark.parametrize("text", ["0.5", "long", "nan"])
def test_the_seconds_are_a_number(text, monkeypatch):
    monkeypatch.setenv(heartbeat.SILENT, text)
    with pytest.raises(ValueError, match=f"{heartbeat.SILENT} in the environment must be a number .*got '{text}'"):
        heartbeat.silent_seconds()


def watched_in_groups(world):
    """Some ranks look after each other by themselves before all do, for longer than a rank may take to come."""
    some = torch.distributed.new_group([0, 1])
    if world.rank < 2:
        with World.current(some).watched():
            World.current(some).barrier()
    with world.watched():
        for _ in range(7):
            time.sleep(1.0)
            world.barrier()
    return world.rank


def test_ranks_that_were_watched_in_another_group_find_each_other():
    assert ranks.on_ranks(3, watched_in_groups, env={heartbeat.WAIT: "5"}) == [0, 1, 2]


def one_stays_away(world):
    if world.rank == 1:
        time.sleep(8.0)
        return "away"
    try:
        with world.watched():
            while world.rank == 0:
                time.sleep(0.1)
                heartbeat.call(lambda: None)
    except heartbeat.RankLost as lost:
        return str(lost)


def test_a_rank_that_does_not_come_is_given_up_after_the_seconds_of_the_environment():
    said, _ = ranks.outcomes(2, one_stays_away, env={heartbeat.WAIT: "2"}, seconds=12.0)
    assert said == "rank 1 of 2 did not come within 2 s"
