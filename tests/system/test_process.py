"""What a process ends with, whatever stops it, and how a child is started."""

import itertools
import os
import signal
import subprocess
import sys

import pytest
from commands import raising

from fastgcn_rec.system import process as _process
from fastgcn_rec.system.process import TRACEBACK, exit_code, python_module
from fastgcn_rec.training import Interrupted


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("the rule"), 2),
        (TypeError("the rule"), 2),
        (IndexError("the rule"), 2),
        (FileNotFoundError(2, "the rule", "x.npz"), 2),
        (RuntimeError("the rule"), 1),
        (OSError(5, "the rule"), 1),
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


def test_a_child_does_not_import_from_the_current_folder(tmp_path):
    for name in ("json", "runpy", "this"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('from the current folder')")
    run = [*python_module("json.tool", "--compact"), *python_module("this")]
    for command in (run[:5], run[5:]):
        done = subprocess.run(command, cwd=tmp_path, input='{"a": 1}', capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert "Zen of Python" in done.stdout


def test_a_warning_is_a_line_without_the_place_in_the_code(capfd):
    code = (
        "import warnings; from fastgcn_rec.system.process import exit_code\n"
        "def run():\n    warnings.warn('two lines are left out')\n    return 0\n"
        "exit_code(run, 'prog'); warnings.warn('after')"
    )
    environment = {name: value for name, value in os.environ.items() if name != TRACEBACK}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    said = capfd.readouterr().err
    assert said.startswith("prog: two lines are left out\n")
    assert "<string>:5: UserWarning: after" in said


def _ended(code, **streams):
    begin = "import atexit, os, signal; from fastgcn_rec.system.process import exit_code\n"
    return subprocess.run(
        [sys.executable, "-c", begin + code], stderr=subprocess.PIPE, text=True, check=False, **streams
    )


def test_ctrl_c_while_python_ends_comes_too_late():
    done = _ended("atexit.register(os.kill, os.getpid(), signal.SIGINT); raise SystemExit(exit_code(lambda: 3, 'x'))")
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("much", [1, 100_000])
def test_a_full_disk_behind_standard_output_has_a_name(much):
    with open("/dev/full", "w") as full:
        done = _ended(f"raise SystemExit(exit_code(lambda: print('y' * {much}), 'x'))", stdout=full)
    assert (done.returncode, done.stderr) == (1, "x: [Errno 28] No space left on device: 'standard output'\n")
