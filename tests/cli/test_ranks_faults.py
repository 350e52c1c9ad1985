"""Trainings of several processes whose ranks are killed or stopped, and two machines: they end in time, say why once, and go on to the bits of one process."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastgcn_rec

SOURCE = Path(fastgcn_rec.__file__).parents[1]
TWO_MACHINES = Path(__file__).parents[2] / "scripts" / "two_machines.sh"
TRAIN = [
    "train",
    "events.csv",
    "--recipe",
    "mf",
    "--dim",
    "48",
    "--epochs",
    "200",
    "--batch-size",
    "64",
    "--eval-every",
    "10",
    "--patience",
    "0",
    "--quiet",
    "--out",
]
TORCHRUN = [
    "torch.distributed.run",
    "--nproc-per-node",
    "2",
    "--standalone",
    "--local-addr",
    "127.0.0.1",
    "--max-restarts",
    "2",
    "-m",
]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("faults")
    lines = [f"{n % 40},{(n * n + n // 40) % 30},{n}" for n in range(800)]
    (tmp_path / "events.csv").write_text("\n".join(["user,item,time", *lines]))
    assert started(tmp_path, "fastgcn_rec", *TRAIN, "alone").wait() == 0
    return tmp_path


def started(folder, *words):
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with open(folder / "stdout.txt", "w") as out, open(folder / "stderr.txt", "w") as err:
        return subprocess.Popen([sys.executable, "-m", *words], cwd=folder, env=env, stdout=out, stderr=err)


def rank_of(launcher, rank):
    """The process of a rank, found by its parent and its environment."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == launcher.pid and f"\0RANK={rank}\0".encode() in (process / "environ").read_bytes():
                return int(process.name)
        except OSError:
            continue
    raise AssertionError(f"no rank {rank}")


def trained_for_a_while(folder, launcher, seconds=120.0):
    until = time.monotonic() + seconds
    while not (folder / "run" / "checkpoint.npz").exists():
        assert launcher.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)


def same_bits(folder):
    assert (folder / "run" / "model.npz").read_bytes() == (folder / "alone" / "model.npz").read_bytes()
    assert not list((folder / "run").glob("*checkpoint*"))
    shutil.rmtree(folder / "run")


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_killed(victim, data):
    launcher = started(data, "fastgcn_rec", *TRAIN, "run", "--ranks", "2")
    trained_for_a_while(data, launcher)
    process, start = rank_of(launcher, victim), time.monotonic()
    os.kill(process, signal.SIGKILL)
    assert launcher.wait() == 128 + signal.SIGKILL
    assert time.monotonic() - start < 30
    said = (data / "stderr.txt").read_text()
    assert said.count(f"rank {victim} (process {process} on ") == 1
    assert started(data, "fastgcn_rec", *TRAIN, "run", "--ranks", "3").wait() == 0  # other ranks go on from it, too
    same_bits(data)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_launcher_that_is_told_to_stop(number, data):
    launcher = started(data, "fastgcn_rec", *TRAIN, "run", "--ranks", "2")
    trained_for_a_while(data, launcher)
    launcher.send_signal(number)
    assert launcher.wait(timeout=60) == 128 + number
    said = (data / "stderr.txt").read_text()
    assert said.count("interrupted in step") == 1
    assert "everything is saved in run/checkpoint.npz; run the same command again to go on" in said
    assert started(data, "fastgcn_rec", *TRAIN, "run").wait() == 0  # one process goes on from it, too
    same_bits(data)


def test_torchrun_starts_them_again(data):
    launcher = started(data, *TORCHRUN, "fastgcn_rec", *TRAIN, "run")
    trained_for_a_while(data, launcher)
    process = rank_of(launcher, 1)
    os.kill(process, signal.SIGKILL)
    assert launcher.wait() == 0
    same_bits(data)


def namespaces():
    try:
        return subprocess.run(["unshare", "-Urnm", "ip", "link"], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not namespaces(), reason="needs network namespaces: unshare and ip, and the right to make them")
def test_two_machines(data):
    env = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHON": sys.executable}
    done = subprocess.run([TWO_MACHINES, *TRAIN, "run"], cwd=data, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test: Recall@20") == 1
    same_bits(data)
