"""The command line whatever it is given: exit codes, messages, the order of arguments, files that editors wrote."""

import dataclasses
import functools
import io
import itertools
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastgcn_rec_main
from fastgcn_rec import LightGCN
from fastgcn_rec.cli import program as cli
from fastgcn_rec.cli.program import main
from fastgcn_rec.data import Interactions, make_dataset
from fastgcn_rec.data.splits import SPLITS
from fastgcn_rec.experiments import doctor
from fastgcn_rec.experiments.memory import estimate_memory
from fastgcn_rec.system import process as _process
from fastgcn_rec.system.process import TRACEBACK, exit_code, python_module
from fastgcn_rec.training.config import TrainConfig
from fastgcn_rec.training.loop import Interrupted

INTEGERS = np.arange(1, 5)
TEXTS = np.array(["-Ab3", "ann", "Jos\u00e9", "line\u2028sep", " blank "])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """MODEL files with integer and with text ids of users."""
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(0)
    for name, ids in (("integers", INTEGERS), ("texts", TEXTS)):
        pairs = rng.integers(0, len(ids), 60), rng.integers(0, 20, 60)
        events = Interactions.from_raw(ids[pairs[0]], pairs[1], user_ids=ids)
        LightGCN(make_dataset(name, events, split="none"), 8, 1).save(folder / f"{name}.npz")
    return folder


def code_of(*arguments):
    try:
        return main([str(a) for a in arguments])
    except SystemExit as stop:
        return stop.code


def raising(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("the rule"), 2),
        (TypeError("the rule"), 2),
        (IndexError("the rule"), 2),
        (FileNotFoundError(2, "the rule", "x.npz"), 2),
        (RuntimeError("the rule"), 1),
        (OSError(28, "the rule"), 1),
        (ImportError("the rule"), 1),
        (MemoryError("the rule"), 1),
        (FloatingPointError("the rule"), 1),
        (NotImplementedError("the rule"), 1),
        (KeyError("the rule"), 1),
        (AttributeError("the rule"), 1),
        (AssertionError("the rule"), 1),
        (OverflowError("the rule"), 1),
        (ZeroDivisionError("the rule"), 1),
        (EOFError("the rule"), 1),
        (type("OfAnotherLibrary", (Exception,), {})("the rule"), 1),
    ],
)
def test_every_exception_is_one_line_and_a_code(error, code, capsys, monkeypatch):
    monkeypatch.delenv(TRACEBACK, raising=False)
    assert exit_code(raising(error), "name") == code
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.startswith("name: ")
    assert "the rule" in said
    expected = isinstance(error, (*_process._BAD_INPUT, *_process._FAILURES))
    assert (f"unexpected {type(error).__name__}" in said) == (f"{TRACEBACK}=1" in said) == (not expected)


def test_an_exception_without_words_is_named(capsys):
    assert exit_code(raising(MemoryError()), "name") == 1
    assert capsys.readouterr().err == "name: MemoryError\n"


def test_the_traceback_is_there_for_who_asks(capsys, monkeypatch):
    monkeypatch.setenv(TRACEBACK, "1")
    assert exit_code(raising(ValueError("the rule")), "name") == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1] == "name: the rule"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_stop_what_runs_and_clean_up_as_an_interrupt_does(name, capsys):
    number, cleaned = getattr(signal, name), []
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]

    def action():
        try:
            os.kill(os.getpid(), number)
            for _ in itertools.count():
                pass
        finally:
            cleaned.append(True)

    assert exit_code(action, "name") == 128 + number
    assert cleaned
    assert capsys.readouterr().err.strip() == f"name: interrupted by {name}"
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)] == before


def test_an_interrupt_keeps_its_own_words(capsys):
    assert exit_code(raising(Interrupted("saved in x")), "name") == 130
    assert capsys.readouterr().err == "\nname: saved in x\n"


def test_a_second_interrupt_shows_no_traceback_either(capsys, monkeypatch):
    def again(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(_process, "explain", again)  # Ctrl-C while an error is reported
    assert exit_code(raising(ValueError("x")), "name") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_signal_that_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        assert exit_code(lambda: os.kill(os.getpid(), signal.SIGHUP) or 0, "name") == 0
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_what_cannot_be_printed_is_a_failure(capsys, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    for handle, code, text in ((os.open("/dev/full", os.O_WRONLY), 1, "No space left on device"), (writer, 141, "")):
        with monkeypatch.context() as patched, open(handle, "w", encoding="ascii") as stdout:
            patched.setattr(sys, "stdout", stdout)
            assert exit_code(lambda: print("x") or 0, "name") == code
        assert text in capsys.readouterr().err
        assert not capsys.readouterr().err


@pytest.mark.parametrize("closed", [["stdout"], ["stderr"], ["stdout", "stderr"]])
@pytest.mark.parametrize(
    ("action", "code"), [(lambda: print("x") or 0, 0), (lambda: [][0], 2), (lambda: {}[0], 1), (os.abort, 130)]
)
def test_a_stream_that_is_closed_takes_what_is_written(closed, action, code, capsys, monkeypatch):
    if action is os.abort:
        action = raising(KeyboardInterrupt())
    for name in closed:
        monkeypatch.setattr(sys, name, None)
    assert exit_code(action, "name") == code
    for name in closed:
        getattr(sys, name).close()
    monkeypatch.undo()
    said = capsys.readouterr()
    assert (said.out == "x\n") == (code == 0 and "stdout" not in closed)
    assert ("name: " in said.err) == (code != 0 and "stderr" not in closed)
    assert "name: " not in said.out
    assert "Traceback" not in said.err


COMMAND = "import sys; from fastgcn_rec_main import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("ImportError('no torch')", 1, "fastgcn-rec: no torch\n"),
        ("ModuleNotFoundError('no numpy')", 1, "fastgcn-rec: no numpy\n"),
        ("KeyboardInterrupt()", 130, "fastgcn-rec: interrupted by SIGINT\n"),
    ],
)
def test_what_ends_the_import_is_one_line_and_a_code(raised, code, said, tmp_path):
    (tmp_path / "torch.py").write_text(f"raise {raised}\n")
    beside = [str(tmp_path), str(Path(fastgcn_rec_main.__file__).parent), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, beside))}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "doctor"], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_the_command_is_that_of_the_package_and_an_unknown_isa_is_named(monkeypatch):
    here = str(Path(fastgcn_rec_main.__file__).parent)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))}
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=False)
    done = run([sys.executable, "-c", COMMAND, "doctor"], env={**env, "FASTGCN_REC_ISA": "foo"})
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith("fastgcn-rec: FASTGCN_REC_ISA=foo: ")
    done = run([sys.executable, "-m", "fastgcn_rec", "estimate", "5,5,5"], env=env)
    assert (done.returncode, done.stdout[:8]) == (0, "5 users,"), done.stderr


def test_an_id_that_the_terminal_cannot_show_is_escaped(models, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert code_of("recommend", models / "texts.npz", "Jos\u00e9") == 0
    assert raw.getvalue().startswith(b"user Jos\\xe9: ")


@pytest.mark.parametrize("users", [["ann"], ["ann", " blank "], ["--", "-Ab3"], ["--", "ann", "-Ab3"]])
def test_options_stand_anywhere(models, users, capsys):
    words = ["recommend", str(models / "texts.npz"), *users]
    assert code_of(*words) == 0
    plain = capsys.readouterr().out
    assert plain.count("user ") == len([u for u in users if u != "--"])
    last = words.index("--") if "--" in words else len(words)
    for at in [place for place in (1, 2, last) if place <= last]:
        assert code_of(*words[:at], "--quiet", "-k", 10, *words[at:]) == 0
        assert capsys.readouterr().out == plain
        assert code_of(*words[:at], "--k=10", *words[at:]) == 0
        assert capsys.readouterr().out == plain


FILES = {
    "a BOM and CRLF": ("integers", b"\xef\xbb\xbf1\r\n2\r\n", [1, 2]),
    "no end of the last line": ("integers", b"1\n2", [1, 2]),
    "blank lines and blanks around": ("integers", b"\n1\n \t \n 2 \n\n", [1, 2]),
    "Latin-1": ("texts", "ann\nJos\u00e9\n".encode("latin-1"), ["ann", "Jos\u00e9"]),
    "another kind of line end in an id": ("texts", "\ufeffline\u2028sep\r\nann\n".encode(), ["line\u2028sep", "ann"]),
    "blanks that an id has and that it has not": ("texts", b" blank \n ann \n", [" blank ", "ann"]),
    "an id that begins with -": ("texts", b"-Ab3\n", ["-Ab3"]),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_users(models, tmp_path, name, capsys):
    model, content, users = FILES[name]
    (tmp_path / "users.txt").write_bytes(content)
    assert code_of("recommend", models / f"{model}.npz", "--users", tmp_path / "users.txt", "-k", 1) == 0
    out = capsys.readouterr().out
    assert out.count("user ") == len(users)
    assert all(f"user {user}: " in out for user in users)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_file_of_users_in_another_encoding_is_refused(models, tmp_path, encoding, capsys):
    (tmp_path / "users.txt").write_text("1\n2\n", encoding=encoding)
    assert code_of("recommend", models / "integers.npz", "--users", tmp_path / "users.txt") == 2
    assert "must be a text file in UTF-8 or Latin-1" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["9" * 30, "9" * 5000, str(2**63), str(-(2**63) - 1), "1_0", "1.0", "\u0661", "x", ""])
def test_what_is_no_integer_of_64_bits_is_no_id(models, text, capsys):
    assert code_of("recommend", models / "integers.npz", "--", text) == 2
    said = capsys.readouterr().err
    assert "user ids are integers of 64 bits, got" in said
    assert len(said) < 200


def test_every_split_of_the_library_can_be_named_and_no_other(ml_100k, capsys):
    for command in ("train", "evaluate", "compare"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "{" + ",".join(SPLITS) + "}" in "".join(capsys.readouterr().out.split())
    assert code_of("train", "ml-100k", "--split", "random-user") == 2
    assert "invalid choice: 'random-user'" in capsys.readouterr().err


def test_the_split_is_that_of_the_model(ml_100k, capsys):
    out = ml_100k / "run"
    for split in ("random", "temporal-user"):
        train = ["train", "ml-100k", "--recipe", "popularity", "--out", out, "--split", split]
        assert code_of(*train) == 0
        assert code_of("evaluate", out, "ml-100k", "--split", split) == 0
    capsys.readouterr()
    assert code_of("evaluate", out, "ml-100k", "--split", "new-items") == 2
    assert "another split of the same events" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_missed_before_the_data(monkeypatch, capsys):
    monkeypatch.setattr(doctor.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(cli, "load", raising(AssertionError("loaded")))
    assert code_of("train", "ml-100k", "--device", "cuda") == 1
    assert "device cuda: CUDA is off: " in capsys.readouterr().err
    monkeypatch.setattr(doctor, "_cuda", lambda info: "on")
    monkeypatch.setattr(doctor.torch.cuda, "device_count", lambda: 2)
    assert code_of("train", "ml-100k", "--device", "cuda:2") == 1
    assert "device cuda:2: torch sees 2 GPUs" in capsys.readouterr().err
    assert code_of("train", "ml-100k", "--device", "gpu") == 2
    assert "must be cpu, cuda or cuda:NUMBER, got 'gpu'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "ml-100k", "--out", "FILE"], "is a file, so that nothing can be written below it"),
        (["train", "ml-100k", "--out", "FILE/below"], "is a file, so that nothing can be written below it"),
        (["train", "ml-100k", "--dim", "0"], "must be a whole number >= 1"),
        (["train", "ml-100k", "--layers", "-1"], "must be a whole number >= 0"),
        (["train", "ml-100k", "--lr", "x"], "invalid float value"),
        (["train", "ml-100k", "--recipe", "mf", "--layers", "2"], "--layers 2 does not apply to MF"),
        (["train", "ml-100k", "--recipe", "filter", "--tensorboard"], "--tensorboard does not apply"),
        (["compare", "ml-100k", "--out", "FILE"], "is a file, so that nothing can be written below it"),
        (["compare", "ml-100k", "--models", "bert"], "invalid choice: 'bert'"),
        (["compare", "ml-100k", "--epochs", "-1"], "must be a whole number >= 0"),
        (["demo", "--out", "FILE"], "is a file, so that nothing can be written below it"),
        (["recommend", "MODEL", "1", "--out", "FOLDER"], "is a folder; name a file in it"),
        (["recommend", "MODEL", "1", "--out", "FILE/x.csv"], "is a file, so that nothing can be written below it"),
        (["recommend", "MODEL", "1", "-k", "1e3"], "must be a whole number >= 1"),
        (["recommend", "MODEL", "1", "-k", "9" * 30], "must be a whole number >= 1 and < 2^31"),
        (["similar", "MODEL", "1", "-k", "0"], "must be a whole number >= 1"),
        (["export", "MODEL", "--out", "FOLDER"], "is a folder; name a file in it"),
        (["export", "MODEL", "--out", "FILE/x.npz"], "is a file, so that nothing can be written below it"),
        (["estimate", "1e400,1,1"], "USERS,ITEMS,PAIRS, got '1e400,1,1'"),
        (["estimate", "nan,1,1"], "USERS,ITEMS,PAIRS, got 'nan,1,1'"),
        (["estimate", "--", "-1,5,5"], "must lie in"),
        (["estimate", "5,5,26"], "must lie in"),
        (["estimate", "ml-100k", "--recipe", "mf", "--layers", "2"], "--layers 2 does not apply to MF"),
        (["estimate", "1e9,1e9,1e18", "--dim", "2147483647"], "dim = 2147483647 with 2000000000 nodes"),
        (["estimate", "2e9,2e9,1"], "n_users + n_items must be <= 2147483647, got 2000000000 + 2000000000"),
    ],
)
def test_values_are_judged_before_any_work(arguments, text, models, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    for name in ("load", "compare", "demo", "_load_model"):
        monkeypatch.setattr(cli, name, raising(AssertionError("work")))
    places = {"FILE": tmp_path / "file", "FOLDER": tmp_path, "MODEL": models / "integers.npz"}
    words = [str(places.get(w, w)).replace("FILE", str(tmp_path / "file")) for w in arguments]
    assert code_of(*words) == 2
    said = capsys.readouterr().err
    assert text in said
    assert "AssertionError" not in said


@given(
    *[st.integers(1, 2**31 - 1)] * 3,
    st.integers(0, 4),
    st.integers(2, 2**31 - 1),
    st.integers(1, 2**20),
    st.sampled_from(["bpr", "softmax"]),
)
def test_an_estimate_is_of_bytes_that_64_bits_count_or_names_what_is_too_large(
    n_users, n_items, dim, n_layers, batch, n_neg, loss
):
    config, what = TrainConfig(batch_size=batch, n_neg=n_neg, loss=loss), (n_users, n_items, 5, dim, n_layers)
    most = (n_users + n_items + batch * (2 + (n_neg if loss == "bpr" else 0))) * max(dim, batch)
    if n_users + n_items >= 2**31:
        with pytest.raises(ValueError, match=r"estimate_memory: n_users \+ n_items must be <= 2147483647"):
            estimate_memory(*what, config)
        return
    if most >= 2**57:
        with pytest.raises(ValueError, match=f"estimate_memory: dim = {dim} with"):
            estimate_memory(*what, config)
        return
    small = estimate_memory(*what, config)
    assert min(dataclasses.astuple(small)) >= 0
    assert small.batch >= 4 * (n_users + n_items)
    assert small.total < 2**63


def test_a_file_of_another_kind_is_no_model(models, tmp_path, capsys):
    np.savez(tmp_path / "other.npz", x=np.arange(3))
    (tmp_path / "text.npz").write_text("no archive")
    for path in (tmp_path / "other.npz", tmp_path / "text.npz", tmp_path / "nowhere.npz", tmp_path):
        assert code_of("recommend", path, "1") == 2
        assert path.name in capsys.readouterr().err


def test_a_child_does_not_import_from_the_current_folder(tmp_path):
    for name in ("json", "runpy", "this"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('from the current folder')")
    run = [*python_module("json.tool", "--compact"), *python_module("this")]
    for command in (run[:5], run[5:]):
        done = subprocess.run(command, cwd=tmp_path, input='{"a": 1}', capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert "Zen of Python" in done.stdout


def test_doctor_fails_with_its_self_test_and_survives_a_package_without_metadata(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_self_test", lambda: "FAILED: x")
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(doctor.importlib.metadata, "version", raising_not_found)
    assert code_of("doctor") == 1
    assert "matplotlib (curves.png): there, of unknown version" in capsys.readouterr().out


def raising_not_found(name):
    raise doctor.importlib.metadata.PackageNotFoundError(name)


VALUES = ["1", "2", "0", "-1", "-", "--", "", " ", "x", "nan", "inf", "0.5", "1e400", "9" * 19, "9" * 30, "all", "temporal", "none", "mf", "popularity",
          "bpr", "softmax", "users", "cuda", "\u2028", "\udcff", "\u0661", "a\0b", "ml-100k", "nowhere", "1,2,3", "file", "x.csv"]  # fmt: skip
OPTIONS = ["-k", "--k", "-k0", "--k=2", "--out", "--quiet", "--users", "--split", "--recipe", "--model", "--models", "--epochs", "--dim", "--layers",
           "--lr", "--loss", "--seed", "--reg", "--warmup", "--batch-size", "--negatives", "--refit", "--valid-fraction", "--metric", "--side",
           "--device"]  # fmt: skip
LINES = int(os.environ.get("FGR_FUZZ_LINES", "25"))
COMMANDS = ["train", "evaluate", "recommend", "similar", "export", "datasets", "estimate", "demo", "doctor", "bogus"]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_words_give_a_traceback(command, models, ml_100k, monkeypatch, capsys):
    """Seeded and bounded; most lines hold what the command needs."""
    monkeypatch.chdir(ml_100k)
    (ml_100k / "file").write_text("1\n2\n")
    monkeypatch.setattr(cli, "demo", lambda out: None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # no pictures: they take longest
    rng = random.Random(command)
    model = str(models / "integers.npz")
    needs = {"train": ["ml-100k", "--epochs=1", "--out", "out"], "evaluate": [model, "ml-100k"], "recommend": [model, "1"], "similar": [model, "1"],
             "export": [model, "--out", "x.npz"]}.get(command, [])  # fmt: skip
    for _ in range(LINES):
        pairs = [(rng.choice(OPTIONS), rng.choice(VALUES)) for _ in range(rng.randrange(3))]
        words = [*needs, *itertools.chain(*pairs), *rng.choices([*VALUES, model], k=rng.randrange(2))]
        if rng.random() < 0.3:
            rng.shuffle(words)
        code = code_of(command, *words)
        said = capsys.readouterr().err
        assert code in (0, 1, 2), (command, words)
        assert "unexpected" not in said, (command, words, said)
        assert "Traceback" not in said, (command, words, said)
