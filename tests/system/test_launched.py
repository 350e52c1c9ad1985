"""Which rank a process is, by its environment."""

import os
import subprocess
import sys

import pytest

from fastgcn_rec.system.launched import Launched, threads_of

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "h", "MASTER_PORT": "1"}  # fmt: skip


def test_no_launcher_or_one_process_is_none():
    assert Launched.of({}) is None
    assert Launched.of({**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"}) is None
    assert Launched.of({"RANK": "3"}) is None
    assert Launched.of({**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "True"}) == Launched(3, 4, 1, 2, "h", 1, True)


def test_a_rank_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="RANK in the environment is 4, and must be below WORLD_SIZE, 4"):
        Launched.of({**TORCHRUN, "RANK": "4"})
    with pytest.raises(ValueError, match=r"MASTER_PORT in the environment must be a number .* got 'x'"):
        Launched.of({**TORCHRUN, "MASTER_PORT": "x"})


def test_ranks_of_a_machine_share_its_cores_unless_their_number_is_said(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    assert (threads_of(1), threads_of(10 * cores)) == (cores, 1)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert Launched.of(TORCHRUN).threads() == threads_of(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert Launched.of(TORCHRUN).threads() is None


@pytest.mark.parametrize(("given", "said"), [(None, "1"), ("1", "None"), ("2", "None")])
def test_what_torchrun_sets_is_not_what_the_user_has_said(given, said):
    """torchrun sets 1 within itself: what its own environment began with says whose it is."""
    rank = "from fastgcn_rec.system.launched import Launched; print(Launched.of().threads())"
    launcher = f"import os, subprocess, sys; os.environ.setdefault('OMP_NUM_THREADS', '1'); subprocess.run([sys.executable, '-c', {rank!r}])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= TORCHRUN | {"TORCHELASTIC_USE_AGENT_STORE": "True", "LOCAL_WORLD_SIZE": "1000"}
    environment |= {} if given is None else {"OMP_NUM_THREADS": given}
    done = subprocess.run([sys.executable, "-c", launcher], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said
