"""Commands that several processes share out: started by --ranks or by torchrun, with one voice, and the bits of one process."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ranks import on_ranks

import fastgcn_rec
from fastgcn_rec.cli import ranks
from fastgcn_rec.cli.program import main, parser

PACKAGE_PARENT = os.path.dirname(os.path.dirname(fastgcn_rec.__file__))


@pytest.fixture
def data(tmp_path):
    lines = [f"{n % 40},{(n * n + n // 40) % 30},{n}" for n in range(800)]
    (tmp_path / "events.csv").write_text("\n".join(["user,item,time", *lines]))
    return tmp_path


def command(folder, *words, by=("-m", "fastgcn_rec"), given=None, **environment):
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    env |= {"PYTHONPATH": PACKAGE_PARENT, **environment}
    call = [sys.executable, *by, *map(str, words)]
    return subprocess.run(call, cwd=folder, env=env, capture_output=True, text=True, input=given)


def train(folder, out, *words, **options):
    settings = ["--recipe", "mf", "--dim", "32", "--epochs", "2", "--batch-size", "64", "--quiet"]
    return command(folder, "train", "events.csv", *settings, "--out", out, *words, **options)


TORCHRUN = (
    "-m",
    "torch.distributed.run",
    "--nproc-per-node",
    "2",
    "--standalone",
    "--local-addr",
    "127.0.0.1",
    "-m",
    "fastgcn_rec",
)


def test_two_ranks_leave_what_one_process_leaves_and_speak_once(data):
    alone = train(data, "run")
    model = (data / "run" / "model.npz").read_bytes()
    files = sorted(file.name for file in (data / "run").iterdir())
    (data / "run").rename(data / "alone")
    shared = train(data, "run", "--ranks", "2")
    assert (alone.returncode, shared.returncode, shared.stderr) == (0, 0, "")
    assert [line for line in shared.stdout.splitlines() if " s of training" not in line] == [
        line for line in alone.stdout.splitlines() if " s of training" not in line
    ]
    assert (data / "run" / "model.npz").read_bytes() == model
    assert sorted(file.name for file in (data / "run").iterdir()) == files


def test_an_error_of_all_is_said_once_with_its_code(data):
    refused = train(data, "run", "--ranks", "2", "--negatives", "nearest(1)")
    assert refused.returncode == 2
    assert refused.stderr.count("no sampler is called 'nearest'") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ranks", "100"], "start at most 2 ranks, or take embedding_dim >= 1585"),
        (["--ranks", "2", "--recipe", "ngcf"], "take MF or LightGCN"),
    ],
)
def test_what_ranks_cannot_share_out_is_refused_before_one_starts_or_data_are_read(
    words, said, data, monkeypatch, capsys
):
    def started(*_):
        raise AssertionError("ranks were started")

    monkeypatch.setattr(ranks, "_launch", started)
    out = data / "run"
    assert main(["train", str(data / "events.csv"), "--recipe", "mf", "--dim", "32", "--out", str(out), *words]) == 2
    told = capsys.readouterr()
    assert (told.out, said in told.err, out.exists()) == ("", True, False)


def test_torchrun_starts_it_too(data):
    assert train(data, "alone").returncode == 0
    shared = train(data, "run", by=TORCHRUN)
    assert shared.returncode == 0, shared.stderr
    assert shared.stdout.count("test: Recall@20") == 1
    assert (data / "run" / "model.npz").read_bytes() == (data / "alone" / "model.npz").read_bytes()


def test_one_rank_is_one_process_and_another_number_is_refused(data):
    assert train(data, "run", "--ranks", "1").returncode == 0
    environment = {"RANK": "0", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    refused = train(data, "run", "--ranks", "2", **environment)
    assert refused.returncode == 2
    assert "--ranks 2 where 3 ranks are started already; leave --ranks out" in refused.stderr


def test_a_command_for_one_process_is_run_by_the_first(data):
    environment = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    first, second = (command(data, "inspect", "events.csv", RANK=rank, **environment) for rank in "01")
    assert (first.returncode, second.returncode) == (0, 0)
    assert "events.csv" in first.stdout
    assert not second.stdout


BY_PIPE = ("recommend", "run", "--users", "-", "--skip-unknown", "--out", "-")
RANKED = {
    ("train", "run", "--out", "run", "--recommend", "all.csv", "--quiet"): None,  # of the run that is finished
    ("evaluate", "run"): None,
    (*BY_PIPE, "--format", "jsonl"): "3\n9\n5\n99\n3\n",
    ("recommend", "run", "--users", "all", "--only", "-", "--out", "few.csv", "--quiet"): "1\n2\n",
    ("recommend", "run", "3", "5", "-k", "2"): None,
    ("recommend", "run", "3", "777", "--out", "none.csv"): None,
    ("recommend", "nowhere", "3"): None,
}


def said(world, folder, name):
    """What a rank says, and raises, for each command; what is written to --out moves into a folder of this name."""
    os.chdir(folder)
    found = []
    for words, given in RANKED.items():
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        text = io.TextIOWrapper(io.BytesIO((given or "").encode() if world is None or world.first else b""))
        error = None
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", text)
            args = parser(words).parse_args(words)
            try:
                args.run(args)
            except ValueError as refused:
                error = str(refused)
            except FileNotFoundError as missing:
                error = str(missing)
        found.append((out.buffer.getvalue(), error))
    if world is None or world.first:
        Path(name).mkdir()
        for file in ("all.csv", "few.csv"):
            Path(file).rename(f"{name}/{file}")
    return found


def test_ranks_rank_for_a_trained_model_as_one_process_does(data, monkeypatch):
    monkeypatch.chdir(data)
    settings = ["--recipe", "mf", "--dim", "32", "--epochs", "2", "--batch-size", "64", "--quiet"]
    assert main(["train", "events.csv", *settings, "--out", "run"]) == 0
    one = said(None, data, "one")
    assert [error is None for _, error in one] == [True] * 5 + [False] * 2
    first, second = on_ranks(2, said, data, "two")
    assert first == one
    assert [error for _, error in second] == [error for _, error in one]
    for file in ("all.csv", "few.csv"):
        assert (data / "two" / file).read_bytes() == (data / "one" / file).read_bytes()


@pytest.mark.slow
def test_ranks_that_a_command_starts_do_so_too(data):
    assert train(data, "run").returncode == 0
    for words, given in RANKED.items():
        one, two = (command(data, *words, *more, given=given) for more in ((), ("--ranks", "2")))
        assert (two.returncode, two.stdout, two.stderr) == (one.returncode, one.stdout, one.stderr), words
