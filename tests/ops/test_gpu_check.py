"""scripts/gpu_check.sh fails where a stage fails, and goes on: with stand-ins for Python and the sanitizer, no GPU needed."""

import os
import re
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_check.sh"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the scripts are the checkout's")


def run(tmp_path, stages, python="exit 0", sanitizer="exit 0"):
    for name, body in (("python", python), ("compute-sanitizer", sanitizer)):
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(tmp_path / "python"), "OUT": str(tmp_path / "out")}
    environment = {k: v for k, v in os.environ.items() if k != "FASTGCN_REC_DATA"} | own
    return subprocess.run(["bash", SCRIPT, *stages], env=environment, capture_output=True, text=True, check=False)


def test_all_is_well(tmp_path):
    done = run(tmp_path, ["test", "sanitize", "bench", "train"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped: no gowalla" in done.stdout
    assert "failed: none" in done.stdout


def test_what_the_sanitizer_is_to_run_is_there(tmp_path):
    done = run(tmp_path, ["sanitize"], sanitizer='echo "$*"')
    named = set(re.findall(r"tests/[\w/]+(?:\.py)?", done.stdout))
    assert len(named) > 8, done.stdout + done.stderr
    assert [name for name in named if not (SCRIPT.parents[1] / name).exists()] == []


@pytest.mark.parametrize(
    ("sanitizer", "code"),
    [
        ('[[ "$*" == *memcheck* ]] && exit 1 || exit 0', 1),
        ('[[ "$*" == *racecheck* ]] && exit 7 || exit 0', 7),
        ("exit 124", 0),  # what timeout says
        ('echo "========= Invalid __global__ read of size 4"; exit 124', 124),
    ],
)
def test_what_the_sanitizer_finds_fails_the_stage(tmp_path, sanitizer, code):
    done = run(tmp_path, ["sanitize"], sanitizer=sanitizer)
    assert done.returncode == (code != 0)
    assert (f"failed: sanitize ({code})" if code else "failed: none") in done.stdout
    assert ("cut short" in done.stdout) == (sanitizer == "exit 124")


def test_one_part_of_the_tests_that_fails_fails_them_and_the_benchmarks_still_run(tmp_path):
    done = run(tmp_path, ["test", "bench"], python='[[ "$*" == *test_losses* ]] && exit 3; echo "$@"')
    assert done.returncode == 1
    assert "failed: test (3)" in done.stdout
    assert "-m benchmarks" in done.stdout


def test_an_unknown_stage_is_an_error(tmp_path):
    assert run(tmp_path, ["tests"]).returncode == 2
